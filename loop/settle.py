"""Answers of people become annotations, or questions for a reviewer."""

from __future__ import annotations

from collections.abc import Sequence

import pyarrow as pa

from labeling.clip_task import ClipTask, clips_of_times
from labeling.clips import Purpose
from labeling.qa.settle import Disputed, Settled, settle_frame
from loop.answers import collect_answers, write_answers
from loop.workspace import Workspace
from scene.box import Boxes
from scene.recording import RecordingId
from storage import layout, lineage, schemas
from storage.boxes import boxes_to_arrow
from storage.lineage import Node
from storage.rows import digest_of_rows

# What the digest of a frame's annotation is made of; other columns may change without it.
_DIGESTED = ("recording", "timestamp_ns", "annotator", "backend", "num_boxes", "digest")


def pull_annotations(workspace: Workspace, recording: RecordingId) -> pa.Table:
    """Fetch finished answers and settle them; return rows of `annotated_frames`.

    What people disagree about becomes a review task and is not an annotation until it is decided.
    Everything is computed from the answers anew: killed anywhere, the next run ends the same.
    """
    place = workspace.label_place()
    tasks = workspace.tables.read("label_tasks", {"recording": recording}).to_pylist()
    answers = collect_answers(workspace, recording, tasks)
    write_answers(workspace, recording, answers)
    labels = [answer for answer in answers if answer.purpose != "honeypot"]
    times = sorted({time for answer in labels for time in answer.frames})
    found = {time: settle_frame(time, labels) for time in times}
    settled = {time: one for time, one in found.items() if isinstance(one, Settled)}
    disputed = {time: one for time, one in found.items() if isinstance(one, Disputed)}
    _ask_reviewers(workspace, recording, disputed)
    rows = [
        {
            **annotated_row(recording, time, one.annotator, place.name, one.answer.boxes),
            "review": one.review,
            "seconds": None if one.seconds != one.seconds else one.seconds,  # NaN: not known
        }
        for time, one in settled.items()
    ]
    table = pa.Table.from_pylist(rows, schema=schemas.ANNOTATED_FRAMES)
    workspace.tables.replace("annotations", _boxes(recording, settled), {"recording": recording})
    workspace.tables.replace("annotated_frames", table, {"recording": recording})
    if rows:
        digest = workspace.tables.read("recordings", {"recording": recording})["sweeps_digest"]
        lineage.record(
            workspace.tables,
            annotation_node(recording, table),
            [Node("sweeps", layout.sweeps(recording), str(digest[0]))],
        )
    return table


def _ask_reviewers(
    workspace: Workspace, recording: RecordingId, disputed: dict[int, Disputed]
) -> None:
    """Make a review task of every disputed frame; keep those that are decided as done."""
    before = workspace.tables.read("label_reviews", {"recording": recording}).to_pylist()
    rows = {row["timestamp_ns"]: {**row, "state": "done"} for row in before}
    tasks: dict[int, ClipTask] = {}
    if disputed:
        proposed = {time: one.proposal.boxes for time, one in disputed.items()}
        parts: list[tuple[list[int], Purpose]] = [([time], "review") for time in disputed]
        clips = clips_of_times(workspace.store, recording, parts, proposed)
        tasks = dict(zip(disputed, clips, strict=True))
        workspace.clip_backend().push(clips)
    for time, one in disputed.items():
        rows[time] = {
            "recording": recording,
            "timestamp_ns": time,
            "task_id": tasks[time].task_id,
            "severity": one.disputes[0].severity,
            "reason": "; ".join(dispute.reason for dispute in one.disputes[:5]),
            "state": "waiting",
        }
    table = pa.Table.from_pylist(list(rows.values()), schema=schemas.LABEL_REVIEWS)
    workspace.tables.replace("label_reviews", table, {"recording": recording})


def _boxes(recording: str, settled: dict[int, Settled]) -> pa.Table:
    """Return the rows of table `annotations`."""
    parts = [
        annotation_rows(
            boxes_to_arrow(recording, {time: one.answer.boxes}), one.annotator,
            one.answer.origin.tolist(), one.review, one.seconds,
        )
        for time, one in settled.items()
    ]  # fmt: skip
    return pa.concat_tables([schemas.ANNOTATIONS.empty_table(), *parts])


def annotation_rows(
    boxes: pa.Table,
    annotator: str,
    origin: Sequence[str] | str = "manual",
    review: str = "submitted",
    seconds: float = float("nan"),
) -> pa.Table:
    """Return boxes of one frame, or of frames with the same author, as rows of `annotations`.

    Args:
        boxes: rows of the box schema.
        annotator: who made them.
        origin: of each box, or of all.
        review: state of all.
        seconds: that the frame took; shared out among its boxes.
    """
    count = len(boxes)
    each = None if seconds != seconds or not count else seconds / count
    origins = [origin] * count if isinstance(origin, str) else list(origin)
    columns = {
        "annotator": pa.array([annotator] * count, pa.string()),
        "origin": pa.array(origins, pa.string()),
        "review": pa.array([review] * count, pa.string()),
        "seconds": pa.array([each] * count, pa.float64()),
    }
    for name, column in columns.items():
        boxes = boxes.append_column(name, column)
    return boxes.select(schemas.ANNOTATIONS.names).cast(schemas.ANNOTATIONS)


def annotation_node(recording: str, annotated: pa.Table) -> Node:
    """Return the lineage node of a recording's annotations."""
    digest = digest_of_rows(annotated.select(_DIGESTED))
    return Node("annotation", f"annotations/{recording}", digest)


def annotated_row(
    recording: str, timestamp_ns: int, annotator: str, backend: str, boxes: Boxes
) -> dict[str, object]:
    """Return a row of table `annotated_frames`."""
    rows = boxes_to_arrow(recording, {timestamp_ns: boxes})
    return {
        "recording": recording,
        "timestamp_ns": timestamp_ns,
        "annotator": annotator,
        "backend": backend,
        "num_boxes": len(boxes),
        "digest": digest_of_rows(rows),
    }
