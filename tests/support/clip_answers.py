"""Frames chosen for people, and their answers, submitted as the editor submits them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pyarrow as pa

from labeling.annotation import Annotation, ClipBox, Submission
from labeling.clip_store import Answer, ClipStore
from loop.workspace import Workspace
from scene.box import Boxes
from scene.recording import RecordingId
from storage import schemas


def select_frames(workspace: Workspace, recording: RecordingId, times_ns: Sequence[int]) -> None:
    """Choose frames for labelling, in the place of those chosen before."""
    row = {"turn": 0, "recording": recording, "arm": "trigger", "reason": "", "issue_id": ""}
    rows = [{**row, "timestamp_ns": time, "score": 1} for time in times_ns]
    table = pa.Table.from_pylist(rows, schema=schemas.SELECTIONS)
    workspace.tables.replace("selections", table, {"turn": 0})


def submit(
    workspace: Workspace,
    task_id: str,
    annotator: str,
    frames: Mapping[int, Boxes],
    seconds: float = 60.0,
) -> Answer:
    """Submit boxes by time to a clip; the same call again changes nothing."""
    clips = ClipStore(workspace.store)
    task = clips.get(task_id)
    boxes = [
        ClipBox(
            track_id=str(found.track_id[i]) or f"n{i}",
            frame=index,
            category=str(found.category[i]),
            center_xyz_m=tuple(found.center_xyz_m[i].tolist()),
            size_lwh_m=tuple(found.size_lwh_m[i].tolist()),
            yaw_rad=float(found.yaw_rad[i]),
        )
        for index, time in enumerate(task.timestamps_ns)
        if time in frames
        for found in [frames[time]]
        for i in range(len(found))
    ]
    submission = Submission(
        submission_id=f"{annotator}-{task_id}",
        annotation=Annotation(boxes=boxes, time_spent_s=seconds),
        lead_time_s=seconds,
    )
    return clips.submit(task, annotator, submission)
