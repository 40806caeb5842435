"""Steps that `benchmarks.accelerator` times: by themselves, with the loader, beside padded ones."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any, Final

import torch
from torch.utils.flop_counter import FlopCounterMode

from benchmarks.accelerator_frames import Size
from benchmarks.padded import PaddedTrainer
from training.centerpoint import CenterPoint
from training.config import TrainConfig
from training.data import Batches
from training.device_batch import RawBatch
from training.feed import Feed
from training.loop import Prepared, Trainer

_REPEATS: Final = 3


@dataclass(slots=True)
class Rig:
    """What is measured, on what, and what came of it.

    Attributes:
        trainer: ours.
        size: how much is measured.
        device: where.
        figures: by name; filled in.
        raw: batches that are measured in turn, as the loader gives them.
        ready: the same, prepared on the device.
    """

    trainer: Trainer
    size: Size
    device: torch.device
    figures: dict[str, Any]
    raw: list[RawBatch] = field(default_factory=list)
    ready: list[Prepared] = field(default_factory=list)

    def wait(self) -> None:
        """Wait for the device."""
        if self.device.type != "cpu":
            torch.accelerator.synchronize()

    def timed(self, action: Callable[[int], object], index: int) -> float:
        """Return the seconds of one action, from an idle device to an idle device."""
        self.wait()
        begun = time.perf_counter()
        action(index)
        self.wait()
        return time.perf_counter() - begun

    def median(self, count: int, action: Callable[[int], object]) -> float:
        """Return the median seconds of an action."""
        return statistics.median(self.timed(action, i) for i in range(count))

    def step(self, i: int) -> None:
        """Do a step with a batch that is on the device."""
        self.trainer.train_step(self.ready[i % len(self.ready)])

    def prepare(self, i: int) -> Prepared:
        """Bring a batch to the device and make points and targets of it there."""
        return self.trainer.prepare(self.raw[i % len(self.raw)])


def peak(rig: Rig) -> None:
    """Measure the fastest large product of bfloat16 matrices (float32 on a processor)."""
    side = rig.size.product
    kind = torch.bfloat16 if rig.device.type != "cpu" else torch.float32
    one, two = (torch.randn(side, side, device=rig.device).to(kind) for _ in range(2))
    for _ in range(_REPEATS):
        one @ two
    fastest_s = min(rig.timed(lambda _: one @ two, i) for i in range(10))
    rig.figures["peak_tflops"] = 2 * side**3 / fastest_s / 1e12
    rig.figures["peak_dtype"] = str(kind).removeprefix("torch.")


def count_flops(rig: Rig, config: TrainConfig) -> None:
    """Count the floating-point operations of one step, as torch does, without compiling."""
    trainer = Trainer(replace(config, compile=False), rig.device)
    if isinstance(trainer.net, CenterPoint):
        trainer.net.joined = False  # padded outputs are no work that had to be done
    with FlopCounterMode(display=False) as counter:
        trainer.train_step(trainer.prepare(rig.raw[0]))
    rig.figures["gflop_per_sample"] = counter.get_total_flops() / config.batch_size / 1e9


def alone(rig: Rig) -> None:
    """Time steps one after the other, and preparations."""
    for i in range(len(rig.ready)):  # shapes that noise did not have
        rig.step(i)
    count, figures = rig.size.steps, rig.figures
    times, told = [], []
    for _ in range(_REPEATS):
        rig.wait()
        begun = time.perf_counter()
        for i in range(count):
            rig.step(i)
        told.append((time.perf_counter() - begun) / count)
        rig.wait()
        times.append((time.perf_counter() - begun) / count)
    step_s = statistics.median(times)
    figures["step_ms"] = step_s * 1e3
    figures["host_step_ms"] = statistics.median(told) * 1e3
    figures["samples_per_s"] = rig.size.config.batch_size / step_s
    flops = figures["gflop_per_sample"] * 1e9 * figures["samples_per_s"]
    figures["mfu"] = flops / (figures["peak_tflops"] * 1e12)
    host_s: list[float] = []

    def prepare(i: int) -> None:
        begun = time.perf_counter()
        rig.prepare(i)
        host_s.append(time.perf_counter() - begun)

    prepare(0)
    figures["prepare_ms"] = 1e3 * rig.median(count, prepare)
    figures["host_prepare_ms"] = 1e3 * statistics.median(host_s)


def loaded(rig: Rig, batches: Batches) -> None:
    """Train with frames from the cache: the wait for data, and what feeding costs in all."""
    trainer, figures, count = rig.trainer, rig.figures, rig.size.loaded
    feed = Feed(trainer.prepare, rig.device)
    if rig.device.type != "cpu":
        torch.accelerator.reset_peak_memory_stats()
    begun, first = 0.0, 4
    start = len(rig.raw)
    for number, fed in enumerate(batches.ahead(start, start + count + first, feed.prepare)):
        trainer.train_step(feed.take(fed))
        if number == first - 1:
            rig.wait()
            begun = time.perf_counter()
    rig.wait()
    each_ms = (time.perf_counter() - begun) / count * 1e3
    figures["loaded_step_ms"] = each_ms
    figures["loaded_samples_per_s"] = rig.size.config.batch_size / each_ms * 1e3
    figures["loaded_mfu"] = figures["mfu"] * figures["step_ms"] / each_ms
    # The device may still be busy while the host waits, so this is at least the device's wait.
    figures["data_wait_share"] = batches.stats.wait_share
    figures["feeding_share"] = max(0.0, 1 - figures["step_ms"] / each_ms)
    if rig.device.type != "cpu":
        figures["peak_memory_gib"] = torch.accelerator.max_memory_allocated() / 2**30


def compare(rig: Rig) -> None:
    """Time the three ways in turn: ours with all its preparation, padded without any of its own.

    Comes after `loaded`, whose step is compared too.
    Padded networks train with PyTorch's defaults: cuDNN does not try kernels first.
    """
    padded = PaddedTrainer(replace(rig.size.config, compile=False), rig.device)
    voxels = [padded.prepare(batch) for batch in rig.ready]

    def usual(i: int) -> None:
        _with_defaults(lambda: padded.train_step(*voxels[i % len(voxels)]))

    def strict(i: int) -> None:
        products = torch.get_float32_matmul_precision()
        convolutions, torch.backends.cudnn.allow_tf32 = torch.backends.cudnn.allow_tf32, False
        torch.set_float32_matmul_precision("highest")
        usual(i)
        torch.backends.cudnn.allow_tf32 = convolutions
        torch.set_float32_matmul_precision(products)

    ways: dict[str, Callable[[int], object]] = {
        "ours": lambda i: rig.trainer.train_step(rig.prepare(i)),
        "padded_tf32": usual,
        "padded": strict,
    }
    for way in ways.values():
        for i in range(2):
            way(i)
    times: dict[str, list[float]] = {name: [] for name in ways}
    for i in range(rig.size.rounds):
        for name, way in ways.items():
            times[name].append(rig.timed(way, i))
    for name, values in times.items():
        rig.figures[f"{name}_step_ms"] = statistics.median(values) * 1e3
    for name in ("padded", "padded_tf32"):
        ratios = [p / o for p, o in zip(times[name], times["ours"], strict=True)]
        rig.figures[f"times_faster_than_{name}"] = statistics.median(ratios)
    ratio = rig.figures["padded_step_ms"] / rig.figures["loaded_step_ms"]
    rig.figures["loaded_times_faster_than_padded"] = ratio


def _with_defaults(step: Callable[[], object]) -> None:
    """Do a step without trying cuDNN's kernels first."""
    tries, torch.backends.cudnn.benchmark = torch.backends.cudnn.benchmark, False
    step()
    torch.backends.cudnn.benchmark = tries
