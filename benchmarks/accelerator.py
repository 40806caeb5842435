"""Training on whatever accelerator there is: `python -m benchmarks.accelerator`.

Measures in one run, on frames of real size from a local store: step time and throughput, the share
of the measured peak of matrix products (MFU), the wait for data with the real loader, peak memory,
and the same step as a padded float32 network (`benchmarks.padded`). Prints every row as soon as it
is known and, with `--out`, writes the figures so far as JSON: what a run that is cut off has
measured is not lost. `--quick` repeats less, `--profile` tells at the end where a step's time goes
on the device, `--size tiny` runs everything on a processor in seconds.
"""

from __future__ import annotations

import argparse
import multiprocessing
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ProcessPoolExecutor, ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final, cast

import numpy as np
import torch
from torch.utils.flop_counter import FlopCounterMode

from benchmarks.accelerator_report import Report, profile
from benchmarks.clouds import USUAL, store_drives
from benchmarks.padded import PaddedTrainer
from scene.box import Boxes
from simulation.lidar import LidarModel
from storage.local import LocalStore
from storage.manifest import DatasetManifest
from training.centerpoint import CenterPoint
from training.config import TrainConfig
from training.data import Batches, DataOptions, open_frames
from training.device import choose_device, describe_device
from training.device_batch import RawBatch, draw_sample, join_samples
from training.feed import Feed
from training.frame_store import StoreFrames
from training.loop import Prepared, Trainer
from training.recipes import recipe

_RESIDENT: Final = 4  # batches that are measured in turn, kept where they are needed


@dataclass(frozen=True, slots=True)
class Size:
    """How much is measured.

    Attributes:
        config: the recipe.
        lidar: of the simulated drives.
        drives, sweeps: how many, and how long each.
        warm_up: steps before anything is timed.
        steps: steps that are timed, by themselves.
        loaded: steps that are timed with the loader.
        rounds: steps of each network in the comparison.
        product: side of the matrices of the peak.
        points: of a frame, about.
    """

    config: TrainConfig
    lidar: LidarModel
    drives: int
    sweeps: int
    warm_up: int
    steps: int
    loaded: int
    rounds: int
    product: int
    points: int


def size_of(name: str, batch_size: int) -> Size:
    """Return `full` (the nuScenes recipe: 512 x 512 pillars, ten sweeps) or `tiny`."""
    config = replace(recipe("nuscenes"), iterations=10**6)
    if name == "full":
        full = replace(config, batch_size=batch_size or 16, compile=True)
        return Size(full, USUAL, 4, 60, 6, 40, 60, 8, 8192, 290_000)
    tiny = replace(
        config,
        x_min_m=-12.8, x_max_m=12.8, y_min_m=-12.8, y_max_m=12.8, pillar_m=0.4,
        channels=(16, 16, 16, 16), point_channels=16, head_channels=16, num_sweeps=2,
        max_boxes=20, batch_size=batch_size or 2, num_threads=1, precision="float32",
    )  # fmt: skip
    return Size(tiny, LidarModel(num_columns=90), 1, 8, 1, 2, 3, 2, 256, 4_000)


