"""Feather files as tables with the columns a reader needs."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.feather
from numpy.typing import NDArray

from scene.errors import FormatError
from scene.types import Float64


def read_feather(path: Path, needed: tuple[str, ...]) -> pa.Table:
    """Read a Feather file.

    Raises:
        FormatError: if it cannot be read or lacks one of the columns needed.
    """
    try:
        table = pyarrow.feather.read_table(path, memory_map=False)
        table.validate(full=True)  # offsets and text of a broken file may lead anywhere
    except (pa.ArrowException, OSError, ValueError) as error:
        raise FormatError(f"{path.name}: not a readable Feather file ({error})") from error
    missing = [name for name in needed if name not in table.column_names]
    if missing:
        found = ", ".join(table.column_names)
        raise FormatError(f"{path.name}: no column {', '.join(missing)}; columns: {found}")
    return table


def numbers(table: pa.Table, name: str) -> NDArray[np.generic]:
    """Return one column of numbers, in its own type.

    Raises:
        FormatError: if it holds something else.
    """
    try:
        values = table.column(name).to_numpy()
    except (pa.ArrowException, ValueError, TypeError) as error:
        raise FormatError(f"column {name}: not readable ({error})") from error
    if values.dtype.kind not in "iufb":
        raise FormatError(f"column {name}: expected numbers, found {table.schema.field(name).type}")
    return values


def matrix(table: pa.Table, names: tuple[str, ...]) -> Float64:
    """Return columns of numbers as an (N, len(names)) array.

    Raises:
        FormatError: if one holds something else.
    """
    return np.stack([numbers(table, name).astype(np.float64) for name in names], axis=1)
