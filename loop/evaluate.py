"""Official metrics of a model on the held-out frames of a dataset, with intervals."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from loop.conditions import conditions_of
from loop.evaluation_pictures import draw_pictures
from loop.predictions import load_detector, predict_recording
from loop.workspace import Workspace
from scene.box import Boxes
from scene.errors import NotFoundError
from scene.recording import RecordingId, frame_id, split_frame_id
from storage import layout, lineage, schemas
from storage.lineage import Node
from storage.manifest import DatasetManifest
from training.evaluation import (
    Comparison,
    ConditionScore,
    EvalFrame,
    Evaluation,
    Region,
    compare,
    evaluate,
    score_conditions,
    score_slices,
)
from training.evaluation.curves import calibrate
from training.evaluation.mistakes import find_mistakes

_BLOCK_NS = 2_000_000_000  # frames of the same two seconds are resampled together


@dataclass(frozen=True)
class Measured:
    """Metrics of one model on one dataset.

    Attributes:
        evaluation: nuScenes metrics with intervals.
        slices: AP on parts of the held-out frames, as `training.evaluation.slices` returns them.
        mistakes: `cost` in mAP and `count` of each kind, as `training.evaluation.mistakes` sorts
            them, and `calibration_error`; empty for evaluations made before there were any.
        conditions: the model by points, visibility, speed, place, time and source; empty as above.
    """

    model_id: str
    dataset: str
    evaluation: Evaluation
    slices: list[dict[str, Any]]
    mistakes: dict[str, Any]
    conditions: tuple[ConditionScore, ...] = ()


def evaluate_model(workspace: Workspace, model_id: str, dataset: str, turn: int) -> Measured:
    """Measure a model on a dataset's held-out frames; computed once and kept."""
    key = layout.evaluation(model_id, dataset)
    try:
        return _read(model_id, dataset, json.loads(workspace.store.get(key)))
    except NotFoundError:
        pass
    manifest = DatasetManifest.load(workspace.store, dataset)
    frames = held_out_frames(workspace, manifest, model_id)
    detector = load_detector(workspace, model_id)
    region = Region(*detector.region)
    evaluation = evaluate(frames, workspace.config.categories, region=region)
    slices = score_slices(frames, workspace.config.categories, region=region)
    found = find_mistakes(frames, workspace.config.categories, region=region)
    mistakes = {
        "cost": found.cost,
        "count": found.count,
        "calibration_error": calibrate(evaluation.matches).error,
    }
    known = known_of(workspace, frames)
    conditions = score_conditions(frames, known, workspace.config.categories, region=region)
    measured = Measured(model_id, dataset, evaluation, slices, mistakes, tuple(conditions))
    body = json.dumps(
        {
            "evaluation": evaluation.to_dict(),
            "slices": slices,
            "mistakes": mistakes,
            "conditions": [score.to_dict() for score in conditions],
        }
    ).encode()
    draw_pictures(workspace, (model_id, dataset), frames, evaluation, found)
    _write_rows(workspace, measured, turn)
    stat = workspace.store.put(key, body)
    lineage.record(
        workspace.tables,
        Node("evaluation", key, stat.etag),
        [
            Node("model", f"models/{model_id}", detector.digest),
            Node("dataset", f"datasets/{dataset}", dataset),
        ],
    )
    return measured


def _read(model_id: str, dataset: str, stored: dict[str, Any]) -> Measured:
    return Measured(
        model_id,
        dataset,
        Evaluation.from_dict(stored["evaluation"]),
        stored["slices"],
        stored.get("mistakes", {}),
        tuple(ConditionScore.from_dict(row) for row in stored.get("conditions", [])),
    )


def known_of(workspace: Workspace, frames: Sequence[EvalFrame]) -> list[dict[str, str]]:
    """Return what is known of the circumstances of each frame, see `loop.conditions`."""
    times: dict[str, list[int]] = {}
    for frame in frames:
        recording, time = split_frame_id(frame.frame_id)
        times.setdefault(recording, []).append(time)
    known = {
        frame_id(recording, time): facts
        for recording, stamps in times.items()
        for time, facts in zip(stamps, conditions_of(workspace, recording, stamps), strict=True)
    }
    return [known[frame.frame_id] for frame in frames]


def held_out_frames(
    workspace: Workspace, manifest: DatasetManifest, model_id: str
) -> list[EvalFrame]:
    """Return truth and predictions of every held-out frame."""
    by_recording: dict[str, dict[int, Boxes]] = {}
    for _key, recording, time, truth in manifest.of_split("test"):
        by_recording.setdefault(recording, {})[time] = truth
    frames: list[EvalFrame] = []
    for recording, truths in sorted(by_recording.items()):
        times = sorted(truths)
        predictions = predict_recording(workspace, model_id, RecordingId(recording), times)
        frames.extend(
            EvalFrame(
                frame_id=frame_id(recording, time),
                group=f"{recording}/{(time - times[0]) // _BLOCK_NS}",
                truth=truths[time],
                predictions=predictions[time],
            )
            for time in times
        )
    return frames


def compare_models(before: Measured, after: Measured) -> Comparison:
    """Return the paired difference between two models on the same held-out frames."""
    return compare(before.evaluation, after.evaluation)


def _write_rows(workspace: Workspace, measured: Measured, turn: int) -> None:
    """Write the headline numbers as rows of table `evaluations`, for queries."""
    rows = [
        {
            "model_id": measured.model_id,
            "dataset": measured.dataset,
            "turn": turn,
            "metric": metric,
            "value": interval.value,
            "low": interval.low,
            "high": interval.high,
            "num_boxes": None,
            "num_frames": None,
        }
        for metric, interval in measured.evaluation.headline().items()
    ]
    rows += [
        {
            "model_id": measured.model_id,
            "dataset": measured.dataset,
            "turn": turn,
            "metric": f"AP/{piece['name']}",
            "value": piece["ap"],
            "low": piece["ap_low"],
            "high": piece["ap_high"],
            "num_boxes": piece["num_boxes"],
            "num_frames": piece["num_frames"],
        }
        for piece in measured.slices
    ]
    rows += [
        {
            "model_id": measured.model_id,
            "dataset": measured.dataset,
            "turn": turn,
            "metric": f"{name}/{score.category or 'all'} {score.kind} {score.value}",
            "value": figure.value,
            "low": figure.low,
            "high": figure.high,
            "num_boxes": score.num_boxes,
            "num_frames": score.num_frames,
        }
        for score in measured.conditions
        for name, figure in (("AP", score.ap), ("recall", score.recall))
        if figure.value == figure.value  # NaN: has no precision
    ]
    table = pa.Table.from_pylist(rows, schema=schemas.EVALUATIONS)
    scope = {"model_id": measured.model_id, "dataset": measured.dataset}
    workspace.tables.replace("evaluations", table, scope)
