"""Motion compensation on ingest, by the settings."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from loop.config import IngestConfig
from loop.ingest import ingest_recording
from loop.landing import register, scan
from loop.parts import Parts
from loop.sweep_pass import store_sweeps
from loop.sweep_watch import SweepWatch
from loop.workspace import Workspace
from recordings.geometry.deskew import DeskewedRecording, undo
from recordings.logs.mcap import McapRecording
from scene.pose import SE3
from scene.recording import RecordingId
from scene.sweep import Sweep
from storage import layout
from storage.local import LocalStore
from storage.sweeps import SweepFile, read_poses
from tests.support.ros_writer import RosWriter
from tests.support.turning_lidar import Drive, off_the_walls_m, raw_sweep
from tests.support.workspaces import make_workspace

START = 1_700_000_000_000_000_000
PERIOD = 100_000_000
POINT = np.dtype([("x", "<f4"), ("y", "<f4"), ("z", "<f4"), ("ring", "<u2"), ("t", "<u4")])


def write_drive(path: Path) -> None:
    drive = Drive()
    with RosWriter(path) as writer:
        writer.transform("/tf_static", START, "base_link", "lidar_top", SE3.identity())
        for step in range(50):
            time = START + step * 10_000_000
            track = drive.trajectory(np.array([time]), START)
            pose = SE3.from_quaternion(track.quat_wxyz[0], track.translation_m[0])
            writer.odometry("/odom", time, "map", "base_link", pose)
        for turn in range(4):
            sweep, _ = raw_sweep(drive, START + turn * PERIOD, START, columns=120)
            points = np.zeros(len(sweep), POINT)
            points["x"], points["y"], points["z"] = sweep.points_ego_m.T
            points["ring"], points["t"] = sweep.ring, sweep.offset_ns
            writer.cloud("/points", sweep.timestamp_ns, "lidar_top", points)


def walls_m(workspace: Workspace, *, measured: bool = False) -> float:
    """Return how far the stored points lie from the walls, at most."""
    (source,) = scan(workspace)
    worst = 0.0
    poses = read_poses(workspace.store, layout.poses(source.name))
    with SweepFile(workspace.store, layout.sweeps(source.name)) as file:
        for index in range(len(file)):
            sweep = file.read(index)
            sweep = undo(sweep, poses) if measured else sweep
            points = file.map_SE3_ego(index).transform_points(sweep.points_ego_m.astype(np.float64))
            worst = max(worst, float(off_the_walls_m(points).max()))
    return worst


@pytest.mark.slow
def test_the_setting_decides_and_the_measured_points_can_be_had_back(tmp_path: Path) -> None:
    workspace = make_workspace(tmp_path)
    landing = Path(workspace.landing.url.removeprefix("file://"))
    landing.mkdir(parents=True, exist_ok=True)
    write_drive(landing / "drive.mcap")
    (source,) = scan(workspace)
    register(workspace, source)
    said = {}
    for mode in ("auto", "always", "never"):
        chosen = replace(workspace, ingest=IngestConfig(deskew=mode))
        result = ingest_recording(chosen, source.name)
        assert result.status == "ok", result.message
        with SweepFile(workspace.store, layout.sweeps(source.name)) as file:
            said.setdefault(mode, (file.motion, file.compensated_by, result.reused))
            assert file.compensated_by == ("ingest" if mode == "always" else "")
        if mode == "always":
            assert walls_m(workspace) < 0.006
            assert walls_m(workspace, measured=True) > 1.5
        else:  # the log does not say whether its driver compensated
            assert walls_m(workspace) > 1.5
    assert said == {
        "auto": ("unknown", "", False),
        "always": ("compensated", "ingest", False),
        "never": ("unknown", "", False),
    }


class Killed(BaseException):
    """Stands for SIGKILL: nothing catches it."""


class Dying(DeskewedRecording):
    """Dies after so many sweeps."""

    dies_after = 100

    def sweeps(self) -> Iterator[Sweep]:
        for number, sweep in enumerate(super().sweeps(), 1):
            yield sweep
            if number == self.dies_after:
                raise Killed


def test_a_killed_pass_goes_on_with_compensated_sweeps(tmp_path: Path) -> None:
    write_drive(tmp_path / "drive.mcap")
    name = RecordingId("drive")

    def run(store: LocalStore, dies_after: int = 100) -> str:
        opened = Dying(McapRecording([tmp_path / "drive.mcap"], name))
        opened.dies_after = dies_after
        parts, watch = Parts(store, name, "code"), SweepWatch(opened)
        return store_sweeps(tmp_path / "out", opened, watch, parts, part_points=900).digest

    whole = run(LocalStore(tmp_path / "a"))
    store = LocalStore(tmp_path / "b")
    with pytest.raises(Killed):
        run(store, dies_after=3)
    assert list(store.list(layout.parts(name)))
    assert run(store) == whole
