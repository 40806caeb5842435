"""The way of a label on a small drive: clips, honeypots, two people, a reviewer, the figures."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from labeling.clip_store import ClipStore
from loop import label, predictions, prelabel
from loop.answers import known_answers, people_answers
from loop.ingest import ingest_recording
from loop.label import push_tasks
from loop.label_errors import find_label_errors
from loop.label_quality import count_tasks, measure_labels
from loop.label_tables import agreement_table, annotator_table, cost_table, dispute_table
from loop.label_watch import digest_of_answers, open_recordings
from loop.landing import register, scan
from loop.settle import pull_annotations
from loop.workspace import Workspace
from recordings.export.run import export_recording
from scene.box import Boxes
from scene.recording import RecordingId
from storage import layout, schemas
from storage.boxes import arrow_to_boxes
from storage.sweeps import SweepFile
from tests.support.clip_answers import select_frames, submit
from tests.support.label_faults import jittered_detections
from tests.support.label_stage import open_workspace
from tests.support.tiny_recording import TinyRecording

NUM_SELECTED = 3


@pytest.fixture
def selected(tmp_path: Path) -> tuple[Workspace, RecordingId]:
    """The tiny drive with its first frames selected for labelling by people."""
    workspace = open_workspace(tmp_path)
    export_recording(TinyRecording(num_points=1500), "mcap", tmp_path / "landing" / "drive")
    (source,) = scan(workspace)
    register(workspace, source)
    assert ingest_recording(workspace, source.name).status == "ok"
    select_frames(workspace, source.name, sorted(truth(workspace, source.name))[:NUM_SELECTED])
    return workspace, source.name


def truth(workspace: Workspace, name: RecordingId) -> dict[int, Boxes]:
    return known_answers(workspace, name)


def moved(boxes: Boxes, dx: float) -> Boxes:
    return replace(boxes, center_xyz_m=boxes.center_xyz_m + np.array([dx, 0, 0]))


def test_the_way_of_a_label(selected: tuple[Workspace, RecordingId]) -> None:
    workspace, name = selected
    tasks = push_tasks(workspace, name).to_pylist()
    assert push_tasks(workspace, name).to_pylist() == tasks
    asked = [row for row in tasks if row["purpose"] == "label"]
    pots = [row for row in tasks if row["purpose"] == "honeypot"]
    assert len(asked) == NUM_SELECTED
    assert len({row["task_id"] for row in asked}) == 1  # one clip
    assert len(pots) == 1  # a fifth, rounded up
    assert len(list(ClipStore(workspace.store).task_ids())) == 2

    right = truth(workspace, name)
    clip, times = asked[0]["task_id"], [row["timestamp_ns"] for row in asked]
    assert pull_annotations(workspace, name).num_rows == 0
    before = digest_of_answers(workspace, name)

    # Both people shift everything a little; b does not see the last frame's objects.
    first = {time: moved(right[time], 0.10) for time in times}
    second = {time: moved(right[time], -0.06) for time in times[:-1]}
    submit(workspace, clip, "a", first, 80.0)
    submit(workspace, clip, "b", second, 40.0)
    pot = pots[0]
    submit(
        workspace,
        pot["task_id"],
        "a",
        {pot["timestamp_ns"]: moved(right[pot["timestamp_ns"]], 0.1)},
    )
    assert open_recordings(workspace) == [name]
    assert digest_of_answers(workspace, name) != before

    rows = pull_annotations(workspace, name).to_pylist()
    assert [row["timestamp_ns"] for row in rows] == times[:-1]
    assert {(row["annotator"], row["review"]) for row in rows} == {("a+b", "submitted")}
    assert sum(row["seconds"] for row in rows) < 120.0
    labels = arrow_to_boxes(workspace.tables.read("annotations", {"recording": name}))
    shift = labels[times[0]].center_xyz_m - right[times[0]].center_xyz_m
    np.testing.assert_allclose(shift[:, 0], 0.02, atol=1e-3)
    counts = count_tasks(workspace)
    assert (counts.num_sent, counts.num_done, counts.num_waiting) == (3, 2, 1)
    assert (counts.num_honeypots, counts.num_in_review) == (1, 1)

    quality = measure_labels(workspace)
    assert quality.agreement[0].num_frames == NUM_SELECTED
    people = {row.annotator: row for row in quality.annotators}
    along = people["a"].along_cm.value, people["b"].along_cm.value
    assert abs(along[0]) > abs(along[1]) > 1.0
    assert people["a"].seconds_per_box.value > 0
    assert quality.worst[0][0] == (name, times[-1])
    assert workspace.store.get(layout.label_picture(0)).startswith(b"\x89PNG")
    for table in (agreement_table, annotator_table, cost_table, dispute_table):
        assert table(quality)

    (review,) = workspace.tables.read("label_reviews").to_pylist()
    assert review["state"] == "waiting"
    assert "not by b" in review["reason"]
    submit(workspace, review["task_id"], "c", {times[-1]: right[times[-1]]}, 20.0)
    rows = pull_annotations(workspace, name).to_pylist()
    assert len(rows) == NUM_SELECTED
    assert (rows[-1]["annotator"], rows[-1]["review"]) == ("c", "fixed")
    assert workspace.tables.read("label_reviews")["state"].to_pylist() == ["done"]
    assert count_tasks(workspace).num_waiting == 0
    kept = people_answers(workspace)
    assert sorted((r.annotator, r.purpose) for r in kept) == [
        ("a", "honeypot"), ("a", "label"), ("b", "label"), ("c", "review"),
    ]  # fmt: skip
    assert sum(r.seconds for r in kept) == pytest.approx(200.0)
    assert find_label_errors(workspace, name).schema == schemas.LABEL_ERRORS


def test_a_honeypot_that_is_selected_later_is_labelled(
    selected: tuple[Workspace, RecordingId],
) -> None:
    workspace, name = selected
    first = push_tasks(workspace, name).to_pylist()
    (pot,) = [row["timestamp_ns"] for row in first if row["purpose"] == "honeypot"]
    select_frames(workspace, name, workspace.tables.read("frames")["timestamp_ns"].to_pylist())
    rows = push_tasks(workspace, name).to_pylist()
    assert len(rows) == 6
    assert {row["timestamp_ns"]: row["purpose"] for row in rows}[pot] == "label"


def test_prelabels_are_tracked_and_shown(
    selected: tuple[Workspace, RecordingId], monkeypatch: pytest.MonkeyPatch
) -> None:
    workspace, name = selected
    rng = np.random.default_rng(0)
    with SweepFile(workspace.store, layout.sweeps(name)) as sweeps:
        times = sweeps.timestamps_ns.tolist()
    right = truth(workspace, name)
    found = jittered_detections({t: right.get(t, Boxes.empty()) for t in times}, rng)
    found = {t: boxes.take(boxes.score > 0.6) for t, boxes in found.items()}
    predictions._store(workspace, "m-1", name, found)
    for module in (prelabel, label):  # which model is the champion; everything else is real
        monkeypatch.setattr(module, "champion_id", lambda _: "m-1")
    made = prelabel.prelabel_recording(workspace, name)
    assert not made.reused
    assert made.num_frames >= NUM_SELECTED
    assert made.num_filled >= 1  # nothing was detected at the third sweep: it has no truth
    again = prelabel.prelabel_recording(workspace, name)
    assert again == replace(made, reused=True)
    rows = push_tasks(workspace, name).to_pylist()
    shown = prelabel.read_prelabels(workspace, name, "m-1") or {}
    assert all(row["num_prelabels"] == len(shown.get(row["timestamp_ns"], ())) for row in rows)
    task = ClipStore(workspace.store).get(rows[0]["task_id"])
    assert len({box.track_id for box in task.prelabels}) == len(
        {track for row in rows if row["task_id"] == task.task_id
         for track in shown[row["timestamp_ns"]].track_id.tolist()}
    )  # fmt: skip
    assert prelabel.read_prelabels(workspace, name, "m-2") is None
