"""What every reader returns, whatever the format on disk."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import ClassVar, Final

import numpy as np

from scene.box import Boxes
from scene.calibration import Calibration
from scene.image import Image
from scene.pose import Trajectory
from scene.recording import RecordingId
from scene.signal import Signal
from scene.sweep import Motion, Sweep

# Entries of `Calibration.assumed` that are not sensors.
ASSUMED_POSES: Final = "map"
ASSUMED_CLOCK: Final = "clock"
# There were no ego poses, and those that stand in their place were found from the points.
ODOMETRY_POSES: Final = "odometry"
NOT_SENSORS: Final = frozenset({ASSUMED_POSES, ASSUMED_CLOCK, ODOMETRY_POSES})

MAX_POSE_EXTRAPOLATION_NS: Final = 100_000_000
MAX_POSE_GAP_NS: Final = 1_500_000_000


@dataclass(frozen=True, slots=True)
class Damage:
    """Something that should have been in the recording and could not be read.

    Attributes:
        where: file with offset, or topic.
        what: what is wrong there.
        lost: what the recording lacks because of it.
        rule: code of the sanity rule it is reported under, where the loss is no reason to keep the
            recording out of the loop; empty for all other damage, which does.
    """

    where: str
    what: str
    lost: str
    rule: str = ""


@dataclass(frozen=True, slots=True)
class Topic:
    """One stream that the source holds, whether it is used or not.

    Attributes:
        name: topic, file or column, as the source calls it.
        kind: message type, or what the format calls it.
        count: number of messages; -1 where counting would mean reading everything.
        use: "sweeps", "poses", "boxes", "signal", "images", "calibration", or, starting with
            "not used: ", why nothing is made of it.
    """

    name: str
    kind: str
    count: int
    use: str


class Recording(ABC):
    """One drive as a reader sees it: everything but points and images is there after opening.

    Attributes:
        format: short name of the format, see `recordings.formats`.
        recording: its id.
        sensor: name of the lidar that the sweeps come from; a key of the calibration. Empty if
            the recording holds no lidar.
        calibration: extrinsics; `assumed` also names "map" where there were no poses and "clock"
            where there were no times.
        trajectory: `map_SE3_ego`.
        ground_truth: boxes in the ego frame by sweep `timestamp_ns`; None if there are none.
        damage: grows while `sweeps()` runs.
        signals: IMU, GNSS, states, actions.
        topics: what the source holds and what became of it, for people.
        motion: "compensated" when the source says that the points of a sweep are in the ego frame
            at `timestamp_ns`, "raw" when each is in the ego frame at its own time.
        frame_problems: what keeps the source's coordinate frames from being a tree.
    """

    format: ClassVar[str]
    recording: RecordingId
    sensor: str
    calibration: Calibration
    trajectory: Trajectory
    ground_truth: dict[int, Boxes] | None
    damage: list[Damage]
    signals: Sequence[Signal] = ()
    topics: Sequence[Topic] = ()
    motion: Motion = "unknown"
    frame_problems: Sequence[str] = ()

    @abstractmethod
    def sweeps(self) -> Iterator[Sweep]:
        """Yield sweeps in time order, ego frame, one at a time in memory."""

    def position(self) -> object | None:
        """Return where `sweeps()` stands after the sweep it yielded last, for `go_to`.

        It can be pickled and holds for the same files; None if this reader can only start over.
        """
        return None

    def go_to(self, position: object) -> None:
        """Make the next `sweeps()` go on from where another one stood.

        Raises:
            ValueError: if this reader cannot.
        """
        raise ValueError(f"{self.format}: sweeps can only be read from the first one on")

    def images(self) -> Iterator[Image]:
        """Yield camera images in time order, one at a time in memory."""
        return iter(())


def losses(damage: Sequence[Damage]) -> list[Damage]:
    """Return the damage that keeps a recording out of the loop."""
    return [entry for entry in damage if not entry.rule]


def identity_trajectory(timestamps_ns: Sequence[int]) -> Trajectory:
    """Return a trajectory that stands still at the origin, with a pose at each of the times."""
    times = np.unique(np.array(timestamps_ns, dtype=np.int64))
    quat = np.tile(np.array([1.0, 0.0, 0.0, 0.0]), (len(times), 1))
    return Trajectory(times, quat, np.zeros((len(times), 3)))


def empty_trajectory() -> Trajectory:
    """Return a trajectory without poses."""
    return Trajectory(np.zeros(0, dtype=np.int64), np.zeros((0, 4)), np.zeros((0, 3)))


def describe_topics(topics: Sequence[Topic], limit: int = 8) -> str:
    """Return in one line what a source holds and why it is not used, empty if it lists nothing."""
    parts = [
        f"{topic.name} ({topic.kind}, {topic.count} messages): {topic.use}"
        for topic in topics[:limit]
    ]
    more = f"; and {len(topics) - limit} more" if len(topics) > limit else ""
    return "; ".join(parts) + more
