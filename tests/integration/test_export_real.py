"""Real recordings ingested and exported to their own format equal the originals, to the step."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow.feather
import pytest
from scipy.spatial import cKDTree

from loop.export import ExportRequest, run_export
from loop.ingest import ingest_recording
from loop.landing import register, scan
from loop.workspace import Workspace
from recordings.clouds.pcd_file import read_points
from recordings.export.run import export_recording
from recordings.open import open_recording
from scene.box import count_points
from scene.recording import RecordingId
from storage.open import StoreConfig
from tests.support.box_proof import assert_same_boxes
from tests.support.kitti_oracle import inside, read_boxes
from tests.support.shared_data import shared_data

pytestmark = pytest.mark.integration

AV2 = "argoverse2/sensor/val/7fab2350-7eaf-3b7e-a39d-6937a4c1bede"
PANDASET = "av2_layout/pandaset_002"
KITTI = "kitti_raw/2011_09_26/2011_09_26_drive_0001_sync"
# Half a step of the codec on each axis, and rounding of float32.
STEP_M = 0.0005 * 3**0.5 + 3e-5


def ingest(data: Path, home: Path) -> tuple[Workspace, RecordingId]:
    """Ingest the recording at a path, where it lies."""
    above = data.parent
    workspace = Workspace.open(
        StoreConfig(url=(home / "store").resolve().as_uri()),
        StoreConfig(url=above.resolve().as_uri()),
        landing_prefix=f"{data.name}{'/' if data.is_dir() else ''}",
    )
    (source,) = scan(workspace)
    register(workspace, source)
    result = ingest_recording(workspace, source.name)
    assert result.status == "ok", result.message
    return workspace, source.name


def export(workspace: Workspace, name: str, to: str, folder: Path, stop: int | None = None) -> None:
    request = ExportRequest(what=name, to=to, folder=folder, frames=(0, stop))
    run_export(lambda: workspace, request, lambda _opened, _total: lambda _n, _what: None)


def order_of(expected_m: np.ndarray, found_m: np.ndarray) -> np.ndarray:
    """Return which point found is which of those expected; the codec has its own order."""
    assert len(found_m) == len(expected_m)
    distance, order = cKDTree(found_m).query(expected_m)
    assert distance.max() <= STEP_M
    return order


@pytest.mark.parametrize("data", [AV2, PANDASET])
def test_argoverse2(tmp_path: Path, data: str) -> None:
    original = shared_data(data)
    workspace, name = ingest(original, tmp_path)
    export(workspace, name, "av2", tmp_path / "out")
    names = sorted(path.name for path in (original / "sensors/lidar").glob("*.feather"))
    assert sorted(p.name for p in (tmp_path / "out/sensors/lidar").glob("*.feather")) == names
    for file in names[:4]:
        then = pyarrow.feather.read_table(original / "sensors/lidar" / file)
        now = pyarrow.feather.read_table(tmp_path / "out/sensors/lidar" / file)
        theirs, ours = (
            np.stack([t.column(c).to_numpy().astype(np.float32) for c in "xyz"], 1)
            for t in (then, now)
        )
        order_of(theirs, ours)
        for column in ("intensity", "laser_number", "offset_ns"):
            assert (column in now.column_names) == (column in then.column_names)
            if column in then.column_names:
                a, b = (np.sort(t.column(column).to_numpy().astype(np.int64)) for t in (then, now))
                np.testing.assert_array_equal(a, b)
    poses = [
        pyarrow.feather.read_table(folder / "city_SE3_egovehicle.feather").sort_by("timestamp_ns")
        for folder in (original, tmp_path / "out")
    ]
    for column in poses[0].column_names:
        a, b = (np.abs(table.column(column).to_numpy()) for table in poses)  # q and -q are one turn
        np.testing.assert_allclose(a, b, rtol=0, atol=1e-9)
    first, again = open_recording(original), open_recording(tmp_path / "out")
    assert first.ground_truth is not None
    assert again.ground_truth is not None
    count = 0
    for sweep in first.sweeps():
        expected, found = (r.ground_truth[sweep.timestamp_ns] for r in (first, again))  # type: ignore[index]
        found = assert_same_boxes(expected, found, sweep.points_ego_m)
        assert found.track_id.tolist() == expected.track_id.tolist()
        count += len(found)
    assert count == {AV2: 148, PANDASET: 2051}[data]


def test_kitti(tmp_path: Path) -> None:
    original = shared_data(KITTI)
    workspace, name = ingest(original, tmp_path)
    export(workspace, name, "kitti", tmp_path / "out", stop=4)
    first = open_recording(original)
    assert first.ground_truth is not None
    labels = read_boxes(tmp_path / "out/label_02/0000.txt", skip=2)
    rows = (tmp_path / "out/label_02/0000.txt").read_text().splitlines()
    frames = np.array([int(row.split()[0]) for row in rows])
    mount = first.calibration.of(first.sensor)
    turn = np.eye(4)
    turn[:3, :3] = [[0, -1, 0], [0, 0, -1], [1, 0, 0]]
    count = 0
    for number, sweep in zip(range(4), first.sweeps(), strict=False):
        points = np.fromfile(
            tmp_path / f"out/velodyne/0000/{number:06d}.bin", dtype=np.float32
        ).reshape(-1, 4)
        velodyne = mount.inverse().transform_points(sweep.points_ego_m.astype(np.float64))
        order = order_of(velodyne, points[:, :3])
        np.testing.assert_allclose(points[order, 3], sweep.intensity, atol=0.5 / 255 + 1e-6)
        expected = first.ground_truth[sweep.timestamp_ns]
        own = [labels[i] for i in np.flatnonzero(frames == number)]
        assert len(own) == len(expected)
        theirs = sorted(int(inside(box, velodyne, turn).sum()) for box in own)
        counted = sorted(count_points(sweep.points_ego_m, expected).num_points.tolist())
        np.testing.assert_allclose(theirs, counted, atol=1)
        count += len(own)
    assert count > 10


def test_mcap(tmp_path: Path) -> None:
    original = shared_data("mcap/derived_pandaset_002_front_ros2")
    workspace, name = ingest(original, tmp_path)
    export(workspace, name, "mcap", tmp_path / "out")
    first, again = open_recording(original), open_recording(tmp_path / "out")
    pairs = list(zip(first.sweeps(), again.sweeps(), strict=True))
    assert len(pairs) == 8
    for expected, found in pairs:
        assert found.timestamp_ns == expected.timestamp_ns
        order = order_of(expected.points_ego_m, found.points_ego_m)
        np.testing.assert_allclose(found.intensity[order], expected.intensity, atol=0.51 / 255)
        a, b = first.trajectory.at(expected.timestamp_ns), again.trajectory.at(found.timestamp_ns)
        np.testing.assert_allclose(b.translation_m, a.translation_m, atol=1e-6)
        np.testing.assert_allclose(b.rotation, a.rotation, atol=1e-6)
    assert {s.name for s in again.signals} == {s.name for s in first.signals}
    assert len(list(again.images())) == len(list(first.images()))


def test_pcd(tmp_path: Path) -> None:
    original = next(
        path
        for path in sorted(shared_data("rosbag2_db3").rglob("*.pcd"))
        if path.stem.isdigit() and len(path.stem) == 19
    )
    export_recording(open_recording(original), "pcd", tmp_path / "out")
    first = open_recording(original)
    for sweep in first.sweeps():
        assert f"{sweep.timestamp_ns}.pcd" == original.name
        found = read_points(tmp_path / "out" / original.name, np.zeros(3))
        np.testing.assert_array_equal(found.xyz_m, sweep.points_ego_m)


@pytest.mark.parametrize("file", ["simple.las", "vegetation_1_3.las"])
def test_las(tmp_path: Path, file: str) -> None:
    laspy = pytest.importorskip("laspy", reason="pip install 'starloop[las]'")
    first = open_recording(shared_data(f"las/{file}"))
    export_recording(first, "las", tmp_path / "out")
    (path,) = (tmp_path / "out").glob("*.las")
    original, found = laspy.read(shared_data(f"las/{file}")), laspy.read(path)
    origin = first.trajectory.translation_m[0]
    np.testing.assert_allclose(found.xyz + origin, original.xyz, rtol=0, atol=2e-4)
