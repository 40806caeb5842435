"""Feather files as tables with the columns a reader needs."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.feather

from scene.errors import FormatError
from scene.types import Float64


def read_feather(path: Path, needed: tuple[str, ...]) -> pa.Table:
    """Read a Feather file.

    Raises:
        FormatError: if it cannot be read or lacks one of the columns needed.
    """
    try:
        table = pyarrow.feather.read_table(path, memory_map=False)
    except (pa.ArrowInvalid, OSError) as error:
        raise FormatError(f"{path.name}: not a readable Feather file ({error})") from error
    missing = [name for name in needed if name not in table.column_names]
    if missing:
        found = ", ".join(table.column_names)
        raise FormatError(f"{path.name}: no column {', '.join(missing)}; columns: {found}")
    return table


def matrix(table: pa.Table, names: tuple[str, ...]) -> Float64:
    """Return columns as an (N, len(names)) array."""
    return np.stack([table.column(name).to_numpy().astype(np.float64) for name in names], axis=1)
