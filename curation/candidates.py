"""Which clusters could be an object of a category that a model missed. Geometry only."""

from __future__ import annotations

from typing import Final

import numpy as np

from curation.clusters import Clusters
from scene.box import Boxes
from scene.pose import Trajectory
from scene.taxonomy import CATEGORY, VEHICLES
from scene.types import Float64, Int64, Mask

MOVERS: Final = frozenset({"pedestrian", "bicycle", "motorcycle"})
BEAM_GAP_RAD: Final = 0.02  # vertical gap of a 32-beam lidar; the top of an object may lie in it
COLUMN_GAPS_RAD: Final = 0.0175  # two columns of 0.5 degrees; both edges may lie between columns
PAUSE_S: Final = (0.7, 1.7)  # how far in time the same place is looked at again


def fits_category(clusters: Clusters, category: str) -> Mask:
    """Return (N,) clusters whose visible extent and height fit a category.

    Only sides that face the lidar are seen, so small extents are allowed for long objects, and
    the top may be one beam too low.
    """
    length, width, height = clusters.size_lwh_m.T
    usual = CATEGORY[category].size_lwh_m
    long, short = max(usual[:2]), min(usual[:2])
    unseen = BEAM_GAP_RAD * clusters.range_m()
    fits = (length <= 1.25 * long + 0.6) & (width <= 1.25 * short + 0.35)
    fits &= (height + unseen >= 0.72 * usual[2]) & (height <= 1.2 * usual[2] + 0.05)
    fits &= length + COLUMN_GAPS_RAD * clusters.range_m() >= 0.45 * short  # a sliver of a side
    if long > 1.5:  # not a post: a side or a back must be seen
        fits &= length >= 0.35 * min(short, 1.6)
    else:  # a flat panel of a car or a wall is no post either
        fits &= (length <= 1.0) | (width >= 0.15)
    return fits


def vehicle_sized(clusters: Clusters) -> Mask:
    """Return (N,) clusters that could be a vehicle or its rear: often no more is seen of one."""
    length, width, height = clusters.size_lwh_m.T
    return (length >= 1.4) & (length <= 13.0) & (width <= 3.2) & (height >= 0.9) & (height <= 4.3)


def distance_to_rectangles(
    points_xy_m: Float64, center_xy_m: Float64, size_lw_m: Float64, yaw_rad: Float64
) -> Float64:
    """Return (P, R) distance of (P, 2) points to R rectangles; 0 inside."""
    offset = points_xy_m[:, None] - center_xy_m[None]
    cos, sin = np.cos(yaw_rad), np.sin(yaw_rad)
    along = np.abs(offset[..., 0] * cos + offset[..., 1] * sin) - size_lw_m[:, 0] / 2
    across = np.abs(-offset[..., 0] * sin + offset[..., 1] * cos) - size_lw_m[:, 1] / 2
    return np.hypot(np.maximum(along, 0.0), np.maximum(across, 0.0))


def explained(clusters: Clusters, predictions: Boxes, min_score: float, margin_m: float) -> Mask:
    """Return (N,) clusters whose centre lies in a prediction grown by `margin_m`, any category.

    A prediction without a score counts as certain.
    """
    sure = predictions.take(~(predictions.score < min_score))
    gap = distance_to_rectangles(
        clusters.center_xyz_m[:, :2],
        sure.center_xyz_m[:, :2],
        sure.size_lwh_m[:, :2],
        sure.yaw_rad,
    )
    return np.any(gap <= margin_m, axis=1)


def near_vehicle(
    clusters: Clusters, everything: Clusters, predictions: Boxes, min_score: float
) -> Float64:
    """Return (N,) distance to the nearest vehicle: predicted, or a cluster of a vehicle's size."""
    known = np.isin(predictions.category, sorted(VEHICLES)) & ~(predictions.score < min_score)
    boxes, shapes = predictions.take(known), everything.take(vehicle_sized(everything))
    center = np.concatenate([boxes.center_xyz_m, shapes.center_xyz_m])[:, :2]
    size = np.concatenate([boxes.size_lwh_m, shapes.size_lwh_m])[:, :2]
    yaw = np.concatenate([boxes.yaw_rad, shapes.yaw_rad])
    if not len(center):
        return np.full(len(clusters), np.inf)
    gap = distance_to_rectangles(clusters.center_xyz_m[:, :2], center, size, yaw)
    return gap.min(axis=1)


