"""The training process: `python -m training.train --job job.json`.

Exit codes: 0 finished; 75 asked to stop, checkpoint written, start again to go on; 77 too many
steps gave NaN; 78 the job, its dataset or its starting model is wrong, trying again cannot help.
"""

from __future__ import annotations

from training.process import (
    EXIT_CONFIG,
    EXIT_NON_FINITE,
    EXIT_PREEMPTED,
    StopRequest,
    die_with_parent,
)

if __name__ == "__main__":
    die_with_parent()  # before the slow imports: no orphan survives a killed parent

import argparse
import os
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

# Waiting threads sleep: on a busy machine spinning costs several times the work itself.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

from scene.errors import ConfigError, DataError, NotFoundError
from storage.manifest import DatasetManifest
from storage.open import open_store
from storage.store import ObjectStore
from training import artifacts
from training.artifacts import read_config, read_weights, write_model
from training.checkpoint import delete_checkpoints
from training.data import Batches, TrainFrame, count_categories, load_frames
from training.device import choose_device, describe_device, set_threads
from training.export import Parity, check_parity, export_onnx, export_weights, load_weights
from training.job import Job
from training.loop import NonFiniteError, Trainer
from training.report import Reporter, open_reporter
from training.steps import Preempted, train

_LOG_EVERY_S: Final = 2.0
_SWITCH_S: Final = 5e-4  # the thread that makes batches must not hold up the one that trains
_PARITY_CLOUDS: Final = 3
_CURVE_POINTS: Final = 40


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a job file; return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m training.train", description=__doc__)
    parser.add_argument("--job", type=Path, required=True, help="JSON file, see training.job")
    path: Path = parser.parse_args(arguments).job
    stop = StopRequest()
    stop.listen()
    sys.setswitchinterval(_SWITCH_S)
    with open_reporter() as reporter:
        try:
            run_job(Job.read(path), reporter, stop)
        except Preempted as stopped:
            reporter.log(f"stopped: {stopped}")
            return EXIT_PREEMPTED
        except NonFiniteError as error:
            reporter.log(f"failed: {error}")
            return EXIT_NON_FINITE
        except (ConfigError, DataError, NotFoundError) as error:
            reporter.log(f"cannot train: {error}")
            return EXIT_CONFIG
    return 0


def run_job(job: Job, reporter: Reporter, stop: StopRequest) -> None:
    """Train, export and report; a model that is already finished is only reported.

    Raises:
        Preempted: if `stop` became true while training.
        NonFiniteError: if too many steps gave NaN.
        ConfigError, DataError, NotFoundError: if the job cannot be done as it is.
    """
    store = open_store(job.store)
    if artifacts.is_complete(store, job.model_id):
        reporter.log(f"model {job.model_id} is already finished; nothing to train")
    else:
        _make_model(store, job, reporter, stop)
    delete_checkpoints(store, job.model_id)
    _report(store, job, reporter)


def _make_model(store: ObjectStore, job: Job, reporter: Reporter, stop: StopRequest) -> None:
    """Train to the end and write the model's files."""
    device = choose_device()
    set_threads(job.config, device)
    frames = load_frames(store, DatasetManifest.load(store, job.dataset), job.config)
    taught = count_categories(frames, job.config)
    reporter.log(
        f"training {job.model_id} on {len(frames)} frames, {sum(taught.values())} boxes, "
        f"{describe_device(device)}, from {job.init_model or 'scratch'}"
    )
    trainer = Trainer(job.config, device)
    if job.init_model:
        weights, known = read_weights(store, job.init_model)
        trainer.start_from(load_weights(weights), learned_rows(known))
    train(trainer, Batches(frames, job.config), store, job.model_id, _Ticker(reporter, stop), stop)
    reporter.log("exporting and comparing the exported file with the network")
    net = trainer.finished()
    onnx = export_onnx(net, job.config)
    parity = check_parity(net, job.config, onnx, _parity_clouds(frames))
    description = describe_model(job, trainer, taught, parity, describe_device(device))
    write_model(store, job.model_id, onnx, export_weights(net), description)


def learned_rows(config: dict[str, Any]) -> list[str]:
    """Return a model's categories in order, with "" for those it had no box of in training."""
    taught = config["num_boxes"]
    return [name if taught.get(name, 0) else "" for name in config["categories"]]


