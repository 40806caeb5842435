"""Columns of every table. Times are int64 nanoseconds; free-form detail is JSON text."""

from __future__ import annotations

from typing import Final

import pyarrow as pa

from storage.boxes import BOX_SCHEMA

_TEXT, _INT, _FLOAT, _BOOL = pa.string(), pa.int64(), pa.float64(), pa.bool_()


def _schema(**columns: pa.DataType) -> pa.Schema:
    return pa.schema([pa.field(name, kind) for name, kind in columns.items()])


RECORDINGS: Final = _schema(
    recording=_TEXT, source=_TEXT, source_digest=_TEXT, format=_TEXT, sensor=_TEXT, status=_TEXT,
    message=_TEXT, start_ns=_INT, end_ns=_INT, num_sweeps=_INT, num_points=_INT, size_bytes=_INT,
    has_ground_truth=_BOOL, sweeps_digest=_TEXT, code_version=_TEXT, findings=_TEXT,
)  # fmt: skip
FINGERPRINTS: Final = _schema(word=_INT, recording=_TEXT)
FRAMES: Final = _schema(
    recording=_TEXT, timestamp_ns=_INT, index=_INT, num_points=_INT, x_m=_FLOAT, y_m=_FLOAT,
    yaw_rad=_FLOAT, speed_mps=_FLOAT,
)  # fmt: skip
EVENTS: Final = _schema(
    recording=_TEXT, trigger=_TEXT, start_ns=_INT, end_ns=_INT, strength=_FLOAT, detail=_TEXT,
)  # fmt: skip
SELECTIONS: Final = _schema(
    turn=_INT, recording=_TEXT, timestamp_ns=_INT, arm=_TEXT, reason=_TEXT, issue_id=_TEXT,
    score=_FLOAT,
)  # fmt: skip
LABEL_TASKS: Final = _schema(
    task_id=_TEXT, recording=_TEXT, timestamp_ns=_INT, turn=_INT, backend=_TEXT, external_id=_TEXT,
    num_prelabels=_INT, purpose=_TEXT, num_people=_INT,
)  # fmt: skip
ANNOTATED_FRAMES: Final = _schema(
    recording=_TEXT, timestamp_ns=_INT, annotator=_TEXT, backend=_TEXT, num_boxes=_INT,
    digest=_TEXT, review=_TEXT, seconds=_FLOAT,
)  # fmt: skip
ANNOTATIONS: Final = pa.schema(
    [*BOX_SCHEMA, *_schema(annotator=_TEXT, origin=_TEXT, review=_TEXT, seconds=_FLOAT)]
)
LABEL_ANSWERS: Final = _schema(
    recording=_TEXT, timestamp_ns=_INT, task_id=_TEXT, purpose=_TEXT, annotator=_TEXT,
    external_id=_TEXT, review=_TEXT, submitted_ns=_INT, seconds=_FLOAT, num_boxes=_INT,
    num_deleted=_INT,
)  # fmt: skip
LABEL_ANSWER_BOXES: Final = pa.schema([*BOX_SCHEMA, *_schema(external_id=_TEXT, origin=_TEXT)])
LABEL_REVIEWS: Final = _schema(
    recording=_TEXT, timestamp_ns=_INT, task_id=_TEXT, severity=_FLOAT, reason=_TEXT, state=_TEXT,
)  # fmt: skip
LABEL_ERRORS: Final = _schema(
    recording=_TEXT, timestamp_ns=_INT, kind=_TEXT, score=_FLOAT, category=_TEXT, track_id=_TEXT,
    x_m=_FLOAT, y_m=_FLOAT, z_m=_FLOAT, reason=_TEXT, num_boxes=_INT,
)  # fmt: skip
LABEL_QUALITY: Final = _schema(
    part=_TEXT, subject=_TEXT, metric=_TEXT, value=_FLOAT, low=_FLOAT, high=_FLOAT, num=_INT,
)  # fmt: skip
DATASETS: Final = _schema(
    digest=_TEXT, turn=_INT, num_train=_INT, num_test=_INT, num_sim=_INT, num_boxes=_INT,
    split_unit=_TEXT,
)  # fmt: skip
MODELS: Final = _schema(
    model_id=_TEXT, turn=_INT, dataset=_TEXT, init_model=_TEXT, onnx_digest=_TEXT, device=_TEXT,
    seconds=_FLOAT, iterations=_INT,
)  # fmt: skip
EVALUATIONS: Final = _schema(
    model_id=_TEXT, dataset=_TEXT, turn=_INT, metric=_TEXT, value=_FLOAT, low=_FLOAT, high=_FLOAT,
    num_boxes=_INT, num_frames=_INT,
)  # fmt: skip
SIMULATIONS: Final = _schema(
    model_id=_TEXT, suite=_TEXT, scenario=_TEXT, turn=_INT, verdict=_TEXT, collision=_BOOL,
    impact_speed_mps=_FLOAT, min_ttc_s=_FLOAT, first_failed_frame=_INT, ground_truth_passes=_BOOL,
)  # fmt: skip
RELEASES: Final = _schema(
    model_id=_TEXT, turn=_INT, approved=_BOOL, onnx_digest=_TEXT, reasons=_TEXT,
)  # fmt: skip
ISSUES: Final = _schema(
    issue_id=_TEXT, kind=_TEXT, title=_TEXT, category=_TEXT, slice_name=_TEXT, scenario=_TEXT,
    range_min_m=_FLOAT, range_max_m=_FLOAT, near=_TEXT, evidence=_TEXT, rate_per_hour=_FLOAT,
    state=_TEXT, opened_turn=_INT, updated_turn=_INT,
)  # fmt: skip
LINEAGE: Final = _schema(
    child_kind=_TEXT, child_key=_TEXT, child_digest=_TEXT, parent_kind=_TEXT, parent_key=_TEXT,
    parent_digest=_TEXT,
)  # fmt: skip
AUDIT: Final = _schema(at_ns=_INT, actor=_TEXT, action=_TEXT, subject=_TEXT, detail=_TEXT)

SCHEMAS: Final[dict[str, pa.Schema]] = {
    "recordings": RECORDINGS,
    "fingerprints": FINGERPRINTS,
    "frames": FRAMES,
    "boxes": BOX_SCHEMA,
    "events": EVENTS,
    "selections": SELECTIONS,
    "label_tasks": LABEL_TASKS,
    "annotated_frames": ANNOTATED_FRAMES,
    "annotations": ANNOTATIONS,
    "label_answers": LABEL_ANSWERS,
    "label_answer_boxes": LABEL_ANSWER_BOXES,
    "label_reviews": LABEL_REVIEWS,
    "label_errors": LABEL_ERRORS,
    "label_quality": LABEL_QUALITY,
    "datasets": DATASETS,
    "models": MODELS,
    "evaluations": EVALUATIONS,
    "simulations": SIMULATIONS,
    "releases": RELEASES,
    "issues": ISSUES,
    "lineage": LINEAGE,
    "audit": AUDIT,
}