def newness(
    candidates: Clusters, by_time: dict[int, Clusters], trajectory: Trajectory, times_ns: Int64
) -> Float64:
    """Return (N,) how empty the place of each candidate was about one second before and after.

    1: the place was seen and empty then, so the thing moves. 0: something stood there all the
    time, like a pole, a bin or a corner of a parked car. A place counts as taken when the
    footprint of a cluster, grown by 0.35 m, covers it, and as hidden, hence as no evidence, when
    a cluster stands before it. The smaller of before and after is returned: what comes out of
    occlusion was not seen before but stays. NaN where there is no evidence.

    Args:
        candidates: clusters of one sweep.
        by_time: all clusters of the drive.
        trajectory: ego poses.
        times_ns: (S,) sweep times, increasing.
    """
    if not len(candidates):
        return np.zeros(0)
    now_ns = int(candidates.timestamp_ns[0])
    map_SE3_now = trajectory.at(now_ns)
    sides = []
    for sign in (-1, 1):
        apart_s = sign * (times_ns - now_ns) / 1e9
        around = times_ns[(apart_s >= PAUSE_S[0]) & (apart_s <= PAUSE_S[1])]
        taken, seen = np.zeros(len(candidates)), np.zeros(len(candidates))
        for time_ns in around:
            then_SE3_now = trajectory.at(int(time_ns)).inverse() @ map_SE3_now
            places = then_SE3_now.transform_points(candidates.center_xyz_m)[:, :2]
            then = _solid(by_time.get(int(time_ns), Clusters.empty()))
            covered = _covered(places, then)
            taken += covered
            seen += covered | ~_hidden(places, then)
        with np.errstate(invalid="ignore"):
            sides.append(1.0 - taken / seen)
    return np.fmin(sides[0], sides[1])


def _solid(clusters: Clusters) -> Clusters:
    """Return the clusters whose rectangle is filled.

    What is too large for a car may be a corner of walls, with a rectangle that is mostly empty.
    """
    length, width, _ = clusters.size_lwh_m.T
    return clusters.take((length <= 6.0) & (width <= 2.5))


def _covered(places_xy_m: Float64, clusters: Clusters) -> Mask:
    """Return (P,) places that the footprint of a cluster covers, grown by 0.35 m."""
    gap = distance_to_rectangles(
        places_xy_m,
        clusters.center_xyz_m[:, :2],
        clusters.size_lwh_m[:, :2],
        clusters.yaw_rad,
    )
    return np.any(gap <= 0.35, axis=1)


def _hidden(places_xy_m: Float64, clusters: Clusters) -> Mask:
    """Return (P,) places out of reach, or behind a cluster 0.9 m high and 1.2 m long or larger.

    Behind: the line of sight from a lidar near the ego origin meets the rectangle more than 0.5 m
    before the place. Smaller things, the walking person among them, hide nothing for long.
    """
    length, _, height = clusters.size_lwh_m.T
    tall = clusters.take((height >= 0.9) & (length >= 1.2))
    eye = np.array([1.0, 0.0])  # lidars sit about there, between the axles
    sight = places_xy_m - eye
    away = np.hypot(sight[:, 0], sight[:, 1])
    cos, sin = np.cos(tall.yaw_rad), np.sin(tall.yaw_rad)
    offset = eye - tall.center_xyz_m[:, :2]
    enter = np.full((len(sight), len(tall)), -np.inf)
    leave = np.full((len(sight), len(tall)), np.inf)
    for k, (c, s) in enumerate(((cos, sin), (-sin, cos))):  # along, then across the rectangle
        start = offset[:, 0] * c + offset[:, 1] * s
        step = sight[:, :1] * c + sight[:, 1:] * s
        step = np.where(np.abs(step) < 1e-9, 1e-9, step)
        half = tall.size_lwh_m[:, k] / 2
        one, two = (-half - start) / step, (half - start) / step
        enter = np.maximum(enter, np.minimum(one, two))
        leave = np.minimum(leave, np.maximum(one, two))
    before = 1.0 - 0.5 / np.maximum(away, 0.6)
    behind = (enter <= leave) & (leave > 0) & (enter < before[:, None])
    return np.any(behind, axis=1) | (away > 45.0)
