"""What a box costs: `python -m benchmarks.labelling` labels real frames in the real editor.

A scripted labeller opens the editor in Chromium and boxes the same objects three ways, until each
box is as good as the guideline asks: from scratch (a rectangle drawn exactly as dragged, then
corrected), with click-to-fit, and with prelabels. Every action is a real mouse or key event.

The labeller is a model. He knows the answer (the recording's own labels) and aims with an error of
four pixels. Times are not measured, because software WebGL is no workstation, but come from the
keystroke-level model (Card, Moran, Newell: The Keystroke-Level Model, CACM 23(7), 1980): key
0.28 s, pointing 1.10 s, pressing or releasing a button 0.10 s, one decision 1.35 s before every
action and one to look at the finished box. Prelabels are those of the pipeline, the offline tracker
on detections of the whole recording; the detector is simulated, a middling one
(`tests.support.label_faults.jittered_detections`): misses, 0.15 m, 4 degrees, clutter.
"""

from __future__ import annotations

import argparse
import tempfile
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, Final

import numpy as np

from benchmarks.labeller import Cost, Labeller, boxes_of
from labeling.clip_store import ClipStore
from labeling.clip_task import cut_clips
from labeling.serve.access import TokenAccess
from labeling.serve.app import create_app
from labeling.tracking import track_offline
from recordings.open import open_recording
from recordings.recording import Recording
from scene.box import Boxes, count_points, points_in_boxes
from storage import layout
from storage.local import LocalStore
from storage.sweeps import SweepFile, write_sweeps
from tests.support.editor_page import EditorPage, browsing
from tests.support.editor_server import serving
from tests.support.label_faults import jittered_detections
from tests.support.shared_data import ROOT

_WAYS: Final = ("from scratch", "click-to-fit", "prelabels")
_RANGE_M: Final = 35.0
_MIN_POINTS: Final = 30


@dataclass(frozen=True, slots=True, eq=False)
class Frame:
    """One stored frame with its answer.

    Attributes:
        store: a bucket with the sweep.
        recording: its id.
        time_ns: of the sweep.
        truth: objects to label.
        everything: all labels of the frame.
        prelabels: of the tracker.
        points_m: (N, 3) ego frame.
    """

    store: LocalStore
    recording: Any
    time_ns: int
    truth: Boxes
    everything: Boxes
    prelabels: Boxes
    points_m: np.ndarray


def track_detections(recording: Recording) -> dict[int, Boxes]:
    """Return the pipeline's prelabels of every frame, from a simulated detector."""
    truth = dict(sorted((recording.ground_truth or {}).items()))
    found = jittered_detections(truth, np.random.default_rng(5))
    times = np.array(list(found), dtype=np.int64)
    poses = [recording.trajectory.at(int(time)) for time in times]
    tracked = track_offline(list(found.values()), times, poses)
    return dict(zip(found, tracked.boxes, strict=True))


def read_frame(path: Path, folder: Path, number: int, count: int) -> Frame:
    """Store one sweep of a labelled recording and choose objects to label in it."""
    recording = open_recording(path)
    store = LocalStore(folder)
    sweeps = islice(recording.sweeps(), number, number + 1)
    write_sweeps(
        store, layout.sweeps(recording.recording), sweeps, recording.trajectory,
        recording.calibration, sensor=recording.sensor,
    )  # fmt: skip
    with SweepFile(store, layout.sweeps(recording.recording)) as file:
        time_ns, points = int(file.timestamps_ns[0]), file.read(0).points_ego_m
    prelabels = track_detections(recording)[time_ns]
    boxes = count_points(points, (recording.ground_truth or {})[time_ns])
    good = (boxes.num_points >= _MIN_POINTS) & (boxes.range_m() <= _RANGE_M)
    chosen = np.random.default_rng(3).permutation(np.flatnonzero(good))[: 3 * count]
    wanted = boxes.take(chosen)
    return Frame(store, recording.recording, time_ns, wanted, boxes, prelabels, points)


