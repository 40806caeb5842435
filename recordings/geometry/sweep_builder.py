"""From the columns of one cloud to a sweep, or to an entry in the damage list."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from recordings.geometry.point_times import PointTimes
from recordings.geometry.points import IntensityScale, RawPoints, place
from recordings.recording import MAX_POSE_EXTRAPOLATION_NS, MAX_POSE_GAP_NS, Damage
from scene.errors import DataError
from scene.pose import SE3, Trajectory
from scene.sweep import Sweep


class SweepBuilder:
    """Makes the sweeps of one pass over a recording.

    A sweep is refused if it is not later than the one before, if no ego pose is known near its
    time, if it cannot be decoded, or if none of its points is a real return. Each refusal is
    recorded as damage; a cloud that has no points at all passes, as an empty sweep.
    """

    def __init__(
        self,
        trajectory: Trajectory,
        damage: list[Damage],
        ego_SE3_sensor: SE3,
        time_origin_ns: int = 0,
        *,
        period_ns: int = 0,
    ) -> None:
        """Start a pass.

        Args:
            trajectory: ego poses.
            damage: where refusals are recorded.
            ego_SE3_sensor: mounting of the lidar.
            time_origin_ns: see `recordings.geometry.point_times.apply_rule`.
            period_ns: usual time from one sweep to the next, 0 if unknown; see
                `recordings.geometry.point_times.sweep_period_ns`.
        """
        self._pose_times = trajectory.timestamps_ns
        self._damage = damage
        self._ego_SE3_sensor = ego_SE3_sensor
        self._scale = IntensityScale()
        self._last: int | None = None
        self._times = PointTimes(damage, period_ns, time_origin_ns)

    def build(self, timestamp_ns: int, where: str, read: Callable[[], RawPoints]) -> Sweep | None:
        """Return the sweep in the ego frame, None if it is refused.

        Args:
            timestamp_ns: its time.
            where: file or topic, for the damage list.
            read: gives the columns; called only if the time is fine.
        """
        problem = self._problem(timestamp_ns)
        if problem:
            self._refuse(where, problem, timestamp_ns)
            return None
        try:
            raw = read()
            points_ego_m, real = place(raw.xyz_m, self._ego_SE3_sensor)
        except DataError as error:
            self._refuse(where, str(error), timestamp_ns)
            return None
        self._last = timestamp_ns
        if real is not None:
            raw, points_ego_m = raw.take(real), points_ego_m[real]
        count = len(points_ego_m)
        return Sweep(
            timestamp_ns,
            points_ego_m,
            self._scale.apply(raw.intensity, count),
            self._offsets(raw, timestamp_ns, where),
            None if raw.ring is None else raw.ring.astype(np.uint16),
        )

    def _offsets(self, raw: RawPoints, timestamp_ns: int, where: str) -> NDArray[np.int32]:
        found = self._times.offsets_ns(raw.time, timestamp_ns, where, raw.time_name)
        return np.zeros(len(raw.xyz_m), dtype=np.int32) if found is None else found

    def _refuse(self, where: str, what: str, timestamp_ns: int) -> None:
        self._damage.append(Damage(where, what, f"sweep {timestamp_ns}"))

    def _problem(self, timestamp_ns: int) -> str:
        if self._last is not None and timestamp_ns <= self._last:
            order = "repeats" if timestamp_ns == self._last else "goes back behind"
            return f"time {timestamp_ns} ns {order} the sweep before it at {self._last} ns"
        times = self._pose_times
        if not len(times):
            return "the recording has no ego poses"
        first, last = int(times[0]), int(times[-1])
        outside_ns = max(first - timestamp_ns, timestamp_ns - last)
        if outside_ns > MAX_POSE_EXTRAPOLATION_NS:
            return f"{outside_ns / 1e9:.3f} s outside the ego poses [{first}, {last}] ns"
        if outside_ns < 0:
            upper = int(np.searchsorted(times, timestamp_ns, side="right"))
            gap_ns = int(times[upper] - times[upper - 1])
            if gap_ns > MAX_POSE_GAP_NS and timestamp_ns != times[upper - 1]:
                return f"inside a gap of {gap_ns / 1e9:.3f} s between two ego poses"
        return ""
