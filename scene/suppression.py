"""Of boxes that overlap, the best one stays: rotated non-maximum suppression, seen from above."""

from __future__ import annotations

import numpy as np

from scene.box import Boxes
from scene.errors import ShapeError
from scene.types import Float, Float64, Int64


def rectangles(boxes: Boxes) -> Float64:
    """Return (N, 5) footprints x, y, length, width (m), yaw (rad)."""
    parts = [boxes.center_xyz_m[:, :2], boxes.size_lwh_m[:, :2], boxes.yaw_rad[:, None]]
    return np.concatenate(parts, axis=1)


def iou_matrix(first: Float, second: Float) -> Float64:
    """Return (M, N) intersection over union of (M, 5) and (N, 5) footprints, see `rectangles`.

    The compiled form of `scene.overlap.bev_iou`: for many boxes at once.
    """
    from scene import overlap_kernels

    one, two = _checked(first), _checked(second)
    iou = np.empty((len(one), len(two)))
    overlap_kernels.fill_iou(one, two, iou)
    return iou


def suppress(footprints: Float, scores: Float, group: Int64 | None, iou: float) -> Int64:
    """Return the boxes that stay, best score first.

    Greedy: the best box stays, and every other one of its group that overlaps it by more than
    `iou` goes; then the best of the rest, and so on. Of equal scores the earlier row wins.

    Args:
        footprints: (N, 5), see `rectangles`.
        scores: (N,).
        group: (N,) boxes of different groups do not compete; None for one group.
        iou: boxes that share more than this cannot both stay.

    Returns:
        (K,) int64 rows.
    """
    from scene import overlap_kernels

    boxes = _checked(footprints)
    groups = np.zeros(len(boxes), np.int64) if group is None else np.asarray(group, np.int64)
    if len(scores) != len(boxes) or len(groups) != len(boxes):
        raise ShapeError(
            f"suppress: {len(boxes)} boxes, {len(scores)} scores, {len(groups)} groups"
        )
    order = np.argsort(-np.asarray(scores, np.float64), kind="stable")
    kept = np.empty(len(boxes), dtype=np.bool_)
    overlap_kernels.suppress(boxes, groups, order, float(iou), kept)
    return order[kept[order]]


def suppress_boxes(boxes: Boxes, iou: float) -> Boxes:
    """Return the predictions that stay, best score first; categories do not compete."""
    _, group = np.unique(boxes.category, return_inverse=True)
    return boxes.take(suppress(rectangles(boxes), boxes.score, group, iou))


def _checked(footprints: Float) -> Float64:
    if footprints.ndim != 2 or footprints.shape[1] != 5:
        raise ShapeError(f"footprints: expected (N, 5), got {footprints.shape}")
    return np.ascontiguousarray(footprints, dtype=np.float64)
