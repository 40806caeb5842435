"""From an order to a model: what is read before training, and what is exported after it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import torch

from scene.errors import NotFoundError
from storage.manifest import DatasetManifest
from storage.open import open_store
from storage.store import ObjectStore
from training import artifacts
from training.artifacts import read_config, read_weights, write_model
from training.data import Batches, Frames, count_categories, make_batches, open_frames
from training.device import describe_device
from training.export import Parity, check_parity, export_onnx, export_weights, load_weights
from training.frame_store import StoreFrames
from training.job import Job
from training.loop import Trainer
from training.report import Reporter

_PARITY_CLOUDS: Final = 3
_CURVE_POINTS: Final = 40


@dataclass(frozen=True)
class Material:
    """What a training learns from.

    Attributes:
        frames: labelled frames.
        batches: the whole batches made of them.
        taught: boxes of each category that can teach.
    """

    frames: Frames
    batches: Batches
    taught: dict[str, int]


def load_material(store: ObjectStore, job: Job) -> Material:
    """Read the dataset.

    Raises:
        DataError, NotFoundError: if the dataset has no usable frame, or is not there.
    """
    manifest = DatasetManifest.load(store, job.dataset)
    frames = open_frames(
        store, manifest, job.config, job.data, reopen=lambda: open_store(job.store)
    )
    batches = make_batches(frames, job.config, job.data)
    return Material(frames, batches, count_categories(frames, job.config))


def make_trainer(store: ObjectStore, job: Job, device: torch.device) -> Trainer:
    """Return a trainer before its first step.

    Raises:
        ConfigError, NotFoundError: if the starting model does not fit, or is not finished.
    """
    trainer = Trainer(job.config, device)
    if job.init_model:
        weights, known = read_weights(store, job.init_model)
        trainer.start_from(load_weights(weights), learned_rows(known), head_groups(known))
    return trainer


def describe_task(job: Job, material: Material, device: torch.device) -> str:
    """Return the line that a training begins with."""
    return (
        f"training {job.model_id} on {len(material.frames)} frames, "
        f"{sum(material.taught.values())} boxes, {describe_device(device)}, "
        f"from {job.init_model or 'scratch'}"
    )


def finish(
    store: ObjectStore,
    job: Job,
    trainer: Trainer,
    material: Material,
    data: Mapping[str, Any] | None = None,
) -> None:
    """Export the trained network, compare it with the original and write the model's files.

    Args:
        store: takes them.
        job: what was trained.
        trainer: after the last step.
        material: what it was trained on.
        data: how well batches kept up, where others than this process used them.
    """
    device = describe_device(trainer.device)
    net = trainer.finished()
    onnx = export_onnx(net, job.config)
    parity = check_parity(net, job.config, onnx, _parity_clouds(material.frames))
    description = describe_model(job, trainer, material.taught, parity, device)
    description["data"] = describe_data(material) if data is None else dict(data)
    write_model(store, job.model_id, onnx, export_weights(net), description)


def describe_data(material: Material) -> dict[str, Any]:
    """Return how fast frames came, how long they were waited for, and what the cache did."""
    cache = material.frames.cache if isinstance(material.frames, StoreFrames) else None
    return material.batches.stats.to_dict() | ({"cache": cache.stats.to_dict()} if cache else {})


def learned_rows(config: dict[str, Any]) -> list[str]:
    """Return a model's categories in order, with "" for those it had no box of in training."""
    taught = config["num_boxes"]
    return [name if taught.get(name, 0) else "" for name in config["categories"]]


def head_groups(config: dict[str, Any]) -> list[list[str]]:
    """Return the categories of each of a model's centre heads."""
    return config["train_config"].get("groups") or [config["categories"]]


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
        "nms_iou": config.nms_iou,
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


def _parity_clouds(frames: Frames) -> list[Any]:
    """Return a few whole training clouds, spread over the frames."""
    every = max(1, len(frames) // _PARITY_CLOUDS)
    return [frames[i].points for i in range(0, len(frames), every)][:_PARITY_CLOUDS]


def report_model(
    store: ObjectStore, job: Job, reporter: Reporter, extra: Mapping[str, Any] | None = None
) -> None:
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
        "samples_per_s": config.get("data", {}).get("samples_per_s"),
        "data_wait_share": config.get("data", {}).get("data_wait_share"),
    }
    metadata = {name: value for name, value in metadata.items() if value is not None}
    metadata |= extra or {}
    reporter.materialization(metadata, config["onnx_digest"][:16])
    digest = {"digest": config["onnx_digest"], "model_id": job.model_id}
    reporter.check("checkpoint_exists", complete, digest)
    reporter.check("onnx_parity", bool(parity["passed"]), parity)
