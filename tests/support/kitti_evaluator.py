"""An official KITTI evaluator as an oracle: the port that mmdet3d carries, run without compiling.

The file needs a GPU for rotated boxes only; shapely stands in for that. Its loops run as plain
Python, so keep the images few.
"""

from __future__ import annotations

import importlib.util
import sys
import types
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from shapely.geometry import Polygon

from training.evaluation.kitti import KittiObjects, KittiScore

INSTALL = "pip install --no-deps mmdet3d==1.4.0"
_NAME = "kitti_oracle.eval"


def load_evaluator() -> Any | None:
    """Return the module, or None where mmdet3d is not installed."""
    if _NAME in sys.modules:
        return sys.modules[_NAME]
    spec = importlib.util.find_spec("mmdet3d")
    if spec is None or spec.origin is None:
        return None
    path = Path(spec.origin).parent / "evaluation/functional/kitti_utils/eval.py"
    package = types.ModuleType("kitti_oracle")
    package.__path__ = []  # type: ignore[attr-defined]
    rotated = types.ModuleType("kitti_oracle.rotate_iou")
    rotated.rotate_iou_gpu_eval = _rotated  # type: ignore[attr-defined]
    sys.modules |= {"kitti_oracle": package, "kitti_oracle.rotate_iou": rotated}
    file = importlib.util.spec_from_file_location(_NAME, path)
    if file is None or file.loader is None:
        raise RuntimeError(f"cannot load {path}")
    module = importlib.util.module_from_spec(file)
    plain = types.ModuleType("numba")
    plain.jit = _uncompiled  # type: ignore[attr-defined]
    plain.prange = range  # type: ignore[attr-defined]
    compiled = sys.modules.get("numba")
    sys.modules["numba"] = plain
    try:
        file.loader.exec_module(module)
    finally:
        del sys.modules["numba"]
        if compiled is not None:
            sys.modules["numba"] = compiled
    sys.modules[_NAME] = module
    return module


def evaluate_with_oracle(
    module: Any,
    truth: Sequence[KittiObjects],
    detections: Sequence[KittiObjects],
    classes: Sequence[str] = ("Car", "Pedestrian", "Cyclist"),
    least: Sequence[float] = (0.7, 0.5, 0.5),
) -> dict[tuple[str, str, str], KittiScore]:
    """Return AP by class, metric and difficulty."""
    numbers = [("Car", "Pedestrian", "Cyclist").index(name) for name in classes]
    overlap = np.tile(np.array(least), (1, 3, 1))
    result: dict[tuple[str, str, str], KittiScore] = {}
    annotations = [[_annotation(o) for o in side] for side in (truth, detections)]
    for metric, number in (("2d", 0), ("bev", 1), ("3d", 2)):
        found = module.eval_class(
            *annotations, numbers, [0, 1, 2], number, overlap, compute_aos=metric == "2d"
        )
        curves = {metric: found["precision"]}
        if metric == "2d":
            curves["aos"] = found["orientation"]
        for key, curve in curves.items():
            r11, r40 = module.get_mAP11(curve), module.get_mAP40(curve)
            for c, name in enumerate(classes):
                for d, difficulty in enumerate(("easy", "moderate", "hard")):
                    result[name, key, difficulty] = KittiScore(
                        float(r11[c, d, 0]), float(r40[c, d, 0])
                    )
    return result


def _annotation(objects: KittiObjects) -> dict[str, Any]:
    """Return the objects as the evaluator's dictionary, in the frame of the camera."""
    boxes = objects.boxes
    x, y, z = boxes.center_xyz_m.T
    length, width, height = boxes.size_lwh_m.T
    return {
        "name": boxes.category,
        "bbox": objects.rectangle_px,
        "alpha": objects.alpha_rad,
        "truncated": objects.truncation,
        "occluded": objects.occlusion,
        "location": np.stack([-y, height / 2 - z, x], axis=1),
        "dimensions": np.stack([length, height, width], axis=1),
        "rotation_y": -boxes.yaw_rad - np.pi / 2,
        "score": boxes.score,
    }


def _rotated(boxes: Any, others: Any, criterion: int) -> Any:
    """Return IoU (criterion -1) or shared area (2) of (N, 5) x, z, length, width, angle."""
    result = np.zeros((len(boxes), len(others)))
    shapes = [[_polygon(row) for row in rows] for rows in (boxes, others)]
    for i, one in enumerate(shapes[0]):
        for j, other in enumerate(shapes[1]):
            shared = one.intersection(other).area
            union = one.area + other.area - shared
            if criterion == 2:
                result[i, j] = shared
            elif union > 0:
                result[i, j] = shared / union
    return result


def _polygon(row: Any) -> Polygon:
    x, z, length, width, angle = row
    corners = np.array([[1, 1], [1, -1], [-1, -1], [-1, 1]]) * [length / 2, width / 2]
    cos, sin = np.cos(angle), np.sin(angle)
    return Polygon(corners @ np.array([[cos, -sin], [sin, cos]]) + [x, z])


def _uncompiled(*arguments: Any, **_: Any) -> Callable[..., Any]:
    if len(arguments) == 1 and callable(arguments[0]):
        return arguments[0]
    return lambda function: function