def main(arguments: Sequence[str] | None = None) -> dict[str, Any]:
    """Measure and print; return the figures."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.accelerator", description=__doc__)
    parser.add_argument("--size", choices=("full", "tiny"), default="full")
    parser.add_argument("--batch", type=int, default=0, help="frames a step")
    parser.add_argument("--threads", type=int, default=12, help="threads of the loader")
    parser.add_argument("--quick", action="store_true", help="repeat less")
    parser.add_argument("--profile", action="store_true", help="say where a step's time goes")
    parser.add_argument("--out", type=Path, help="where to write the figures as JSON")
    chosen = parser.parse_args(arguments)
    size = size_of(chosen.size, chosen.batch)
    if chosen.quick:
        size = replace(size, steps=max(2, size.steps // 2), loaded=max(3, size.loaded // 2),
                       rounds=max(2, size.rounds // 2))  # fmt: skip
    device = choose_device()
    report = Report(
        {
            "device": describe_device(device), "torch": torch.__version__,
            "batch_size": size.config.batch_size,
        },
        chosen.out,
    )  # fmt: skip
    with tempfile.TemporaryDirectory(prefix="starloop-bench-") as folder:
        # Drives are simulated in a process of their own while this one compiles.
        spawn = multiprocessing.get_context("spawn")
        with ProcessPoolExecutor(1, spawn) as pool:
            drives = pool.submit(_simulate, Path(folder), size)
            _measure(Path(folder), drives, size, device, chosen, report)
    return report.figures


def _simulate(folder: Path, size: Size) -> str:
    """Store simulated drives; return the digest of their dataset."""
    skip = size.config.num_sweeps - 1
    store = LocalStore(folder / "store")
    manifest = store_drives(store, size.drives, size.sweeps, size.lidar, skip)
    # The loops that one batch takes are compiled now, for the process that waits for this one.
    frames = _open(folder, manifest.digest, size, "first")
    Batches(frames, replace(size.config, batch_size=1)).batch(0)
    frames.close()
    return manifest.digest


def _measure(
    folder: Path,
    drives: Future[str],
    size: Size,
    device: torch.device,
    chosen: argparse.Namespace,
    report: Report,
) -> None:
    """Fill in the figures, stage by stage."""
    config, figures = size.config, report.figures
    figures["peak_tflops"] = _peak(size, device) / 1e12
    figures["peak_dtype"] = "bfloat16" if device.type != "cpu" else "float32"
    report.tell()
    trainer = Trainer(config, device)
    _say("compiling and warming up")
    noise = _noise(size)
    for _ in range(size.warm_up):
        trainer.train_step(trainer.prepare(noise))
    _wait(device)
    _say("reading frames")
    frames = _frames(folder, drives.result(), size, chosen.threads, figures)
    batches = Batches(frames, config, threads=chosen.threads, depth=4)
    raw = [cast("RawBatch", batches.batch(step)) for step in range(_RESIDENT)]
    figures["points_per_frame"] = sum(b.num_points for b in raw) / len(raw) / config.batch_size
    figures["gflop_per_sample"] = _flops(raw[0], config, device) / config.batch_size / 1e9
    report.tell()
    _say("steps by themselves")
    ready = [trainer.prepare(batch) for batch in raw]
    step_s = _alone(trainer, raw, ready, size, device, figures)
    report.tell()
    _say("steps with the loader")
    _loaded(trainer, batches, size, device, step_s, figures)
    report.tell()
    _say("beside padded float32 networks")
    _compare(trainer, raw, ready, size, device, figures)
    report.tell()
    frames.close()
    if chosen.profile:
        _say("where the time goes")
        text = profile(
            device, _RESIDENT,
            steps=lambda i: trainer.train_step(ready[i]),
            preparations=lambda i: trainer.prepare(raw[i]),
        )  # fmt: skip
        print(text, flush=True)
        if report.out:
            report.out.with_suffix(".profile.txt").write_text(text)


def _noise(size: Size) -> RawBatch:
    """Return a batch of about the real size whose points are anywhere."""
    config, rng = size.config, np.random.default_rng(0)
    columns = 4 if config.num_sweeps == 1 else 5
    low = [config.x_min_m, config.y_min_m, config.z_min_m, 0.0, 0.0][:columns]
    high = [config.x_max_m, config.y_max_m, config.z_max_m, 1.0, 0.5][:columns]
    cloud = rng.uniform(low, high, (size.points, columns)).astype(np.float32)
    sample = draw_sample(cloud, Boxes.empty(), config, rng, None)
    return join_samples([sample] * config.batch_size, config)


def _alone(
    trainer: Trainer,
    raw: list[Any],
    ready: list[Prepared],
    size: Size,
    device: torch.device,
    figures: dict[str, Any],
) -> float:
    """Time steps one after the other, and preparations; return the seconds of a step."""
    for batch in ready:  # shapes that noise did not have
        trainer.train_step(batch)
    times, told = [], []
    for _ in range(3):
        _wait(device)
        begun = time.perf_counter()
        for i in range(size.steps):
            trainer.train_step(ready[i % _RESIDENT])
        told.append((time.perf_counter() - begun) / size.steps)
        _wait(device)
        times.append((time.perf_counter() - begun) / size.steps)
    step_s = statistics.median(times)
    figures["step_ms"] = step_s * 1e3
    figures["host_step_ms"] = statistics.median(told) * 1e3
    figures["samples_per_s"] = size.config.batch_size / step_s
    flops = figures["gflop_per_sample"] * 1e9 * figures["samples_per_s"]
    figures["mfu"] = flops / (figures["peak_tflops"] * 1e12)
    begun_s: list[float] = []

    def prepare(i: int) -> None:
        begun = time.perf_counter()
        trainer.prepare(raw[i % _RESIDENT])
        begun_s.append(time.perf_counter() - begun)

    prepare(0)
    figures["prepare_ms"] = 1e3 * _median(device, size.steps, prepare)
    figures["host_prepare_ms"] = 1e3 * statistics.median(begun_s)
    return step_s


def _open(folder: Path, dataset: str, size: Size, cache: str) -> StoreFrames:
    """Open the simulated drives."""
    store = LocalStore(folder / "store")
    options = DataOptions(memory_bytes=0, cache_folder=str(folder / cache))
    frames = open_frames(store, DatasetManifest.load(store, dataset), size.config, options)
    if not isinstance(frames, StoreFrames):
        raise TypeError("the frames should not be in memory")
    return frames


def _frames(
    folder: Path, dataset: str, size: Size, threads: int, figures: dict[str, Any]
) -> StoreFrames:
    """Open the simulated drives, and fill the cache once."""
    frames = _open(folder, dataset, size, "cache")
    figures["num_frames"] = len(frames)
    for name in ("store_samples_per_s", "cache_samples_per_s"):
        begun = time.perf_counter()
        with ThreadPoolExecutor(threads) as pool:
            for _ in pool.map(frames.__getitem__, range(len(frames))):
                pass
        figures[name] = len(frames) / (time.perf_counter() - begun)
    return frames


def _peak(size: Size, device: torch.device) -> float:
    """Return FLOP/s of a large product of bfloat16 matrices (float32 on a processor)."""
    kind = torch.bfloat16 if device.type != "cpu" else torch.float32
    one, two = (torch.randn(size.product, size.product, device=device).to(kind) for _ in range(2))
    for _ in range(3):
        one @ two
    return 2 * size.product**3 / _median(device, 10, lambda i: one @ two)


def _flops(raw: Any, config: TrainConfig, device: torch.device) -> float:
    """Return the floating-point operations of one step, as torch counts them, without compiling."""
    trainer = Trainer(replace(config, compile=False), device)
    if isinstance(trainer.net, CenterPoint):
        trainer.net.joined = False  # padded outputs are no work that had to be done
    with FlopCounterMode(display=False) as counter:
        trainer.train_step(trainer.prepare(raw))
    return float(counter.get_total_flops())


def _loaded(
    trainer: Trainer,
    batches: Batches,
    size: Size,
    device: torch.device,
    step_s: float,
    figures: dict[str, Any],
) -> None:
    """Train with frames from the cache: the wait for data, and what feeding costs in all."""
    feed = Feed(trainer.prepare, device)
    if device.type != "cpu":
        torch.accelerator.reset_peak_memory_stats()
    begun, first = 0.0, 4
    start = _RESIDENT
    for number, fed in enumerate(batches.ahead(start, start + size.loaded + first, feed.prepare)):
        trainer.train_step(feed.take(fed))
        if number == first - 1:
            _wait(device)
            begun = time.perf_counter()
    _wait(device)
    each_s = (time.perf_counter() - begun) / size.loaded
    figures["loaded_step_ms"] = each_s * 1e3
    figures["loaded_samples_per_s"] = size.config.batch_size / each_s
    figures["loaded_mfu"] = figures["mfu"] * step_s / each_s
    # The device may still be busy while the host waits, so this is at least the device's wait.
    figures["data_wait_share"] = batches.stats.wait_share
    figures["feeding_share"] = max(0.0, 1 - step_s / each_s)
    if device.type != "cpu":
        figures["peak_memory_gib"] = torch.accelerator.max_memory_allocated() / 2**30


def _compare(
    trainer: Trainer,
    raw: list[Any],
    ready: list[Prepared],
    size: Size,
    device: torch.device,
    figures: dict[str, Any],
) -> None:
    """Time the three ways in turn: ours with all its preparation, padded without any of its own.

    Padded networks train with PyTorch's defaults: cuDNN does not try kernels first.
    """
    config = replace(size.config, compile=False)
    padded = PaddedTrainer(config, device)
    voxels = [padded.prepare(batch) for batch in ready]

    def ours(i: int) -> None:
        trainer.train_step(trainer.prepare(raw[i % _RESIDENT]))

    def usual(i: int) -> None:
        _with_defaults(lambda: padded.train_step(*voxels[i % _RESIDENT]))

    def strict(i: int) -> None:
        convolutions, products = torch.backends.cudnn.allow_tf32, _products()
        torch.backends.cudnn.allow_tf32 = False
        torch.set_float32_matmul_precision("highest")
        usual(i)
        torch.backends.cudnn.allow_tf32 = convolutions
        torch.set_float32_matmul_precision(products)

    ways: dict[str, Callable[[int], None]] = {"ours": ours, "padded_tf32": usual, "padded": strict}
    for way in ways.values():
        for i in range(2):
            way(i)
    times: dict[str, list[float]] = {name: [] for name in ways}
    for i in range(size.rounds):
        for name, way in ways.items():
            times[name].append(_timed(device, way, i))
    for name, values in times.items():
        figures[f"{name}_step_ms"] = statistics.median(values) * 1e3
    for name in ("padded", "padded_tf32"):
        ratios = [p / o for p, o in zip(times[name], times["ours"], strict=True)]
        figures[f"times_faster_than_{name}"] = statistics.median(ratios)
    loaded = figures["padded_step_ms"] / figures["loaded_step_ms"]
    figures["loaded_times_faster_than_padded"] = loaded


def _with_defaults(step: Callable[[], object]) -> None:
    """Do a step without trying cuDNN's kernels first."""
    tries, torch.backends.cudnn.benchmark = torch.backends.cudnn.benchmark, False
    step()
    torch.backends.cudnn.benchmark = tries


def _products() -> str:
    return torch.get_float32_matmul_precision()


def _median(device: torch.device, count: int, action: Callable[[int], object]) -> float:
    """Return the median seconds of an action."""
    return statistics.median(_timed(device, action, i) for i in range(count))


def _timed(device: torch.device, action: Callable[[int], object], index: int) -> float:
    """Return the seconds of one action, from an idle device to an idle device."""
    _wait(device)
    begun = time.perf_counter()
    action(index)
    _wait(device)
    return time.perf_counter() - begun


def _wait(device: torch.device) -> None:
    if device.type != "cpu":
        torch.accelerator.synchronize()


def _say(text: str) -> None:
    print(f"{time.strftime('%H:%M:%S')} {text}", flush=True)


if __name__ == "__main__":
    main()
