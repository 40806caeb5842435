from __future__ import annotations

import tarfile
from pathlib import Path

import numpy as np
import pytest

from recordings.datasets.kitti import EGO_SE3_VELODYNE, KittiRecording
from recordings.datasets.kitti_poses import read_times
from scene.errors import FormatError
from scene.recording import RecordingId

START = 1_317_042_145_964_389_445
TRACKLETS = """<?xml version="1.0"?>
<boost_serialization><tracklets><count>2</count>
<item><objectType>Car</objectType><h>1.5</h><w>1.8</w><l>4.2</l><first_frame>1</first_frame>
<poses><count>2</count>
<item><tx>10</tx><ty>2</ty><tz>-1.7</tz><rx>0</rx><ry>0</ry><rz>0.25</rz></item>
<item><tx>11</tx><ty>2</ty><tz>-1.7</tz><rx>0</rx><ry>0</ry><rz>0.25</rz></item></poses></item>
<item><objectType>Misc</objectType><h>1</h><w>1</w><l>1</l><first_frame>0</first_frame>
<poses><item><tx>1</tx><ty>2</ty><tz>3</tz><rz>0</rz></item></poses></item>
{extra}</tracklets></boost_serialization>"""


def write_drive(folder: Path, num: int = 3) -> Path:
    data = folder / "velodyne_points" / "data"
    data.mkdir(parents=True)
    for i in range(num):
        scan(i).tofile(data / f"{i:010d}.bin")
    lines = [f"2011-09-26 13:02:{25 + i:02d}.964389445" for i in range(num)]
    (folder / "velodyne_points" / "timestamps.txt").write_text("\n".join(lines) + "\n")
    rows = [f"1 0 0 {2.0 * i} 0 1 0 0 0 0 1 0" for i in range(num)]
    (folder / "poses_velodyne.txt").write_text("\n".join(rows))
    (folder / "tracklet_labels.xml").write_text(TRACKLETS.format(extra=""))
    return folder


def scan(i: int) -> np.ndarray:
    rng = np.random.default_rng(i)
    return rng.uniform(0.01, 1, (30, 4)).astype(np.float32) * np.array([50, 50, 2, 1], np.float32)


def open_drive(folder: Path) -> KittiRecording:
    return KittiRecording(folder, RecordingId("drive"))


def test_a_drive_reads_back(tmp_path: Path) -> None:
    recording = open_drive(write_drive(tmp_path / "drive"))
    sweeps = list(recording.sweeps())
    assert [s.timestamp_ns for s in sweeps] == [START + i * 10**9 for i in range(3)]
    expected = scan(1)[:, :3] + EGO_SE3_VELODYNE.translation_m.astype(np.float32)
    np.testing.assert_allclose(sweeps[1].points_ego_m, expected, atol=1e-5)
    np.testing.assert_array_equal(sweeps[1].intensity, scan(1)[:, 3])
    assert recording.calibration.assumed == frozenset()
    # The scanner moved 2 m ahead between scans, and so did the vehicle.
    step = np.diff(recording.trajectory.translation_m, axis=0)
    np.testing.assert_allclose(step, [[2, 0, 0], [2, 0, 0]], atol=1e-9)


def test_tracklets_stand_on_their_bottom_centre(tmp_path: Path) -> None:
    truth = open_drive(write_drive(tmp_path / "drive")).ground_truth
    assert truth is not None
    assert [len(truth[START + i * 10**9]) for i in range(3)] == [0, 1, 1]
    box = truth[START + 10**9]
    np.testing.assert_allclose(box.center_xyz_m, [[10 + 0.81, 2, -1.7 + 0.75 + 1.73]])
    np.testing.assert_allclose(box.size_lwh_m, [[4.2, 1.8, 1.5]])
    assert box.yaw_rad.tolist() == [0.25]
    assert (box.category.tolist(), box.track_id.tolist()) == (["car"], ["0"])
    # 1 m ahead of the vehicle's own 2 m in one second.
    np.testing.assert_allclose(box.velocity_xy_mps, [[3.0, 0.0]], atol=1e-9)


def test_boxes_where_poses_are_missing_have_no_velocity(tmp_path: Path) -> None:
    folder = write_drive(tmp_path / "drive", 4)
    rows = (folder / "poses_velodyne.txt").read_text().splitlines()
    (folder / "poses_velodyne.txt").write_text("\n".join(rows[:2]))
    recording = open_drive(folder)
    assert len(list(recording.sweeps())) == 2
    assert [note.lost for note in recording.damage] == [
        f"sweep {START + 2 * 10**9}", f"sweep {START + 3 * 10**9}",
    ]  # fmt: skip
    assert recording.ground_truth is not None
    assert [len(boxes) for boxes in recording.ground_truth.values()] == [0, 1, 1, 0]
    assert np.isnan(recording.ground_truth[START + 2 * 10**9].velocity_xy_mps).all()


