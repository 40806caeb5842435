"""What a sanity rule is, and what rules are told about a recording.

A rule has a stable code. The rules themselves lie by subject in `time_rules`, `geometry_rules`,
`pose_rules`, `calibration_rules`, `content_rules`, `label_rules` and `signal_rules`, each with its
thresholds and the reason for them; `recordings.rules.quality` lists them all and runs them.
"""

from __future__ import annotations

from array import array
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np

from recordings.recording import Recording, Topic, empty_trajectory
from scene.box import Boxes
from scene.calibration import Calibration
from scene.pose import Trajectory
from scene.signal import Signal
from scene.types import Int64

Severity = Literal["error", "warning"]


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing wrong with a recording.

    Attributes:
        code: REC001 and so on; see `recordings.rules.quality.RULES`.
        severity: an "error" keeps the recording out of the loop, a "warning" does not.
        message: what was found, with numbers.
        remedy: what to do about it.
        count: how often it was found.
    """

    code: str
    severity: Severity
    message: str
    remedy: str
    count: int = 1


@dataclass(frozen=True, slots=True)
class Rule:
    """One thing that can be wrong with a recording.

    Attributes:
        code: stable for ever; a code that is no longer used is not given away again.
        severity: "error" where what comes after would be wrong in every frame, else "warning".
        title: what is wrong, in general.
        remedy: one line that says what to do about it.
    """

    code: str
    severity: Severity
    title: str
    remedy: str

    def found(self, message: str, count: int = 1) -> Finding:
        """Return the finding that this rule has fired."""
        return Finding(self.code, self.severity, message, self.remedy, count)


@dataclass(frozen=True, slots=True)
class Facts:
    """What is known of a recording before its points are read.

    Attributes:
        trajectory: `map_SE3_ego`.
        calibration: of all sensors; `assumed` says what was not in the recording.
        sensor: name of the lidar, empty if there is none.
        ground_truth: boxes in the ego frame by time; None if there are none.
        signals: IMU, GNSS, states, actions.
        topics: what the source holds and what became of it.
        frame_problems: what keeps its coordinate frames from being a tree.
    """

    trajectory: Trajectory = field(default_factory=empty_trajectory)
    calibration: Calibration = field(default_factory=Calibration)
    sensor: str = ""
    ground_truth: dict[int, Boxes] | None = None
    signals: Sequence[Signal] = ()
    topics: Sequence[Topic] = ()
    frame_problems: Sequence[str] = ()

    @classmethod
    def of(cls, recording: Recording) -> Facts:
        """Return the facts of an opened recording."""
        return cls(
            recording.trajectory,
            recording.calibration,
            recording.sensor,
            recording.ground_truth,
            recording.signals,
            recording.topics,
            recording.frame_problems,
        )


class Times:
    """A growing series of int64 nanoseconds, eight bytes each."""

    def __init__(self) -> None:
        self._values = array("q")

    def append(self, timestamp_ns: int) -> None:
        """Add one."""
        self._values.append(timestamp_ns)

    def __len__(self) -> int:
        """Return how many there are."""
        return len(self._values)

    def to_numpy(self) -> Int64:
        """Return all as (T,) int64."""
        return np.array(self._values, dtype=np.int64)
