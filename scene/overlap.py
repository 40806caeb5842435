"""How much two boxes share, seen from above. Rotated rectangles, many pairs at once."""

from __future__ import annotations

import numpy as np

from scene.box import Boxes
from scene.types import Float64, Int64

_EDGE = 1e-9  # a corner on an edge is inside, whatever rounding says


def bev_iou(first: Boxes, second: Boxes) -> Float64:
    """Return (M, N) intersection over union of the footprints of all pairs."""
    iou = np.zeros((len(first), len(second)))
    reach = np.hypot(first.size_lwh_m[:, 0], first.size_lwh_m[:, 1])[:, None]
    reach = (reach + np.hypot(second.size_lwh_m[:, 0], second.size_lwh_m[:, 1])[None]) / 2
    apart = first.center_xyz_m[:, None, :2] - second.center_xyz_m[None, :, :2]
    i, j = np.nonzero(np.hypot(apart[..., 0], apart[..., 1]) <= reach)
    iou[i, j] = bev_iou_of_pairs(first, second, i, j)
    return iou


def bev_iou_of_pairs(first: Boxes, second: Boxes, i: Int64, j: Int64) -> Float64:
    """Return (K,) intersection over union of the footprints of `first[i]` and `second[j]`.

    Footprints without an area share nothing.
    """
    if not len(i):
        return np.zeros(0)
    return _bev(first, second, i, j, _intersection(first, second, i, j))


def iou_3d_of_pairs(first: Boxes, second: Boxes, i: Int64, j: Int64) -> Float64:
    """Return (K,) intersection over union of the cuboids `first[i]` and `second[j]`."""
    if not len(i):
        return np.zeros(0)
    return _space(first, second, i, j, _intersection(first, second, i, j))


def ious_of_pairs(first: Boxes, second: Boxes, i: Int64, j: Int64) -> tuple[Float64, Float64]:
    """Return what `bev_iou_of_pairs` and `iou_3d_of_pairs` do, with the footprints met once."""
    if not len(i):
        return np.zeros(0), np.zeros(0)
    shared = _intersection(first, second, i, j)
    return _bev(first, second, i, j, shared), _space(first, second, i, j, shared)


def _bev(first: Boxes, second: Boxes, i: Int64, j: Int64, shared: Float64) -> Float64:
    area = first.size_lwh_m[i, :2].prod(axis=1) + second.size_lwh_m[j, :2].prod(axis=1)
    union = area - shared
    return np.divide(shared, union, out=np.zeros(len(i)), where=union > 0)


def _space(first: Boxes, second: Boxes, i: Int64, j: Int64, shared: Float64) -> Float64:
    half = [boxes.size_lwh_m[k, 2] / 2 for boxes, k in ((first, i), (second, j))]
    z = [boxes.center_xyz_m[k, 2] for boxes, k in ((first, i), (second, j))]
    top = np.minimum(z[0] + half[0], z[1] + half[1])
    bottom = np.maximum(z[0] - half[0], z[1] - half[1])
    shared = shared * np.maximum(top - bottom, 0.0)
    union = first.size_lwh_m[i].prod(axis=1) + second.size_lwh_m[j].prod(axis=1) - shared
    return np.divide(shared, union, out=np.zeros(len(i)), where=union > 0)


def _intersection(first: Boxes, second: Boxes, i: Int64, j: Int64) -> Float64:
    """Return (K,) square meters that the footprints share.

    The corners of the intersection are corners of one inside the other and crossings of edges;
    in order of angle around their mean they make a convex polygon.
    """
    middle = first.center_xyz_m[i, None, :2]  # near the origin, so that rounding stays small
    one, two = first.corners_bev_m()[i] - middle, second.corners_bev_m()[j] - middle
    crossing, crosses = _crossings(one, two)
    points = np.concatenate([one, two, crossing], axis=1)
    valid = np.concatenate([_inside(one, two), _inside(two, one), crosses], axis=1)
    count = valid.sum(axis=1)
    center = (points * valid[..., None]).sum(axis=1) / np.maximum(count, 1)[:, None]
    offset = points - center[:, None]
    angle = np.where(valid, np.arctan2(offset[..., 1], offset[..., 0]), np.inf)
    order = np.argsort(angle, axis=1)
    polygon = np.take_along_axis(offset, order[..., None], axis=1)
    kept = np.take_along_axis(valid, order, axis=1)
    polygon = np.where(kept[..., None], polygon, polygon[:, :1])  # the rest adds no area
    after = np.roll(polygon, -1, axis=1)
    twice = (polygon[..., 0] * after[..., 1] - polygon[..., 1] * after[..., 0]).sum(axis=1)
    return np.where(count >= 3, np.abs(twice) / 2, 0.0)


def _inside(corners: Float64, rectangle: Float64) -> np.ndarray:
    """Return (K, 4) which (K, 4, 2) corners lie in the (K, 4, 2) rectangle."""
    origin = rectangle[:, :1]
    inside = np.ones(corners.shape[:2], dtype=bool)
    for side in (rectangle[:, 1:2] - origin, rectangle[:, 3:4] - origin):
        along = ((corners - origin) * side).sum(axis=2)
        length = (side**2).sum(axis=2)
        inside &= (along >= -_EDGE * length) & (along <= length * (1 + _EDGE))
    return inside


def _crossings(one: Float64, two: Float64) -> tuple[Float64, np.ndarray]:
    """Return (K, 16, 2) crossings of all pairs of edges and (K, 16) whether they exist."""
    start, side = one[:, :, None], (np.roll(one, -1, axis=1) - one)[:, :, None]
    other, along = two[:, None], (np.roll(two, -1, axis=1) - two)[:, None]
    gap = other - start
    cross = side[..., 0] * along[..., 1] - side[..., 1] * along[..., 0]
    parallel = np.abs(cross) < 1e-12
    safe = np.where(parallel, 1.0, cross)
    t = (gap[..., 0] * along[..., 1] - gap[..., 1] * along[..., 0]) / safe
    u = (gap[..., 0] * side[..., 1] - gap[..., 1] * side[..., 0]) / safe
    exists = ~parallel & (t >= 0) & (t <= 1) & (u >= 0) & (u <= 1)
    points = start + side * t[..., None]
    return points.reshape(len(one), 16, 2), exists.reshape(len(one), 16)
