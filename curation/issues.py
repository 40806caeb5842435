"""The ledger of known weaknesses: found from figures, kept over turns, resolved by figures."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, replace
from typing import Any

from curation.candidates import MOVERS
from curation.issue_trigger import IssueTrigger, rate_per_hour, trigger_for
from curation.weakness import Issue, SliceScore, Weakness
from scene.errors import DataError
from scene.taxonomy import CATEGORY

__all__ = [
    "Issue",
    "IssueTrigger",
    "SliceScore",
    "Weakness",
    "find_issues",
    "rate_per_hour",
    "trigger_for",
    "update_ledger",
]


def find_issues(
    slices: Sequence[SliceScore],
    scenarios: Sequence[Mapping[str, Any]],
    turn: int,
    weakness: Weakness | None = None,
    max_slices: int = 8,
    hazards: Mapping[str, str] | None = None,
) -> list[Issue]:
    """Return the weaknesses that one turn's figures show, scenarios first, worst first.

    Args:
        slices: scores of the model on the test frames.
        scenarios: results of the simulation, one mapping a scenario: `scenario`, `verdict`,
            `ground_truth_passes`, and `hazard` (category) unless `hazards` says it; plain others
            are kept as evidence. Only perception failures count: where ground truth fails too,
            the model is not to blame.
        turn: number of this turn.
        weakness: thresholds.
        max_slices: only the worst slices become issues, so that a bad model does not drown us.
        hazards: category of the hazard by scenario.

    Raises:
        DataError: if the hazard of a failed scenario is not known.
    """
    rule = weakness or Weakness()
    found = [
        _scenario_issue(result, hazards or {}, turn) for result in scenarios if _failed(result)
    ]
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


def _failed(result: Mapping[str, Any]) -> bool:
    """Return whether a simulated scenario failed because of perception."""
    return result["verdict"] == "perception_failure" and bool(
        result.get("ground_truth_passes", True)
    )


def _scenario_issue(result: Mapping[str, Any], hazards: Mapping[str, str], turn: int) -> Issue:
    """Return the issue of a failed scenario.

    Where the hazard comes out from behind parked vehicles, so do the frames to look for.
    """
    name = str(result["scenario"])
    category = str(result.get("hazard") or hazards.get(name, ""))
    if category not in CATEGORY:
        raise DataError(
            f"scenario {name}: hazard {category!r} is no category; pass its `hazard` in the result "
            "or in `hazards`"
        )
    near = "vehicle" if "parked" in name and category in MOVERS else ""
    near = str(result.get("near") or near)
    reach = CATEGORY[category].max_range_m
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
