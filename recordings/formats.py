"""The formats that can be read: how each is told from its content, and which reader opens it.

The order is the order in which they are tried. A reader's module is imported when one of its
recordings is opened, so that a format nobody uses costs nothing.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from recordings.recording import Recording
from scene.recording import RecordingId

MCAP_MAGIC: Final = b"\x89MCAP0\r\n"
BAG1_MAGIC: Final = b"#ROSBAG V2.0\n"
SQLITE_MAGIC: Final = b"SQLite format 3\0"
ZSTD_MAGIC: Final = b"\x28\xb5\x2f\xfd"
# By their first bytes: byte order, and nanoseconds in one count of the fraction of a second.
PCAP_MAGICS: Final = {
    b"\xd4\xc3\xb2\xa1": ("<", 1000), b"\xa1\xb2\xc3\xd4": (">", 1000),
    b"\x4d\x3c\xb2\xa1": ("<", 1), b"\xa1\xb2\x3c\x4d": (">", 1),
}  # fmt: skip
PCAPNG_MAGIC: Final = b"\x0a\x0d\x0d\x0a"
HEAD_BYTES: Final = 4096


@dataclass(frozen=True, slots=True)
class Format:
    """One format.

    Attributes:
        name: what `Recording.format` says.
        title: what a person calls it, for the list of readable formats.
        opener: "module:function"; the function takes a path, a RecordingId and the part (see
            `recordings.discovery.Source`) and returns a Recording.
        is_file: tells by the first bytes of a file; None if a single file is no recording.
        is_folder: tells by what lies in a folder; None if a folder is no recording.
    """

    name: str
    title: str
    opener: str
    is_file: Callable[[bytes], bool] | None = None
    is_folder: Callable[[Path], bool] | None = None

    def open(self, path: Path, name: RecordingId, part: str = "") -> Recording:
        """Open a recording of this format."""
        module, _, function = self.opener.partition(":")
        return getattr(importlib.import_module(module), function)(path, name, part)


def files_in(folder: Path) -> list[Path]:
    """Return the files directly in a folder that are not hidden, by name."""
    return sorted(p for p in folder.iterdir() if p.is_file() and not p.name.startswith("."))


def head(path: Path, size: int = HEAD_BYTES) -> bytes:
    """Return the first bytes of a file."""
    with path.open("rb") as stream:
        return stream.read(size)


def is_mcap(start: bytes) -> bool:
    """Return whether a file begins like an MCAP file."""
    return start.startswith(MCAP_MAGIC)


def is_zstd(start: bytes | memoryview) -> bool:
    """Return whether a file begins like a zstd frame; a rosbag2 may be one."""
    return start[: len(ZSTD_MAGIC)] == ZSTD_MAGIC


def is_rosbag2(start: bytes) -> bool:
    """Return whether a file may be a rosbag2 database, as it is or compressed whole."""
    return start.startswith(SQLITE_MAGIC) or is_zstd(start)


def is_pcap(start: bytes) -> bool:
    """Return whether a file begins like a capture of network packets."""
    return start[:4] in PCAP_MAGICS or start[:4] == PCAPNG_MAGIC


def is_pcd(start: bytes) -> bool:
    """Return whether a file begins like a PCD file."""
    words = {line.split(b" ")[0].strip() for line in start.splitlines()}
    return start.startswith((b"# .PCD", b"VERSION")) or {b"FIELDS", b"DATA"} <= words


def is_ply(start: bytes) -> bool:
    """Return whether a file begins like a PLY file."""
    return start.startswith((b"ply\n", b"ply\r")) and b"format" in start[:256]


def is_las(start: bytes) -> bool:
    """Return whether a file begins like a LAS or LAZ file."""
    return start.startswith(b"LASF")


def _holds(is_file: Callable[[bytes], bool]) -> Callable[[Path], bool]:
    """Return a test for folders with at least one file that passes the test for files."""
    return lambda folder: any(is_file(head(path)) for path in files_in(folder))


def _is_argoverse2(folder: Path) -> bool:
    return any((folder / "sensors" / "lidar").glob("*.feather"))


def _is_kitti_raw(folder: Path) -> bool:
    return (folder / "velodyne_points").is_dir() or any(folder.glob("velodyne_points*.tar.*"))


def _is_lerobot(folder: Path) -> bool:
    path = folder / "meta" / "info.json"
    return path.is_file() and b'"features"' in head(path, 2**20)


def _is_kitti_object(folder: Path) -> bool:
    return any((folder / "velodyne").glob("*.bin")) or (folder / "velodyne_reduced").is_dir()


def _is_kitti_tracking(folder: Path) -> bool:
    return any((folder / "velodyne").glob("[0-9][0-9][0-9][0-9]/*.bin"))


def _is_pandaset(folder: Path) -> bool:
    return any((folder / "lidar").glob("[0-9]*.pkl*"))


def _is_nuscenes(folder: Path) -> bool:
    named = ("sample_data.json", "sample_annotation.json", "calibrated_sensor.json")
    tables = any(path.name in named for path in folder.glob("*/*.json"))
    return tables or any(folder.glob("samples/LIDAR_*/*.bin"))


FORMATS: Final = (
    Format(
        "argoverse2", "Argoverse 2 log folder", "recordings.datasets.argoverse2:open_argoverse2",
        is_folder=_is_argoverse2,
    ),
    Format(
        "kitti", "KITTI raw drive folder", "recordings.datasets.kitti:open_kitti",
        is_folder=_is_kitti_raw,
    ),
    Format(
        "lerobot", "LeRobot data set (an episode of it)",
        "recordings.datasets.lerobot:open_lerobot",
        is_folder=_is_lerobot,
    ),
    Format(
        "kitti_object", "KITTI object benchmark folder (training/)",
        "recordings.datasets.kitti_object:open_kitti_object", is_folder=_is_kitti_object,
    ),
    Format(
        "kitti_tracking", "KITTI tracking benchmark folder (training/)",
        "recordings.datasets.kitti_tracking:open_kitti_tracking", is_folder=_is_kitti_tracking,
    ),
    Format(
        "pandaset", "PandaSet sequence folder", "recordings.datasets.pandaset:open_pandaset",
        is_folder=_is_pandaset,
    ),
    Format(
        "nuscenes", "nuScenes data set folder", "recordings.datasets.nuscenes:open_nuscenes",
        is_folder=_is_nuscenes,
    ),
    Format(
        "mcap", "ROS 2 MCAP, Foxglove MCAP (a file or a rosbag2 folder)",
        "recordings.logs.mcap:open_mcap",
        is_file=is_mcap, is_folder=_holds(is_mcap),
    ),
    Format(
        "rosbag2", "ROS 2 SQLite bag (.db3, a file or a rosbag2 folder)",
        "recordings.logs.rosbag2:open_rosbag2", is_file=is_rosbag2, is_folder=_holds(is_rosbag2),
    ),
    Format(
        "rosbag1", "ROS 1 bag", "recordings.logs.rosbag1:open_rosbag1",
        is_file=lambda start: start.startswith(b"#ROSBAG V"),
    ),
    Format(
        "pcap", "lidar packets in a pcap or pcapng capture (Velodyne, Ouster)",
        "recordings.logs.pcap:open_pcap", is_file=is_pcap, is_folder=_holds(is_pcap),
    ),
    Format(
        "pcd", "PCD file or folder", "recordings.clouds.recording:open_pcd",
        is_file=is_pcd, is_folder=_holds(is_pcd),
    ),
    Format(
        "ply", "PLY file or folder", "recordings.clouds.recording:open_ply",
        is_file=is_ply, is_folder=_holds(is_ply),
    ),
    Format(
        "las", "LAS/LAZ file or folder", "recordings.clouds.recording:open_las",
        is_file=is_las, is_folder=_holds(is_las),
    ),
)  # fmt: skip
