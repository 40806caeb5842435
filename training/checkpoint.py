"""Checkpoints in the object store: each is one object, so it is there whole or not at all."""

from __future__ import annotations

import io
import json
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import safetensors.torch
import torch
from torch import Tensor

from scene.errors import NotFoundError
from storage import layout
from storage.store import ObjectStore

_LOG: Final = logging.getLogger(__name__)
_KEEP: Final = 2
_STATE: Final = "state"


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A training between two steps.

    Attributes:
        step: optimiser steps done.
        tensors: weights, buffers and optimiser state by name.
        progress: plain values, for example the loss curve so far.
    """

    step: int
    tensors: dict[str, Tensor]
    progress: dict[str, Any]


def save_checkpoint(store: ObjectStore, run: str, checkpoint: Checkpoint) -> str:
    """Write a checkpoint, then delete all but the newest two; return its key.

    Safetensors, not pickle: a checkpoint from a bucket is data, never code.
    """
    meta = {_STATE: json.dumps({"step": checkpoint.step, "progress": checkpoint.progress})}
    tensors = {name: tensor.contiguous() for name, tensor in checkpoint.tensors.items()}
    key = layout.checkpoint(run, f"step-{checkpoint.step:08d}.safetensors")
    store.put(key, safetensors.torch.save(tensors, metadata=meta))
    for old in _keys(store, run)[:-_KEEP]:
        store.delete(old)
    return key


def newest_checkpoint(store: ObjectStore, run: str) -> Checkpoint | None:
    """Return the newest readable checkpoint of a run, or None; a damaged one is passed over."""
    for key in reversed(_keys(store, run)):
        try:
            return _read(store.get(key))
        except NotFoundError:  # deleted by a racing process of the same run
            continue
        except (ValueError, KeyError, TypeError, safetensors.SafetensorError) as error:
            _LOG.warning("checkpoint %s cannot be read (%s); trying the one before", key, error)
    return None


def delete_checkpoints(store: ObjectStore, run: str) -> None:
    """Delete all checkpoints of a run."""
    for key in _keys(store, run):
        store.delete(key)


def flatten_optimizer(state: Mapping[str, Any]) -> dict[str, Tensor]:
    """Return the tensors of an optimiser's `state_dict` under flat names `optimizer.<i>.<name>`."""
    return {
        f"optimizer.{index}.{name}": value
        for index, values in state["state"].items()
        for name, value in values.items()
        if isinstance(value, Tensor)
    }


def unflatten_optimizer(
    state: Mapping[str, Any], tensors: Mapping[str, Tensor], parameters: Sequence[Tensor]
) -> dict[str, Any]:
    """Return the optimiser's `state_dict` with its tensors replaced by saved ones.

    Tensors of a parameter's shape take its memory layout: torch's fused optimisers on the CPU walk
    over memory without looking at strides, and would update the wrong weights.
    """
    saved: dict[int, dict[str, Tensor]] = {}
    for key, tensor in tensors.items():
        if key.startswith("optimizer."):
            _, index, name = key.split(".", 2)
            parameter = parameters[int(index)]
            if tensor.shape == parameter.shape:
                tensor = torch.empty_like(parameter).copy_(tensor)  # noqa: PLW2901
            saved.setdefault(int(index), {})[name] = tensor
    return {"state": saved, "param_groups": state["param_groups"]}


def _keys(store: ObjectStore, run: str) -> list[str]:
    return [stat.key for stat in store.list(layout.checkpoint(run, "step-"))]


def _read(data: bytes) -> Checkpoint:
    """Decode a checkpoint; errors of a damaged file are ValueError, KeyError or TypeError."""
    length = int.from_bytes(data[:8], "little")
    if not 0 < length <= len(data) - 8:
        raise ValueError("header is longer than the file")
    header = json.load(io.BytesIO(data[8 : 8 + length]))
    state = json.loads(header["__metadata__"][_STATE])
    return Checkpoint(int(state["step"]), safetensors.torch.load(data), state["progress"])
