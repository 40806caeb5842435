"""Recordings without a lidar: kept, checked and shown, and passed over where sweeps are needed."""

from __future__ import annotations

import io
import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image as Picture

from loop.curate import detect_events, load_drive, select, splits, usable_recordings
from loop.ingest import IngestResult, ingest_recording
from loop.label import push_tasks
from loop.landing import register, scan
from loop.settle import pull_annotations
from loop.streams import without_lidar
from loop.workspace import Workspace
from recordings.recording import Damage, Recording, Topic, empty_trajectory, identity_trajectory
from reporting.signal_pictures import signals_png
from scene.calibration import Calibration
from scene.errors import FormatError
from scene.recording import RecordingId
from scene.signal import Signal
from scene.sweep import Sweep
from storage import layout
from storage.images import read_images
from storage.signals import read_signals
from tests.support.lerobot_writer import CAMERA, FIELDS, episode_values, write_v2
from tests.support.ros_writer import RosWriter, make
from tests.support.workspaces import make_workspace

NAME = RecordingId("arm_episode_000003")


def landed(workspace: Workspace) -> IngestResult:
    (source,) = scan(workspace)
    register(workspace, source)
    return ingest_recording(workspace, source.name)


def arm(workspace: Workspace) -> Path:
    return write_v2(Path(workspace.landing.url.removeprefix("file://")) / "arm", {3: 40})


def test_an_episode_is_kept_whole_with_a_note(tmp_path: Path) -> None:
    workspace = make_workspace(tmp_path)
    arm(workspace)
    result = landed(workspace)
    assert (result.recording, result.status, result.num_sweeps) == (NAME, "ok", 0)
    assert result.message == (
        "no lidar: kept are signals observation.state, action, next.reward; 40 images. Checks and "
        "events only, no frames to label"
    )
    assert [finding.code for finding in result.findings] == []
    signals = {signal.name: signal for signal in read_signals(workspace.store, NAME)}
    assert signals["observation.state"].fields == tuple(FIELDS)
    np.testing.assert_array_equal(signals["action"].values, episode_values(3, 40)[1])
    images = list(read_images(workspace.store, layout.images(NAME)))
    assert [(image.sensor, image.index) for image in images] == [(CAMERA, i) for i in range(40)]
    (row,) = workspace.tables.read("recordings").to_pylist()
    assert (row["start_ns"], row["end_ns"]) == (0, 1_950_000_000)
    picture = Picture.open(io.BytesIO(workspace.store.get(layout.preview(NAME, "middle"))))
    assert picture.width > 600
    again = ingest_recording(workspace, NAME)
    assert (again.reused, again.digest) == (True, result.digest)


def test_what_needs_sweeps_passes_over_it(tmp_path: Path) -> None:
    workspace = make_workspace(tmp_path)
    arm(workspace)
    landed(workspace)
    assert usable_recordings(workspace) == []
    assert splits(workspace).frames == ()
    assert len(load_drive(workspace, NAME).sweep_times_ns) == 0
    assert len(select(workspace, 0)) == 0
    assert len(push_tasks(workspace, NAME)) == 0
    assert len(pull_annotations(workspace, NAME)) == 0
    events = detect_events(workspace, NAME)
    assert {row["recording"] for row in events.to_pylist()} <= {NAME}


def test_a_missing_video_is_quarantined_with_the_signals_kept(tmp_path: Path) -> None:
    workspace = make_workspace(tmp_path)
    folder = arm(workspace)
    shutil.rmtree(folder / "videos")
    result = landed(workspace)
    assert result.status == "quarantined"
    assert result.message == (
        f"videos/chunk-000/{CAMERA}/episode_000003.mp4: the video is missing; "
        f"lost: 40 images of {CAMERA}"
    )
    kept = [stat.key for stat in workspace.store.list(f"quarantine/{NAME}/")]
    assert f"quarantine/{NAME}/signals/action.parquet" in kept
    assert list(workspace.store.list("signals/")) == []


class Fake(Recording):
    """A recording of chosen contents."""

    format = "fake"
    ground_truth = None

    def __init__(self, sensor: str, *, signals: bool = False, poses: bool = False) -> None:
        self.recording = RecordingId("fake")
        self.sensor = sensor
        self.calibration = Calibration()
        self.trajectory = identity_trajectory([0, 10]) if poses else empty_trajectory()
        self.damage: list[Damage] = []
        one = Signal("x", "other", "", ("a",), np.zeros(1, dtype=np.int64), np.zeros((1, 1)))
        self.signals = [one] if signals else []

    def sweeps(self) -> Iterator[Sweep]:
        """Yield nothing: broken, or never there."""
        return iter(())


@pytest.mark.parametrize(
    ("recording", "without"),
    [
        (Fake("", signals=True), True),
        (Fake("", poses=True), True),
        (Fake("lidar", signals=True, poses=True), False),  # all its sweeps are broken
    ],
)
def test_only_recordings_meant_without_a_lidar_pass(recording: Recording, without: bool) -> None:
    assert without_lidar(recording) == without


def test_a_recording_that_holds_nothing_is_refused_with_what_it_holds() -> None:
    empty = Fake("")
    empty.topics = [Topic("/chatter", "std_msgs/msg/String", 20, "not used: text")]
    with pytest.raises(FormatError, match=r"it holds: /chatter \(std_msgs/msg/String\)\. Record"):
        without_lidar(empty)


def test_pictures_of_odd_signals() -> None:
    times = np.arange(9000, dtype=np.int64)
    ramp = np.stack([times, np.nan * times, times * 0.0], axis=1).astype(float)
    ramp[10:20, 0] = np.inf
    odd = [
        Signal("long", "imu", "", ("a", "b", "c"), times, ramp),
        Signal("empty", "state", "", (), times, np.zeros((9000, 0))),
        Signal("none", "action", "", ("a",), times[:0], np.zeros((0, 1))),
        Signal("one", "other", "", ("a",), times[:1], np.ones((1, 1))),
    ]
    for signals in (odd, odd[:1], []):
        for trajectory in (empty_trajectory(), identity_trajectory([0, 5])):
            png = signals_png(signals, trajectory, "odd")
            Picture.open(io.BytesIO(png)).load()


def test_a_log_of_which_nothing_is_used_is_quarantined_with_its_topics(tmp_path: Path) -> None:
    workspace = make_workspace(tmp_path)
    landing = Path(workspace.landing.url.removeprefix("file://"))
    landing.mkdir(parents=True, exist_ok=True)
    with RosWriter(landing / "talk.mcap") as writer:
        for i in range(3):
            writer.write("/chatter", make("std_msgs/msg/String", "hello"), i)
    result = landed(workspace)
    assert result.status == "quarantined"
    assert result.message == (
        "nothing in it is used: /chatter (std_msgs/msg/String, 3 messages): not used: "
        "no decoder for std_msgs/msg/String"
    )
