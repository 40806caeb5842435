"""The order to train a model; the training process itself runs elsewhere."""

from __future__ import annotations

import hashlib
import json
import os
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from loop.turns import champion_id, model_of_turn
from loop.workspace import Workspace
from scene.errors import NotFoundError
from storage import layout, lineage, schemas
from storage.lineage import Node
from training import config as recipes
from training.config import TrainConfig
from training.identity import model_id_of

if TYPE_CHECKING:
    from training.dataset import DataOptions


@dataclass(frozen=True)
class TrainJob:
    """One order for the training process; two equal orders make the same model.

    Attributes:
        dataset: digest of the dataset.
        config: what to train and for how long.
        init_model: model to start from, or None.
        model_id: content address of the outcome.
    """

    dataset: str
    config: TrainConfig
    init_model: str | None
    model_id: str

    def to_json(self, workspace: Workspace, *, secrets: bool = True) -> str:
        """Return the job file that `python -m training.train --job` reads.

        Args:
            workspace: where data and models are.
            secrets: with the store's keys. Without them, as for a cluster whose job descriptions
                anybody there can read, its machines must have keys of their own.
        """
        from training.job import Job  # its imports take longer than all else of a step

        store = workspace.store_config
        job = Job(
            store if secrets else replace(store, access_key="", secret_key=""),
            self.dataset, self.config, self.init_model, self.model_id, data_options(workspace),
        )  # fmt: skip
        return json.dumps(job.to_dict(), indent=1)


def data_options(workspace: Workspace) -> DataOptions:
    """Return how much of a dataset stays in memory, and where the rest is cached."""
    from training.dataset import DataOptions

    config = workspace.config
    return DataOptions(
        memory_bytes=config.memory_bytes,
        cache_folder=config.cache_folder,
        cache_bytes=config.cache_bytes,
    )


def plan_training(workspace: Workspace, dataset: str, turn: int, shards: int = 1) -> TrainJob:
    """Return a turn's order to train on a dataset, starting from the champion if there is one.

    Args:
        workspace: what the loop knows.
        dataset: digest.
        turn: number.
        shards: parts of a batch that the workers need, where the policy names no number.

    Raises:
        ConfigError: if a batch of the recipe cannot be cut into so many parts.
    """
    trained = model_of_turn(workspace, turn)
    champion = (trained["init_model"] or None) if trained else champion_id(workspace)
    config: TrainConfig = getattr(recipes, workspace.config.recipe)()
    if champion is not None:
        config = recipes.finetune(config)
    wanted = (
        workspace.config.iterations if champion is None else workspace.config.finetune_iterations
    )
    threads = workspace.config.num_threads or os.cpu_count() or 1
    config = replace(
        config,
        categories=workspace.config.categories,
        iterations=wanted or config.iterations,
        seed=workspace.config.seed,
        num_threads=threads,
        shards=workspace.config.shards or shards,
    )
    return TrainJob(dataset, config, champion, model_id_of(dataset, config, champion))


def model_config(workspace: Workspace, model_id: str) -> dict[str, Any] | None:
    """Return what training wrote about a finished model, or None if it is not finished."""
    try:
        return json.loads(workspace.store.get(layout.model(model_id, "config.json")))
    except NotFoundError:
        return None


def model_is_complete(workspace: Workspace, model_id: str) -> bool:
    """Return whether the exported file is in the bucket with the digest its config names."""
    config = model_config(workspace, model_id)
    if config is None or not workspace.store.exists(layout.model(model_id, "model.onnx")):
        return False
    stored = workspace.store.get(layout.model(model_id, "model.onnx"))
    return hashlib.sha256(stored).hexdigest() == config["onnx_digest"]


def record_model(workspace: Workspace, job: TrainJob, turn: int) -> dict[str, Any]:
    """Enter a finished model into table `models` and lineage; return its configuration.

    Raises:
        NotFoundError: if training did not finish the model.
    """
    config = model_config(workspace, job.model_id)
    if config is None:
        raise NotFoundError(f"model {job.model_id}: training left no finished model in the bucket")
    row = {
        "model_id": job.model_id,
        "turn": turn,
        "dataset": job.dataset,
        "init_model": job.init_model or "",
        "onnx_digest": config["onnx_digest"],
        "device": config["device"],
        "seconds": float(config["seconds"]),
        "iterations": job.config.iterations,
    }
    rows = pa.Table.from_pylist([row], schema=schemas.MODELS)
    workspace.tables.replace("models", rows, {"turn": turn})
    parents = [Node("dataset", f"datasets/{job.dataset}", job.dataset)]
    if job.init_model:
        start = model_config(workspace, job.init_model) or {}
        parents.append(Node("model", f"models/{job.init_model}", start.get("onnx_digest", "")))
    lineage.record(
        workspace.tables,
        Node("model", f"models/{job.model_id}", config["onnx_digest"]),
        parents,
    )
    return config