def test_an_archive_gives_the_same_as_the_folder(tmp_path: Path) -> None:
    folder = write_drive(tmp_path / "drive")
    loose = [s.points_ego_m.tobytes() for s in open_drive(folder).sweeps()]
    archive = folder / "velodyne_points_data.tar.xz"
    with tarfile.open(archive, "w:xz") as target:
        for path in sorted((folder / "velodyne_points" / "data").iterdir()):
            target.add(path, f"data/{path.name}")
            path.unlink()
    assert [s.points_ego_m.tobytes() for s in open_drive(folder).sweeps()] == loose
    archive.write_bytes(archive.read_bytes()[:-900])
    recording = open_drive(folder)
    assert len(list(recording.sweeps())) < 3
    assert "breaks off" in recording.damage[0].what


def test_bad_scans_are_damage(tmp_path: Path) -> None:
    folder = write_drive(tmp_path / "drive")
    data = folder / "velodyne_points" / "data"
    (data / "0000000001.bin").write_bytes(b"\0" * 35)
    scan(9).tofile(data / "0000000009.bin")
    scan(9).tofile(data / "copy.bin")
    recording = open_drive(folder)
    assert len(list(recording.sweeps())) == 2
    what = " | ".join(note.what for note in recording.damage)
    assert "35 bytes are not whole points of 16 bytes" in what
    assert "no time for scan 9: the times file has 3 lines" in what
    assert "the file name is no scan number" in what


def test_times_are_exact_to_the_nanosecond(tmp_path: Path) -> None:
    folder = write_drive(tmp_path / "drive", 1)
    assert read_times(folder).tolist() == [START]
    (folder / "velodyne_points" / "timestamps.txt").unlink()
    (folder / "velodyne_points" / "timestamps_s.txt").write_text("1317042145.964389445\n")
    assert read_times(folder).tolist() == [START]
    (folder / "velodyne_points" / "timestamps_s.txt").write_text("1317042145.9\nyesterday\n")
    with pytest.raises(FormatError, match=r"line 2: 'yesterday' is not a time"):
        read_times(folder)


def test_no_times_says_what_to_do(tmp_path: Path) -> None:
    folder = write_drive(tmp_path / "drive")
    (folder / "velodyne_points" / "timestamps.txt").unlink()
    with pytest.raises(FormatError, match="copy the file from the original download"):
        open_drive(folder)


def test_without_poses_the_vehicle_stands_still(tmp_path: Path) -> None:
    folder = write_drive(tmp_path / "drive")
    (folder / "poses_velodyne.txt").unlink()
    recording = open_drive(folder)
    assert recording.calibration.assumed == frozenset({"map"})
    assert len(list(recording.sweeps())) == 3


def test_a_broken_tracklet_is_damage_and_a_bomb_is_refused(tmp_path: Path) -> None:
    folder = write_drive(tmp_path / "drive")
    path = folder / "tracklet_labels.xml"
    path.write_text(TRACKLETS.format(extra="<item><objectType>Car</objectType></item>"))
    recording = open_drive(folder)
    assert "<h> is missing" in recording.damage[0].what
    path.write_text('<!DOCTYPE x [<!ENTITY a "b"><!ENTITY c "&a;&a;">]><x>&c;</x>')
    with pytest.raises(FormatError, match="not readable as XML"):
        open_drive(folder)
    path.write_text("<other/>")
    with pytest.raises(FormatError, match="no <tracklets> element"):
        open_drive(folder)


CAM_TO_CAM = """calib_time: 09-Jan-2012 13:57:47
S_rect_00: 1242 375
R_rect_00: 1 0 0 0 1 0 0 0 1
P_rect_00: 721 0 609 0 0 721 172 0 0 0 1 0
S_rect_02: 1241 376
P_rect_02: 721 0 609 44.8 0 721 172 0.2 0 0 1 0.0027
"""
VELO_TO_CAM = "calib_time: x\nR: 0 -1 0 0 0 -1 1 0 0\nT: -0.004 -0.08 -0.27\n"


def write_cameras(folder: Path) -> None:
    (folder.parent / "calib_cam_to_cam.txt").write_text(CAM_TO_CAM)
    (folder.parent / "calib_velo_to_cam.txt").write_text(VELO_TO_CAM)
    (folder / "image_02" / "data").mkdir(parents=True)
    for i in range(2):
        (folder / f"image_02/data/{i:010d}.png").write_bytes(b"\x89PNG")
    stamps = "2011-09-26 13:02:25.954399488\n2011-09-26 13:02:26.054399488\n"
    (folder / "image_02" / "timestamps.txt").write_text(stamps)


def test_cameras_of_a_raw_drive(tmp_path: Path) -> None:
    folder = write_drive(tmp_path / "day" / "drive")
    write_cameras(folder)
    recording = open_drive(folder)
    assert sorted(recording.calibration.cameras) == ["image_00", "image_02"]
    camera = recording.calibration.cameras["image_02"]
    assert (camera.width_px, camera.height_px) == (1241, 376)
    first, second = recording.images()
    assert (first.sensor, first.uri) == ("image_02", "image_02/data/0000000000.png")
    assert second.timestamp_ns - first.timestamp_ns == 10**8
    # A point of the scanner is seen where P_rect * R_rect * (R | T) says.
    point = np.array([12.0, 1.5, -0.7])
    ego_point = EGO_SE3_VELODYNE.transform_points(point[None])
    seen = camera.matrix @ recording.calibration.of("image_02").inverse().transform_points(
        ego_point
    )[0]  # fmt: skip
    projection = np.array([721, 0, 609, 44.8, 0, 721, 172, 0.2, 0, 0, 1, 0.0027]).reshape(3, 4)
    turn = np.array([[0, -1, 0], [0, 0, -1], [1, 0, 0.0]])
    in_camera = turn @ point + np.array([-0.004, -0.08, -0.27])
    theirs = projection @ np.append(in_camera, 1.0)
    np.testing.assert_allclose(seen[:2] / seen[2], theirs[:2] / theirs[2], atol=1e-9)


