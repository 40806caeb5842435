"""ROS 1 recordings: a bag file."""

from __future__ import annotations

from pathlib import Path

from recordings.logs.log import LogRecording
from recordings.logs.rosbag1_file import BagFile
from scene.recording import RecordingId


class Rosbag1Recording(LogRecording):
    """A ROS 1 bag. See `recordings.logs.log.LogRecording`."""

    format = "rosbag1"


def open_rosbag1(path: Path, name: RecordingId, part: str = "") -> Rosbag1Recording:
    """Open one bag."""
    del part  # a bag is one recording
    return Rosbag1Recording([BagFile(path)], name)
