"""What a turn did, read back from the bucket: the one source of its report and its record."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from curation.issues import Issue
from loop.evaluate import Measured, evaluate_model
from loop.release import champion_before
from loop.simulate import SuiteResult, simulate_model
from loop.turns import champion_id, latest_dataset, latest_model, turn_record
from loop.workspace import Workspace
from storage import layout


@dataclass(frozen=True)
class TurnFacts:
    """Everything measured in one turn.

    Attributes:
        before, after: champion at the start, and candidate, on the same held-out frames.
        suite_before, suite_after: their scenario verdicts.
        decision: the row of table `releases`.
        issues: the ledger after the turn.
        next_frames: by open issue, the frames that it asks to label next.
        history: records of earlier turns, oldest first.
        recordings: digest of the landed bytes by recording.
    """

    turn: int
    candidate: str
    dataset: str
    champion_before: str | None
    champion_after: str | None
    before: Measured | None
    after: Measured
    suite_before: SuiteResult | None
    suite_after: SuiteResult
    decision: dict[str, Any]
    issues: list[Issue]
    next_frames: dict[str, list[tuple[str, int]]]
    history: list[dict[str, Any]]
    recordings: dict[str, str]

    @property
    def deployed(self) -> Measured:
        """Metrics of the model that is champion after the turn."""
        if self.before is not None and self.champion_after == self.before.model_id:
            return self.before
        return self.after

    def record(self) -> dict[str, Any]:
        """Return what later turns need to know about this one."""
        return {
            "turn": self.turn,
            "candidate": self.candidate,
            "dataset": self.dataset,
            "champion_before": self.champion_before,
            "champion_after": self.champion_after,
            "approved": bool(self.decision.get("approved")),
            "recordings": self.recordings,
            "slices": {
                piece["name"]: [piece["ap"], piece["ap_low"], piece["ap_high"]]
                for piece in self.deployed.slices
            },
        }


def collect_facts(workspace: Workspace, turn: int) -> TurnFacts:
    """Read what the turn measured; everything comes from what earlier stages stored."""
    candidate, dataset = latest_model(workspace), latest_dataset(workspace)
    before = champion_before(workspace, turn, candidate)
    releases = workspace.tables.read("releases", {"turn": turn}).to_pylist()
    decision = dict(releases[0]) if releases else {"approved": False, "reasons": "[]"}
    decision["reasons"] = json.loads(decision["reasons"])
    deployed = champion_id(workspace)
    ledger = [Issue.from_row(row) for row in workspace.tables.read("issues").to_pylist()]
    asked = json.loads(workspace.store.get(layout.turn_feedback(turn)))
    landed = workspace.tables.read("recordings").to_pylist()
    history = [turn_record(workspace, number) for number in range(turn)]
    return TurnFacts(
        turn=turn,
        candidate=candidate,
        dataset=dataset,
        champion_before=before,
        champion_after=deployed,
        before=evaluate_model(workspace, before, dataset, turn) if before else None,
        after=evaluate_model(workspace, candidate, dataset, turn),
        suite_before=simulate_model(workspace, before, turn) if before else None,
        suite_after=simulate_model(workspace, candidate, turn),
        decision=decision,
        issues=ledger,
        next_frames={issue: [(name, t) for name, t in frames] for issue, frames in asked.items()},
        history=[record for record in history if record is not None],
        recordings={row["recording"]: row["source_digest"] for row in landed},
    )
