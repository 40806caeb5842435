"""The official nuScenes devkit as an oracle, loaded without its plotting and dataset stack.

`nuscenes/__init__.py` imports scikit-learn and OpenCV for things the metrics never touch. The
metric modules themselves need numpy and pyquaternion only, so they are loaded under a bare package.
"""

from __future__ import annotations

import importlib
import importlib.util
import json
import sys
import types
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from scene.box import Boxes

INSTALL = "pip install --no-deps nuscenes-devkit==1.2.0 && pip install pyquaternion"


class Devkit(NamedTuple):
    """The modules of the devkit that compute metrics, and the official configuration."""

    algo: Any
    boxes: Any
    data: Any
    distance: Any
    config: Any


class DevkitResult(NamedTuple):
    """What the devkit says.

    Attributes:
        ap: by (category, threshold in meters).
        errors: by (category, devkit name of the error).
    """

    ap: dict[tuple[str, float], float]
    errors: dict[tuple[str, str], float]


def load_devkit() -> Devkit | None:
    """Return the devkit, or None where it is not installed."""
    spec = importlib.util.find_spec("nuscenes")
    if spec is None or spec.origin is None or importlib.util.find_spec("pyquaternion") is None:
        return None
    root = Path(spec.origin).parent
    if "nuscenes" not in sys.modules:
        package = types.ModuleType("nuscenes")
        package.__path__ = [str(root)]
        package.__spec__ = spec  # so that others may look for it again
        sys.modules["nuscenes"] = package
        drawing = types.ModuleType("nuscenes.utils.data_classes")
        drawing.Box = object  # named in one signature of eval.common.utils, never used here
        sys.modules["nuscenes.utils.data_classes"] = drawing
    data = importlib.import_module("nuscenes.eval.detection.data_classes")
    official = json.loads((root / "eval/detection/configs/detection_cvpr_2019.json").read_text())
    return Devkit(
        importlib.import_module("nuscenes.eval.detection.algo"),
        importlib.import_module("nuscenes.eval.common.data_classes"),
        data,
        importlib.import_module("nuscenes.eval.common.utils").center_distance,
        data.DetectionConfig.deserialize(official),
    )


def to_devkit(devkit: Devkit, frames: Mapping[str, Boxes]) -> Any:
    """Return the boxes of all frames as devkit objects; sizes become width, length, height."""
    result = devkit.boxes.EvalBoxes()
    for token, boxes in frames.items():
        result.add_boxes(token, [_to_box(devkit, token, boxes, i) for i in range(len(boxes))])
    return result


def evaluate_with_devkit(
    devkit: Devkit, truth: Any, predictions: Any, categories: Sequence[str]
) -> DevkitResult:
    """Run the loop of the devkit's `DetectionEval.evaluate` for some categories."""
    config, ap, errors = devkit.config, {}, {}
    for name in categories:
        curves = {
            threshold: devkit.algo.accumulate(truth, predictions, name, devkit.distance, threshold)
            for threshold in config.dist_ths
        }
        for threshold, curve in curves.items():
            value = devkit.algo.calc_ap(curve, config.min_recall, config.min_precision)
            ap[name, threshold] = value
        for metric in ("trans_err", "scale_err", "orient_err", "vel_err", "attr_err"):
            curve = curves[config.dist_th_tp]
            errors[name, metric] = devkit.algo.calc_tp(curve, config.min_recall, metric)
            if _undefined(name, metric):
                errors[name, metric] = np.nan
    return DevkitResult(ap, errors)


def _undefined(category: str, metric: str) -> bool:
    cone = category == "traffic_cone" and metric in ("attr_err", "vel_err", "orient_err")
    return cone or (category == "barrier" and metric in ("attr_err", "vel_err"))


def _to_box(devkit: Devkit, token: str, boxes: Boxes, i: int) -> Any:
    length, width, height = boxes.size_lwh_m[i].tolist()
    half = boxes.yaw_rad[i] / 2
    score = float(boxes.score[i])
    return devkit.data.DetectionBox(
        sample_token=token,
        translation=tuple(boxes.center_xyz_m[i].tolist()),
        ego_translation=tuple(boxes.center_xyz_m[i].tolist()),
        size=(width, length, height),
        rotation=(float(np.cos(half)), 0.0, 0.0, float(np.sin(half))),
        velocity=tuple(boxes.velocity_xy_mps[i].tolist()),
        num_pts=int(boxes.num_points[i]),
        detection_name=str(boxes.category[i]),
        detection_score=-1.0 if np.isnan(score) else score,
    )
