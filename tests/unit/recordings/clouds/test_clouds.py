from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from recordings.clouds import recording as clouds
from recordings.clouds.recording import PcdRecording, PlyRecording, open_ply
from recordings.discovery import group_keys
from recordings.geometry.odometry import with_odometry
from recordings.open import open_recording
from scene.errors import FormatError
from scene.recording import RecordingId

DTYPE = np.dtype([("x", "<f4"), ("y", "<f4"), ("z", "<f4"), ("intensity", "<f4"), ("ring", "<u2")])
PCD = (
    "VERSION 0.7\nFIELDS x y z intensity ring\nSIZE 4 4 4 4 2\nTYPE F F F F U\nCOUNT 1 1 1 1 1\n"
    "WIDTH {num}\nHEIGHT 1\nVIEWPOINT {view}\nPOINTS {num}\nDATA binary\n"
)
UTM = np.array([691_000.25, 5_335_000.5, 540.125])


def points(seed: int, num: int = 25) -> np.ndarray:
    rng = np.random.default_rng(seed)
    made = np.zeros(num, DTYPE)
    for name in "xyz":
        made[name] = np.round(rng.uniform(-20, 20, num), 3)
    made["intensity"], made["ring"] = rng.integers(0, 255, num), rng.integers(0, 32, num)
    return made


def write_pcd(
    path: Path, made: np.ndarray, *, announced: int | None = None, view: str = "0 0 0 1 0 0 0"
) -> Path:
    head = PCD.format(num=len(made) if announced is None else announced, view=view)
    path.write_bytes(head.encode() + made.tobytes())
    return path


def write_ply(path: Path, xyz_m: np.ndarray) -> Path:
    head = "ply\nformat binary_little_endian 1.0\nelement vertex {}\nproperty double x\n"
    head += "property double y\nproperty double z\nend_header\n"
    path.write_bytes(head.format(len(xyz_m)).encode() + xyz_m.astype("<f8").tobytes())
    return path


def test_a_folder_with_times_in_the_names_and_tum_poses(tmp_path: Path) -> None:
    start = 1_673_400_472_138_016_708
    paths = [write_pcd(tmp_path / f"{start + i * 10**8}.pcd", points(i)) for i in range(3)]
    rows = [f"1673400472.{138016708 + i * 10**8} {i} 0 0 0 0 0 1" for i in range(3)]
    (tmp_path / "poses.txt").write_text("# time x y z qx qy qz qw\n" + "\n".join(rows))
    recording = PcdRecording(paths[::-1], RecordingId("folder"))
    sweeps = list(recording.sweeps())
    assert [s.timestamp_ns for s in sweeps] == [start + i * 10**8 for i in range(3)]
    np.testing.assert_allclose(sweeps[2].points_ego_m[:, 0], points(2)["x"], atol=1e-6)
    assert recording.trajectory.at(start + 10**8).translation_m.tolist() == [1, 0, 0]
    assert recording.calibration.assumed == frozenset({"lidar"})


@pytest.mark.parametrize("digits", [6, 10, 12, 16])
def test_numbers_with_zeros_in_front_are_no_times(tmp_path: Path, digits: int) -> None:
    paths = [write_pcd(tmp_path / f"{i:0{digits}d}.pcd", points(i)) for i in range(3)]
    recording = PcdRecording(paths, RecordingId("folder"))
    assert [sweep.timestamp_ns for sweep in recording.sweeps()] == [0, 100_000_000, 200_000_000]
    assert "clock" in recording.calibration.assumed


def test_a_folder_with_numbers_and_viewpoints(tmp_path: Path) -> None:
    paths = [
        write_pcd(tmp_path / f"cloud_{i}.pcd", points(i), view=f"{i} 2 3 1 0 0 0")
        for i in range(12)
    ]
    recording = PcdRecording(sorted(paths), RecordingId("folder"))
    found = [float(sweep.points_ego_m[0, 0]) for sweep in recording.sweeps()]
    np.testing.assert_allclose(found, [points(i)["x"][0] for i in range(12)], atol=1e-6)
    assert recording.calibration.assumed == frozenset({"lidar", "clock"})
    assert recording.trajectory.at(500_000_000).translation_m.tolist() == [5, 2, 3]


