"""Names of recordings and frames, made and checked in one place."""

from __future__ import annotations

import re

from scene.errors import DataError

_ALLOWED = re.compile(r"[A-Za-z0-9._-]+")
_MAX_LENGTH = 120


class RecordingId(str):
    """Name of a recording: the Dagster partition key, the table key and part of object keys.

    Only letters, digits, dot, underscore and hyphen: a comma, slash or `...` breaks Dagster's
    partition ranges and object keys.

    Raises:
        DataError: if the name holds another character, is empty, too long, or contains `...`.
    """

    __slots__ = ()

    def __new__(cls, name: str) -> RecordingId:
        """Check the name."""
        if not _ALLOWED.fullmatch(name) or "..." in name or name in {".", ".."}:
            raise DataError(f"recording id {name!r}: use only letters, digits, '.', '_' and '-'")
        if len(name) > _MAX_LENGTH:
            raise DataError(f"recording id {name!r}: {len(name)} characters, at most {_MAX_LENGTH}")
        return super().__new__(cls, name)

    @classmethod
    def from_text(cls, text: str) -> RecordingId:
        """Make an id from any file name: other characters become `_`."""
        cleaned = re.sub(r"[^A-Za-z0-9._-]+", "_", text).strip("._") or "recording"
        return cls(re.sub(r"\.{2,}", ".", cleaned)[:_MAX_LENGTH])


def frame_id(recording: str, timestamp_ns: int) -> str:
    """Return the id of one frame: `<recording>@<timestamp_ns>`."""
    return f"{recording}@{timestamp_ns}"


def split_frame_id(frame: str) -> tuple[RecordingId, int]:
    """Return `(recording, timestamp_ns)` of a frame id.

    Raises:
        DataError: if the text is not `<recording>@<timestamp_ns>`.
    """
    recording, separator, timestamp = frame.rpartition("@")
    if not separator or not timestamp.lstrip("-").isdigit():
        raise DataError(f"frame id {frame!r}: expected <recording>@<timestamp_ns>")
    return RecordingId(recording), int(timestamp)
