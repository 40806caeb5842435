"""Motion compensation: all points of a sweep as the ego frame at the sweep's own time sees them.

A lidar turns while the vehicle drives, so each point is measured from another place; at 20 m/s the
seam of a 10 Hz revolution is 2 m wide. With ego poses and per-point times every point is carried
over: `ref_p = ref_SE3_map @ map_SE3_ego(t) @ p`. Poses are interpolated (slerp) to a table of one
relative pose a millisecond, and between its entries rotations are mixed linearly: at 100 deg/s and
200 m that is off by 0.1 mm, less than the point codec keeps.

Nothing is lost: `undo` with the same poses gives the points as they were measured. Objects that
move by themselves stay smeared; `compensate_objects` straightens those with a tracked box.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Final

import numba
import numpy as np
from numpy.typing import NDArray

from recordings.geometry.tracks import with_velocities
from recordings.logs.wrapped import WrappedRecording
from recordings.recording import MAX_POSE_EXTRAPOLATION_NS, Recording
from scene.box import Boxes
from scene.errors import DataError
from scene.pose import Trajectory, quat_to_matrix
from scene.sweep import Sweep
from scene.types import Float32, Float64, Int64

STEP_NS: Final = 1_000_000


class DeskewedRecording(WrappedRecording):
    """A recording whose sweeps are compensated on their way; everything else is the source's."""

    def __init__(self, source: Recording) -> None:
        """Wrap a recording with real ego poses; sweeps without per-point times stay as they are."""
        super().__init__(source)
        self.motion = "compensated"

    def sweeps(self) -> Iterator[Sweep]:
        """Yield the source's sweeps, compensated to their own time."""
        for sweep in self.source.sweeps():
            yield compensate(sweep, self.trajectory)


class StraightenedRecording(WrappedRecording):
    """A recording whose moving, labelled objects are straightened on their way.

    Velocities that the boxes do not tell come from their tracks.
    """

    def __init__(self, source: Recording) -> None:
        """Wrap a recording with boxes.

        Raises:
            DataError: if no frame has boxes, or the points are not compensated for ego motion.
        """
        super().__init__(source)
        if not self.ground_truth:
            raise DataError(f"recording {self.recording} has no boxes: no object can be followed")
        if self.motion == "raw":
            raise DataError(
                f"recording {self.recording}: objects are straightened in points that are "
                "compensated for the motion of the vehicle, and these are as measured"
            )
        self._moving = with_velocities(dict(self.ground_truth), self.trajectory)

    def sweeps(self) -> Iterator[Sweep]:
        """Yield the source's sweeps; those of frames without boxes stay as they are."""
        for sweep in self.source.sweeps():
            boxes = self._moving.get(sweep.timestamp_ns)
            yield sweep if boxes is None else compensate_objects(sweep, boxes)[0]


def compensate(sweep: Sweep, trajectory: Trajectory) -> Sweep:
    """Return the sweep with every point in the ego frame at `timestamp_ns`.

    Args:
        sweep: points in the ego frame, each at its own time.
        trajectory: `map_SE3_ego` over the sweep. Up to 0.1 s beyond its ends the vehicle is taken
            to move on as it did; later points take the pose at that bound.

    Raises:
        FrameError: if the sweep begins more than 0.2 s outside the poses, or there are none.
    """
    return _carried(sweep, trajectory, backwards=False)


def undo(sweep: Sweep, trajectory: Trajectory) -> Sweep:
    """Return the sweep with every point in the ego frame at its own time: the inverse.

    Args:
        sweep: points in the ego frame at `timestamp_ns`.
        trajectory: the poses it was compensated with (`storage.sweeps.read_poses`).

    Raises:
        FrameError: if the sweep begins more than 0.2 s outside the poses, or there are none.
    """
    return _carried(sweep, trajectory, backwards=True)


def _carried(sweep: Sweep, trajectory: Trajectory, *, backwards: bool) -> Sweep:
    offset = sweep.offset_ns
    if not len(sweep) or not offset.any():
        return sweep
    first_ns, last_ns = int(offset.min()), int(offset.max())
    count = (last_ns - first_ns) // STEP_NS + 2
    knots = sweep.timestamp_ns + first_ns + np.arange(count, dtype=np.int64) * STEP_NS
    rotation, translation = _relative(trajectory, sweep.timestamp_ns, knots)
    moved = np.empty_like(sweep.points_ego_m)
    _carry(
        sweep.points_ego_m, offset, first_ns, STEP_NS,
        rotation.astype(np.float32), translation.astype(np.float32), backwards, moved,
    )  # fmt: skip
    return replace(sweep, points_ego_m=moved)


