"""The gate, the registry and the endpoint."""

from math import isnan

import dagster as dg

from assets.evaluate import evaluation, simulation
from assets.metadata import figure, table
from loop.deploy import prove_endpoint
from loop.release import release_candidate
from loop.turns import current_turn
from loop.workspace import Workspace
from training.evaluation import Comparison, Interval


@dg.asset(
    deps=[evaluation, simulation],
    group_name="release",
    kinds={"onnx"},
    description="The gate's decision; the registry promotes only what the gate approved.",
)
def release(workspace: dg.ResourceParam[Workspace]) -> dg.MaterializeResult:
    """Compare the candidate with the champion and promote it if every rule holds."""
    outcome = release_candidate(workspace, current_turn(workspace))
    rows = [{"ok": "yes" if r.passed else "NO", "rule": r.text} for r in outcome.decision.reasons]
    return dg.MaterializeResult(
        metadata={
            "candidate": outcome.model_id,
            "approved": outcome.decision.approved,
            "champion": outcome.champion_after or "none",
            "reasons": table(rows, limit=30),
            "comparison": table(comparison_rows(outcome.comparison), limit=30),
        }
    )


def comparison_rows(comparison: Comparison | None) -> list[dict[str, object]]:
    """Return a row for every figure of candidate and champion on the same frames."""
    if comparison is None:
        return []
    return [
        {
            "metric": d.category,
            "champion": f"{d.before:.3f}",
            "candidate": f"{d.after:.3f}",
            "difference": figure(Interval(d.value, d.low, d.high)),
            "not better in": "" if isnan(d.not_better) else f"{d.not_better:.1%} of resamples",
        }
        for d in (comparison.mean_ap, comparison.nds, *comparison.classes)
        if not isnan(d.value)
    ]


@dg.asset(
    deps=[release],
    group_name="release",
    kinds={"fastapi"},
    description="Proof that the endpoint serves the champion with the boxes of the evaluation.",
)
def deployment(workspace: dg.ResourceParam[Workspace]) -> dg.MaterializeResult:
    """Start the endpoint, ask it about held-out frames, compare with the evaluation's boxes."""
    proof = prove_endpoint(workspace)
    if proof.differing:
        raise dg.Failure(f"the endpoint disagrees with the evaluation on {proof.differing}")
    return dg.MaterializeResult(
        metadata={
            "model": proof.model_id,
            "frames_compared": proof.num_frames,
            "largest_difference_m": proof.largest_difference_m,
            "median_latency_ms": proof.median_latency_ms,
        }
    )
