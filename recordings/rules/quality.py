"""What makes a recording unfit or doubtful: all sanity rules, run while its sweeps pass by once.

`docs/rules.md` lists them. Rules hold a few numbers a sweep, never the points, and together cost
about a tenth of what reading and storing a sweep does.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Final

import numpy as np

from recordings.recording import Damage
from recordings.rules import (
    calibration_rules,
    content_rules,
    geometry_rules,
    label_rules,
    motion_rules,
    pose_rules,
    signal_rules,
    time_rules,
    view_rules,
)
from recordings.rules.calibration_rules import check_calibration
from recordings.rules.content_rules import ContentRules
from recordings.rules.geometry_rules import GeometryRules
from recordings.rules.label_rules import LabelRules
from recordings.rules.motion_rules import MotionRules
from recordings.rules.pose_rules import PoseRules
from recordings.rules.rule import Facts, Finding, Rule
from recordings.rules.signal_rules import check_signals
from recordings.rules.sweep_look import SweepLook
from recordings.rules.time_rules import TimeRules
from recordings.rules.view_rules import ViewRules
from scene.box import Boxes
from scene.sweep import Sweep

__all__ = ["RULES", "SUBJECTS", "Facts", "Finding", "QualityCheck", "Rule"]

SUBJECTS: Final[dict[str, tuple[Rule, ...]]] = {
    "content": content_rules.RULES,
    "time": time_rules.RULES,
    "geometry": geometry_rules.RULES + view_rules.RULES,
    "poses": pose_rules.RULES + motion_rules.RULES,
    "calibration": calibration_rules.RULES,
    "labels": label_rules.RULES,
    "signals": signal_rules.RULES,
}
RULES: Final[dict[str, Rule]] = {
    rule.code: rule
    for rule in sorted((r for rules in SUBJECTS.values() for r in rules), key=lambda r: r.code)
}

# Rules that need no sweep: facts in, findings out.
_AT_REST: Final[tuple[Callable[[Facts], Iterable[Finding]], ...]] = (
    check_calibration, check_signals,
)  # fmt: skip
_SAMPLE_NS: Final = 500_000_000


class QualityCheck:
    """Fed with every sweep on its way to the store; gives its findings at the end.

    Its state is small and can be pickled, so that an interrupted pass can go on.

    Args:
        facts: what is known of the recording before its points are read.
    """

    def __init__(self, facts: Facts) -> None:
        self._facts = facts
        mounting = facts.calibration.ego_SE3_sensor.get(facts.sensor)
        self._origin_m = np.zeros(3) if mounting is None else mounting.translation_m
        self._sampled = -1
        self._time = TimeRules(facts)
        self._content = ContentRules(facts)
        self._streaming = (
            self._content, self._time, GeometryRules(facts), ViewRules(facts), PoseRules(facts),
            MotionRules(facts), LabelRules(facts),
        )  # fmt: skip

    def add(self, sweep: Sweep, boxes: Boxes | None = None) -> None:
        """Look at one sweep, ego frame.

        Args:
            sweep: the points.
            boxes: its annotations with `num_points` counted, None if there are none.
        """
        slot = sweep.timestamp_ns // _SAMPLE_NS
        look = SweepLook(
            sweep, boxes, self._facts.trajectory, self._origin_m, sampled=slot != self._sampled
        )
        self._sampled = slot
        for rules in self._streaming:
            rules.add(look)

    def add_image(self, sensor: str, timestamp_ns: int) -> None:
        """Look at the time of one camera image."""
        self._time.add_image(sensor, timestamp_ns)
        self._content.add_image(sensor)

    @property
    def fingerprint(self) -> tuple[int, ...]:
        """Words of the sweeps so far; see `recordings.rules.fingerprint`."""
        return self._content.fingerprint.words()

    def finish(self, damage: Sequence[Damage] = ()) -> list[Finding]:
        """Return everything found, errors first.

        Args:
            damage: what the reader noted; that with a rule becomes a finding.
        """
        found = [finding for rules in self._streaming for finding in rules.finish()]
        found += [finding for check in _AT_REST for finding in check(self._facts)]
        found += [
            RULES[entry.rule].found(f"{entry.where}: {entry.what}; lost: {entry.lost}")
            for entry in damage
            if entry.rule
        ]
        return sorted(found, key=lambda finding: (finding.severity, finding.code))
