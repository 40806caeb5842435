"""What is found out about the sweeps of a recording while they pass on their way to the bucket."""

from __future__ import annotations

from typing import Any

from recordings.recording import Recording
from recordings.rules.quality import Facts, QualityCheck
from scene.box import Boxes, count_points
from scene.sweep import Sweep


class SweepWatch:
    """Sees every sweep on its way: feeds the sanity rules, counts points in ground-truth boxes.

    Attributes:
        check: the sanity rules.
        truth: boxes with their points counted, by time.
        times: of the sweeps.
    """

    def __init__(self, opened: Recording | None) -> None:
        """Start with what is known after opening; None if not even that worked."""
        self.check = QualityCheck(Facts() if opened is None else Facts.of(opened))
        self.truth: dict[int, Boxes] = {}
        self.times: list[int] = []
        self._expected = (opened and opened.ground_truth) or {}

    @property
    def state(self) -> Any:
        """All that it knows, for a pass that goes on later."""
        return self.check, self.truth, self.times

    @state.setter
    def state(self, state: Any) -> None:
        """Go on where another watch stood."""
        self.check, self.truth, self.times = state

    def see(self, sweep: Sweep) -> None:
        """Look at the next sweep."""
        self.times.append(sweep.timestamp_ns)
        boxes = self._expected.get(sweep.timestamp_ns)
        if boxes is not None:
            boxes = count_points(sweep.points_ego_m, boxes)
            self.truth[sweep.timestamp_ns] = boxes
        self.check.add(sweep, boxes)
