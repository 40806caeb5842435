"""Rules over one drive: where it braked, where it was crowded, where the lidar saw little."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Protocol

import numpy as np
import pyarrow as pa

from curation.clusters import Clusters
from scene.errors import ShapeError
from scene.pose import Trajectory
from scene.types import Float64, Int64, Mask
from storage.schemas import EVENTS

STEP_NS: Final = 100_000_000  # rules about motion work on poses every 0.1 s


@dataclass(frozen=True, slots=True)
class Event:
    """One firing of a trigger.

    Attributes:
        trigger: name of the rule.
        start_ns, end_ns: time span, both ends included.
        strength: how clear the case is; comparable within one trigger only. Larger is stronger.
        detail: one line for people, with the figures behind it.
    """

    trigger: str
    start_ns: int
    end_ns: int
    strength: float
    detail: str


@dataclass(frozen=True, slots=True)
class Drive:
    """What triggers may look at in a recording.

    Attributes:
        recording: its id.
        trajectory: full-rate ego poses.
        sweep_times_ns: (S,) int64, increasing.
        num_points: (S,) int64 points of each sweep.
        clusters: of all sweeps.
    """

    recording: str
    trajectory: Trajectory
    sweep_times_ns: Int64
    num_points: Int64
    clusters: Clusters

    def __post_init__(self) -> None:
        """Check that times and counts belong together."""
        if self.sweep_times_ns.shape != self.num_points.shape:
            raise ShapeError(
                f"recording {self.recording}: {self.sweep_times_ns.shape} sweep times, "
                f"{self.num_points.shape} point counts"
            )


class Trigger(Protocol):
    """A rule over a drive. Same drive, same events."""

    @property
    def name(self) -> str:
        """Short name, used in tables."""
        ...

    def fire(self, drive: Drive) -> list[Event]:
        """Return the events of a drive in time order."""
        ...


@dataclass(frozen=True, slots=True)
class HardBrake:
    """The ego vehicle slowed down harder than a driver does without a reason.

    Attributes:
        decel_mps2: threshold on the mean deceleration over `window_s`.
        window_s: long enough to drown the noise of differentiated positions.
    """

    decel_mps2: float = 3.0
    window_s: float = 0.6
    name: str = "hard_brake"

    def fire(self, drive: Drive) -> list[Event]:
        """Return one event for each braking; strength is the peak deceleration in m/s^2."""
        times, speed, _ = _motion(drive.trajectory)
        half = max(1, round(self.window_s * 1e9 / STEP_NS / 2))
        if len(times) <= 2 * half:
            return []
        decel = np.zeros(len(times))
        span_s = 2 * half * STEP_NS / 1e9
        decel[half:-half] = (speed[: -2 * half] - speed[2 * half :]) / span_s
        events = []
        for first, last in spans(decel >= self.decel_mps2, times, gap_ns=500_000_000):
            peak = float(decel[first : last + 1].max())
            before, after = speed[max(0, first - half)], speed[min(len(speed) - 1, last + half)]
            detail = f"braked at {peak:.1f} m/s2, from {before:.1f} to {after:.1f} m/s"
            events.append(Event(self.name, int(times[first]), int(times[last]), peak, detail))
        return events


@dataclass(frozen=True, slots=True)
class SharpTurn:
    """The ego vehicle turned quickly: the scene changes, boxes are seen from new sides.

    Attributes:
        yaw_rate_rad_s: threshold.
        min_speed_mps: standing vehicles have noisy headings.
    """

    yaw_rate_rad_s: float = 0.35
    min_speed_mps: float = 1.5
    name: str = "sharp_turn"

    def fire(self, drive: Drive) -> list[Event]:
        """Return one event for each turn; strength is the peak yaw rate in rad/s."""
        times, speed, heading = _motion(drive.trajectory)
        if len(times) < 7:
            return []
        rate = np.zeros(len(times))
        rate[3:-3] = np.abs(heading[6:] - heading[:-6]) / (6 * STEP_NS / 1e9)
        turning = (rate >= self.yaw_rate_rad_s) & (speed >= self.min_speed_mps)
        return [
            Event(
                self.name,
                int(times[first]),
                int(times[last]),
                float(rate[first : last + 1].max()),
                f"turned at {rate[first : last + 1].max():.2f} rad/s, {speed[first]:.1f} m/s",
            )
            for first, last in spans(turning, times, gap_ns=500_000_000)
        ]


@dataclass(frozen=True, slots=True)
class DenseTraffic:
    """Many road users close to the path that the ego vehicle drove next.

    Attributes:
        min_objects: how many make a crowd.
        path_m: how close to the path counts.
        ahead_m: how far ahead counts.
    """

    min_objects: int = 6
    path_m: float = 5.0
    ahead_m: float = 35.0
    name: str = "dense_traffic"

    def fire(self, drive: Drive) -> list[Event]:
        """Return one event for each stretch of sweeps; strength is the peak number of objects."""
        clusters = drive.clusters
        length, _, height = clusters.size_lwh_m.T
        wanted = (
            (clusters.path_distance_m <= self.path_m)
            & (clusters.center_xyz_m[:, 0] > 0)
            & (clusters.range_m() <= self.ahead_m)
            & (length >= 0.4)
            & (height >= 0.8)
            & (height <= 4.5)
        )
        times = drive.sweep_times_ns
        place = np.searchsorted(times, clusters.timestamp_ns[wanted])
        counts = np.bincount(place, minlength=len(times))[: len(times)]
        events = []
        for first, last in spans(counts >= self.min_objects, times, gap_ns=600_000_000):
            peak = int(counts[first : last + 1].max())
            detail = (
                f"{peak} objects within {self.path_m:g} m of the path, {self.ahead_m:g} m ahead"
            )
            events.append(
                Event(self.name, int(times[first]), int(times[last]), float(peak), detail)
            )
        return events


@dataclass(frozen=True, slots=True)
class LowPointDensity:
    """The lidar returned far fewer points than usual: rain, dirt, a close wall, lost packets.

    Attributes:
        share: of the drive's median below which a sweep counts as thin.
        min_points: thin in any case below this.
    """

    share: float = 0.6
    min_points: int = 2000
    name: str = "low_point_density"

    def fire(self, drive: Drive) -> list[Event]:
        """Return one event for each stretch of thin sweeps; strength is the missing share."""
        times, counts = drive.sweep_times_ns, drive.num_points
        if not len(times):
            return []
        usual = max(float(np.median(counts)), float(self.min_points))
        limit = max(self.share * usual, self.min_points)
        events = []
        for first, last in spans(counts < limit, times, gap_ns=600_000_000):
            least = int(counts[first : last + 1].min())
            detail = f"{least} points in a sweep, {usual:.0f} are usual"
            strength = 1.0 - least / usual
            events.append(Event(self.name, int(times[first]), int(times[last]), strength, detail))
        return events


DEFAULT_TRIGGERS: Final[tuple[Trigger, ...]] = (
    HardBrake(),
    SharpTurn(),
    DenseTraffic(),
    LowPointDensity(),
)


def fire_all(drive: Drive, triggers: Sequence[Trigger] = DEFAULT_TRIGGERS) -> list[Event]:
    """Return the events of all triggers, by start time and then by trigger."""
    events = [event for trigger in triggers for event in trigger.fire(drive)]
    return sorted(events, key=lambda e: (e.start_ns, e.trigger, e.end_ns))


def events_to_arrow(events: Mapping[str, Sequence[Event]]) -> pa.Table:
    """Return rows of the table `events` from events by recording."""
    rows = [
        {
            "recording": recording,
            "trigger": event.trigger,
            "start_ns": event.start_ns,
            "end_ns": event.end_ns,
            "strength": event.strength,
            "detail": event.detail,
        }
        for recording in sorted(events)
        for event in events[recording]
    ]
    return pa.Table.from_pylist(rows, schema=EVENTS)


def ego_path(trajectory: Trajectory, timestamp_ns: int, ahead_m: float) -> Float64:
    """Return the path driven after a time, in the ego frame of that time.

    Where the recording ends, or the vehicle stops, before `ahead_m`, the path goes straight on:
    what stands in front of a braking vehicle is on its path.

    Args:
        trajectory: full-rate ego poses.
        timestamp_ns: the time that the ego frame is taken at.
        ahead_m: length of the path.

    Returns:
        (P, 2) meters, P >= 2, first point (0, 0), points at least 0.5 m apart.

    Raises:
        FrameError: if there is no pose at that time.
    """
    ego_SE3_map = trajectory.at(timestamp_ns).inverse()
    later = trajectory.timestamps_ns > timestamp_ns
    places = ego_SE3_map.transform_points(trajectory.translation_m[later])[:, :2]
    places = np.concatenate([np.zeros((1, 2)), places])
    travelled = np.cumsum(np.hypot(*np.diff(places, axis=0, prepend=places[:1]).T))
    marks = np.arange(0.0, min(ahead_m, travelled[-1]) + 1e-9, 0.5)
    path = np.stack([np.interp(marks, travelled, places[:, k]) for k in (0, 1)], axis=1)
    missing = ahead_m - marks[-1]
    if len(path) > 1 and missing < 0.5:
        return path
    step = path[-1] - path[-min(4, len(path))]
    length = np.hypot(*step)
    ahead = step / length if length > 0.5 else np.array([1.0, 0.0])
    return np.concatenate([path, path[-1:] + ahead * max(missing, 0.5)])


def _motion(trajectory: Trajectory) -> tuple[Int64, Float64, Float64]:
    """Return times every 0.1 s, forward speed in m/s and unwrapped heading in rad there."""
    if len(trajectory) < 2:
        return np.zeros(0, dtype=np.int64), np.zeros(0), np.zeros(0)
    first, last = int(trajectory.timestamps_ns[0]), int(trajectory.timestamps_ns[-1])
    times = np.arange(first, last + 1, STEP_NS, dtype=np.int64)
    even = trajectory.interpolate(times)
    w, x, y, z = even.quat_wxyz.T
    heading = np.unwrap(np.arctan2(2 * (w * z + x * y), 1 - 2 * (y * y + z * z)))
    return times, even.speed_mps(), heading


def spans(fires: Mask, times_ns: Int64, gap_ns: int) -> list[tuple[int, int]]:
    """Return (first, last) indices of runs that fire; runs closer than `gap_ns` are one."""
    index = np.flatnonzero(fires)
    if not len(index):
        return []
    breaks = np.flatnonzero(np.diff(times_ns[index]) > gap_ns)
    firsts = index[np.concatenate([[0], breaks + 1])]
    lasts = index[np.concatenate([breaks, [len(index) - 1]])]
    return list(zip(firsts.tolist(), lasts.tolist(), strict=True))
