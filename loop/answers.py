"""Everything people said about frames, kept as they said it: tables of answers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pyarrow as pa

from labeling.clips import ClipResult, FrameAnswer
from labeling.embedded import ANNOTATOR
from labeling.qa.settle import seconds_of_frame
from loop.workspace import Workspace
from scene.box import Boxes
from scene.recording import RecordingId
from storage import schemas
from storage.boxes import arrow_to_boxes, boxes_to_arrow


def collect_answers(
    workspace: Workspace, recording: RecordingId, tasks: Sequence[dict[str, Any]]
) -> list[ClipResult]:
    """Return every answer to tasks of a recording, from the backend and from clips of the bucket.

    Args:
        workspace: the bucket and its tables.
        recording: its id.
        tasks: its rows of table `label_tasks`.
    """
    frames = [(str(recording), time) for time in sorted({row["timestamp_ns"] for row in tasks})]
    pots = {row["timestamp_ns"] for row in tasks if row["purpose"] == "honeypot"}
    asked = frames and not workspace.labels_clips
    found = [
        replace(answer, purpose="honeypot") if answer.frames.keys() <= pots else answer
        for answer in (workspace.label_backend().answers(frames) if asked else [])
    ]
    found += workspace.clip_backend().results(recording)
    return sorted(found, key=lambda answer: (answer.task_id, answer.external_id))


def write_answers(
    workspace: Workspace, recording: RecordingId, answers: Sequence[ClipResult]
) -> None:
    """Put the answers in the place of all earlier ones of the recording."""
    boxes = pa.concat_tables([schemas.LABEL_ANSWER_BOXES.empty_table(), *map(_boxes, answers)])
    rows = [row for answer in answers for row in _rows(answer)]
    table = pa.Table.from_pylist(rows, schema=schemas.LABEL_ANSWERS)
    workspace.tables.replace("label_answer_boxes", boxes, {"recording": recording})
    workspace.tables.replace("label_answers", table, {"recording": recording})


def _rows(answer: ClipResult) -> list[dict[str, Any]]:
    """Return a row a frame; the task's time is shared out among them."""
    return [
        {
            "recording": answer.recording,
            "timestamp_ns": time,
            "task_id": answer.task_id,
            "purpose": answer.purpose,
            "annotator": answer.annotator,
            "external_id": answer.external_id,
            "review": answer.review,
            "submitted_ns": answer.submitted_ns,
            "seconds": None if answer.seconds != answer.seconds else seconds_of_frame(answer, time),
            "num_boxes": len(frame.boxes),
            "num_deleted": frame.num_deleted,
        }
        for time, frame in answer.frames.items()
    ]


def _boxes(answer: ClipResult) -> pa.Table:
    times = sorted(answer.frames)
    rows = boxes_to_arrow(answer.recording, {time: answer.frames[time].boxes for time in times})
    origin = [name for time in times for name in answer.frames[time].origin.tolist()]
    rows = rows.append_column(
        "external_id", pa.array([answer.external_id] * len(rows), pa.string())
    )
    rows = rows.append_column("origin", pa.array(origin, pa.string()))
    return rows.cast(schemas.LABEL_ANSWER_BOXES)


def people_answers(workspace: Workspace, recording: str | None = None) -> list[ClipResult]:
    """Return the answers of people in the tables, without those of recordings' own ground truth."""
    where = {} if recording is None else {"recording": recording}
    rows = workspace.tables.read("label_answers", where).to_pylist()
    rows = [row for row in rows if row["annotator"] != ANNOTATOR]
    if not rows:
        return []
    boxes = _by_answer(workspace.tables.read("label_answer_boxes", where))
    nothing = schemas.LABEL_ANSWER_BOXES.empty_table()
    grouped: dict[tuple[str, str, str], list[dict[str, Any]]] = {}
    for row in rows:
        grouped.setdefault((row["recording"], row["task_id"], row["external_id"]), []).append(row)
    return [
        _result(group, boxes.get((key[0], key[2]), nothing))
        for key, group in sorted(grouped.items())
    ]


def _by_answer(table: pa.Table) -> dict[tuple[str, str], pa.Table]:
    """Return the rows of each answer, by recording and id."""
    table = table.sort_by([("recording", "ascending"), ("external_id", "ascending")])
    keys = list(zip(table["recording"].to_pylist(), table["external_id"].to_pylist(), strict=True))
    starts = [i for i, key in enumerate(keys) if not i or key != keys[i - 1]]
    ends = [*starts[1:], len(keys)]
    return {keys[i]: table.slice(i, end - i) for i, end in zip(starts, ends, strict=False)}


def _result(rows: Sequence[dict[str, Any]], boxes: pa.Table) -> ClipResult:
    frames = arrow_to_boxes(boxes)
    origin = np.array(boxes["origin"].to_pylist(), dtype=np.str_)
    times = boxes["timestamp_ns"].to_numpy()
    first = rows[0]
    seconds = [row["seconds"] for row in rows]
    return ClipResult(
        first["task_id"],
        first["recording"],
        {
            row["timestamp_ns"]: FrameAnswer(
                frames.get(row["timestamp_ns"], Boxes.empty()),
                origin[times == row["timestamp_ns"]],
                row["num_deleted"],
            )
            for row in rows
        },
        first["annotator"],
        first["external_id"],
        float("nan") if None in seconds else float(sum(seconds)),
        first["submitted_ns"],
        first["review"],
        first["purpose"],
    )


def known_answers(workspace: Workspace, recording: str) -> dict[int, Boxes]:
    """Return frames whose right boxes are known: ground truth, and what a reviewer settled."""
    where = {"recording": recording}
    facts = workspace.tables.read("recordings", where, ["has_ground_truth"])
    known: dict[int, Boxes] = {}
    if any(facts["has_ground_truth"].to_pylist()):
        known |= arrow_to_boxes(workspace.tables.read("boxes", where))
    frames = workspace.tables.read("annotated_frames", where).to_pylist()
    settled = [
        row["timestamp_ns"] for row in frames if row["review"] in {"accepted", "fixed"}
    ]  # fmt: skip
    if settled:
        boxes = arrow_to_boxes(workspace.tables.read("annotations", where))
        known |= {time: boxes.get(time, Boxes.empty()) for time in settled}
    return dict(sorted(known.items()))