def test_images_without_times_are_damage(tmp_path: Path) -> None:
    folder = write_drive(tmp_path / "day" / "drive")
    write_cameras(folder)
    (folder / "image_02" / "timestamps.txt").unlink()
    recording = open_drive(folder)
    assert list(recording.images()) == []
    assert recording.damage[0].lost == "images of image_02"


def test_points_get_times_where_a_turn_has_two_ends(tmp_path: Path) -> None:
    folder = write_drive(tmp_path / "drive")
    assert open_drive(folder).motion == "unknown"
    front, left, right = np.array([9.0, 0, 0]), np.array([0, 9.0, 0]), np.array([0, -9.0, 0])
    rear_left, rear_right = np.array([-9.0, 1e-4, 0]), np.array([-9.0, -1e-4, 0])
    points = np.stack([front, left, right, rear_left, rear_right])
    rows = np.column_stack([points, np.ones(5)]).astype("<f4")
    rows.tofile(folder / "velodyne_points" / "data" / "0000000001.bin")
    for end, shift in (("start", "913"), ("end", "016")):
        second = 25 if end == "start" else 26
        lines = [f"2011-09-26 13:02:{second + i:02d}.{shift}389445" for i in range(3)]
        (folder / "velodyne_points" / f"timestamps_{end}.txt").write_text("\n".join(lines))
    recording = open_drive(folder)
    assert recording.motion == "raw"
    sweep = list(recording.sweeps())[1]
    # 51 ms before the scanner faces forward to 52 ms after; left is passed before right.
    expected = np.array([0.5, -25.25, 26.25, -51.0, 52.0]) * 1e6
    np.testing.assert_allclose(sweep.offset_ns, expected, atol=2e3)


def test_ends_of_turns_that_do_not_match(tmp_path: Path) -> None:
    folder = write_drive(tmp_path / "drive")
    (folder / "velodyne_points" / "timestamps_start.txt").write_text("1\n2\n3\n")
    (folder / "velodyne_points" / "timestamps_end.txt").write_text("1\n2\n")
    with pytest.raises(FormatError, match=r"timestamps_start.txt has 3 lines, .* 2"):
        open_drive(folder)


def oxts_record(i: int) -> str:
    columns = [f"{v}" for v in (49.0151, 8.4340 + i * 1e-5, 112.8, 0.01, 0.02, 0.3)]
    return " ".join(columns + [f"{100 * i + k}" for k in range(6, 30)])


def test_oxts_records_have_times_of_their_own_and_become_signals(tmp_path: Path) -> None:
    folder = write_drive(tmp_path / "drive")
    (folder / "oxts" / "data").mkdir(parents=True)
    for i in range(3):
        (folder / f"oxts/data/{i:010d}.txt").write_text(oxts_record(i))
    without = open_drive(folder)
    assert without.trajectory.timestamps_ns.tolist() == [START + i * 10**9 for i in range(3)]
    stamps = [f"2011-09-26 13:02:{25 + i:02d}.954389445" for i in range(3)]
    (folder / "oxts" / "timestamps.txt").write_text("\n".join(stamps))
    recording = open_drive(folder)
    own = [START - 10_000_000 + i * 10**9 for i in range(3)]
    assert recording.trajectory.timestamps_ns.tolist() == own
    gnss, imu = recording.signals
    assert (gnss.kind, imu.kind) == ("gnss", "imu")
    assert gnss.timestamps_ns.tolist() == own
    row = dict(zip(imu.fields, imu.values[2], strict=True))
    assert row["angular_velocity_z_radps"] == 219
    assert row["linear_acceleration_x_mps2"] == 211
    np.testing.assert_allclose(gnss.values[:, 1], 8.4340 + np.arange(3) * 1e-5)
    assert len(list(recording.sweeps())) == 3
    # A record that goes back in time is left out.
    (folder / "oxts" / "timestamps.txt").write_text("\n".join([stamps[0], stamps[2], stamps[1]]))
    assert open_drive(folder).trajectory.timestamps_ns.tolist() == [own[0], own[2]]


def test_a_broken_oxts_record(tmp_path: Path) -> None:
    folder = write_drive(tmp_path / "drive")
    (folder / "oxts" / "data").mkdir(parents=True)
    for text in ("1 2 3", "1 2 3 4 5 nan", "one"):
        (folder / "oxts/data/0000000000.txt").write_text(text)
        with pytest.raises(FormatError, match=r"0000000000.txt: (expected|not a table)"):
            open_drive(folder)
