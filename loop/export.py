"""An ingested recording, or any readable file, out to the format of another tool."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from loop.landing import landed_file
from loop.stored import StoredRecording
from loop.workspace import Workspace
from recordings.export.clip import Clip
from recordings.export.run import ExportResult, Progress, export_recording, refuse_foreign
from recordings.geometry.deskew import StraightenedRecording
from recordings.open import open_recording
from recordings.recording import Recording
from scene.errors import ConflictError, DataError, NotFoundError
from scene.recording import RecordingId

_MAX_IMAGE_BYTES = 64 * 2**20


@dataclass(frozen=True, kw_only=True)
class ExportRequest:
    """What to export.

    Attributes:
        what: id of an ingested recording, or a path to a file or folder.
        to: a key of `recordings.export.formats.EXPORT_FORMATS`.
        folder: where to; `./<recording>.<format>` if not given.
        part: which recording, where the folder at the path holds several.
        annotations: take the boxes of the labelling team, not those that came with the recording.
        as_measured: undo the motion compensation that ingest did.
        straighten: put the points on moving objects with a box where they would be at the sweep's
            time; the store keeps them as they are.
        frames: number of the first sweep and of the one after the last (None: to the end).
    """

    what: str
    to: str
    folder: Path | None = None
    part: str = ""
    annotations: bool = False
    as_measured: bool = False
    straighten: bool = False
    frames: tuple[int, int | None] = (0, None)


@dataclass(frozen=True)
class _Opened:
    recording: Recording
    read_file: Callable[[str], bytes | None]
    num_sweeps: int | None


def run_export(
    workspace: Callable[[], Workspace],
    request: ExportRequest,
    started: Callable[[Recording, int | None], Progress],
) -> ExportResult:
    """Open, clip and write.

    Args:
        workspace: gives the bucket; asked for only if an ingested recording is meant.
        request: what and where to.
        started: called when the recording is open, with the number of its sweeps where that is
            known; gives the progress callback.

    Raises:
        StarloopError: see `recordings.export.run.export_recording` and
            `recordings.open.open_recording`.
    """
    with _opened(workspace, request) as opened:
        recording, total = opened.recording, opened.num_sweeps
        start, stop = request.frames
        if (start, stop) != (0, None):
            recording = Clip(recording, start, stop)
            if total is not None:
                total = len(range(*slice(start, stop).indices(total)))
        if request.straighten:
            recording = StraightenedRecording(recording)
        folder = request.folder or Path(f"{recording.recording}.{request.to}")
        _refuse_own_source(request.what, folder)
        refuse_foreign(folder)  # before anything is shown to have begun
        progress = started(recording, total)
        return export_recording(recording, request.to, folder, progress, opened.read_file)


def _refuse_own_source(what: str, folder: Path) -> None:
    """Raise if the export would take the place of what it is made from."""
    source, target = Path(what).resolve(), folder.resolve()
    if Path(what).exists() and source.is_relative_to(target):
        raise ConflictError(f"{folder}: the recording itself lies there; name another with --out")


@contextmanager
def _opened(workspace: Callable[[], Workspace], request: ExportRequest) -> Iterator[_Opened]:
    """Open a path if there is something at it, else an ingested recording."""
    path = Path(request.what)
    if path.exists():
        if request.annotations or request.as_measured:
            raise DataError(
                f"{request.what}: only an ingested recording has annotations of its own and "
                "measured points besides; give its id"
            )
        root = path if path.is_dir() else path.parent
        recording = open_recording(path, part=request.part)
        yield _Opened(recording, lambda uri: _file(root, uri), None)
        return
    try:
        name = RecordingId(request.what)
    except DataError as error:
        raise NotFoundError(f"{request.what}: there is nothing there, and it is no id") from error
    place = workspace()
    table = "annotations" if request.annotations else "boxes"
    with StoredRecording(place, name, table, as_measured=request.as_measured) as stored:
        if request.annotations and stored.ground_truth is None:
            raise DataError(f"recording {name}: no frame of it has been annotated")
        yield _Opened(stored, lambda uri: landed_file(place, name, uri), stored.num_sweeps)


def _file(root: Path, uri: str) -> bytes | None:
    """Return a file of the recording; None if it is not there or leads out of it."""
    path = root / uri
    if not uri or ".." in Path(uri).parts or Path(uri).is_absolute() or not path.is_file():
        return None
    return path.read_bytes() if path.stat().st_size <= _MAX_IMAGE_BYTES else None
