"""Open any recording: what it is, is told by what it holds, never by its name."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from recordings.datasets.float_clouds import describe_floats
from recordings.formats import FORMATS, files_in, head
from recordings.recording import Recording
from scene.errors import FormatError
from scene.recording import RecordingId

SUPPORTED: Final = ", ".join(known.title for known in FORMATS)
_FOREIGN: Final = (
    (b"ARROW1", "an Arrow/Feather table; upload the whole Argoverse 2 log folder"),
    (b"PAR1", "a Parquet table, not a recording"),
    (b"PK\x03\x04", "a zip archive; unpack it and upload the folder"),
    (b"\x1f\x8b", "a gzip archive; unpack it and upload the folder"),
    (b"\xfd7zXZ", "an xz archive; unpack it and upload the folder"),
)  # fmt: skip


def open_recording(path: Path, name: RecordingId | None = None, part: str = "") -> Recording:
    """Open the recording at a path; reads everything but the points.

    Args:
        path: a file or folder.
        name: its id; made from the file name if not given.
        part: which recording, where the folder holds several; see `recordings.discovery.Source`.

    Raises:
        FormatError: if no reader knows it; says what was found and what to do.
    """
    path = Path(path)
    if not path.exists():
        raise FormatError(f"{path}: there is nothing there")
    if path.is_dir():
        name = name or RecordingId.from_text(path.resolve().name + (f"_{part}" if part else ""))
        for known in FORMATS:
            if known.is_folder is not None and known.is_folder(path):
                return known.open(path, name, part)
        raise FormatError(f"{path.name}: {_describe_folder(path)}. Readable are: {SUPPORTED}")
    name = name or RecordingId.from_text(path.stem)
    start = head(path)
    for known in FORMATS:
        if known.is_file is not None and known.is_file(start):
            return known.open(path, name, part)
    raise FormatError(f"{path.name}: {_describe(start)}. Readable are: {SUPPORTED}")


def _describe(start: bytes) -> str:
    if not start:
        return "the file is empty; the upload was probably cut off: upload it again"
    for magic, meaning in _FOREIGN:
        if start.startswith(magic):
            return f"this is {meaning}"
    try:
        text = start.decode("utf-8")
    except UnicodeDecodeError:
        scan = describe_floats(start)
        if scan:
            return f"this is {scan}"
        return f"no known format, begins with the bytes {start[:8].hex(' ')}"
    return f"this is text ({text.strip()[:40]!r}), whatever its name says"


def _describe_folder(folder: Path) -> str:
    if any(folder.rglob("sensors/lidar/*.feather")) or any(folder.rglob("velodyne_points")):
        return "the recording lies deeper; give its own folder"
    files = files_in(folder)
    if files:
        names = ", ".join(path.name for path in files[:5])
        first = _describe(head(files[0], 64))
        return f"no reader knows these files: {names}; {files[0].name}: {first}"
    names = ", ".join(sorted(path.name for path in folder.iterdir())[:5])
    return f"no recording in this folder ({names or 'it is empty'})"
