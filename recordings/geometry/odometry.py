"""Ego poses from the points alone, for recordings that hold none.

The work is done by KISS-ICP (package `kiss-icp`, extra `odometry`; Vizzo et al., "KISS-ICP: In
Defense of Point-to-Point ICP", RA-L 2023). Such poses drift and begin at the origin, so recordings
are marked (`recordings.recording.ODOMETRY_POSES`) and a sanity rule says so. One thread and the
order of the sweeps make them the same on every run; memory holds a sweep and a map of 100 m around.
"""

from __future__ import annotations

import importlib.util
import logging
from collections.abc import Iterable
from dataclasses import replace
from itertools import islice
from typing import TYPE_CHECKING, Final

import numpy as np

from recordings.geometry.tracks import with_velocities
from recordings.logs.wrapped import WrappedRecording
from recordings.recording import ASSUMED_POSES, ODOMETRY_POSES, Recording
from scene.pose import SE3, Trajectory, matrix_to_quat, quat_to_matrix
from scene.sweep import Sweep
from scene.types import Float64

if TYPE_CHECKING:
    from kiss_icp.kiss_icp import KissICP

logger = logging.getLogger(__name__)

_MAX_RANGE_M: Final = 100.0
_MIN_RANGE_M: Final = 10.0
_MIN_POINTS: Final = 200
_START_SWEEPS: Final = 12
_MAX_STEPS: Final = 100  # of one registration; a few tens are usual
# What no vehicle does: then the sweeps show different places, or nothing to hold on to.
_MAX_SPEED_MPS: Final = 70.0
_MAX_TURN_RADPS: Final = 5.0
# Share of a sweep's points that lie on the sweep before once both are put in the map. Sweeps of one
# drive reach 0.9 and more; clouds that have nothing to do with each other about 0.2.
_MIN_AGREEMENT: Final = 0.5


class OdometryRecording(WrappedRecording):
    """A recording with poses found from its points; everything else is the source's."""

    def __init__(self, source: Recording, trajectory: Trajectory) -> None:
        """Put the poses in the place of the assumed ones."""
        super().__init__(source)
        self.trajectory = trajectory
        assumed = (source.calibration.assumed - {ASSUMED_POSES}) | {ODOMETRY_POSES}
        self.calibration = replace(source.calibration, assumed=assumed)
        if source.ground_truth is not None and len(trajectory):
            first, last = int(trajectory.timestamps_ns[0]), int(trajectory.timestamps_ns[-1])
            inside = {t: b for t, b in source.ground_truth.items() if first <= t <= last}
            self.ground_truth = source.ground_truth | with_velocities(inside, trajectory)


def available() -> bool:
    """Return whether the package for it is installed."""
    return importlib.util.find_spec("kiss_icp") is not None


def with_odometry(source: Recording) -> Recording:
    """Return the recording with poses found from its points.

    It is returned as it is where it has poses, has fewer than two sweeps, the package is not
    installed, or the sweeps do not fit together (which is logged). The sweeps are read once.
    """
    if ASSUMED_POSES not in source.calibration.assumed or not source.sensor or not available():
        return source
    standing = source.trajectory
    if len(standing) == 1 or standing.translation_m.any():
        return source  # one sweep, or a survey that stands where its points are in the map
    known = len(source.damage)
    trajectory = estimate(source.sweeps(), compensated=source.motion == "compensated")
    del source.damage[known:]  # it will be found again when the sweeps are stored
    if trajectory is None:
        logger.warning("%s: no odometry: its sweeps do not fit together", source.recording)
        return source
    logger.info("%s: %d poses by odometry", source.recording, len(trajectory))
    return OdometryRecording(source, trajectory)


def estimate(sweeps: Iterable[Sweep], *, compensated: bool = False) -> Trajectory | None:
    """Return `map_SE3_ego` by lidar odometry, the map being the ego frame of the first sweep.

    Args:
        sweeps: in time order, ego frame.
        compensated: whether ego motion has been taken out of them already.

    Returns:
        A pose at the end of every sweep that has points enough, and one at the first sweep's time;
        None if there are fewer than two, or they cannot be those of a vehicle.
    """
    full = (sweep for sweep in sweeps if len(sweep) >= _MIN_POINTS)
    first = list(islice(full, _START_SWEEPS))
    if len(first) < 2:
        return None
    run = _start(first, compensated)
    if not run.is_a_drive():  # told early: sweeps that do not fit are slow to go through
        return None
    for sweep in full:
        run.add(sweep)
    return _from(run.trajectory(), first[0].timestamp_ns) if run.is_a_drive() else None


