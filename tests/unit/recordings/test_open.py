from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from recordings.open import open_recording
from scene.errors import FormatError
from scene.pose import SE3
from scene.recording import RecordingId
from tests.support.ros_writer import RosWriter

POINT = np.dtype([("x", "<f4"), ("y", "<f4"), ("z", "<f4")])
PCD = (
    "VERSION 0.7\nFIELDS x y z\nSIZE 4 4 4\nTYPE F F F\nWIDTH 1\nHEIGHT 1\nPOINTS 1\n"
    "DATA ascii\n1 2 3\n"
)


def write_bag(path: Path, start: int, num: int = 2) -> None:
    with RosWriter(path) as writer:
        for i in range(num):
            time = start + i * 10**8
            writer.odometry("/odom", time, "map", "base_link", SE3.identity())
            writer.cloud("/points", time, "base_link", np.ones(3, POINT))


def test_content_decides_not_the_name(tmp_path: Path) -> None:
    write_bag(tmp_path / "drive.pcd", 10**9)
    (tmp_path / "cloud.mcap").write_text(PCD)
    assert open_recording(tmp_path / "drive.pcd").format == "mcap"
    recording = open_recording(tmp_path / "cloud.mcap", RecordingId("other"))
    assert (recording.format, recording.recording) == ("pcd", "other")


def test_split_bag_follows_metadata(tmp_path: Path) -> None:
    folder = tmp_path / "my run"
    folder.mkdir()
    for i in range(11):
        write_bag(folder / f"part_{i}.mcap", 10**9 + i * 10**9)
    listed = "\n".join(f"  - part_{i}.mcap" for i in range(11))
    (folder / "metadata.yaml").write_text(f"relative_file_paths:\n{listed}\n")
    recording = open_recording(folder)
    times = [sweep.timestamp_ns for sweep in recording.sweeps()]
    assert len(times) == 22
    assert times == sorted(times)
    assert recording.recording == "my_run"
    assert recording.damage == []


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "the file is empty; the upload was probably cut off"),
        (b"Dear diary, no lidar today", "this is text .'Dear diary, no lidar today'., whatever"),
        (b"ARROW1\0\0", "upload the whole Argoverse 2 log folder"),
        (b"\xff\xfe\0\x01", "no known format, begins with the bytes ff fe 00 01"),
    ],
)
def test_what_cannot_be_read_is_said_with_a_remedy(
    tmp_path: Path, content: bytes, message: str
) -> None:
    path = tmp_path / "drive.mcap"
    path.write_bytes(content)
    with pytest.raises(FormatError, match=message) as caught:
        open_recording(path)
    assert "Readable are: " in str(caught.value)
    assert "ROS 2 MCAP" in str(caught.value)


def test_folders_that_are_no_recording(tmp_path: Path) -> None:
    with pytest.raises(FormatError, match="nothing there"):
        open_recording(tmp_path / "absent")
    with pytest.raises(FormatError, match="it is empty"):
        open_recording(tmp_path)
    (tmp_path / "deep" / "er" / "velodyne_points").mkdir(parents=True)
    with pytest.raises(FormatError, match="the recording lies deeper"):
        open_recording(tmp_path)
    (tmp_path / "deep" / "x.txt").write_text("hello")
    with pytest.raises(FormatError, match=r"no scans; expected|lies deeper"):
        open_recording(tmp_path / "deep")
