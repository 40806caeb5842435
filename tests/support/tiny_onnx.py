"""A small real ONNX graph with the detector's inputs and outputs, made without torch."""

from __future__ import annotations

import hashlib
import json
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from storage import layout
from storage.store import ObjectStore

CATEGORIES = ("car", "pedestrian")
SCORES = (0.9, 0.4, 0.01)
AREA = {"x_min_m": -10.0, "x_max_m": 50.0, "y_min_m": -25.0, "y_max_m": 25.0}


def tiny_onnx(offset_m: float = 0.0, spacing_m: float = 10.0) -> bytes:
    """Return a graph that puts three boxes round the mean of the points.

    Box k stands at (mean x + offset + spacing k, mean y, mean z); its velocity is the mean
    intensity, NaN-free. Labels are car, pedestrian, car; scores 0.9, 0.4, 0.01.
    """
    shift = np.zeros((3, 4), dtype=np.float32)
    shift[:, 0] = offset_m + spacing_m * np.arange(3)
    fixed = np.array([[4, 2, 1.5, 0.1], [0.7, 0.6, 1.8, -3.0], [4, 2, 1.5, 3.5]], dtype=np.float32)
    constants = {
        "shift": shift,
        "fixed": fixed,
        "still": np.zeros((3, 1), dtype=np.float32),
        "scores_value": np.array(SCORES, dtype=np.float32),
        "labels_value": np.array([0, 1, 0], dtype=np.int64),
        "axis": np.array([0], dtype=np.int64),
        "three": np.array([3], dtype=np.int64),
        "four": np.array([4], dtype=np.int64),
        "zero": np.array([0], dtype=np.int64),
        "one": np.array([1], dtype=np.int64),
    }
    nodes = [
        helper.make_node("ReduceMean", ["points", "axis"], ["mean"], keepdims=1),
        helper.make_node("Add", ["mean", "shift"], ["moved"]),
        helper.make_node("Slice", ["moved", "zero", "three", "one"], ["center"]),
        helper.make_node("Slice", ["moved", "three", "four", "one"], ["strength"]),
        helper.make_node("Concat", ["center", "fixed", "strength", "still"], ["boxes"], axis=1),
        helper.make_node("Identity", ["scores_value"], ["scores"]),
        helper.make_node("Identity", ["labels_value"], ["labels"]),
    ]
    graph = helper.make_graph(
        nodes,
        "tiny",
        [helper.make_tensor_value_info("points", TensorProto.FLOAT, ["num_points", 4])],
        [
            helper.make_tensor_value_info("boxes", TensorProto.FLOAT, [3, 9]),
            helper.make_tensor_value_info("scores", TensorProto.FLOAT, [3]),
            helper.make_tensor_value_info("labels", TensorProto.INT64, [3]),
        ],
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    onnx.checker.check_model(model, full_check=True)
    return model.SerializeToString(deterministic=True)


def tiny_config(onnx_bytes: bytes) -> dict[str, Any]:
    """Return the part of `config.json` that serving reads."""
    return {
        "categories": list(CATEGORIES),
        "area": AREA,
        "score_threshold": 0.05,
        "parity": {"passed": True},
        "onnx_digest": hashlib.sha256(onnx_bytes).hexdigest(),
    }


def put_tiny_model(store: ObjectStore, model_id: str, offset_m: float = 0.0) -> str:
    """Write a finished model; return the digest of its graph."""
    data = tiny_onnx(offset_m)
    config = tiny_config(data)
    store.put(layout.model(model_id, "model.onnx"), data)
    store.put(layout.model(model_id, "config.json"), json.dumps(config).encode())
    return config["onnx_digest"]
