"""What came out of a turn, as lines of the report."""

from __future__ import annotations

import json
from typing import Any

from curation.issues import Issue
from loop.turn_facts import TurnFacts
from loop.workspace import Workspace
from reporting.model import (
    GateReason,
    GateSummary,
    Interval,
    IssueLine,
    ScenarioLine,
    ScenarioRun,
    SliceLine,
    SlicePoint,
)

_WATCHED = 2  # slices shown besides the targeted ones, weakest first
_FEW_BOXES = 10  # a slice with fewer says little and is not shown unless targeted


def slices_of(workspace: Workspace, facts: TurnFacts) -> tuple[SliceLine, ...]:
    """Return the slices that issues aimed at in this turn, and the weakest of the others."""
    before = {piece["name"]: piece for piece in facts.before.slices} if facts.before else {}
    selected = workspace.tables.read("selections", {"turn": facts.turn})
    asking = set(selected["issue_id"].to_pylist())
    aimed = {issue.slice_name: issue for issue in facts.issues if issue.issue_id in asking}
    ordered = sorted(
        (
            piece
            for piece in facts.after.slices
            if piece["num_boxes"] >= (1 if piece["name"] in aimed else _FEW_BOXES)
        ),
        key=lambda piece: (0, -piece["num_boxes"]) if piece["name"] in aimed else (1, piece["ap"]),
    )
    return tuple(
        SliceLine(
            name=piece["name"],
            before=_interval(before.get(piece["name"])),
            after=_interval(piece),
            num_frames=piece["num_frames"],
            num_boxes=piece["num_boxes"],
            history=_history(facts, piece["name"]),
            targeted=piece["name"] in aimed,
            issue_id=aimed[piece["name"]].issue_id if piece["name"] in aimed else "",
        )
        for piece in ordered[: len(aimed) + _WATCHED]
    )


def _interval(piece: dict[str, Any] | None) -> Interval | None:
    return None if piece is None else Interval(piece["ap"], piece["ap_low"], piece["ap_high"])


def _history(facts: TurnFacts, name: str) -> tuple[SlicePoint, ...]:
    return tuple(
        SlicePoint(record["turn"], Interval(*record["slices"][name]))
        for record in facts.history
        if name in record["slices"]
    )


def gate_of(facts: TurnFacts) -> GateSummary:
    """Return the gate's decision with its reasons."""
    return GateSummary(
        approved=bool(facts.decision["approved"]),
        reasons=tuple(
            GateReason(reason["passed"], _rule(reason["name"], reason["text"]), reason["name"])
            for reason in facts.decision["reasons"]
        ),
        champion_before=facts.champion_before or "",
        champion_after=facts.champion_after or "",
    )


def _rule(name: str, text: str) -> str:
    """Return the rule's text; a figure alone would not say what of."""
    return f"{name}: {text}" if text[:1].isdigit() else text


def scenarios_of(facts: TurnFacts) -> tuple[ScenarioLine, ...]:
    """Return each scenario as the champion and the candidate drove it."""
    champion = facts.suite_before.scenarios if facts.suite_before else []
    before = {scenario["scenario"]: _run(scenario) for scenario in champion}
    return tuple(
        ScenarioLine(
            scenario=scenario["scenario"],
            title=scenario["title"],
            ground_truth_passes=scenario["ground_truth_passes"],
            champion=before.get(scenario["scenario"]),
            candidate=_run(scenario),
        )
        for scenario in facts.suite_after.scenarios
    )


def _run(scenario: dict[str, Any]) -> ScenarioRun:
    ttc = scenario["min_ttc_s"]
    return ScenarioRun(
        verdict=scenario["verdict"],
        collision=scenario["collision"],
        impact_speed_mps=scenario["impact_speed_mps"],
        min_ttc_s=float("inf") if ttc is None else ttc,
        first_failed_frame=scenario["first_failed_frame"],
    )


def issues_of(workspace: Workspace, facts: TurnFacts) -> tuple[IssueLine, ...]:
    """Return the ledger: what is weak, since when, and the frames it asks for."""
    selected = workspace.tables.read("selections", {"turn": facts.turn})
    picked = selected["issue_id"].to_pylist()
    return tuple(
        IssueLine(
            issue_id=issue.issue_id,
            title=issue.title,
            state=issue.state,
            evidence=_evidence(issue, picked.count(issue.issue_id)),
            num_selected=len(facts.next_frames.get(issue.issue_id, [])),
            kind=issue.kind,
            opened_turn=issue.opened_turn,
        )
        for issue in sorted(facts.issues, key=lambda i: (i.state != "open", i.opened_turn, i.title))
    )


def _evidence(issue: Issue, picked: int) -> str:
    """Return the measurement in words, and what it changed in this turn."""
    facts = json.loads(issue.evidence)
    if issue.kind == "failed_scenario":
        text = (
            f"hit at {facts['impact_speed_mps']:.1f} m/s"
            if facts.get("collision")
            else "no collision, but perception failed"
        )
    else:
        text = (
            f"AP {facts['ap']:.2f} over {facts['num_boxes']} boxes in {facts['num_frames']} "
            "held-out frames"
        )
    if issue.rate_per_hour:
        text += f"; met about {issue.rate_per_hour:.0f} times an hour"
    chose = f"; it chose {picked} of this turn's frames" if picked else ""
    return f"{text}{chose}."