def test_bad_files_of_a_folder_are_damage_and_what_is_there_of_a_cut_one_is_kept(
    tmp_path: Path,
) -> None:
    paths = [write_pcd(tmp_path / f"{i}.pcd", points(i)) for i in range(4)]
    paths[1].write_text("nothing")
    write_pcd(paths[2], points(2), announced=99)
    recording = PcdRecording(paths, RecordingId("folder"))
    found = {sweep.timestamp_ns: len(sweep) for sweep in recording.sweeps()}
    assert found == {0: 25, 200_000_000: 25, 300_000_000: 25}
    assert [note.where for note in recording.damage] == ["1.pcd", "2.pcd"]
    assert recording.damage[1].lost == "74 of 99 points"
    assert "map" in recording.calibration.assumed


def test_clouds_that_cannot_be_read_keep_their_place_among_the_others(tmp_path: Path) -> None:
    for i in range(4):
        write_pcd(tmp_path / f"{i}.pcd", points(i))
    (tmp_path / "1.pcd").write_bytes(b"")
    rows = "".join(f"1 0 0 {i} 0 1 0 0 0 0 1 0\n" for i in range(4))
    (tmp_path / "poses.txt").write_text(rows)
    recording = open_recording(tmp_path)
    sweeps = list(recording.sweeps())
    assert [note.where for note in recording.damage] == ["1.pcd"]
    assert [sweep.timestamp_ns for sweep in sweeps] == [0, 200_000_000, 300_000_000]
    assert recording.trajectory.translation_m[:, 0].tolist() == [0.0, 2.0, 3.0]


def test_poses_that_do_not_fit_are_refused(tmp_path: Path) -> None:
    paths = [write_pcd(tmp_path / f"{i}.pcd", points(i)) for i in range(2)]
    (tmp_path / "poses.txt").write_text("1 0 0 0 0 1 0 0 0 0 1 0\n")
    with pytest.raises(FormatError, match=r"poses\.txt: 1 poses for 2 clouds"):
        PcdRecording(paths, RecordingId("folder"))
    (tmp_path / "poses.txt").write_text("1 2 3\n4 5 6\n")
    with pytest.raises(FormatError, match="expected 12 numbers a row"):
        PcdRecording(paths, RecordingId("folder"))


def test_a_folder_of_ply_files_with_poses_in_columns(tmp_path: Path) -> None:
    xyz = [np.random.default_rng(i).uniform(-20, 20, (30, 3)) for i in range(3)]
    for i, some in enumerate(xyz):
        write_ply(tmp_path / f"{1_700_000_000 + i}.500000.ply", some)
    (tmp_path / "poses.csv").write_text(
        "time; x; y; z; roll_deg; pitch_deg; yaw_deg\n"
        + "".join(f"{1_700_000_000 + i}.5; {i}; 0; 1; 0; 0; 90\n" for i in range(3))
    )
    recording = open_recording(tmp_path)
    assert isinstance(recording, PlyRecording)
    sweeps = list(recording.sweeps())
    assert [sweep.timestamp_ns for sweep in sweeps] == [
        (1_700_000_000 + i) * 10**9 + 5 * 10**8 for i in range(3)
    ]
    np.testing.assert_allclose(sweeps[1].points_ego_m, xyz[1], atol=1e-5)
    pose = recording.trajectory.at(sweeps[1].timestamp_ns)
    assert pose.translation_m.tolist() == [1, 0, 1]
    assert pose.yaw_rad == pytest.approx(np.pi / 2)
    assert recording.calibration.assumed == frozenset({"lidar"})


