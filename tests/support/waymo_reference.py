"""The Waymo detection metrics, transcribed slowly and literally from the published rules.

The official library (TensorFlow ops in C++) has no wheel for this Python, so this stands in as an
independent reference: objects one by one, shapely for overlaps, a table of recalls.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence

import numpy as np
from scipy.optimize import linear_sum_assignment
from shapely.geometry import Polygon

from scene.box import Boxes
from training.evaluation import EvalFrame


def reference(
    frames: Sequence[EvalFrame], category: str, least: float, level: int
) -> tuple[float, float]:
    """Return AP and APH of one category at one level."""
    precisions, headed, recalls = [], [], []
    overlaps = [_overlaps(frame, category) for frame in frames]
    for cutoff in [i * 0.01 for i in range(100)] + [1.0]:
        tp = fp = fn = 0
        heading = 0.0
        for truth, found, iou in overlaps:
            kept = [j for j in range(len(found)) if found.score[j] >= cutoff]
            rows = [[v if v >= least else 0.0 for v in iou[i, kept]] for i in range(len(truth))]
            value = np.array(rows).reshape(len(truth), len(kept))
            matched = set()
            for i, k in zip(*linear_sum_assignment(value, maximize=True), strict=True):
                if value[i, k] > 0:
                    matched.add(i)
                    tp += 1
                    difference = abs(float(truth.yaw_rad[i] - found.yaw_rad[kept[k]]))
                    if difference > math.pi:
                        difference = 2 * math.pi - difference
                    heading += 1 - difference / math.pi
            fp += len(kept) - len(matched)
            for i in range(len(truth)):
                hard = 0 < truth.num_points[i] <= 5
                if i not in matched and (level == 2 or not hard):
                    fn += 1
        precisions.append(tp / (tp + fp) if tp + fp else 0.0)
        headed.append(heading / (tp + fp) if tp + fp else 0.0)
        recalls.append(tp / (tp + fn) if tp + fn else 0.0)
        if recalls[-1] == 0.0:
            precisions[-1] = headed[-1] = 1.0
    return _area(precisions, recalls), _area(headed, recalls)


def _overlaps(frame: EvalFrame, category: str) -> tuple[Boxes, Boxes, np.ndarray]:
    truth = frame.truth.take((frame.truth.category == category) & (frame.truth.num_points != 0))
    found = frame.predictions.take(frame.predictions.category == category)
    iou = np.zeros((len(truth), len(found)))
    for i in range(len(truth)):
        for j in range(len(found)):
            iou[i, j] = _iou(truth, i, found, j)
    return truth, found, iou


def _iou(truth: Boxes, i: int, found: Boxes, j: int) -> float:
    one, other = (Polygon(b.corners_bev_m()[k]) for b, k in ((truth, i), (found, j)))
    bounds = []
    for boxes, k in ((truth, i), (found, j)):
        z, half = boxes.center_xyz_m[k, 2], boxes.size_lwh_m[k, 2] / 2
        bounds.append((z - half, z + half))
    height = min(bounds[0][1], bounds[1][1]) - max(bounds[0][0], bounds[1][0])
    shared = one.intersection(other).area * max(height, 0.0)
    return shared / (truth.size_lwh_m[i].prod() + found.size_lwh_m[j].prod() - shared)


def _area(precisions: list[float], recalls: list[float]) -> float:
    """Return the mean average precision, from the highest recall down in steps of 0.05 at most."""
    best = {0.0: 1.0}
    for precision, recall in zip(precisions, recalls, strict=True):
        best[recall] = max(best.get(recall, 0.0), precision)
    curve: list[list[float]] = []
    last, highest = 0.0, 0.0
    for recall in sorted(best, reverse=True):
        while last - recall > 0.05 + 1e-6:
            last -= 0.05
            curve.append([highest, last])
        highest = max(best[recall], highest)
        curve.append([highest, recall])
        last = recall
    if len(curve) > 1:
        curve[-1][0] = curve[-2][0]
    return sum(0.5 * (a[1] - b[1]) * (a[0] + b[0]) for a, b in itertools.pairwise(curve))
