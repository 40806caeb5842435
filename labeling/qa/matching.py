"""Which boxes of two people (or of a person and the truth) mean the same object."""

from __future__ import annotations

from typing import Final, NamedTuple

import numpy as np
from scipy.optimize import linear_sum_assignment

from scene.box import Boxes
from scene.overlap import bev_iou
from scene.pose import wrap_angle
from scene.types import Float64, Int64, Mask

# Boxes that neither overlap nor lie this near mean different objects, whatever their class.
NEAR_M: Final = 1.5
_LEAST_IOU: Final = 0.1


class Matches(NamedTuple):
    """Pairs of boxes of one frame.

    Attributes:
        first, second: (K,) indices into the two sets.
        iou: (K,) BEV intersection over union.
        distance_m: (K,) between the centres, in the ground plane.
    """

    first: Int64
    second: Int64
    iou: Float64
    distance_m: Float64


class BoxErrors(NamedTuple):
    """How boxes differ from a reference, in the reference's own frame.

    Attributes:
        offset_m: (K, 3) along the reference's length, across to its left, up.
        size_m: (K, 3) difference of length, width, height.
        yaw_rad: (K,) difference of the axes in (-pi/2, pi/2]: half a turn does not count.
        flipped: (K,) whether front and rear are exchanged.
    """

    offset_m: Float64
    size_m: Float64
    yaw_rad: Float64
    flipped: Mask


def match_boxes(first: Boxes, second: Boxes, *, same_class: bool) -> Matches:
    """Pair boxes one to one so that the sum of overlap and nearness is largest (Hungarian).

    Two boxes can be a pair if they overlap (BEV IoU of a tenth) or their centres are within 1.5 m
    and within half their common length: at that distance two people stand side by side.

    Args:
        first: boxes of one frame.
        second: boxes of the same frame.
        same_class: whether a pair must agree about the class; else it only counts in favour.
    """
    iou = bev_iou(first, second)
    apart = first.center_xyz_m[:, None, :2] - second.center_xyz_m[None, :, :2]
    distance = np.hypot(apart[..., 0], apart[..., 1])
    reach = (
        first.size_lwh_m[:, None, :2].max(axis=2) + second.size_lwh_m[None, :, :2].max(axis=2)
    ) / 2
    nearness = 1.0 - distance / np.minimum(NEAR_M, np.maximum(reach, 0.5))
    possible = (iou >= _LEAST_IOU) | (nearness > 0)
    alike = first.category[:, None] == second.category[None]
    if same_class:
        possible &= alike
    gain = np.where(possible, iou + 0.5 * np.maximum(nearness, 0.0) + 0.1 * alike + 1e-3, 0.0)
    i, j = linear_sum_assignment(gain, maximize=True)
    real = possible[i, j]
    i, j = i[real].astype(np.int64), j[real].astype(np.int64)
    return Matches(i, j, iou[i, j], distance[i, j])


def box_errors(boxes: Boxes, reference: Boxes) -> BoxErrors:
    """Return how (K,) boxes differ from the (K,) references beside them."""
    delta = boxes.center_xyz_m - reference.center_xyz_m
    cos, sin = np.cos(reference.yaw_rad), np.sin(reference.yaw_rad)
    along = delta[:, 0] * cos + delta[:, 1] * sin
    across = -delta[:, 0] * sin + delta[:, 1] * cos
    turn = wrap_angle(boxes.yaw_rad - reference.yaw_rad)
    flipped = np.abs(turn) > np.pi / 2
    axis = np.where(flipped, wrap_angle(turn + np.pi), turn)
    return BoxErrors(
        np.column_stack([along, across, delta[:, 2]]),
        boxes.size_lwh_m - reference.size_lwh_m,
        axis,
        flipped,
    )
