"""Work before and after the steps, each in a child that may start threads and may fail."""

from __future__ import annotations

import json
import os
import tempfile
from pathlib import Path
from typing import Any, Final

import numpy as np

from scene.box import Boxes
from scene.errors import ConfigError, DataError, StoreError
from scene.taxonomy import CATEGORY
from storage.local import LocalStore
from storage.open import open_store
from storage.store import ObjectStore
from training.checkpoint import Checkpoint, newest_checkpoint, save_checkpoint
from training.config import TrainConfig
from training.data import Batches
from training.device import choose_device, set_threads
from training.exits import exit_code_of
from training.frames import TrainFrame, num_point_columns
from training.job import Job
from training.loop import Trainer
from training.make import Material, describe_task, finish, load_material, make_trainer
from training.supervisor import stage
from training.supervisor.snapshot import Snapshots, room_for

_TOLD: Final = "prepared.json"


def preload(config: TrainConfig) -> None:
    """Have done, once, what torch and numba do when first used: in every child it takes a second.

    Args:
        config: of the training; a batch is made of a frame with nothing in it but one object.
    """
    import torch
    import torch.distributed

    weight = torch.nn.Parameter(torch.zeros(1))
    torch.optim.AdamW([weight], fused=True)
    size = CATEGORY[config.categories[0]].size_lwh_m
    boxes = Boxes.make(
        np.array([[10.0, 0.0, 0.5]]), np.array([size]), np.zeros(1), config.categories[:1]
    )
    points = np.zeros((1, num_point_columns(config)), dtype=np.float32)
    frame = TrainFrame("preload", points, boxes)
    Batches([frame], config).batch(0)


def prepare(job: Job, folder: Path, material_file: int, snapshot_file: int) -> int:
    """Read the dataset, make the network or find its newest checkpoint; return the exit code."""
    try:
        store = open_store(job.store)
        device = choose_device()
        set_threads(job.config, device)
        material = load_material(store, job)
        trainer = make_trainer(store, job, device)
        found = newest_of(store, job)
        if found is not None:
            trainer.restore(found)
        stage.pack(material_file, material)
        room = room_for(trainer.tensors())
        snapshots = Snapshots(snapshot_file, room)
        snapshots.write(trainer.step, trainer.tensors(), trainer.progress.to_dict())
        places = 0 if device.type == "cpu" else _device_count()
        _tell(folder, room=room, step=trainer.step, text=describe_task(job, material, device),
              places=places)  # fmt: skip
    except (ConfigError, DataError, StoreError, OSError) as error:
        _tell(folder, error=str(error))
        return exit_code_of(error)
    return 0


def told(folder: Path) -> dict[str, Any]:
    """Return what `prepare` wrote, empty if it had no time to."""
    try:
        return json.loads((folder / _TOLD).read_text())
    except (OSError, ValueError):
        return {}


def export(
    job: Job, material_file: int, snapshots: Snapshots, started: int, data: dict[str, Any]
) -> int:
    """Write the model of the newest snapshot; return the exit code.

    Args:
        job: what was trained.
        material_file: see `prepare`.
        snapshots: of the training.
        started: the step that it went on from.
        data: how well batches kept up with the workers.
    """
    store = open_store(job.store)
    device = choose_device()
    set_threads(job.config, device)
    trainer = Trainer(job.config, device)
    trainer.restore(snapshots.demand())
    trainer.progress.resumed_from = started  # not where this process took over
    material: Material = stage.unpack(material_file)
    finish(store, job, trainer, material, data)
    return 0


def newest_of(store: ObjectStore, job: Job) -> Checkpoint | None:
    """Return the newest checkpoint in the store, or on this machine if it was left there."""
    found = [newest_checkpoint(place, job.model_id) for place in (store, spill_store())]
    return max((c for c in found if c is not None), key=lambda c: c.step, default=None)


def spill(job: Job, snapshots: Snapshots) -> Path:
    """Write the newest snapshot to this machine's disk, for when the store is away."""
    store = spill_store()
    return store.root / save_checkpoint(store, job.model_id, snapshots.demand())


def spill_store() -> LocalStore:
    """Return the place for checkpoints that the object store did not take.

    Raises:
        ConfigError: if somebody else owns it.
    """
    folder = Path(tempfile.gettempdir()) / f"starloop-{os.getuid()}"
    folder.mkdir(mode=0o700, exist_ok=True)
    if folder.stat().st_uid != os.getuid():
        raise ConfigError(f"{folder} belongs to another user; remove it or set TMPDIR")
    return LocalStore(folder)


def _device_count() -> int:
    import torch

    return torch.accelerator.device_count()


def _tell(folder: Path, **values: Any) -> None:
    (folder / _TOLD).write_text(json.dumps(values))
