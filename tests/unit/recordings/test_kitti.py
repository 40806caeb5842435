from __future__ import annotations

import tarfile
from pathlib import Path

import numpy as np
import pytest

from recordings.kitti import EGO_SE3_VELODYNE, KittiRecording
from recordings.kitti_poses import read_times
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