class _Run:
    """One pass of the odometry.

    Attributes:
        times_ns: when each pose holds.
        poses: (4, 4) `map_SE3_ego`.
        agreements: share of each sweep's points that lie on those of the sweep before.
    """

    def __init__(self, first: Sweep, compensated: bool, delta: Float64) -> None:
        """Start with the motion from one sweep to the next, (4, 4)."""
        self.times_ns: list[int] = []
        self.poses: list[Float64] = []
        self.agreements: list[float] = []
        self._compensated = compensated
        self._engine = _engine(first.points_ego_m.astype(np.float64))
        self._engine.last_delta = delta
        self._before: Float64 | None = None

    @property
    def delta(self) -> Float64:
        """Return (4, 4) the motion between the last two sweeps."""
        return np.array(self._engine.last_delta, dtype=np.float64)

    def add(self, sweep: Sweep) -> None:
        """Find the pose of one sweep: where the ego was when it ended."""
        timed = not self._compensated and bool(sweep.offset_ns.any())
        offset = sweep.offset_ns.astype(np.float64) if timed else np.zeros(0)
        points = sweep.points_ego_m.astype(np.float64)
        _, chosen = self._engine.register_frame(points, offset)
        pose = np.array(self._engine.last_pose)
        placed = np.asarray(chosen) @ pose[:3, :3].T + pose[:3, 3]
        if self._before is not None:
            voxel_m = float(self._engine.config.mapping.voxel_size or 1.0)
            self.agreements.append(_agreement(placed, self._before, voxel_m))
        self._before = placed
        end_ns = sweep.timestamp_ns + (int(sweep.offset_ns.max()) if timed else 0)
        if not self.times_ns or end_ns > self.times_ns[-1]:
            self.times_ns.append(end_ns)
            self.poses.append(pose)

    def unrest_m(self) -> float:
        """Return how much the motion changes from sweep to sweep, in sum."""
        position = np.stack(self.poses)[:, :3, 3]
        return float(np.linalg.norm(np.diff(position, n=2, axis=0), axis=1).sum())

    def trajectory(self) -> Trajectory:
        """Return the poses so far."""
        poses = np.stack(self.poses)
        times = np.array(self.times_ns, dtype=np.int64)
        return Trajectory(times, matrix_to_quat(poses[:, :3, :3]), poses[:, :3, 3])

    def is_a_drive(self) -> bool:
        """Return whether the sweeps fit together and a vehicle can move so."""
        if len(self.times_ns) < 2 or float(np.median(self.agreements)) < _MIN_AGREEMENT:
            return False
        return _is_possible(self.trajectory())


def _start(first: list[Sweep], compensated: bool) -> _Run:
    """Return a run over the first sweeps.

    The method begins as if the vehicle stood still and needs some sweeps to catch up with one that
    drives already, as most recordings do: on KITTI raw 0001 that loses 5 of the first 8 m. So the
    first sweeps are run twice, the second time with the motion that the first has come to, and the
    smoother of the two is kept.
    """
    runs, delta = list[_Run](), np.eye(4)
    for _ in range(2):
        run = _Run(first[0], compensated, delta)
        for sweep in first:
            run.add(sweep)
        runs.append(run)
        delta = run.delta
    return min(runs, key=_Run.unrest_m)


def _engine(points_m: Float64) -> KissICP:
    """Return KISS-ICP set to the size of the place: a street, a yard or a room."""
    from kiss_icp.config import KISSConfig
    from kiss_icp.config.config import (
        AdaptiveThresholdConfig,
        DataConfig,
        MappingConfig,
        RegistrationConfig,
    )
    from kiss_icp.kiss_icp import KissICP

    far_m = float(np.percentile(np.linalg.norm(points_m, axis=1), 95)) * 1.5
    reach_m = min(max(far_m, _MIN_RANGE_M), _MAX_RANGE_M)
    config = KISSConfig(
        data=DataConfig(max_range=reach_m, min_range=reach_m / 50, deskew=True),
        mapping=MappingConfig(voxel_size=reach_m / 100, max_points_per_voxel=20),
        registration=RegistrationConfig(max_num_threads=1, max_num_iterations=_MAX_STEPS),
        adaptive_threshold=AdaptiveThresholdConfig(),
    )
    return KissICP(config)


def _agreement(points_m: Float64, before_m: Float64, voxel_m: float) -> float:
    """Return the share of (N, 3) points with one of (M, 3) others within two voxels."""
    from scipy.spatial import KDTree

    if not len(points_m) or not len(before_m):
        return 0.0
    distance, _ = KDTree(before_m).query(points_m, distance_upper_bound=2 * voxel_m)
    return float(np.isfinite(distance).mean())


def _is_possible(track: Trajectory) -> bool:
    seconds = np.diff(track.timestamps_ns) / 1e9
    way_m = np.linalg.norm(np.diff(track.translation_m, axis=0), axis=1)
    dot = np.abs(np.sum(track.quat_wxyz[1:] * track.quat_wxyz[:-1], axis=1))
    turn_rad = 2 * np.arccos(np.clip(dot, 0.0, 1.0))
    return bool(
        np.isfinite(track.translation_m).all()
        and (way_m / seconds < _MAX_SPEED_MPS).all()
        and (turn_rad / seconds < _MAX_TURN_RADPS).all()
    )


def _from(track: Trajectory, start_ns: int) -> Trajectory:
    """Return the poses from a time on, at which the map begins."""
    early_ns = int(track.timestamps_ns[0]) - start_ns
    if early_ns > 0:
        track = track.extended(early_ns)
        track = Trajectory(track.timestamps_ns[:-1], track.quat_wxyz[:-1], track.translation_m[:-1])
    start = SE3.from_quaternion(track.quat_wxyz[0], track.translation_m[0]).inverse()
    turned = start.rotation @ quat_to_matrix(track.quat_wxyz)
    return Trajectory(
        track.timestamps_ns, matrix_to_quat(turned), start.transform_points(track.translation_m)
    )
