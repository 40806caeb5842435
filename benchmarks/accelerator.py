"""Training on whatever accelerator there is: `python -m benchmarks.accelerator`.

Measures in one run, on frames of real size from a local store: step time and throughput, the share
of the measured peak of matrix products (MFU), the wait for data with the real loader, peak memory,
and the same step as a padded float32 network (`benchmarks.padded`). Prints a table and, with
`--out`, writes the figures as JSON. `--size tiny` runs everything on a processor in seconds.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch.utils.flop_counter import FlopCounterMode

from benchmarks.clouds import USUAL, store_drives
from benchmarks.padded import PaddedTrainer
from simulation.lidar import LidarModel
from storage.local import LocalStore
from training.config import TrainConfig
from training.data import Batches, DataOptions, open_frames
from training.device import choose_device, describe_device
from training.feed import Feed
from training.frame_store import StoreFrames
from training.loop import Prepared, Trainer
from training.recipes import recipe

_RESIDENT = 4  # batches that are measured in turn, kept where they are needed


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


def size_of(name: str, batch_size: int) -> Size:
    """Return `full` (the nuScenes recipe: 512 x 512 pillars, ten sweeps) or `tiny`."""
    config = replace(recipe("nuscenes"), iterations=10**6)
    if name == "full":
        full = replace(config, batch_size=batch_size or 16, compile=True)
        return Size(full, USUAL, 4, 60, 8, 30, 60, 8, 8192)
    tiny = replace(
        config,
        x_min_m=-12.8, x_max_m=12.8, y_min_m=-12.8, y_max_m=12.8, pillar_m=0.4,
        channels=(16, 16, 16, 16), point_channels=16, head_channels=16, num_sweeps=2,
        max_boxes=20, batch_size=batch_size or 2, num_threads=1, precision="float32",
    )  # fmt: skip
    return Size(tiny, LidarModel(num_columns=90), 1, 8, 1, 2, 3, 2, 256)


def main(arguments: Sequence[str] | None = None) -> dict[str, Any]:
    """Measure and print; return the figures."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.accelerator", description=__doc__)
    parser.add_argument("--size", choices=("full", "tiny"), default="full")
    parser.add_argument("--batch", type=int, default=0, help="frames a step")
    parser.add_argument("--threads", type=int, default=12, help="threads of the loader")
    parser.add_argument("--out", type=Path, help="where to write the figures as JSON")
    chosen = parser.parse_args(arguments)
    size = size_of(chosen.size, chosen.batch)
    device = choose_device()
    figures: dict[str, Any] = {
        "device": describe_device(device), "torch": torch.__version__,
        "batch_size": size.config.batch_size,
    }  # fmt: skip
    with tempfile.TemporaryDirectory(prefix="starloop-bench-") as folder:
        frames = _frames(Path(folder), size, chosen.threads, figures)
        _measure(frames, size, device, chosen.threads, figures)
        frames.close()
    print(json.dumps(figures))
    print(table(figures))
    if chosen.out:
        chosen.out.write_text(json.dumps(figures, indent=1))
    return figures


def _measure(
    frames: StoreFrames,
    size: Size,
    device: torch.device,
    threads: int,
    figures: dict[str, Any],
) -> None:
    """Fill in the figures."""
    config = size.config
    figures["peak_tflops"] = _peak(size, device) / 1e12
    figures["peak_dtype"] = "bfloat16" if device.type != "cpu" else "float32"
    batches = Batches(frames, config, threads=threads, depth=4)
    raw = [batches.batch(step) for step in range(_RESIDENT)]
    figures["points_per_frame"] = sum(b.num_points for b in raw) / len(raw) / config.batch_size
    figures["gflop_per_sample"] = _flops(raw[0], config, device) / config.batch_size / 1e9
    trainer = Trainer(config, device)
    _say("compiling and warming up")
    ready = [trainer.prepare(batch) for batch in raw]
    for step in range(size.warm_up):
        trainer.train_step(ready[step % _RESIDENT])
    _say("steps by themselves")
    step_s = _median(device, size.steps, lambda i: trainer.train_step(ready[i % _RESIDENT]))
    figures["step_ms"] = step_s * 1e3
    figures["prepare_ms"] = 1e3 * _median(
        device, size.steps, lambda i: trainer.prepare(raw[i % _RESIDENT])
    )
    figures["samples_per_s"] = config.batch_size / step_s
    flops = figures["gflop_per_sample"] * 1e9 * figures["samples_per_s"]
    figures["mfu"] = flops / (figures["peak_tflops"] * 1e12)
    _say("steps with the loader")
    _loaded(trainer, batches, size, device, step_s, figures)
    _say("beside padded float32 networks")
    _compare(trainer, raw, ready, size, device, figures)