def _relative(
    trajectory: Trajectory, timestamp_ns: int, times_ns: Int64
) -> tuple[Float64, Float64]:
    """Return (K, 3, 3) and (K, 3) of `ego(timestamp)_SE3_ego(time)`."""
    extended = trajectory.extended(MAX_POSE_EXTRAPOLATION_NS)
    reference = extended.at(timestamp_ns)
    first, last = int(extended.timestamps_ns[0]), int(extended.timestamps_ns[-1])
    track = extended.interpolate(np.clip(times_ns, first, last))
    turned_back = reference.rotation.T
    rotation = turned_back @ quat_to_matrix(track.quat_wxyz)
    return rotation, (track.translation_m - reference.translation_m) @ turned_back.T


@numba.njit(cache=True, nogil=True)
def _carry(
    points_m: Float32,
    offset_ns: NDArray[np.int32],
    first_ns: int,
    step_ns: int,
    rotation: Float32,
    translation_m: Float32,
    backwards: bool,
    moved_m: Float32,
) -> None:
    """Write (N, 3) points moved by the pose of their time, from a table of (K, 3, 3) and (K, 3).

    Points of one firing share their time, so the pose is mixed anew only when the time changes.
    """
    r = np.empty((3, 3), np.float32)
    t = np.empty(3, np.float32)
    last = np.int64(first_ns) - 1
    for i in range(len(points_m)):
        now = np.int64(offset_ns[i])
        if now != last:
            last = now
            k = (now - first_ns) // step_ns
            share = np.float32((now - first_ns - k * step_ns) / step_ns)
            for a in range(3):
                t[a] = translation_m[k, a] + share * (translation_m[k + 1, a] - translation_m[k, a])
                for b in range(3):
                    r[a, b] = rotation[k, a, b] + share * (
                        rotation[k + 1, a, b] - rotation[k, a, b]
                    )
        x, y, z = points_m[i, 0], points_m[i, 1], points_m[i, 2]
        if backwards:
            x, y, z = x - t[0], y - t[1], z - t[2]
            for a in range(3):
                moved_m[i, a] = r[0, a] * x + r[1, a] * y + r[2, a] * z
        else:
            for a in range(3):
                moved_m[i, a] = r[a, 0] * x + r[a, 1] * y + r[a, 2] * z + t[a]


def compensate_objects(sweep: Sweep, boxes: Boxes) -> tuple[Sweep, NDArray[np.int32]]:
    """Return the sweep with the points on moving objects where they would be at `timestamp_ns`.

    Args:
        sweep: compensated for ego motion.
        boxes: ego frame, where the objects are at `timestamp_ns`; those without a velocity are
            left out. A point belongs to the first box that holds it when both are taken to the
            point's own time.

    Returns:
        The sweep, and (N,) index of the box each point was moved with, -1 for none: what
        `undo_objects` needs.
    """
    velocity = np.nan_to_num(boxes.velocity_xy_mps, nan=0.0)
    moved = sweep.points_ego_m.copy()
    owner = np.full(len(sweep), -1, dtype=np.int32)
    _carry_objects(
        moved, sweep.offset_ns, boxes.center_xyz_m, boxes.size_lwh_m / 2, boxes.yaw_rad,
        velocity, owner,
    )  # fmt: skip
    return replace(sweep, points_ego_m=moved), owner


def undo_objects(sweep: Sweep, boxes: Boxes, owner: NDArray[np.int32]) -> Sweep:
    """Return the sweep that `compensate_objects` was given, from its results and the boxes."""
    velocity = np.vstack([np.nan_to_num(boxes.velocity_xy_mps, nan=0.0), np.zeros((1, 2))])
    shift = velocity[owner] * (sweep.offset_ns / 1e9)[:, None]  # row -1 is "none"
    points = sweep.points_ego_m.copy()
    points[:, :2] += shift.astype(np.float32)
    return replace(sweep, points_ego_m=points)


@numba.njit(cache=True, nogil=True)
def _carry_objects(
    points_m: Float32,
    offset_ns: NDArray[np.int32],
    center_m: Float64,
    half_m: Float64,
    yaw_rad: Float64,
    velocity_mps: Float64,
    owner: NDArray[np.int32],
) -> None:
    """Shift points inside moving boxes back to the sweep's time, in place."""
    for b in range(len(yaw_rad)):
        vx, vy = velocity_mps[b, 0], velocity_mps[b, 1]
        if vx == 0.0 and vy == 0.0:
            continue
        cos, sin = np.cos(yaw_rad[b]), np.sin(yaw_rad[b])
        reach = half_m[b, 0] + half_m[b, 1]
        for i in range(len(points_m)):
            seconds = offset_ns[i] * 1e-9
            dx = points_m[i, 0] - center_m[b, 0] - vx * seconds
            dy = points_m[i, 1] - center_m[b, 1] - vy * seconds
            if owner[i] >= 0 or abs(dx) > reach or abs(dy) > reach:
                continue
            if abs(points_m[i, 2] - center_m[b, 2]) > half_m[b, 2]:
                continue
            if abs(cos * dx + sin * dy) > half_m[b, 0] or abs(cos * dy - sin * dx) > half_m[b, 1]:
                continue
            owner[i] = b
            points_m[i, 0] -= vx * seconds
            points_m[i, 1] -= vy * seconds
