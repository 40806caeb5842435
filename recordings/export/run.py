"""Run a writer over a recording: in order, one sweep in memory, all or nothing."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, replace
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Final

from recordings.export.formats import EXPORT_FORMATS
from recordings.export.writer import Frame, Writer, checked_time
from recordings.recording import MAX_POSE_EXTRAPOLATION_NS, Recording
from scene.errors import ConflictError, DataError
from scene.image import Image

MARKER: Final = "starloop-export.json"
Progress = Callable[[int, str], None]
ReadFile = Callable[[str], bytes | None]
_STILL_IMAGES: Final = ("jpeg", "png", "webp")


@dataclass(frozen=True)
class ExportResult:
    """What was written.

    Attributes:
        folder: where.
        format: short name of the format.
        recording: id of the recording.
        num_sweeps, num_points, num_boxes, num_images: how much.
        size_bytes: of all files.
        losses: one line for each thing that the format cannot hold.
        damage: one line for each thing that could not be read from the source.
    """

    folder: str
    format: str
    recording: str
    num_sweeps: int
    num_points: int
    num_boxes: int
    num_images: int
    size_bytes: int
    losses: tuple[str, ...]
    damage: tuple[str, ...]


@dataclass
class _Counts:
    sweeps: int = 0
    points: int = 0
    boxes: int = 0
    images: int = 0


def export_recording(
    recording: Recording,
    to: str,
    folder: Path,
    progress: Progress | None = None,
    read_file: ReadFile | None = None,
) -> ExportResult:
    """Write a recording in another format.

    Files are written into a hidden folder beside the target, which takes its name when everything
    is complete. An earlier export of the same place is replaced then; anything else that lies
    there is left alone.

    Args:
        recording: from `recordings.open.open_recording`, or a stored one.
        to: a key of `EXPORT_FORMATS`.
        folder: where to; made if it is not there.
        progress: called after each sweep with the number of sweeps written and what was written.
        read_file: gives the bytes of a file that an image is kept by reference to, by its path
            inside the recording; None for one that is not there.

    Raises:
        ConflictError: if something lies at `folder` that is no export.
        ConfigError: if a package that the format needs is not installed.
        DataError: if the recording holds no readable sweep, or one cannot be written.
    """
    folder = Path(os.path.abspath(folder))  # noqa: PTH100  (a link stays a link)
    part = folder.with_name(f".{folder.name}.part")
    for place in (folder, part):
        refuse_foreign(place)
    shutil.rmtree(part, ignore_errors=True)
    part.mkdir(parents=True)
    _mark(part, {"format": to, "complete": False})
    try:
        writer = EXPORT_FORMATS[to].start(part, recording)
        counts = _write(writer, progress, read_file)
        result = _result(folder, part, writer, counts, to)
        _mark(part, {**asdict(result), "folder": folder.name, "complete": True, **_about()})
        _swap(part, folder)
    except BaseException:
        shutil.rmtree(part, ignore_errors=True)
        raise
    return result


def refuse_foreign(folder: Path) -> None:
    """Raise if a folder is there that no export wrote.

    Raises:
        ConflictError: says what lies there.
    """
    if not folder.exists() or (folder / MARKER).is_file():
        return
    if folder.is_dir() and not any(folder.iterdir()):
        return
    what = "a folder that no export wrote" if folder.is_dir() else "a file"
    raise ConflictError(f"{folder}: there is {what}; name another with --out, or move it away")


def _write(writer: Writer, progress: Progress | None, read_file: ReadFile | None) -> _Counts:
    """Hand frames and images to the writer in order of time."""
    counts = _Counts()
    images = _Peek(_with_bytes(writer.recording.images(), read_file))
    for frame in _frames(writer.recording):
        for image in images.until(frame.sweep.timestamp_ns):
            counts.images += writer.image(image)
        writer.frame(frame)
        counts.sweeps += 1
        counts.points += len(frame.sweep)
        counts.boxes += 0 if frame.boxes is None else len(frame.boxes)
        if progress is not None:
            progress(counts.sweeps, f"{len(frame.sweep):,} points")
    if not counts.sweeps:
        raise DataError(_nothing(writer.recording))
    for image in images.until(None):
        counts.images += writer.image(image)
    writer.close()
    return counts


def _nothing(recording: Recording) -> str:
    reason = recording.damage[0].what if recording.damage else "it has no lidar"
    return f"{recording.recording}: no sweep to export ({reason})"


def _frames(recording: Recording) -> Iterator[Frame]:
    truth = recording.ground_truth or {}
    for index, sweep in enumerate(recording.sweeps()):
        time = checked_time(sweep.timestamp_ns)
        pose = recording.trajectory.at(time, MAX_POSE_EXTRAPOLATION_NS)
        yield Frame(index, sweep, pose, truth.get(time))


def _with_bytes(images: Iterator[Image], read_file: ReadFile | None) -> Iterator[Image]:
    """Yield images with their bytes where they are files of their own."""
    for image in images:
        if image.data is None and read_file is not None and image.encoding in _STILL_IMAGES:
            yield replace(image, data=read_file(image.uri))
        else:
            yield image


class _Peek:
    """Gives images up to a time, looking one image ahead."""

    def __init__(self, images: Iterator[Image]) -> None:
        self._images = images
        self._next = next(images, None)

    def until(self, timestamp_ns: int | None) -> Iterator[Image]:
        """Yield what is not later than a time; everything that is left for None."""
        while self._next is not None:
            if timestamp_ns is not None and self._next.timestamp_ns > timestamp_ns:
                return
            yield self._next
            self._next = next(self._images, None)


def _result(folder: Path, part: Path, writer: Writer, counts: _Counts, to: str) -> ExportResult:
    size = sum(path.stat().st_size for path in part.rglob("*") if path.is_file())
    damage = (f"{d.where}: {d.what}; lost: {d.lost}" for d in writer.recording.damage)
    # A clip is read twice, and finds its damage twice.
    damage = dict.fromkeys(damage)
    return ExportResult(
        str(folder), to, writer.recording.recording, counts.sweeps, counts.points, counts.boxes,
        counts.images, size, tuple(writer.losses), tuple(damage),
    )  # fmt: skip


def _about() -> dict[str, str]:
    try:
        return {"written_by": f"starloop {version('starloop')}"}
    except PackageNotFoundError:
        return {"written_by": "starloop"}


def _mark(folder: Path, values: dict[str, object]) -> None:
    (folder / MARKER).write_text(json.dumps(values, indent=1) + "\n")


def _swap(part: Path, folder: Path) -> None:
    """Give the finished folder its name; an earlier export steps aside until that is done."""
    old = folder.with_name(f".{folder.name}.old")
    shutil.rmtree(old, ignore_errors=True)
    if folder.exists():
        refuse_foreign(folder)  # it may have come while we wrote
        folder.rename(old)
    part.rename(folder)
    shutil.rmtree(old, ignore_errors=True)
