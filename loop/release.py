"""The gate decides, the registry obeys, the endpoint is asked to prove it."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from loop.evaluate import Measured, compare_models, evaluate_model
from loop.simulate import SuiteResult, simulate_model
from loop.train import model_config, model_is_complete
from loop.turns import champion_id, latest_dataset, latest_model
from loop.workspace import Workspace
from scene.errors import NotFoundError
from serving.gate import Decision, GateInput, decide
from serving.registry import Registry
from storage import layout, lineage, schemas
from storage.lineage import Node
from training.evaluation import Comparison


@dataclass(frozen=True)
class ReleaseOutcome:
    """What the gate said about a candidate, and who is champion afterwards.

    Attributes:
        comparison: with the champion on the same frames; None for a first release.
    """

    model_id: str
    decision: Decision
    champion_before: str | None
    champion_after: str | None
    comparison: Comparison | None = None


def release_candidate(workspace: Workspace, turn: int) -> ReleaseOutcome:
    """Put the newest model before the gate; promote it only if the gate approved it."""
    model_id, dataset = latest_model(workspace), latest_dataset(workspace)
    registry = Registry(workspace.store, workspace.tables)
    before = champion_before(workspace, turn, model_id)
    candidate = evaluate_model(workspace, model_id, dataset, turn)
    champion = evaluate_model(workspace, before, dataset, turn) if before else None
    comparison = compare_models(champion, candidate) if champion else None
    decision = decide(
        _gate_input(
            workspace,
            candidate,
            champion,
            comparison,
            simulate_model(workspace, model_id, turn),
            simulate_model(workspace, before, turn) if before else None,
        )
    )
    registry.record(decision)
    _write_row(workspace, model_id, turn, decision)
    if decision.approved:
        registry.promote(model_id)
    lineage.record(
        workspace.tables,
        Node("release", layout.release(model_id), decision.digest),
        [Node("model", f"models/{model_id}", decision.onnx_digest)],
    )
    return ReleaseOutcome(model_id, decision, before, champion_id(workspace), comparison)


def champion_before(workspace: Workspace, turn: int, candidate: str) -> str | None:
    """Return the champion that a turn's candidate is measured against.

    Known from the model's own starting point, so that releasing twice compares the same pair even
    though the first time made the candidate champion.
    """
    rows = workspace.tables.read("models", {"turn": turn}).to_pylist()
    if not rows or rows[0]["model_id"] != candidate:
        raise NotFoundError(f"turn {turn} has no model {candidate}; run `starloop train`")
    return rows[0]["init_model"] or None


def _gate_input(
    workspace: Workspace,
    candidate: Measured,
    champion: Measured | None,
    comparison: Comparison | None,
    candidate_suite: SuiteResult,
    champion_suite: SuiteResult | None,
) -> GateInput:
    config = model_config(workspace, candidate.model_id) or {}
    return GateInput(
        model_id=candidate.model_id,
        onnx_digest=config.get("onnx_digest", ""),
        artifacts_complete=model_is_complete(workspace, candidate.model_id),
        parity_passed=bool(config.get("parity", {}).get("passed")),
        mean_ap=candidate.evaluation.mean_ap.value,
        differences=comparison.per_class if comparison else {},
        candidate_collisions=collisions(candidate_suite),
        champion_collisions=collisions(champion_suite) if champion_suite else None,
        champion_id=champion.model_id if champion else None,
        max_ap_drop=workspace.config.max_ap_drop,
        tolerated_ap_drop=workspace.config.tolerated_ap_drop,
    )


def collisions(suite: SuiteResult) -> dict[str, bool]:
    """Return by scenario whether the model collided."""
    return {scenario["scenario"]: bool(scenario["collision"]) for scenario in suite.scenarios}


def _write_row(workspace: Workspace, model_id: str, turn: int, decision: Decision) -> None:
    reasons: list[dict[str, Any]] = [
        {"passed": reason.passed, "name": reason.name, "text": reason.text}
        for reason in decision.reasons
    ]
    row = {
        "model_id": model_id,
        "turn": turn,
        "approved": decision.approved,
        "onnx_digest": decision.onnx_digest,
        "reasons": json.dumps(reasons),
    }
    rows = pa.Table.from_pylist([row], schema=schemas.RELEASES)
    workspace.tables.replace("releases", rows, {"turn": turn})
