"""rosbag2 recordings in SQLite: a .db3 file, or a folder of several; compressed files as well."""

from __future__ import annotations

import shutil
import tempfile
import weakref
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

from recordings.formats import SQLITE_MAGIC, files_in, head, is_mcap, is_rosbag2, is_zstd
from recordings.logs.log import LogRecording
from recordings.logs.log_file import LogFile
from recordings.logs.mcap import McapRecording
from recordings.logs.mcap_file import McapFile
from recordings.logs.rosbag2_file import SqliteBag
from recordings.logs.rosbag2_metadata import order_parts
from recordings.recording import Damage
from scene.errors import FormatError
from scene.recording import RecordingId

_SPARE_DISK_BYTES: Final = 2**30


class Rosbag2Recording(LogRecording):
    """A rosbag2 in SQLite files. See `recordings.logs.log.LogRecording`."""

    format = "rosbag2"


def open_rosbag2(path: Path, name: RecordingId, part: str = "") -> LogRecording:
    """Open one database, or the parts of a bag in the order of its metadata.yaml.

    Files that rosbag2 has compressed whole (`.db3.zstd`, `.mcap.zstd`) are decompressed to
    temporary files, which go when the recording does.

    Raises:
        FormatError: if no part can be read.
    """
    del part  # a folder is one recording
    paths, damage = [path], list[Damage]()
    if path.is_dir():
        found = [file for file in files_in(path) if is_rosbag2(head(file))]
        paths, damage = order_parts(path, found)
    scratch = Path(tempfile.mkdtemp(prefix="starloop-")) if any(map(_is_packed, paths)) else None
    try:
        files = open_parts(paths, lambda one: _open_file(one, scratch), damage)
        if all(isinstance(file, McapFile) for file in files):
            recording: LogRecording = McapRecording(
                [file.path for file in files], name, damage=damage
            )
        else:
            recording = Rosbag2Recording(files, name, damage=damage)
    except BaseException:
        _remove(scratch)
        raise
    weakref.finalize(recording, _remove, scratch)
    return recording


def open_parts(
    paths: Sequence[Path], opener: Callable[[Path], LogFile], damage: list[Damage]
) -> list[LogFile]:
    """Open the parts of a recording; those that cannot be opened go to `damage`.

    Raises:
        FormatError: if none can be opened.
    """
    files, problems = [], []
    for path in paths:
        try:
            files.append(opener(path))
        except FormatError as error:
            problems.append(error)
            damage.append(Damage(path.name, str(error), "all its messages"))
    if not files:
        raise problems[0] if problems else FormatError("no part of the bag is there")
    return files


def _is_packed(path: Path) -> bool:
    return is_zstd(head(path, 4))


def _open_file(path: Path, scratch: Path | None) -> LogFile:
    if scratch is not None and _is_packed(path):
        path = _unpack(path, scratch)
    start = head(path)
    if is_mcap(start):
        return McapFile(path)
    if start.startswith(SQLITE_MAGIC):
        return SqliteBag(path)
    raise FormatError(f"{path.name}: neither MCAP nor SQLite, begins with {start[:8]!r}")


def _unpack(path: Path, scratch: Path) -> Path:
    """Decompress a file; of one that is cut short, what comes out."""
    import zstandard

    plain = scratch / path.name
    room = shutil.disk_usage(scratch).free - _SPARE_DISK_BYTES
    with path.open("rb") as packed, plain.open("wb") as stream:
        try:
            for piece in zstandard.ZstdDecompressor().read_to_iter(packed):
                room -= len(piece)
                if room < 0:
                    raise FormatError(f"{path.name}: not enough disk space to decompress it")
                stream.write(piece)
        except zstandard.ZstdError as error:
            if not stream.tell():
                raise FormatError(f"{path.name}: zstd: {error}") from error
    return plain


def _remove(folder: Path | None) -> None:
    if folder is not None:
        shutil.rmtree(folder, ignore_errors=True)
