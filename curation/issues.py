"""The ledger of known weaknesses, and the trigger that each of them becomes."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass, fields, replace
from typing import Any, Final

import numpy as np

from curation import candidates as geometry
from curation.clusters import Clusters
from curation.triggers import Drive, Event
from curation.weakness import SliceScore, Weakness
from scene.box import Boxes
from scene.errors import DataError
from scene.taxonomy import CATEGORY
from scene.types import Float64

NEAR_M: Final = 3.0
PREDICTION_MIN_SCORE: Final = 0.3
CLEAR_POINTS: Final = 15


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


def find_issues(
    slices: Sequence[SliceScore],
    scenarios: Sequence[Mapping[str, Any]],
    turn: int,
    weakness: Weakness | None = None,
    max_slices: int = 8,
) -> list[Issue]:
    """Return the weaknesses that one turn's figures show, scenarios first, worst first.

    Args:
        slices: scores of the model on the test frames.
        scenarios: results of the simulation, one mapping a scenario: `scenario`, `verdict`,
            `ground_truth_passes`, and `hazard` (category); others are kept as evidence. Only
            perception failures count: where ground truth fails too, the model is not to blame.
        turn: number of this turn.
        weakness: thresholds.
        max_slices: only the worst slices become issues, so that a bad model does not drown us.
    """
    rule = weakness or Weakness()
    found = [_scenario_issue(result, turn) for result in scenarios if _failed(result)]
    weak = sorted(
        (score for score in slices if rule.is_weak(score)),
        key=lambda s: (s.near == "", s.ap, -s.num_boxes, s.name),
    )
    return found + [_slice_issue(score, turn) for score in weak[:max_slices]]


def update_ledger(
    ledger: Sequence[Issue],
    found: Sequence[Issue],
    measured: Sequence[SliceScore],
    turn: int,
    scenarios_run: Collection[str] | None = None,
    weakness: Weakness | None = None,
) -> list[Issue]:
    """Return the ledger after a turn, oldest issue first.

    Found issues are opened, reopened or kept with new evidence. An open slice issue is resolved
    when its slice was measured and reached `healed_ap`; an open scenario issue when its scenario
    ran and was not found failing. What was not measured stays as it is.

    Args:
        ledger: issues so far.
        found: from `find_issues` of this turn.
        measured: slice scores of this turn.
        turn: number of this turn.
        scenarios_run: names of the scenarios that ran; None means all that the ledger knows.
        weakness: thresholds.
    """
    rule = weakness or Weakness()
    fresh = {issue.issue_id: issue for issue in found}
    scores = {score.name: score for score in measured}
    after = []
    for issue in ledger:
        if issue.issue_id in fresh:
            after.append(_seen_again(issue, fresh.pop(issue.issue_id), turn))
        elif issue.state == "open":
            after.append(_not_seen(issue, scores, scenarios_run, rule, turn))
        else:
            after.append(issue)
    return after + [issue for issue in found if issue.issue_id in fresh]


def trigger_for(issue: Issue) -> IssueTrigger:
    """Return the trigger that looks for more frames of an issue.

    Raises:
        DataError: if the issue's category is unknown.
    """
    if issue.category not in CATEGORY:
        raise DataError(f"issue {issue.issue_id}: unknown category {issue.category!r}")
    return IssueTrigger(issue)


@dataclass(frozen=True, slots=True)
class IssueTrigger:
    """Fires on sweeps that hold something like the issue's objects which the model did not see.

    A cluster counts if it has the size of the category, lies in the issue's range, has a vehicle
    within 3 m where the issue says so, and no prediction of the champion covers it. For people and
    cyclists it must also have moved (see `candidates.newness`): poles, hydrants, bins and corners
    of parked cars have the right size but stay where they are.

    Attributes:
        issue: the weakness.
        min_score: predictions below it explain nothing.
        min_newness: share of looks at the place, a second away, that must have found it empty.
        min_weight: a cluster weighs its newness (0.5 for categories that may stand still) times
            its points over `CLEAR_POINTS`, at most 1; lighter ones are ignored.
    """

    issue: Issue
    min_score: float = PREDICTION_MIN_SCORE
    min_newness: float = 0.6
    min_weight: float = 0.3

    @property
    def name(self) -> str:
        """`issue:` and the id."""
        return f"issue:{self.issue.issue_id}"

    def fire(self, drive: Drive, predictions: Mapping[int, Boxes] | None = None) -> list[Event]:
        """Return one event for each sweep that fires; strength is the sum over its clusters.

        Args:
            drive: a recording.
            predictions: boxes of the champion by sweep time, ego frame; none means it saw nothing.
        """
        by_time = drive.clusters.by_time()
        events = []
        for time_ns in drive.sweep_times_ns.tolist():
            if time_ns not in by_time:
                continue
            boxes = (predictions or {}).get(time_ns, Boxes.empty())
            chosen, weight = self._candidates(by_time[time_ns], boxes, by_time, drive)
            if len(chosen):
                events.append(self._event(time_ns, chosen, weight))
        return events

    def _candidates(
        self, clusters: Clusters, boxes: Boxes, by_time: dict[int, Clusters], drive: Drive
    ) -> tuple[Clusters, Float64]:
        """Return the clusters of a sweep that fire and their (N,) weights in (0, 1]."""
        issue, away = self.issue, clusters.range_m()
        fits = geometry.fits_category(clusters, issue.category)
        fits &= (away >= issue.range_min_m) & (away < issue.range_max_m)
        chosen = clusters.take(fits)
        chosen = chosen.take(~geometry.explained(chosen, boxes, self.min_score, 0.3))
        if issue.near == "vehicle":
            gap = geometry.near_vehicle(chosen, clusters, boxes, self.min_score)
            chosen = chosen.take(gap <= NEAR_M)
        weight = np.full(len(chosen), 0.5)
        if issue.category in geometry.MOVERS and len(chosen):
            weight = self._movement(chosen, by_time, drive)
        weight = weight * np.minimum(1.0, chosen.num_points / CLEAR_POINTS)
        return chosen.take(weight >= self.min_weight), weight[weight >= self.min_weight]

    def _movement(self, chosen: Clusters, by_time: dict[int, Clusters], drive: Drive) -> Float64:
        """Return (N,) newness of clusters, 0 where it is too small or nothing is known.

        Where no sweep lies a second away, as in a folder of single clouds, nobody can know: 0.5.
        """
        if not geometry.can_judge(int(chosen.timestamp_ns[0]), drive.sweep_times_ns):
            return np.full(len(chosen), 0.5)
        new = geometry.newness(chosen, by_time, drive.trajectory, drive.sweep_times_ns)
        return np.where(new >= self.min_newness, new, 0.0)

    def _event(self, time_ns: int, chosen: Clusters, weight: Float64) -> Event:
        """Return the event of one sweep."""
        best = int(np.argmax(weight))
        where = " near a vehicle" if self.issue.near == "vehicle" else ""
        detail = (
            f"{len(chosen)} unexplained {self.issue.category}-sized cluster"
            f"{'s' if len(chosen) > 1 else ''}{where}, clearest {chosen.range_m()[best]:.0f} m away"
            f" with {chosen.num_points[best]} points"
        )
        return Event(self.name, time_ns, time_ns, float(weight.sum()), detail)


def _failed(result: Mapping[str, Any]) -> bool:
    """Return whether a simulated scenario failed because of perception."""
    return result["verdict"] == "perception_failure" and bool(
        result.get("ground_truth_passes", True)
    )


def _scenario_issue(result: Mapping[str, Any], turn: int) -> Issue:
    """Return the issue of a failed scenario.

    Where the hazard comes out from behind parked vehicles, so do the frames to look for.
    """
    name = str(result["scenario"])
    category = str(result.get("hazard", "car"))
    near = str(result.get("near") or ("vehicle" if "parked" in name and category != "car" else ""))
    reach = CATEGORY[category].max_range_m if category in CATEGORY else 50.0
    evidence = {k: v for k, v in result.items() if isinstance(v, (str, int, float, bool))}
    what = "collided" if result.get("collision") else "failed"
    title = f"{name.replace('_', ' ')}: {what} because {category} was not perceived"
    return _issue("failed_scenario", title, category, "", name, 0.0, reach, near, evidence, turn)


def _slice_issue(score: SliceScore, turn: int) -> Issue:
    """Return the issue of a weak slice."""
    title = f"weak on {score.name}: AP {score.ap:.2f} [{score.ap_low:.2f}, {score.ap_high:.2f}]"
    return _issue(
        "weak_slice", title, score.category, score.name, "",
        score.range_min_m, score.range_max_m, score.near, asdict(score), turn,
    )  # fmt: skip


def _issue(
    kind: str, title: str, category: str, slice_name: str, scenario: str, range_min_m: float,
    range_max_m: float, near: str, evidence: Mapping[str, Any], turn: int,
) -> Issue:  # fmt: skip
    """Return an open issue; its id says what the weakness is, not how bad."""
    what = [
        kind,
        category,
        slice_name,
        scenario,
        round(range_min_m, 3),
        round(range_max_m, 3),
        near,
    ]
    digest = hashlib.sha256(json.dumps(what).encode()).hexdigest()
    clean = {
        k: None if isinstance(v, float) and not math.isfinite(v) else v for k, v in evidence.items()
    }
    return Issue(
        f"i-{digest[:12]}", kind, title, category, slice_name, scenario, float(range_min_m),
        float(range_max_m), near, json.dumps(clean, sort_keys=True), None, "open", turn, turn,
    )  # fmt: skip


def _seen_again(old: Issue, new: Issue, turn: int) -> Issue:
    """Return a known issue with new evidence; a resolved one is opened again."""
    opened = old.opened_turn if old.state == "open" else turn
    return replace(new, opened_turn=opened, updated_turn=turn, rate_per_hour=old.rate_per_hour)


def _not_seen(
    issue: Issue,
    scores: Mapping[str, SliceScore],
    scenarios_run: Collection[str] | None,
    rule: Weakness,
    turn: int,
) -> Issue:
    """Return an open issue that was not found this turn: resolved if the figures show it."""
    if issue.kind == "failed_scenario":
        ran = scenarios_run is None or issue.scenario in scenarios_run
        return replace(issue, state="resolved", updated_turn=turn) if ran else issue
    score = scores.get(issue.slice_name)
    if score is None or not math.isfinite(score.ap) or score.num_boxes < rule.min_boxes:
        return issue
    fresh = _slice_issue(score, turn)
    state = "resolved" if score.ap >= rule.healed_ap else "open"
    return replace(
        issue, title=fresh.title, evidence=fresh.evidence, state=state, updated_turn=turn
    )
