"""MCAP recordings: one file, or a rosbag2 folder of several."""

from __future__ import annotations

from pathlib import Path

from recordings.formats import files_in, head, is_mcap
from recordings.log import LogRecording
from recordings.mcap_file import McapFile
from scene.recording import RecordingId


class McapRecording(LogRecording):
    """A log in MCAP files. See `recordings.log.LogRecording`."""

    format = "mcap"

    def __init__(self, paths: list[Path], name: RecordingId, time_origin_ns: int = 0) -> None:
        """Read everything but points and images; see `LogRecording`.

        Args:
            paths: the files in time order.
            name: id of the recording.
            time_origin_ns: added to relative per-point times.
        """
        super().__init__([McapFile(path) for path in paths], name, time_origin_ns)


def open_mcap(path: Path, name: RecordingId, part: str = "") -> McapRecording:
    """Open one file, or the files of a rosbag2 folder in the order of its metadata.yaml."""
    del part  # a folder is one recording
    if path.is_file():
        return McapRecording([path], name)
    bags = [file for file in files_in(path) if is_mcap(head(file))]
    return McapRecording(_in_bag_order(path, bags), name)


def _in_bag_order(folder: Path, bags: list[Path]) -> list[Path]:
    """Return the files of a rosbag2 in the order its metadata.yaml lists them, if it has one."""
    metadata = folder / "metadata.yaml"
    text = metadata.read_text(errors="replace") if metadata.exists() else ""
    # Only the order of the names matters, so the first place of each name in the text is enough.
    return sorted(bags, key=lambda p: (text.find(p.name) % (len(text) + 1), len(p.name), p.name))
