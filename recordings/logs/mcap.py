"""MCAP recordings: one file, or a rosbag2 folder of several."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from recordings.formats import files_in, head, is_mcap
from recordings.logs.log import LogRecording
from recordings.logs.mcap_file import McapFile
from recordings.logs.rosbag2_metadata import order_parts
from recordings.recording import Damage
from scene.recording import RecordingId


class McapRecording(LogRecording):
    """A log in MCAP files. See `recordings.logs.log.LogRecording`."""

    format = "mcap"

    def __init__(
        self,
        paths: list[Path],
        name: RecordingId,
        time_origin_ns: int = 0,
        damage: Sequence[Damage] = (),
    ) -> None:
        """Read everything but points and images; see `LogRecording`.

        Args:
            paths: the files in time order.
            name: id of the recording.
            time_origin_ns: added to relative per-point times.
            damage: what is known to be missing beforehand.
        """
        super().__init__([McapFile(path) for path in paths], name, time_origin_ns, damage)


def open_mcap(path: Path, name: RecordingId, part: str = "") -> McapRecording:
    """Open one file, or the files of a rosbag2 folder in the order of its metadata.yaml."""
    del part  # a folder is one recording
    if path.is_file():
        return McapRecording([path], name)
    bags = [file for file in files_in(path) if is_mcap(head(file))]
    paths, damage = order_parts(path, bags)
    return McapRecording(paths, name, damage=damage)
