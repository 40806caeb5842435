"""Frames out to the labelling team, annotations back in."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pyarrow as pa

from labeling.backend import LabelTask
from loop.predictions import predict_recording
from loop.turns import champion_id
from loop.workspace import Workspace
from scene.box import Boxes
from scene.recording import RecordingId
from storage import layout, lineage, schemas
from storage.boxes import boxes_to_arrow
from storage.lineage import Node
from storage.rows import digest_of_rows
from storage.sweeps import SweepFile


def wanted_frames(workspace: Workspace, recording: RecordingId) -> dict[int, int]:
    """Return the frames of a recording ever selected, with the turn that first asked for each."""
    rows: list[dict[str, Any]] = workspace.tables.read(
        "selections", {"recording": recording}
    ).to_pylist()
    wanted: dict[int, int] = {}
    for row in rows:
        time = row["timestamp_ns"]
        wanted[time] = min(int(row["turn"]), wanted.get(time, int(row["turn"])))
    return dict(sorted(wanted.items()))


def push_tasks(workspace: Workspace, recording: RecordingId) -> pa.Table:
    """Send every selected frame that has no task yet; return all tasks of the recording."""
    backend = workspace.label_backend()
    known = workspace.tables.read("label_tasks", {"recording": recording})
    sent = set(known.filter(_equals(known["backend"], backend.name))["timestamp_ns"].to_pylist())
    wanted = wanted_frames(workspace, recording)
    missing = [time for time in wanted if time not in sent]
    if not missing:
        return known
    tasks = list(_tasks(workspace, recording, missing))
    external = backend.push(tasks)
    rows = [
        {
            "task_id": task.task_id,
            "recording": recording,
            "timestamp_ns": task.timestamp_ns,
            "turn": wanted[task.timestamp_ns],
            "backend": backend.name,
            "external_id": external_id,
            "num_prelabels": len(task.prelabels),
        }
        for task, external_id in zip(tasks, external, strict=True)
    ]
    table = pa.concat_tables([known, pa.Table.from_pylist(rows, schema=schemas.LABEL_TASKS)])
    workspace.tables.replace("label_tasks", table, {"recording": recording})
    return table


def _equals(column: pa.ChunkedArray, value: str) -> pa.Array:
    return pa.array([item == value for item in column.to_pylist()], pa.bool_())


def _tasks(
    workspace: Workspace, recording: RecordingId, timestamps_ns: list[int]
) -> Iterator[LabelTask]:
    """Make tasks with the champion's boxes as prelabels, where there is a champion."""
    champion = champion_id(workspace)
    prelabels: dict[int, Boxes] = {}
    if champion is not None:
        prelabels = predict_recording(workspace, champion, recording, timestamps_ns)
    with SweepFile(workspace.store, layout.sweeps(recording)) as sweeps:
        for time in timestamps_ns:
            boxes = prelabels.get(time, Boxes.empty())
            shown = boxes.take(boxes.score >= _PRELABEL_SCORE)
            points = sweeps.read(sweeps.index_of(time)).points_ego_m
            yield LabelTask(recording, time, shown, points)


_PRELABEL_SCORE = 0.3  # below it, deleting a wrong box costs a labeller more than drawing one


def pull_annotations(workspace: Workspace, recording: RecordingId) -> pa.Table:
    """Fetch finished annotations of the recording's tasks; return rows of `annotated_frames`."""
    backend = workspace.label_backend()
    tasks = workspace.tables.read("label_tasks", {"recording": recording})
    frames = [(recording, time) for time in sorted(set(tasks["timestamp_ns"].to_pylist()))]
    results = {result.timestamp_ns: result for result in backend.pull(frames)}
    boxes = boxes_to_arrow(recording, {time: result.boxes for time, result in results.items()})
    rows = [
        annotated_row(recording, time, result.annotator, backend.name, result.boxes)
        for time, result in sorted(results.items())
    ]
    table = pa.Table.from_pylist(rows, schema=schemas.ANNOTATED_FRAMES)
    workspace.tables.replace("annotations", boxes, {"recording": recording})
    workspace.tables.replace("annotated_frames", table, {"recording": recording})
    if rows:
        digest = workspace.tables.read("recordings", {"recording": recording})["sweeps_digest"]
        lineage.record(
            workspace.tables,
            annotation_node(recording, table),
            [Node("sweeps", layout.sweeps(recording), str(digest[0]))],
        )
    return table


def annotation_node(recording: str, annotated: pa.Table) -> Node:
    """Return the lineage node of a recording's annotations."""
    return Node("annotation", f"annotations/{recording}", digest_of_rows(annotated))


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