def _frames(folder: Path, size: Size, threads: int, figures: dict[str, Any]) -> StoreFrames:
    """Simulate drives, store them, and fill the cache once."""
    _say("simulating drives")
    store = LocalStore(folder / "store")
    skip = size.config.num_sweeps - 1
    manifest = store_drives(store, size.drives, size.sweeps, size.lidar, skip)
    options = DataOptions(memory_bytes=0, cache_folder=str(folder / "cache"))
    frames = open_frames(store, manifest, size.config, options)
    if not isinstance(frames, StoreFrames):
        raise TypeError("the frames should not be in memory")
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
    """Time the three ways in turn: ours with all its preparation, padded without any of its own."""
    config = replace(size.config, compile=False)
    padded = PaddedTrainer(config, device)
    voxels = [padded.prepare(batch) for batch in ready]

    def ours(i: int) -> None:
        trainer.train_step(trainer.prepare(raw[i % _RESIDENT]))

    def usual(i: int) -> None:
        padded.train_step(*voxels[i % _RESIDENT])

    def strict(i: int) -> None:
        convolutions, products = torch.backends.cudnn.allow_tf32, _products()
        torch.backends.cudnn.allow_tf32 = False
        torch.set_float32_matmul_precision("highest")
        padded.train_step(*voxels[i % _RESIDENT])
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


def table(figures: dict[str, Any]) -> str:
    """Return the figures for people."""
    f = figures
    memory = f.get("peak_memory_gib", float("nan"))
    step = f"{f['step_ms']:.1f} ms, {f['samples_per_s']:.1f} samples/s, MFU {f['mfu']:.1%}"
    loaded = f"{f['loaded_step_ms']:.1f} ms, {f['loaded_samples_per_s']:.1f} samples/s"
    feeding = f"{f['feeding_share']:.1%} (wait, copies, points and targets on the device)"
    store, cache = f["store_samples_per_s"], f["cache_samples_per_s"]
    faster, faster_tf32 = f["times_faster_than_padded"], f["times_faster_than_padded_tf32"]
    lines = [
        ("device", f"{f['device']}, torch {f['torch']}"),
        ("batch", f"{f['batch_size']} frames of {f['points_per_frame']:,.0f} points"),
        ("arithmetic", f"{f['gflop_per_sample']:.1f} GFLOP a sample, forward and backward"),
        ("peak, measured", f"{f['peak_tflops']:.1f} TFLOP/s {f['peak_dtype']}"),
        ("step, batch on the device", step),
        ("points and targets on the device", f"{f['prepare_ms']:.1f} ms a batch"),
        ("step with the loader", f"{loaded}, MFU {f['loaded_mfu']:.1%}"),
        ("wait for data", f"{f['data_wait_share']:.1%} of the time"),
        ("slower than from the device by", feeding),
        ("loader alone", f"{store:.0f} samples/s from the store, {cache:.0f} from the cache"),
        ("peak memory", f"{memory:.1f} GiB"),
        ("ours, from raw batches", f"{f['ours_step_ms']:.1f} ms"),
        ("padded, float32", f"{f['padded_step_ms']:.1f} ms: {faster:.2f} times ours"),
        ("padded, TF32", f"{f['padded_tf32_step_ms']:.1f} ms: {faster_tf32:.2f} times ours"),
    ]  # fmt: skip
    return "\n".join(f"{name:<34} {value}" for name, value in lines)


if __name__ == "__main__":
    main()
