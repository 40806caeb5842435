"""The asset `detector` on a small dataset, materialised as the Launchpad would."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import dagster as dg
import pyarrow as pa

from assets.processes import TrainingProcess
from assets.train import detector
from loop.config import LoopConfig
from loop.workspace import Workspace
from storage import layout, schemas
from tests.support.tiny_scenes import make_scene, store_dataset
from tests.support.workspaces import make_workspace
from training.engines import Setup

ROOT = Path(__file__).resolve().parents[2]


class Plant:
    """A workspace with a dataset that a detector can be trained on.

    Args:
        folder: for the store and Dagster's instance.
        iterations: optimiser steps.
        setup: what the settings say about trainings.
    """

    def __init__(self, folder: Path, iterations: int, setup: Setup | None = None) -> None:
        config = LoopConfig(
            recipe="small", categories=("car", "pedestrian"), iterations=iterations,
            num_threads=1, shards=2,
        )  # fmt: skip
        self.workspace: Workspace = make_workspace(folder, config)
        self.setup = setup or Setup()
        digest = store_dataset(self.workspace.store, [make_scene(i) for i in range(4)]).digest
        row = {"digest": digest, "turn": 0, "num_train": 4, "split_unit": "recording"}
        self.workspace.tables.replace(
            "datasets", pa.Table.from_pylist([row], schema=schemas.DATASETS), {"turn": 0}
        )

    def materialise(self, instance: dg.DagsterInstance, **config: Any) -> dg.ExecuteInProcessResult:
        """Run the asset; its errors are in the result."""
        return dg.materialize(
            [detector],
            instance=instance,
            resources={
                "workspace": self.workspace,
                "training_process": TrainingProcess(ROOT),
                "training_setup": self.setup,
            },
            run_config={"ops": {"detector": {"config": config}}},
            raise_on_error=False,
        )

    def metadata(self, result: dg.ExecuteInProcessResult) -> dict[str, Any]:
        """Return what the asset's page shows."""
        (event,) = result.asset_materializations_for_node("detector")
        return {name: value.value for name, value in event.metadata.items()}

    def bits(self, model: str) -> str:
        """Return the digest of a model's weights."""
        weights = self.workspace.store.get(layout.model(model, "weights.safetensors"))
        return hashlib.sha256(weights).hexdigest()
