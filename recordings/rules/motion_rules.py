"""Rules that hold what the poses say against what the points show."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from typing import Final, NamedTuple

import numpy as np

from recordings.recording import ASSUMED_POSES
from recordings.rules.rule import Facts, Finding, Rule
from recordings.rules.sweep_look import SweepLook
from scene.pose import SE3
from scene.types import Float64

FROZEN: Final = Rule(
    "REC038", "warning", "the poses stand still while the points move",
    "the localisation hung or its messages stopped: cut the stretch, check its process",
)  # fmt: skip
STUCK: Final = Rule(
    "REC039", "warning", "the poses move while the points stand still",
    "the poses are of another drive or vehicle, or the lidar hung: record both together",
)  # fmt: skip
RULES: Final = (FROZEN, STUCK)

_LAG_NS: Final = 900_000_000
_MIN_SECTORS: Final = 12
_MIN_SAMPLES: Final = 3
# Real drives: the median sector changes by 0.1 to 0.2 m in a second while the vehicle stands in
# traffic, by 0.6 m when it rolls half a metre, by 1.4 m and more in motion.
_STILL_M: Final = 0.03
_STILL_RAD: Final = 0.01
_SEEN_MOVING_M: Final = 1.0
_MOVED_M: Final = 5.0
_SEEN_STILL_M: Final = 0.1


class _Sample(NamedTuple):
    timestamp_ns: int
    map_SE3_ego: SE3
    range_m: Float64


class MotionRules:
    """Compares sweeps a second apart, as seen and as the poses have it."""

    def __init__(self, facts: Facts) -> None:
        self._known = ASSUMED_POSES not in facts.calibration.assumed
        self._samples: deque[_Sample] = deque(maxlen=4)
        self._frozen: list[int] = []
        self._stuck: list[int] = []

    def add(self, look: SweepLook) -> None:
        """Look at one sweep."""
        if not (self._known and look.sampled and look.num_points) or look.map_SE3_ego is None:
            return
        now = _Sample(look.timestamp_ns, look.map_SE3_ego, look.profile.range_m)
        before = [s for s in self._samples if now.timestamp_ns - s.timestamp_ns >= _LAG_NS]
        if before:
            self._compare(before[-1], now)
        self._samples.append(now)

    def finish(self) -> Iterator[Finding]:
        """Give what was found."""
        if len(self._frozen) >= _MIN_SAMPLES:
            yield FROZEN.found(
                f"the view changes as in motion {len(self._frozen)} times without a change of the "
                f"pose, first at {self._frozen[0]} ns",
                len(self._frozen),
            )
        if len(self._stuck) >= _MIN_SAMPLES:
            yield STUCK.found(
                f"the pose moves by over {_MOVED_M:.0f} m a second {len(self._stuck)} times "
                f"without a change of the view, first at {self._stuck[0]} ns",
                len(self._stuck),
            )

    def _compare(self, before: _Sample, now: _Sample) -> None:
        change = np.abs(now.range_m - before.range_m)
        change = change[np.isfinite(change)]
        if len(change) < _MIN_SECTORS:
            return
        moved = before.map_SE3_ego.inverse() @ now.map_SE3_ego
        moved_m, turned_rad = float(np.linalg.norm(moved.translation_m)), abs(moved.yaw_rad)
        seen_m = float(np.median(change))
        if moved_m < _STILL_M and turned_rad < _STILL_RAD and seen_m > _SEEN_MOVING_M:
            self._frozen.append(now.timestamp_ns)
        if moved_m > _MOVED_M and seen_m < _SEEN_STILL_M:
            self._stuck.append(now.timestamp_ns)