def test_map_coordinates_without_poses_are_had_back_exactly(tmp_path: Path) -> None:
    xyz = UTM + np.round(np.random.default_rng(0).uniform(-90, 90, (200, 3)), 3)
    path = write_ply(tmp_path / "survey.ply", xyz)
    recording = open_recording(path)
    (sweep,) = recording.sweeps()
    assert np.abs(sweep.points_ego_m).max() < 200
    map_SE3_ego = recording.trajectory.at(sweep.timestamp_ns)
    found = map_SE3_ego.transform_points(sweep.points_ego_m.astype(np.float64))
    np.testing.assert_allclose(found, xyz, rtol=0, atol=1e-5)
    assert recording.calibration.assumed == frozenset({"lidar", "map", "clock"})
    assert with_odometry(recording) is recording  # the map is the survey's


def test_map_coordinates_with_poses_become_those_of_the_ego(tmp_path: Path) -> None:
    ego = np.random.default_rng(1).uniform(-30, 30, (50, 3))
    angle = 0.7
    turn = np.array(
        [[np.cos(angle), -np.sin(angle), 0], [np.sin(angle), np.cos(angle), 0], [0, 0, 1]]
    )
    for i in range(2):
        write_ply(tmp_path / f"{1_700_000_000 + i}.000000.ply", ego @ turn.T + UTM + [i, 0, 0])
    half = angle / 2
    row = "{} {} {} {} 0 0 {} {}\n"
    text = [
        row.format(1_700_000_000 + i, UTM[0] + i, UTM[1], UTM[2], np.sin(half), np.cos(half))
        for i in range(2)
    ]
    (tmp_path / "poses.txt").write_text("".join(text))
    for sweep in open_ply(tmp_path, RecordingId("r")).sweeps():
        np.testing.assert_allclose(sweep.points_ego_m, ego, atol=1e-5)
    (tmp_path / "poses.txt").write_text("".join(text).replace("691", "91"))
    with pytest.raises(FormatError, match=r"poses\.txt: its poses lie 600 km from the points of"):
        open_ply(tmp_path, RecordingId("r"))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "holds no poses"),
        ("time,x,y,z\n1,0,0,0\n", "expected columns for time, x, y, z and qw"),
        ("x,y,z,qw,qx,qy,qz\n0,0,0,1,0,0,0\n", "expected columns for time"),
        ("time,x,y,z,yaw\n1,0,0\n", "5 names, rows of"),
        ("noon 0 0 0 0 0 0 1\n", "holds no poses"),
        ("1 0 0 0 0 0 0 1\n2 0 0 north 0 0 0 1\n", "not rows of equally many numbers"),
        ("1 0 0 0 0 0 0 0\n", "a quaternion has no length"),
        ("1 0 0 nan 0 0 0 1\n", "a value is not finite"),
        ("99999999999999999999 0 0 0 0 0 0 1\n", "is not a time in seconds"),
        ("99999999999 0 0 0 0 0 0 1\n", "beyond the year 2262"),
    ],
)
def test_poses_that_are_none_are_refused(tmp_path: Path, text: str, message: str) -> None:
    paths = [write_pcd(tmp_path / f"{i}.pcd", points(i)) for i in range(2)]
    (tmp_path / "poses.txt").write_text(text)
    with pytest.raises(FormatError, match=message):
        PcdRecording(paths, RecordingId("folder"))


def test_a_survey_is_refused_with_the_remedy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(clouds, "MAX_POINTS", 24)
    path = write_pcd(tmp_path / "a.pcd", points(0))
    with pytest.raises(FormatError, match=r"25 points are a survey, not a sweep; cut it"):
        open_recording(path)


def test_which_uploads_are_one_recording() -> None:
    keys = [
        "a/1.ply", "a/2.ply", "a/poses.csv", "b/1.ply", "c/1.las", "c/2.laz", "c/poses.txt",
        "d/north.las", "d/south.laz",
    ]  # fmt: skip
    found = {str(s.name): len(s.keys) for s in group_keys((key, 1, "e") for key in keys)}
    assert found == {"a": 3, "b_1": 1, "c": 3, "d_north": 1, "d_south": 1}
