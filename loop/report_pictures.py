"""Which frames to show: where the turn changed most, what was labelled, what still fails."""

from __future__ import annotations

import numpy as np

from loop.evaluation_pictures import stored_pictures
from loop.predictions import predict_recording
from loop.turn_facts import TurnFacts
from loop.workspace import Workspace
from reporting.model import Picture
from reporting.pictures import bev_png, missed_labels
from scene.bev import BevView
from scene.box import Boxes
from scene.recording import RecordingId
from storage import layout
from storage.boxes import arrow_to_boxes
from storage.manifest import DatasetManifest
from storage.sweeps import SweepFile

_SHOWN_SCORE = 0.3
_WIDE = BevView(-8.0, 37.0, -16.0, 16.0, 0.06)


def pictures_of(workspace: Workspace, facts: TurnFacts) -> tuple[Picture, ...]:
    """Return the pictures of a turn: the biggest change first, as champion and candidate saw it."""
    manifest = DatasetManifest.load(workspace.store, facts.dataset)
    held_out = {(rec, t): boxes for _, rec, t, boxes in manifest.of_split("test")}
    pictures: list[Picture] = []
    frame = _most_changed(workspace, facts, held_out)
    if frame is not None:
        truth = held_out[frame]
        pictures.append(_held_out(workspace, frame, truth, "Candidate", facts.candidate, hero=True))
        if facts.champion_before:
            models = [("Champion", facts.champion_before), ("Candidate", facts.candidate)]
            pictures.extend(_held_out(workspace, frame, truth, *model) for model in models)
    pictures.extend(_labelled(workspace, facts))
    drawn = stored_pictures(workspace, facts.candidate, facts.dataset)
    pictures.extend(Picture(f"{caption}: {facts.candidate}", png) for caption, png in drawn.items())
    return tuple(pictures)


def _held_out(
    workspace: Workspace,
    frame: tuple[str, int],
    truth: Boxes,
    name: str,
    model_id: str,
    *,
    hero: bool = False,
) -> Picture:
    """Return one held-out frame as one model saw it; the hero of the page lies on its side."""
    recording, time = RecordingId(frame[0]), frame[1]
    predictions = predict_recording(workspace, model_id, recording, [time])[time]
    with SweepFile(workspace.store, layout.sweeps(recording)) as sweeps:
        points = sweeps.read(sweeps.index_of(time)).points_ego_m
    png = bev_png(
        points,
        truth,
        predictions,
        title=f"{name} {model_id}",
        view=_WIDE if hero else None,
        forward="right" if hero else "up",
    )
    caption = f"{name} on a held-out frame of {recording}: annotations dashed, predictions solid"
    return Picture(caption, png)


def _most_changed(
    workspace: Workspace, facts: TurnFacts, held_out: dict[tuple[str, int], Boxes]
) -> tuple[str, int] | None:
    """Return the held-out frame in which the candidate finds most that the champion missed."""
    best, best_gain = None, -np.inf
    by_recording: dict[str, list[int]] = {}
    for recording, time in sorted(held_out):
        by_recording.setdefault(recording, []).append(time)
    for recording, times in by_recording.items():
        missed = [
            _missed(workspace, model_id, recording, times, held_out)
            for model_id in (facts.champion_before or facts.candidate, facts.candidate)
        ]
        for time, before, after in zip(times, *missed, strict=True):
            gain = before - after + 1e-3 * len(held_out[recording, time])
            if gain > best_gain:
                best, best_gain = (recording, time), gain
    return best


def _missed(
    workspace: Workspace,
    model_id: str,
    recording: str,
    times: list[int],
    held_out: dict[tuple[str, int], Boxes],
) -> list[int]:
    predictions = predict_recording(workspace, model_id, RecordingId(recording), times)
    return [
        int(
            missed_labels(
                held_out[recording, time],
                predictions[time].take(predictions[time].score >= _SHOWN_SCORE),
            ).sum()
        )
        for time in times
    ]


def _labelled(workspace: Workspace, facts: TurnFacts) -> list[Picture]:
    """Return the first frame that each arm chose, with the boxes that labelling gave it."""
    rows = workspace.tables.read("selections", {"turn": facts.turn}).to_pylist()
    order = {"issue": 0, "trigger": 1, "uncertainty": 2, "bootstrap": 3}
    rows = [row for row in rows if row["arm"] in order]
    rows.sort(key=lambda row: (order[row["arm"]], -row["score"], row["recording"]))
    pictures: list[Picture] = []
    for row in rows[:1]:
        recording, time = RecordingId(row["recording"]), row["timestamp_ns"]
        labels = workspace.tables.read("annotations", {"recording": recording})
        boxes = arrow_to_boxes(labels).get(time, Boxes.empty())
        with SweepFile(workspace.store, layout.sweeps(recording)) as sweeps:
            points = sweeps.read(sweeps.index_of(time)).points_ego_m
        png = bev_png(points, boxes, None, title=f"labelled: {row['arm']}")
        pictures.append(Picture(f"A frame chosen for labelling: {row['reason']}", png))
    return pictures
