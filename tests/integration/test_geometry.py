"""Poses found from the points of a real drive, from the landing place to the bucket."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from loop.ingest import ingest_recording
from loop.landing import register, scan
from recordings.open import open_recording
from recordings.recording import ODOMETRY_POSES
from scene.pose import quat_to_matrix
from storage import layout
from storage.sweeps import SweepFile, read_poses
from tests.support.shared_data import shared_data
from tests.support.workspaces import make_workspace

KITTI = "kitti_raw/2011_09_26/2011_09_26_drive_0001_sync"
POSES = ("oxts", "poses")
pytestmark = pytest.mark.integration


def test_kitti_without_its_poses_drives_the_same_way_within_a_percent(tmp_path: Path) -> None:
    pytest.importorskip("kiss_icp", reason="pip install -e '.[odometry]'")
    folder = shared_data(KITTI)
    truth = open_recording(folder).trajectory
    workspace = make_workspace(tmp_path)
    landed = Path(workspace.landing.url.removeprefix("file://")) / folder.parent.name / folder.name
    shutil.copytree(
        folder, landed, ignore=lambda _, names: [n for n in names if n.startswith(POSES)]
    )
    (source,) = scan(workspace)
    register(workspace, source)
    result = ingest_recording(workspace, source.name)
    assert result.status == "ok", result.message
    codes = {finding.code for finding in result.findings}
    assert "REC060" in codes
    assert "REC008" not in codes
    with SweepFile(workspace.store, layout.sweeps(source.name)) as sweeps:
        assert ODOMETRY_POSES in sweeps.calibration.assumed
        assert len(sweeps) == 108
    found = read_poses(workspace.store, layout.poses(source.name))
    expected = truth.interpolate(found.timestamps_ns)
    start = quat_to_matrix(expected.quat_wxyz)[0]
    way = (expected.translation_m - expected.translation_m[0]) @ start
    length_m = np.linalg.norm(np.diff(way, axis=0), axis=1).sum()
    assert length_m > 100
    drift_m = np.linalg.norm(found.translation_m - way, axis=1)
    assert drift_m.max() < 0.01 * length_m
    (row,) = workspace.tables.read("recordings").to_pylist()
    assert "REC060" in json.dumps(row["findings"])
