"""What went into a turn, as lines of the report."""

from __future__ import annotations

from collections import Counter
from typing import Any

from loop.curate import EVALUATION
from loop.evaluate import Measured
from loop.train import model_config
from loop.turn_facts import TurnFacts
from loop.workspace import Workspace
from reporting.model import (
    CategoryScore,
    ConditionLine,
    DatasetSummary,
    Interval,
    LabelSummary,
    ModelMetrics,
    RangeScore,
    RecordingLine,
    SelectionCount,
    SelectionRow,
    TrainingSummary,
)
from storage.manifest import DatasetManifest
from training import evaluation

_FEW_BOXES = 10  # a condition with fewer says little
_OF_A_KIND = 5  # conditions shown of one kind
_SEGMENT_WARNING = (
    "There was only one drive, so its end was held out behind a gap. Training and held-out "
    "frames come from the same drive: these figures are optimistic."
)


def recordings_of(workspace: Workspace, facts: TurnFacts) -> tuple[RecordingLine, ...]:
    """Return one line a recording; those of earlier turns are marked as reused."""
    earlier = facts.history[-1]["recordings"] if facts.history else {}
    return tuple(
        RecordingLine(
            recording=row["recording"],
            format=row["format"],
            num_sweeps=row["num_sweeps"],
            num_points=row["num_points"],
            duration_s=(row["end_ns"] - row["start_ns"]) / 1e9,
            status=row["status"],
            reused=earlier.get(row["recording"]) == row["source_digest"],
            message=row["message"],
        )
        for row in workspace.tables.read("recordings").to_pylist()
    )


def selection_of(
    workspace: Workspace, facts: TurnFacts
) -> tuple[tuple[SelectionCount, ...], tuple[SelectionRow, ...]]:
    """Return how many frames each arm chose and why, and the frames themselves."""
    rows = newly_selected(workspace, facts.turn)
    reasons: dict[str, str] = {}
    for row in rows:
        reasons.setdefault(row["arm"], row["reason"])
    counts = Counter(row["arm"] for row in rows)
    chosen = tuple(
        SelectionRow(
            recording=row["recording"],
            timestamp_ns=row["timestamp_ns"],
            arm=row["arm"],
            reason=row["reason"],
            issue_id=row["issue_id"],
            score=row["score"],
        )
        for row in rows
        if row["arm"] != EVALUATION
    )
    lines = tuple(SelectionCount(arm, reasons[arm], n) for arm, n in sorted(counts.items()))
    return lines, chosen


def newly_selected(workspace: Workspace, turn: int) -> list[dict[str, Any]]:
    """Return the rows of a turn's selection that no earlier turn had selected."""
    rows: list[dict[str, Any]] = workspace.tables.read("selections").to_pylist()
    earlier = {(r["recording"], r["timestamp_ns"]) for r in rows if r["turn"] < turn}
    return [
        row
        for row in rows
        if row["turn"] == turn and (row["recording"], row["timestamp_ns"]) not in earlier
    ]


def labels_of(workspace: Workspace, facts: TurnFacts) -> LabelSummary:
    """Return what came back from labelling for this turn's frames."""
    frames = {
        (row["recording"], row["timestamp_ns"]) for row in newly_selected(workspace, facts.turn)
    }
    rows = workspace.tables.read("annotated_frames").to_pylist()
    done = [row for row in rows if (row["recording"], row["timestamp_ns"]) in frames]
    backend = workspace.label_place()
    return LabelSummary(
        num_frames=len(done),
        num_boxes=sum(row["num_boxes"] for row in done),
        backend=backend.name,
        note=backend.note,
        num_waiting=len(frames) - len(done),
    )


def dataset_of(workspace: Workspace, facts: TurnFacts) -> DatasetSummary:
    """Return the dataset's size and how it was split."""
    manifest = DatasetManifest.load(workspace.store, facts.dataset)
    frames = manifest.frames.to_pylist()
    counts = Counter(frame["split"] for frame in frames)
    held_out = {frame["recording"] for frame in frames if frame["split"] == "test"}
    return DatasetSummary(
        digest=manifest.digest,
        num_train=counts["train"],
        num_test=counts["test"],
        num_sim=counts["sim"],
        num_boxes=len(manifest.boxes),
        split_unit=manifest.split_unit,
        warning=_SEGMENT_WARNING if manifest.split_unit == "segment" else "",
        num_test_recordings=len(held_out),
    )


def training_of(workspace: Workspace, facts: TurnFacts) -> TrainingSummary:
    """Return how the candidate was trained."""
    config = model_config(workspace, facts.candidate) or {}
    curve = tuple((int(step), float(loss)) for step, loss in config.get("loss_curve", []))
    return TrainingSummary(
        model_id=facts.candidate,
        device=str(config.get("device", "")),
        iterations=int(config.get("train_config", {}).get("iterations", 0)),
        seconds=float(config.get("seconds", 0.0)),
        loss_curve=curve,
        init_model=facts.champion_before or "",
        reused=facts.candidate in {record["candidate"] for record in facts.history},
    )


def metrics_of(measured: Measured | None) -> ModelMetrics | None:
    """Return a model's metrics by category and range."""
    if measured is None:
        return None
    scores = measured.evaluation
    return ModelMetrics(
        model_id=measured.model_id,
        mean_ap=interval(scores.mean_ap),
        nds=interval(scores.nds),
        num_frames=scores.num_frames,
        categories=tuple(
            CategoryScore(
                category=score.category,
                ap=interval(score.ap),
                num_boxes=score.num_boxes,
                ranges=tuple(
                    RangeScore(r.range_min_m, r.range_max_m, interval(r.ap), r.num_boxes)
                    for r in scores.ranges
                    if r.category == score.category
                ),
            )
            for score in scores.classes
            if score.num_boxes
        ),
        conditions=_conditions(measured),
    )


def _conditions(measured: Measured) -> tuple[ConditionLine, ...]:
    """Return the conditions that say something; of many places and sources only the worst."""
    shown: list[evaluation.ConditionScore] = []
    every = [c for c in measured.conditions if not c.category and c.num_boxes >= _FEW_BOXES]
    for kind in dict.fromkeys(c.kind for c in every):
        of_kind = [c for c in every if c.kind == kind]
        worst = sorted(of_kind, key=lambda c: c.recall.value)[:_OF_A_KIND]
        shown += [c for c in of_kind if c in worst]
    return tuple(
        ConditionLine(f"{c.kind}: {c.value}", interval(c.ap), interval(c.recall), c.num_boxes)
        for c in shown
    )


def interval(value: evaluation.Interval) -> Interval:
    """Return the report's form of an interval."""
    return Interval(value.value, value.low, value.high)
