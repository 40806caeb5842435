"""Answers of people to clips, submitted as the editor submits them."""

from __future__ import annotations

from collections.abc import Mapping

from labeling.annotation import Annotation, ClipBox, Submission
from labeling.clip_store import Answer, ClipStore
from loop.workspace import Workspace
from scene.box import Boxes


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
