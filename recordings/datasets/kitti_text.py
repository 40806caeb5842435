"""KITTI's text files: one time a line, or one row of numbers a line."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from pathlib import Path

import numpy as np

from scene.errors import FormatError
from scene.types import Float64, Int64


def read_stamps(path: Path) -> Int64:
    """Return (T,) nanoseconds of a file with one time a line.

    Raises:
        FormatError: if a line is not a time or there is none.
    """
    lines = path.read_text(errors="replace").split("\n")
    while lines and not lines[-1].strip():
        lines.pop()
    times = [_time_ns(line, path, i) for i, line in enumerate(lines, 1)]
    if not times:
        raise FormatError(f"{path.name}: holds no times")
    return np.array(times, dtype=np.int64)


def _time_ns(line: str, path: Path, number: int) -> int:
    """Parse one line without going through a float: doubles are too coarse for nanoseconds."""
    whole, _, fraction = line.strip().partition(".")
    try:
        nanoseconds = int((fraction + "0" * 9)[:9])
        if re.fullmatch(r"\d+", whole):
            return int(whole) * 1_000_000_000 + nanoseconds
        moment = datetime.strptime(whole, "%Y-%m-%d %H:%M:%S").replace(tzinfo=UTC)
        return int(moment.timestamp()) * 1_000_000_000 + nanoseconds
    except ValueError as error:
        raise FormatError(f"{path.name} line {number}: {line!r} is not a time") from error


def read_numbers(path: Path, columns: int | None) -> Float64:
    """Return the rows of numbers of a text file.

    Raises:
        FormatError: if it holds anything else, or rows of another length than `columns`.
    """
    rows = [line.split() for line in path.read_text().splitlines() if line.strip()]
    try:
        table = np.array(rows, dtype=np.float64)
    except ValueError as error:
        raise FormatError(f"{path.name}: not a table of numbers") from error
    if table.ndim != 2 or len(table) == 0 or (columns and table.shape[1] != columns):
        raise FormatError(f"{path.name}: expected rows of {columns or 'equal'} numbers")
    return table
