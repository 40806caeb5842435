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
import tempfile
import time
from collections.abc import Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from pathlib import Path
from typing import Any, Final, cast

import torch

from benchmarks import accelerator_steps as steps
from benchmarks.accelerator_frames import noise, read_drives, simulate, size_of
from benchmarks.accelerator_report import Report, profile
from training.data import Batches
from training.device import choose_device, describe_device
from training.device_batch import RawBatch
from training.loop import Trainer

_RESIDENT: Final = 4  # batches that are measured in turn, kept where they are needed


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
    size = size.quick() if chosen.quick else size
    device = choose_device()
    report = Report(
        {
            "device": describe_device(device), "torch": torch.__version__,
            "batch_size": size.config.batch_size,
        },
        chosen.out,
    )  # fmt: skip
    with tempfile.TemporaryDirectory(prefix="starloop-bench-") as folder:
        # Drives are simulated in processes of their own while this one compiles.
        spawn = multiprocessing.get_context("spawn")
        with ProcessPoolExecutor(1, spawn) as pool:
            drives = pool.submit(simulate, Path(folder), size)
            rig = steps.Rig(Trainer(size.config, device), size, device, report.figures)
            _measure(rig, Path(folder), drives, chosen, report)
    return report.figures


def _measure(
    rig: steps.Rig, folder: Path, drives: Future[str], chosen: argparse.Namespace, report: Report
) -> None:
    """Fill in the figures, stage by stage."""
    config = rig.size.config
    _say("compiling and warming up")
    cloud = noise(rig.size)
    for _ in range(rig.size.warm_up):
        rig.trainer.train_step(rig.trainer.prepare(cloud))
    rig.wait()
    _say("reading frames")
    frames = read_drives(folder, drives.result(), rig.size, chosen.threads, report.figures)
    batches = Batches(frames, config, threads=chosen.threads, depth=4)
    rig.raw = [cast("RawBatch", batches.batch(step)) for step in range(_RESIDENT)]
    num_points = sum(batch.num_points for batch in rig.raw)
    report.figures["points_per_frame"] = num_points / len(rig.raw) / config.batch_size
    steps.count_flops(rig, config)
    steps.peak(rig)  # not before: simulating drives takes every core there is
    report.tell()
    _say("steps by themselves")
    rig.ready = [rig.prepare(i) for i in range(_RESIDENT)]
    steps.alone(rig)
    report.tell()
    _say("steps with the loader")
    steps.loaded(rig, batches)
    report.tell()
    _say("beside padded float32 networks")
    steps.compare(rig)
    report.tell()
    frames.close()
    if chosen.profile:
        _say("where the time goes")
        text = profile(rig.device, _RESIDENT, steps=rig.step, preparations=rig.prepare)
        print(text, flush=True)
        if report.out:
            report.out.with_suffix(".profile.txt").write_text(text)


def _say(text: str) -> None:
    print(f"{time.strftime('%H:%M:%S')} {text}", flush=True)


if __name__ == "__main__":
    main()
