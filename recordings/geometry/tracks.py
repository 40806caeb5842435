"""Velocities of annotated boxes, from where their tracks go."""

from __future__ import annotations

from dataclasses import replace
from typing import Final

import numpy as np

from scene.box import Boxes
from scene.pose import Trajectory, quat_to_matrix
from scene.types import Float64, Int64, Text

# nuScenes: nothing is said about the velocity over a longer gap.
MAX_GAP_S: Final = 1.5


def with_velocities(frames: dict[int, Boxes], trajectory: Trajectory) -> dict[int, Boxes]:
    """Return the frames with `velocity_xy_mps` over ground, in the ego frame of each time.

    Central differences of the centres in the map frame, one-sided at the ends of a track, NaN
    for a box without a track or without a neighbour within 1.5 s. Source: nuscenes-devkit
    `NuScenes.box_velocity`. Velocities that are known already are kept. Frames outside the poses
    stay as they are.

    Args:
        frames: boxes in the ego frame by time.
        trajectory: ego poses.
    """
    if not len(trajectory):
        return frames
    first, last = trajectory.timestamps_ns[[0, -1]].tolist()
    times = np.array(sorted(t for t in frames if first <= t <= last), dtype=np.int64)
    if not len(times):
        return frames
    counts = np.array([len(frames[int(time)]) for time in times])
    boxes = Boxes.concatenate([frames[int(time)] for time in times])
    poses = trajectory.interpolate(times)
    row = np.repeat(np.arange(len(times)), counts)
    rotation = quat_to_matrix(poses.quat_wxyz)[row]
    center_map = np.einsum("nij,nj->ni", rotation, boxes.center_xyz_m) + poses.translation_m[row]
    velocity_map = _central_differences(center_map, times[row], boxes.track_id)
    velocity_ego = np.einsum("nji,nj->ni", rotation, velocity_map)[:, :2]
    velocity = np.where(np.isnan(boxes.velocity_xy_mps), velocity_ego, boxes.velocity_xy_mps)
    boxes = replace(boxes, velocity_xy_mps=velocity)
    ends = np.cumsum(counts)
    return frames | {
        int(time): boxes.take(np.arange(end - count, end))
        for time, count, end in zip(times, counts, ends, strict=True)
    }


def _central_differences(center_m: Float64, times_ns: Int64, track: Text) -> Float64:
    """Return (N, 3) velocities of (N, 3) positions that belong to the named tracks."""
    order = np.lexsort((times_ns, track))
    center, time, name = center_m[order], times_ns[order] / 1e9, track[order]
    linked = np.zeros(len(order) + 1, dtype=bool)  # linked[i]: i - 1 and i are neighbours
    linked[1:-1] = (name[1:] == name[:-1]) & (name[1:] != "") & (np.diff(time) <= MAX_GAP_S)
    index = np.arange(len(order))
    before = np.where(linked[:-1], index - 1, index)
    after = np.where(linked[1:], index + 1, index)
    span = time[after] - time[before]
    with np.errstate(invalid="ignore", divide="ignore"):
        velocity = (center[after] - center[before]) / np.where(span > 0, span, np.nan)[:, None]
    result = np.empty_like(velocity)
    result[order] = velocity
    return result