def label(frame: Frame, way: str, count: int) -> Cost:
    """Label the frame one way in a fresh editor and return what it cost."""
    prelabels: dict[int, Boxes] = {}
    if way == "prelabels":
        prelabels = {frame.time_ns: frame.prelabels}
    [task] = cut_clips(frame.store, frame.recording, prelabels=prelabels)
    ClipStore(frame.store).add(task)
    access = TokenAccess.new()
    cost = Cost(way)
    with serving(create_app(frame.store, access)) as address, browsing() as page:
        page.goto(f"{address}/editor/?token={access.tokens[0]}&task={task.task_id}")
        editor = EditorPage(page, inside=False)
        editor.ready()
        editor.press("t")
        page.mouse.move(500, 450)
        page.mouse.wheel(0, 300)
        page.wait_for_timeout(2500)
        editor.idle()
        labeller = Labeller(editor, cost)
        seen = [i for i in range(len(frame.truth)) if _on_screen(editor, frame.truth, i)][:count]
        for i in seen:
            truth = frame.truth.take(np.array([i]))
            _begin(labeller, way, truth, frame.points_m)
            labeller.correct(truth)
            editor.press("Escape")
        if way == "prelabels":
            _remove_clutter(labeller, frame.everything)
    return cost


def _begin(labeller: Labeller, way: str, truth: Boxes, points_m: np.ndarray) -> None:
    """Make a first box of an object, or select its prelabel."""
    if way == "from scratch":
        labeller.draw(truth)
        return
    editor = labeller.editor
    near = [
        box
        for box in editor.state()["boxes"]
        if np.hypot(*(np.array(box["center_xyz_m"]) - truth.center_xyz_m[0])[:2]) < 1.5
    ]
    if way == "prelabels" and near:
        labeller.click(editor.place("project", "perspective", near[0]["center_xyz_m"]))
        if labeller.selected() is not None:
            return
    inside = points_m[points_in_boxes(points_m, truth)[0]]
    middle = np.argsort(np.abs(inside - truth.center_xyz_m[0]).sum(axis=1))[0]
    labeller.fit(truth, inside[middle])


def _remove_clutter(labeller: Labeller, truth: Boxes) -> None:
    """Select and delete the prelabels on the screen that are no object."""
    editor = labeller.editor
    for box in editor.state()["boxes"]:
        away = np.hypot(*(truth.center_xyz_m - box["center_xyz_m"])[:, :2].T)
        if away.min() < 2 or not _on_screen(editor, boxes_of([box]), 0):
            continue
        labeller.click(editor.place("project", "perspective", box["center_xyz_m"]))
        labeller.key("Delete")


def _on_screen(editor: EditorPage, boxes: Boxes, index: int) -> bool:
    """Return whether an object is in the large view, with room around it."""
    size = editor.frame.evaluate(
        "() => {const r = document.querySelector('[data-view=perspective]')"
        ".getBoundingClientRect(); return [r.left, r.top, r.right, r.bottom]}"
    )
    corners = np.column_stack(
        [boxes.corners_bev_m()[index], np.full(4, boxes.center_xyz_m[index, 2])]
    )
    for corner in corners.tolist():
        try:
            x, y = editor.place("project", "perspective", corner)
        except AssertionError:
            return False
        # the legend lies over the lower left corner
        if not (size[0] + 20 < x < size[2] - 20 and size[1] + 40 < y < size[3] - 190):
            return False
    return True


def main() -> None:
    """Label and print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, default=ROOT / "av2_layout" / "pandaset_002")
    parser.add_argument("--frame", type=int, default=0)
    parser.add_argument("--boxes", type=int, default=12)
    parser.add_argument("--way", choices=_WAYS, action="append", help="one or more; else all")
    chosen = parser.parse_args()
    print("| way | boxes | clicks | drags | keys | seconds | of scratch | IoU | not good enough |")
    print("| --- | --- | --- | --- | --- | --- | --- | --- | --- |")
    scratch: Cost | None = None
    with tempfile.TemporaryDirectory(prefix="labelling-") as folder:
        frame = read_frame(chosen.data, Path(folder), chosen.frame, chosen.boxes)
        for way in chosen.way or _WAYS:
            cost = label(frame, way, chosen.boxes)
            scratch = scratch or cost
            print(cost.row(scratch), flush=True)


if __name__ == "__main__":
    main()