def describe_model(
    job: Job, trainer: Trainer, taught: dict[str, int], parity: Parity, device: str
) -> dict[str, Any]:
    """Return the content of `config.json` but for the digests."""
    config = job.config
    return {
        "format": 1,
        "categories": list(config.categories),
        "area": {
            "x_min_m": config.x_min_m,
            "x_max_m": config.x_max_m,
            "y_min_m": config.y_min_m,
            "y_max_m": config.y_max_m,
        },
        "input": {
            "name": "points",
            "shape": ["num_points", 4],
            "dtype": "float32",
            "columns": ["x_m", "y_m", "z_m", "intensity"],
            "frame": "ego",
        },
        "outputs": {
            "boxes": ["x_m", "y_m", "z_m", "length_m", "width_m", "height_m", "yaw_rad", "vx_mps",
                      "vy_mps"],
            "scores": "descending, in [0, 1]",
            "labels": "int64, index into categories",
        },
        "score_threshold": config.score_threshold,
        "max_boxes": config.max_boxes,
        "parity": parity.to_dict(),
        "dataset": job.dataset,
        "init_model": job.init_model,
        "train_config": config.to_dict(),
        "num_boxes": taught,
        "loss_curve": thin_curve(trainer.progress.loss_curve),
        "seconds": round(trainer.progress.seconds, 2),
        "iterations": config.iterations,
        "bad_steps": trainer.progress.bad_steps,
        "resumed_from": trainer.progress.resumed_from,
        "device": device,
    }  # fmt: skip


def thin_curve(curve: Sequence[tuple[int, float]]) -> list[list[float]]:
    """Return at most 40 points of a loss curve, the last one included."""
    every = max(1, -(-len(curve) // _CURVE_POINTS))
    return [[step, round(loss, 5)] for step, loss in curve[::-1][::every][::-1]]


class _Ticker:
    """Tells step, loss, speed and remaining time every two seconds."""

    def __init__(self, reporter: Reporter, stop: StopRequest) -> None:
        self._reporter = reporter
        self._stop = stop
        self._start: tuple[float, int] | None = None
        self._last = 0.0

    def __call__(self, trainer: Trainer, loss: float | None) -> None:
        now = time.monotonic()
        total = trainer.config.iterations
        if self._start is None:
            self._start = (now, trainer.step)
            if trainer.progress.resumed_from:
                self._reporter.log(f"resumed from step {trainer.progress.resumed_from}")
        if now - self._last < _LOG_EVERY_S and trainer.step < total:
            return
        self._last = now
        begun, first = self._start
        rate = (trainer.step - first) / max(now - begun, 1e-9)
        remaining = f", {(total - trainer.step) / rate:.0f} s left" if rate > 0 else ""
        shown = "left out" if loss is None else f"{loss:.3f}"
        self._reporter.log(f"step {trainer.step}/{total} loss {shown} {rate:.1f} it/s{remaining}")


def _parity_clouds(frames: Sequence[TrainFrame]) -> list[Any]:
    """Return a few whole training clouds, spread over the frames."""
    every = max(1, len(frames) // _PARITY_CLOUDS)
    return [frame.points for frame in frames[::every][:_PARITY_CLOUDS]]


def _report(store: ObjectStore, job: Job, reporter: Reporter) -> None:
    """Tell Dagster, or the terminal, what was made, from what is in the store."""
    config = read_config(store, job.model_id)
    if config is None:
        raise NotFoundError(f"model {job.model_id}: {artifacts.CONFIG} is gone")
    complete = artifacts.is_complete(store, job.model_id)
    parity = config["parity"]
    metadata = {
        "model_id": job.model_id,
        "digest": config["onnx_digest"],
        "device": config["device"],
        "iterations": config["iterations"],
        "seconds": config["seconds"],
        "final_loss": config["loss_curve"][-1][1] if config["loss_curve"] else None,
        "loss_curve": {"type": "json", "raw_value": config["loss_curve"]},
        "resumed_from": config["resumed_from"],
        "bad_steps": config["bad_steps"],
    }
    metadata = {name: value for name, value in metadata.items() if value is not None}
    reporter.materialization(metadata, config["onnx_digest"][:16])
    digest = {"digest": config["onnx_digest"], "model_id": job.model_id}
    reporter.check("checkpoint_exists", complete, digest)
    reporter.check("onnx_parity", bool(parity["passed"]), parity)


if __name__ == "__main__":
    sys.exit(main())
