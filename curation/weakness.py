"""What a weakness is: the score of a slice, when it counts as weak, and the issue it becomes."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any

from scene.errors import DataError


@dataclass(frozen=True, slots=True)
class SliceScore:
    """How well the model does on one slice of the test frames.

    Attributes:
        name: of the slice, for example `pedestrian 0-20 m` or `pedestrian near vehicle`.
        category: detection category.
        range_min_m, range_max_m: distance from the ego origin.
        near: "" or "vehicle".
        ap, ap_low, ap_high: average precision and its 95 % interval; NaN without boxes.
        num_boxes, num_frames: what it was measured on.
    """

    name: str
    category: str
    range_min_m: float
    range_max_m: float
    near: str
    ap: float
    ap_low: float
    ap_high: float
    num_boxes: int
    num_frames: int


@dataclass(frozen=True, slots=True)
class Weakness:
    """When a slice counts as weak, and when it no longer does.

    Attributes:
        weak_ap: AP below this is weak ...
        sure_ap: ... if the upper end of the interval lies below this: few frames prove nothing.
        healed_ap: an open issue stays open until AP reaches this, so that it does not flicker.
        min_boxes, min_frames: smaller slices are not judged.
    """

    weak_ap: float = 0.4
    sure_ap: float = 0.65
    healed_ap: float = 0.5
    min_boxes: int = 5
    min_frames: int = 2

    def is_weak(self, score: SliceScore) -> bool:
        """Return whether a slice is weak, with enough evidence to say so."""
        enough = score.num_boxes >= self.min_boxes and score.num_frames >= self.min_frames
        high = score.ap_high if math.isfinite(score.ap_high) else score.ap
        return enough and score.ap < self.weak_ap and high < self.sure_ap


@dataclass(frozen=True, slots=True)
class Issue:
    """A known weakness of the model. Columns of table `issues`.

    Attributes:
        issue_id: digest of what the weakness is; the same weakness has the same id in any turn.
        kind: "weak_slice" or "failed_scenario".
        title: one line for people.
        category: what is missed.
        slice_name, scenario: where it was measured; one of them is empty.
        range_min_m, range_max_m, near: where to look for more of it.
        evidence: JSON, the figures behind it, newest.
        rate_per_hour: how often its trigger fires; None until counted.
        state: "open" or "resolved".
        opened_turn, updated_turn: first seen (again), last changed.
    """

    issue_id: str
    kind: str
    title: str
    category: str
    slice_name: str
    scenario: str
    range_min_m: float
    range_max_m: float
    near: str
    evidence: str
    rate_per_hour: float | None
    state: str
    opened_turn: int
    updated_turn: int

    def to_row(self) -> dict[str, Any]:
        """Return a row of table `issues`."""
        return asdict(self)

    @classmethod
    def from_row(cls, row: Mapping[str, Any]) -> Issue:
        """Make an issue from a row; extra columns are ignored.

        Raises:
            DataError: if a column is missing.
        """
        names = [field.name for field in fields(cls)]
        missing = [name for name in names if name not in row]
        if missing:
            raise DataError(f"issue row {row.get('issue_id', '')}: columns {missing} are missing")
        return cls(**{name: row[name] for name in names})
