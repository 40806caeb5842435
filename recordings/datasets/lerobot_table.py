"""The rows of one LeRobot episode: columns of numbers, and the times of its frames."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from recordings.datasets.lerobot_features import BOOKKEEPING
from recordings.datasets.lerobot_meta import is_outside
from recordings.geometry.points import RawPoints
from scene.errors import FormatError
from scene.types import Float64, Int64

_MAGIC: Final = ((b"\x89PNG", "png"), (b"\xff\xd8", "jpeg"), (b"RIFF", "webp"))
_CLOCK_TOLERANCE_S: Final = 1e-4  # of the format's own check of frame_index / fps


def read_rows(path: Path, where: str, episode: int, names: list[str]) -> pa.Table:
    """Return the episode's rows in the order of the file, with the columns that are there.

    Raises:
        FormatError: if the file is missing or broken, or has no row of the episode.
    """
    if not path.is_file():
        raise FormatError(f"{where}: the data of episode {episode} is missing; upload it")
    try:
        found = pq.read_schema(path).names
        only = [("episode_index", "=", episode)] if "episode_index" in found else None
        wanted = [name for name in (*BOOKKEEPING, *names) if name in found]
        table = pq.read_table(
            path,
            columns=wanted,
            filters=only,
            partitioning=None,  # pyright: ignore[reportArgumentType]
        )
    except (pa.ArrowException, OSError, ValueError) as error:
        raise FormatError(f"{where}: not a readable Parquet file ({error})") from error
    if not len(table):
        raise FormatError(f"{where}: no row of episode {episode}")
    return table


def frame_times_ns(table: pa.Table, fps: float) -> Int64 | None:
    """Return (T,) nanoseconds since the start of the episode, None if nothing says so.

    `timestamp` is float32 seconds, too coarse for long episodes; where it is `frame_index / fps`,
    as the format wants it, the exact quotient is taken.
    """
    seconds = _plain(table, "timestamp")
    number = _plain(table, "frame_index")
    exact = None if number is None or not fps > 0 else number / fps
    if seconds is None or (
        exact is not None and np.all(np.abs(seconds - exact) <= _tolerance_s(exact))
    ):
        seconds = exact
    if seconds is None or not np.isfinite(seconds).all() or np.abs(seconds).max() > 1e9:
        return None
    return np.round(seconds * 1e9).astype(np.int64)


def _tolerance_s(exact: Float64) -> Float64:
    """Return what float32 and the format's own tolerance allow."""
    return np.maximum(_CLOCK_TOLERANCE_S, np.abs(exact) * 1e-6)


def _plain(table: pa.Table, name: str) -> Float64 | None:
    if name not in table.column_names:
        return None
    try:
        return matrix(table.column(name), 1)[0][:, 0]
    except FormatError:
        return None


def matrix(column: pa.ChunkedArray, width: int) -> tuple[Float64, int]:
    """Return (T, width) numbers of a column of scalars or (nested) lists, NaN where there are none.

    Returns:
        The numbers, and how many rows did not hold `width` values.

    Raises:
        FormatError: if the column does not hold numbers.
    """
    rows = len(column)
    array = column.combine_chunks()
    lengths = np.ones(rows, dtype=np.int64)
    while pa.types.is_nested(array.type):
        if not hasattr(array, "flatten") or pa.types.is_struct(array.type):
            raise FormatError(f"a column of {column.type}, expected numbers")
        each = pc.call_function("list_value_length", [array])
        each = pc.fill_null(each, 0).to_numpy(zero_copy_only=False)
        # Each value so far is a list: the rows' lengths are the sums over their lists.
        ends = np.cumsum(lengths)
        total = np.concatenate([[0], np.cumsum(each.astype(np.int64))])
        lengths = total[ends] - total[ends - lengths]
        array = array.flatten()
    kind = array.type
    if not (pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_boolean(kind)):
        raise FormatError(f"a column of {column.type}, expected numbers")
    flat = array.cast(pa.float64()) if not pa.types.is_boolean(kind) else array.cast(pa.uint8())
    values = flat.to_numpy(zero_copy_only=False).astype(np.float64)
    if (lengths == width).all():
        return values.reshape(rows, width), 0
    full = np.full((rows, width), np.nan)
    good = lengths == width
    chosen = np.repeat(good, lengths)
    full[good] = values[chosen].reshape(-1, width)
    return full, int((~good).sum())


def encoding_of(data: bytes) -> str:
    """Return the encoding of an image by its first bytes."""
    return next((name for magic, name in _MAGIC if data.startswith(magic)), "raw")


def still(row: Any) -> tuple[bytes, str]:
    """Return bytes and path of one cell of an image column."""
    if isinstance(row, bytes):
        return row, ""
    if isinstance(row, dict):
        data = row.get("bytes")
        return (data if isinstance(data, bytes) else b"", _inside(row.get("path")))
    return b"", _inside(row)


def _inside(path: Any) -> str:
    """Return a path that stays inside the data set, else nothing."""
    if not isinstance(path, str) or is_outside(path):
        return ""
    return path


def points(row: Sequence[Any] | None, width: int) -> RawPoints:
    """Return the points of one cell: rows of x, y, z and perhaps intensity."""
    try:
        values = np.array(row, dtype=np.float32)
    except (ValueError, TypeError) as error:
        raise FormatError(f"not a table of numbers ({error})") from error
    if values.ndim == 1 and len(values) % width == 0:
        values = values.reshape(-1, width)
    if values.ndim != 2 or values.shape[1] != width:
        raise FormatError(f"expected rows of {width} numbers, got shape {values.shape}")
    return RawPoints(values[:, :3], values[:, 3] if width == 4 else None, None, None)
