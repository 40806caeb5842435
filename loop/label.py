"""Frames out to the labelling team; `loop.settle` takes back what they answer."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import pyarrow as pa

from labeling.backend import LabelTask, task_id_of
from labeling.clip_task import DEFAULT_LENGTH as CLIP_LENGTH
from labeling.clip_task import clips_of_times
from labeling.clips import Purpose
from labeling.overlap import ask_people, people_for
from labeling.qa.honeypots import choose_honeypots
from loop.answers import known_answers
from loop.predictions import predict_recording
from loop.prelabel import read_prelabels
from loop.turns import champion_id
from loop.workspace import Workspace
from scene.box import Boxes
from scene.recording import RecordingId
from storage import layout, schemas
from storage.sweeps import SweepFile

_PRELABEL_SCORE = 0.3  # below it, deleting a wrong box costs a labeller more than drawing one


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
    """Send every selected frame that has no task yet; return all tasks of the recording.

    Where people label, some frames with a known answer go along, by digest: honeypots. Killed
    between sending and writing it down, the next run finds the same tasks there.
    """
    place = workspace.label_place()
    wanted = wanted_frames(workspace, recording)
    known = _known_tasks(workspace, recording, wanted)
    sent = set(known.filter(_equals(known["backend"], place.name))["timestamp_ns"].to_pylist())
    purpose: dict[int, Purpose] = {time: "label" for time in wanted if time not in sent}
    purpose |= dict.fromkeys(_honeypots(workspace, recording, wanted, sent), "honeypot")
    send = _send_clips if workspace.labels_clips else _send_frames
    new = [
        {
            "task_id": one.task_id,
            "recording": recording,
            "timestamp_ns": one.timestamp_ns,
            "turn": wanted.get(one.timestamp_ns, max(wanted.values())),
            "backend": place.name,
            "external_id": one.external_id,
            "num_prelabels": one.num_prelabels,
            "purpose": purpose[one.timestamp_ns],
            "num_people": one.num_people,
        }
        for one in (send(workspace, recording, purpose) if purpose else [])
    ]
    table = pa.concat_tables([known, pa.Table.from_pylist(new, schema=schemas.LABEL_TASKS)])
    if len(table):
        workspace.tables.replace("label_tasks", table, {"recording": recording})
    return table


class _Sent(NamedTuple):
    """One frame that was sent for labelling."""

    timestamp_ns: int
    task_id: str
    external_id: str
    num_prelabels: int
    num_people: int


def _send_frames(
    workspace: Workspace, recording: RecordingId, purpose: Mapping[int, Purpose]
) -> list[_Sent]:
    """Send frames as pictures from above, each a task of its own."""
    tasks = list(_tasks(workspace, recording, sorted(purpose)))
    external = workspace.label_backend().push(tasks)
    return [
        _Sent(task.timestamp_ns, task.task_id, external_id, len(task.prelabels), task.num_people)
        for task, external_id in zip(tasks, external, strict=True)
    ]


def _send_clips(
    workspace: Workspace, recording: RecordingId, purpose: Mapping[int, Purpose]
) -> list[_Sent]:
    """Send frames as clips for the 3D editor; a honeypot is a clip of its own."""
    asked = sorted(time for time, why in purpose.items() if why == "label")
    parts = [asked[i : i + CLIP_LENGTH] for i in range(0, len(asked), CLIP_LENGTH)]
    parts += [[time] for time, why in sorted(purpose.items()) if why == "honeypot"]
    prelabels = _prelabels(workspace, recording, sorted(purpose))
    clips = clips_of_times(
        workspace.store, recording, [(times, purpose[times[0]]) for times in parts], prelabels
    )
    tasks = ask_people(clips, workspace.labeling.overlap_share)
    external = workspace.clip_backend().push(tasks).external_ids
    return [
        _Sent(time, task.task_id, external[task.task_id],
              sum(box.frame == index for box in task.prelabels), task.num_people)
        for task in tasks
        for index, time in enumerate(task.timestamps_ns)
    ]  # fmt: skip


def _known_tasks(workspace: Workspace, recording: RecordingId, wanted: dict[int, int]) -> pa.Table:
    """Return the recording's tasks; a honeypot that was selected meanwhile is one no longer."""
    rows = workspace.tables.read("label_tasks", {"recording": recording}).to_pylist()
    for row in rows:
        asked = row["timestamp_ns"] in wanted or row["purpose"] is None
        row["purpose"] = "label" if asked else row["purpose"]
    return pa.Table.from_pylist(rows, schema=schemas.LABEL_TASKS)


def _honeypots(
    workspace: Workspace, recording: RecordingId, wanted: dict[int, int], sent: set[int]
) -> list[int]:
    """Return the frames with a known answer to send along; none where nobody is asked."""
    share = workspace.labeling.honeypot_share
    if not workspace.people_label or not wanted or not share:
        return []
    known = [(str(recording), time) for time in known_answers(workspace, recording)]
    free = [frame for frame in known if frame[1] not in wanted]
    chosen = [time for _, time in choose_honeypots(free, len(wanted), share)]
    return [time for time in chosen if time not in sent]


def _equals(column: pa.ChunkedArray, value: str) -> pa.Array:
    return pa.array([item == value for item in column.to_pylist()], pa.bool_())


def _tasks(
    workspace: Workspace, recording: RecordingId, timestamps_ns: list[int]
) -> Iterator[LabelTask]:
    """Make tasks with tracked prelabels, else the champion's boxes where there is one."""
    prelabels = _prelabels(workspace, recording, timestamps_ns)
    share = workspace.labeling.overlap_share if workspace.people_label else 0.0
    with SweepFile(workspace.store, layout.sweeps(recording)) as sweeps:
        for time in timestamps_ns:
            points = sweeps.read(sweeps.index_of(time)).points_ego_m
            boxes = prelabels.get(time, Boxes.empty())
            people = people_for(task_id_of(recording, time), share)
            yield LabelTask(recording, time, boxes, points, people)


def _prelabels(
    workspace: Workspace, recording: RecordingId, timestamps_ns: list[int]
) -> dict[int, Boxes]:
    champion = champion_id(workspace)
    if champion is None:
        return {}
    tracked = read_prelabels(workspace, recording, champion)
    if tracked is not None:
        return tracked
    found = predict_recording(workspace, champion, recording, timestamps_ns)
    return {time: boxes.take(boxes.score >= _PRELABEL_SCORE) for time, boxes in found.items()}
