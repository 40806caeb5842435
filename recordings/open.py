"""Open any recording: what it is, is told by what it holds, never by its name."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from recordings.argoverse2 import LIDAR_FOLDER, Argoverse2Recording, is_argoverse2
from recordings.kitti import KittiRecording, is_kitti
from recordings.mcap import McapRecording
from recordings.mcap_file import MAGIC
from recordings.pcd import PcdRecording
from recordings.recording import Recording
from scene.errors import FormatError
from scene.recording import RecordingId

SUPPORTED: Final = (
    "ROS 2 MCAP (a file or a rosbag2 folder), Argoverse 2 log folder, KITTI raw drive folder, "
    "PCD file or folder"
)
_FOREIGN: Final = (
    (b"#ROSBAG V2.0", "a ROS 1 bag; convert it to a ROS 2 MCAP with rosbags-convert"),
    (b"SQLite format 3", "a SQLite database, perhaps a rosbag2; convert it: `ros2 bag convert`"),
    (b"\x28\xb5\x2f\xfd", "a zstd file, perhaps a compressed bag file; decompress it: `zstd -d`"),
    (b"LASF", "a LAS/LAZ survey file without sweeps; export the sweeps as PCD files"),
    (b"ARROW1", "an Arrow/Feather table; upload the whole Argoverse 2 log folder"),
    (b"PAR1", "a Parquet table, not a recording"),
    (b"PK\x03\x04", "a zip archive; unpack it and upload the folder"),
    (b"\x1f\x8b", "a gzip archive; unpack it and upload the folder"),
    (b"\xfd7zXZ", "an xz archive; unpack it and upload the folder"),
)  # fmt: skip


def open_recording(path: Path, name: RecordingId | None = None) -> Recording:
    """Open the recording at a path; reads everything but the points.

    Args:
        path: a file or folder.
        name: its id; made from the file name if not given.

    Raises:
        FormatError: if no reader knows it; says what was found and what to do.
    """
    path = Path(path)
    if not path.exists():
        raise FormatError(f"{path}: there is nothing there")
    if path.is_dir():
        return _open_folder(path, name or RecordingId.from_text(path.resolve().name))
    name = name or RecordingId.from_text(path.stem)
    with path.open("rb") as stream:
        head = stream.read(4096)
    if head.startswith(MAGIC):
        return McapRecording([path], name)
    if _looks_like_pcd(head):
        return PcdRecording([path], name)
    raise FormatError(f"{path.name}: {_describe(head)}. Readable are: {SUPPORTED}")


def _open_folder(folder: Path, name: RecordingId) -> Recording:
    if is_argoverse2(folder):
        return Argoverse2Recording(folder, name)
    if is_kitti(folder):
        return KittiRecording(folder, name)
    files = sorted(p for p in folder.iterdir() if p.is_file() and not p.name.startswith("."))
    bags = [path for path in files if _head(path, len(MAGIC)) == MAGIC]
    if bags:
        return McapRecording(_in_bag_order(folder, bags), name)
    clouds = [path for path in files if _looks_like_pcd(_head(path, 4096))]
    if clouds:
        return PcdRecording(clouds, name)
    raise FormatError(
        f"{folder.name}: {_describe_folder(folder, files)}. Readable are: {SUPPORTED}"
    )


def _in_bag_order(folder: Path, bags: list[Path]) -> list[Path]:
    """Return the files of a rosbag2 in the order its metadata.yaml lists them, if it has one."""
    metadata = folder / "metadata.yaml"
    text = metadata.read_text(errors="replace") if metadata.exists() else ""
    # Only the order of the names matters, so the first place of each name in the text is enough.
    return sorted(bags, key=lambda p: (text.find(p.name) % (len(text) + 1), len(p.name), p.name))


def _head(path: Path, size: int) -> bytes:
    with path.open("rb") as stream:
        return stream.read(size)


def _looks_like_pcd(head: bytes) -> bool:
    words = {line.split(b" ")[0].strip() for line in head.splitlines()}
    return head.startswith((b"# .PCD", b"VERSION")) or {b"FIELDS", b"DATA"} <= words


def _describe(head: bytes) -> str:
    if not head:
        return "the file is empty; the upload was probably cut off: upload it again"
    for start, meaning in _FOREIGN:
        if head.startswith(start):
            return f"this is {meaning}"
    try:
        text = head.decode("utf-8")
    except UnicodeDecodeError:
        return f"no known format, begins with the bytes {head[:8].hex(' ')}"
    return f"this is text ({text.strip()[:40]!r}), whatever its name says"


def _describe_folder(folder: Path, files: list[Path]) -> str:
    if any(folder.rglob(f"{LIDAR_FOLDER}/*.feather")) or any(folder.rglob("velodyne_points")):
        return "the recording lies deeper; give its own folder"
    if files:
        names = ", ".join(path.name for path in files[:5])
        first = _describe(_head(files[0], 64))
        return f"no reader knows these files: {names}; {files[0].name}: {first}"
    names = ", ".join(sorted(path.name for path in folder.iterdir())[:5])
    return f"no recording in this folder ({names or 'it is empty'})"
