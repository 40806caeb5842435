from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pyarrow.feather
import pytest

from recordings.datasets.pandaset import PandaSetRecording
from recordings.discovery import group_keys
from recordings.open import open_recording
from scene.box import Boxes, points_in_boxes
from scene.errors import FormatError
from scene.pose import SE3
from scene.recording import RecordingId
from tests.support.frame_pickle import write_frame
from tests.support.pandaset_writer import (
    seconds_text,
    write_camera,
    write_cuboids,
    write_lidar_poses,
    write_points,
)
from tests.support.shared_data import shared_data

START = 1_557_539_956_500_022_017
TIMES = [START + i * 100_000_003 for i in range(4)]
EGO_SE3_CAMERA = SE3(np.array([[0, 0, 1.0], [-1, 0, 0], [0, -1, 0]]), np.array([0.9, 0.1, 1.8]))
INTRINSICS = {"fx": 1970.0, "fy": 1971.0, "cx": 970.0, "cy": 483.0}


def pose_at(time_ns: int) -> SE3:
    seconds = (time_ns - START) / 1e9
    return SE3.from_yaw(0.7 + 0.2 * seconds, np.array([3.0 + 6 * seconds, -2.0, 0.4]))


def points_of(i: int) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Return points (ego frame), intensity, times and which lidar of frame i."""
    rng = np.random.default_rng(i)
    points = rng.uniform([2, -5, 0], [18, 5, 3], (500, 3))
    offset = rng.integers(-100_000_000, 1_000_000, 500)
    return points, rng.integers(0, 256, 500), TIMES[i] + offset, (np.arange(500) % 5 == 4) * 1


def write_sequence(root: Path, suffix: str = "pkl.gz") -> Path:
    poses = [pose_at(time) for time in TIMES]
    write_lidar_poses(root, TIMES, poses)
    for i, pose in enumerate(poses):
        write_points(root / f"lidar/{i:02d}.{suffix}", pose, *points_of(i))
        rows = [
            {"uuid": "a", "label": "Car", "center": (10.0 + i, 2.0, 1.0), "yaw": 0.3,
             "size_lwh": (4.6, 1.9, 1.7)},
            {"uuid": "a-gt", "label": "Car", "center": (10.1 + i, 2.0, 1.0), "yaw": 0.3,
             "size_lwh": (4.6, 1.9, 1.7), "sensor_id": 1},
            {"uuid": "b", "label": "Pedestrian", "center": (6.0, -3.0, 0.9), "yaw": -2.0,
             "size_lwh": (0.8, 0.7, 1.8), "sensor_id": 0},
            {"uuid": "c", "label": "Signs", "center": (5.0, 3.0, 0.9), "yaw": 0.0,
             "size_lwh": (0.1, 0.7, 1.8)},
        ]  # fmt: skip
        write_cuboids(root / f"annotations/cuboids/{i:02d}.{suffix}", pose, rows)
    shots = [time - 50_000_000 for time in TIMES]
    cameras = [pose_at(time) @ EGO_SE3_CAMERA for time in shots]
    write_camera(root / "camera/front_camera", shots, cameras, INTRINSICS)
    (root / "meta").mkdir()
    gps = [{"lat": 37.7, "long": -122.4, "height": 2.9, "xvel": 0.0, "yvel": 1.0 * i} for i in range(4)]  # noqa: E501 # fmt: skip
    (root / "meta/gps.json").write_text(json.dumps(gps))
    (root / "meta/timestamps.json").write_text(f"[{', '.join(map(seconds_text, TIMES))}]")
    return root


def open_sequence(root: Path) -> PandaSetRecording:
    return PandaSetRecording(root, RecordingId("sequence"))


@pytest.mark.parametrize("suffix", ["pkl", "pkl.gz"])
def test_a_sequence_reads_back(tmp_path: Path, suffix: str) -> None:
    recording = open_recording(write_sequence(tmp_path / "002", suffix))
    assert recording.format == "pandaset"
    sweeps = list(recording.sweeps())
    assert recording.damage == []
    assert [s.timestamp_ns for s in sweeps] == TIMES
    for i, sweep in enumerate(sweeps):
        points, intensity, times, lidar = points_of(i)
        spinning = lidar == 0
        np.testing.assert_allclose(sweep.points_ego_m, points[spinning], atol=1e-5)
        np.testing.assert_allclose(sweep.intensity, intensity[spinning] / 255, atol=1e-6)
        # Times are float64 seconds since the epoch, whose step is 238 ns.
        np.testing.assert_allclose(sweep.offset_ns, (times - TIMES[i])[spinning], atol=240)
    (gps,) = recording.signals
    assert (gps.kind, gps.fields[0], gps.values.shape) == ("gnss", "latitude_deg", (4, 5))
    assert gps.timestamps_ns.tolist() == TIMES


def test_cuboids_by_corners_and_points_inside(tmp_path: Path) -> None:
    recording = open_sequence(write_sequence(tmp_path / "002"))
    truth = recording.ground_truth
    assert truth is not None
    boxes = truth[TIMES[1]]
    assert boxes.track_id.tolist() == ["a", "b"]  # neither the second lidar's copy nor the sign
    expected = Boxes.make(
        np.array([[11.0, 2.0, 1.0], [6.0, -3.0, 0.9]]),
        np.array([[4.6, 1.9, 1.7], [0.8, 0.7, 1.8]]), np.array([0.3, -2.0]), ["car", "pedestrian"],
    )  # fmt: skip
    np.testing.assert_allclose(boxes.corners_bev_m(), expected.corners_bev_m(), atol=1e-9)
    np.testing.assert_allclose(boxes.center_xyz_m, expected.center_xyz_m, atol=1e-9)
    np.testing.assert_array_equal(boxes.category, expected.category)
    sweep = list(recording.sweeps())[1]
    inside = points_in_boxes(sweep.points_ego_m, boxes).sum(axis=1)
    raw = points_of(1)[0][points_of(1)[3] == 0]
    np.testing.assert_array_equal(inside, points_in_boxes(raw, expected).sum(axis=1))
    assert inside[0] > 5
    assert not np.isnan(boxes.velocity_xy_mps).any()


def test_cameras_sit_where_they_were_at_their_own_time(tmp_path: Path) -> None:
    root = write_sequence(tmp_path / "002")
    recording = open_sequence(root)
    images = list(recording.images())
    assert [i.timestamp_ns for i in images] == [time - 50_000_000 for time in TIMES]
    assert all((root / i.uri).is_file() for i in images)
    camera = recording.calibration.cameras["front_camera"]
    np.testing.assert_array_equal(camera.matrix, [[1970, 0, 970], [0, 1971, 483], [0, 0, 1]])
    found = recording.calibration.of("front_camera")
    # The pose of a frame would be 0.3 m off at this speed; between two frames the ego turns.
    np.testing.assert_allclose(found.translation_m, EGO_SE3_CAMERA.translation_m, atol=1e-3)
    np.testing.assert_allclose(found.rotation, EGO_SE3_CAMERA.rotation, atol=1e-6)


def test_broken_pieces_are_damage(tmp_path: Path) -> None:
    root = write_sequence(tmp_path / "002", "pkl")
    (root / "lidar/01.pkl").write_bytes(b"cos\nsystem\n(X\x04\0\0\0truetR.")
    write_frame(root / "lidar/02.pkl", {"x": np.zeros(2)})
    (root / "annotations/cuboids/00.pkl").write_bytes(b"\x80\x04")
    (root / "camera/front_camera/intrinsics.json").write_text("{}")
    (root / "meta/gps.json").write_text("[{}]")
    recording = open_sequence(root)
    assert [s.timestamp_ns for s in recording.sweeps()] == [TIMES[0], TIMES[3]]
    what = {note.where: note.what for note in recording.damage}
    assert "holds os.system, not a pandas frame; nothing of it was run" in what["lidar/01.pkl"]
    assert "no column y, z, i, t, d; columns: x" in what["lidar/02.pkl"]
    assert "not a readable pickle" in what["annotations/cuboids/00.pkl"]
    assert "expected fx, fy, cx and cy" in what["camera/front_camera"]
    assert "not readable" in what["meta/gps.json"]
    assert list(recording.images()) == []


def test_cuboids_of_frames_without_a_pose_are_damage(tmp_path: Path) -> None:
    root = write_sequence(tmp_path / "002", "pkl")
    path = root / "lidar/poses.json"
    path.write_text(json.dumps(json.loads(path.read_text())[:2]))
    recording = open_sequence(root)
    assert recording.ground_truth is not None
    assert list(recording.ground_truth) == TIMES[:2]
    where = {note.where: note.what for note in recording.damage}
    assert "outside the poses" in where["annotations/cuboids/03.pkl"]


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("poses", "", "not JSON"),
        ("poses", "[{}]", "not a list of poses"),
        ("poses", '[{"position": {"x": 0, "y": 0, "z": 0}, "heading": {"w": 0, "x": 0, "y": 0, "z": 0}}]', "no pose"),  # noqa: E501
        ("timestamps", "[1, 1]", "do not increase"),
        ("timestamps", '["x"]', "not a list of seconds"),
        ("timestamps", "[1e999999999]", "not a list of seconds"),
        ("timestamps", "{}", "times are missing"),
    ],
)  # fmt: skip
def test_broken_poses_and_times_say_what(
    tmp_path: Path, name: str, text: str, message: str
) -> None:
    root = write_sequence(tmp_path / "002")
    (root / f"lidar/{name}.json").write_text(text)
    with pytest.raises(FormatError, match=message):
        open_sequence(root)
    (root / f"lidar/{name}.json").unlink()
    with pytest.raises(FormatError, match="is missing; copy it from the original download"):
        open_sequence(root)


def test_each_sequence_of_an_upload_is_a_source(tmp_path: Path) -> None:
    for name in ("001", "002"):
        write_sequence(tmp_path / "pandaset" / name)
    keys = [str(p.relative_to(tmp_path)) for p in sorted(tmp_path.rglob("*")) if p.is_file()]
    first, second = group_keys((key, 1, key) for key in keys)
    assert (str(first.name), second.prefix) == ("pandaset_001", "pandaset/002/")
    assert len(second.keys) == len(keys) / 2


@pytest.mark.integration
def test_real_frames_equal_the_same_drive_in_argoverse2_layout(tmp_path: Path) -> None:
    """The shared drive came from PandaSet; some frames go back into its layout and are read."""
    folder = shared_data("av2_layout/pandaset_002")
    other = open_recording(folder)
    files = sorted((folder / "sensors/lidar").glob("*.feather"))[10::6]
    times = [int(path.stem) for path in files]
    poses = [other.trajectory.at(time) for time in times]
    root = tmp_path / "002"
    write_lidar_poses(root, times, poses)
    table = pyarrow.feather.read_table(folder / "annotations.feather").to_pydict()
    for i, (time, path, pose) in enumerate(zip(times, files, poses, strict=True)):
        columns = pyarrow.feather.read_table(path).to_pydict()
        points = np.stack([columns[name] for name in "xyz"], axis=1)
        count = len(points)
        write_points(
            root / f"lidar/{i:02d}.pkl.gz", pose, points, np.array(columns["intensity"]),
            time + np.array(columns["offset_ns"], dtype=np.int64), np.zeros(count, dtype=int),
        )  # fmt: skip
        rows = [
            {
                "uuid": table["track_uuid"][k], "label": table["category"][k],
                "center": [table[f"t{a}_m"][k] for a in "xyz"],
                "size_lwh": [table[f"{n}_m"][k] for n in ("length", "width", "height")],
                "yaw": _yaw([table[f"q{a}"][k] for a in "wxyz"]),
                "sensor_id": table["pandaset_sensor_id"][k],
            }
            for k in np.flatnonzero(np.array(table["timestamp_ns"]) == time)
        ]  # fmt: skip
        write_cuboids(root / f"annotations/cuboids/{i:02d}.pkl.gz", pose, rows)
    recording = open_recording(root)
    assert recording.format == "pandaset"
    theirs = {sweep.timestamp_ns: sweep for sweep in other.sweeps()}
    assert recording.ground_truth is not None
    assert other.ground_truth is not None
    num_boxes = 0
    for sweep, time in zip(recording.sweeps(), times, strict=True):
        same = theirs[time]
        assert sweep.timestamp_ns == time
        np.testing.assert_allclose(sweep.points_ego_m, same.points_ego_m, atol=2e-5)
        np.testing.assert_array_equal(sweep.intensity, same.intensity)
        np.testing.assert_allclose(sweep.offset_ns, same.offset_ns, atol=500)
        ours, boxes = recording.ground_truth[time], other.ground_truth[time]
        assert ours.track_id.tolist() == boxes.track_id.tolist()
        assert ours.category.tolist() == boxes.category.tolist()
        # Yaw is about the world's vertical, from which the car leans by 2 degrees.
        np.testing.assert_allclose(ours.corners_bev_m(), boxes.corners_bev_m(), atol=5e-3)
        np.testing.assert_allclose(ours.center_xyz_m, boxes.center_xyz_m, atol=1e-6)
        inside = points_in_boxes(sweep.points_ego_m, ours).sum(axis=1)
        assert np.abs(inside - boxes.num_points).max() <= 0.02 * boxes.num_points.max()
        num_boxes += len(ours)
    assert recording.damage == []
    assert num_boxes > 60


def _yaw(quat_wxyz: list[float]) -> float:
    return SE3.from_quaternion(np.array(quat_wxyz), np.zeros(3)).yaw_rad
