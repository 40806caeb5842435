"""The files of a finished model in the object store. Imports no torch.

`config.json` is written last: a model without it is not there.
"""

from __future__ import annotations

import hashlib
import json
from typing import Any, Final

from scene.errors import FormatError, NotFoundError
from storage import layout
from storage.store import ObjectStore

CONFIG: Final = "config.json"
ONNX: Final = "model.onnx"
WEIGHTS: Final = "weights.safetensors"


def write_model(
    store: ObjectStore, model_id: str, onnx: bytes, weights: bytes, config: dict[str, Any]
) -> None:
    """Write the three files of a model, `config.json` last and with the digests of the others."""
    store.put(layout.model(model_id, ONNX), onnx)
    store.put(layout.model(model_id, WEIGHTS), weights)
    full = {
        **config,
        "model_id": model_id,
        "onnx_digest": hashlib.sha256(onnx).hexdigest(),
        "weights_digest": hashlib.sha256(weights).hexdigest(),
    }
    text = json.dumps(full, indent=1, sort_keys=True)
    store.put(layout.model(model_id, CONFIG), text.encode())


def read_config(store: ObjectStore, model_id: str) -> dict[str, Any] | None:
    """Return a finished model's `config.json`, or None if the model is not finished.

    Raises:
        FormatError: if the file is not JSON.
    """
    key = layout.model(model_id, CONFIG)
    try:
        return json.loads(store.get(key))
    except NotFoundError:
        return None
    except ValueError as error:
        raise FormatError(f"{key}: not JSON ({error})") from error


def is_complete(store: ObjectStore, model_id: str) -> bool:
    """Tell whether all files of a model are there with the digests its config names."""
    config = read_config(store, model_id)
    if config is None:
        return False
    for name, digest in ((ONNX, "onnx_digest"), (WEIGHTS, "weights_digest")):
        try:
            data = store.get(layout.model(model_id, name))
        except NotFoundError:
            return False
        if hashlib.sha256(data).hexdigest() != config.get(digest):
            return False
    return True


def read_weights(store: ObjectStore, model_id: str) -> tuple[bytes, dict[str, Any]]:
    """Return a finished model's weights (safetensors) and its config, digest checked.

    Raises:
        NotFoundError: if the model is not finished.
        FormatError: if the weights are not those the config names.
    """
    config = read_config(store, model_id)
    if config is None:
        raise NotFoundError(f"model {model_id}: no {CONFIG}; it was never finished")
    data = store.get(layout.model(model_id, WEIGHTS))
    if hashlib.sha256(data).hexdigest() != config["weights_digest"]:
        raise FormatError(f"{layout.model(model_id, WEIGHTS)}: digest differs from {CONFIG}")
    return data, config
