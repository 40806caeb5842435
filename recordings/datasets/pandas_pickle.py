"""Pickled pandas frames as numpy columns, without pandas and without running the pickle.

Written by pandas 0.20 to 2: a frame is a block manager, that is blocks of columns of one type with
the places of their columns. Source: pandas, `core/internals/managers.py`, `__getstate__` and
`_unpickle_block`; numpy, `core/multiarray`, `_reconstruct` and `ndarray.__setstate__`.
"""

from __future__ import annotations

import gzip
import math
import re
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from recordings.datasets.inert_pickle import Made, Name, read_pickle
from scene.errors import FormatError

Columns = dict[str, NDArray[Any]]

MAX_FRAME_BYTES: Final = 2**29
_GZIP: Final = b"\x1f\x8b"
_PLAIN_DTYPE: Final = re.compile(r"[fiu][1248]|b1")


def read_frame(path: Path, needed: Sequence[str]) -> Columns:
    """Return the columns of a `.pkl` or `.pkl.gz` file with one frame.

    Columns of other types than numbers, truth values and objects (dates, categories) are left out;
    those of objects hold text, numbers, truth values or None.

    Raises:
        FormatError: if the file is no pickled frame or lacks a column needed.
    """
    columns = frame_columns(read_pickle(_content(path), path.name), path.name)
    missing = [name for name in needed if name not in columns]
    if missing:
        found = ", ".join(columns)
        raise FormatError(f"{path.name}: no column {', '.join(missing)}; columns: {found}")
    return columns


def frame_columns(value: Any, where: str) -> Columns:
    """Return the columns of a frame that `read_pickle` returned.

    Raises:
        FormatError: if it is something else.
    """
    if not isinstance(value, Made) or value.name.rpartition(".")[2] != "DataFrame":
        what = value.name if isinstance(value, Made) else type(value).__name__
        raise FormatError(f"{where}: holds {what}, not a pandas frame; nothing of it was run")
    try:
        state = value.state
        manager = state["_mgr"] if "_mgr" in state else state["_data"]
        names, blocks = _blocks(manager)
        return _columns(names, blocks)
    except (
        LookupError,
        ValueError,
        TypeError,
        AttributeError,
        ArithmeticError,
        StopIteration,
    ) as error:
        raise FormatError(
            f"{where}: a frame of a pandas version that is not known ({error!r})"
        ) from error


def _content(path: Path) -> bytes:
    """Return the decompressed bytes of a file, in bounded memory."""
    try:
        with path.open("rb") as stream:
            zipped = stream.read(2) == _GZIP
        with gzip.open(path) if zipped else path.open("rb") as stream:
            data = stream.read(MAX_FRAME_BYTES + 1)
    except (OSError, EOFError, zlib.error) as error:
        raise FormatError(f"{path.name}: the gzip file is broken ({error})") from error
    if len(data) > MAX_FRAME_BYTES:
        raise FormatError(f"{path.name}: over {MAX_FRAME_BYTES} bytes in one frame")
    return data


def _blocks(manager: Made) -> tuple[list[Any], list[tuple[Any, Any]]]:
    """Return the names of the columns, and values and places of each block."""
    if manager.state is not None:  # pandas before 1.3
        extra = next(part for part in manager.state if isinstance(part, dict))["0.14.1"]
        blocks = [(block["values"], block["mgr_locs"]) for block in extra["blocks"]]
        return _index(extra["axes"][0]), blocks
    made, axes = manager.args[:2]
    return _index(axes[0]), [(block.args[0], block.args[1]) for block in made]


def _columns(names: list[Any], blocks: list[tuple[Any, Any]]) -> Columns:
    columns: Columns = {}
    for values, where in blocks:
        try:
            block = to_array(values)
        except TypeError:  # dates and categories have classes of their own
            continue
        places = _places(where, len(names))
        if block.ndim != 2 or len(block) != len(places):
            raise ValueError(f"a block of shape {block.shape} for {len(places)} columns")
        for row, place in enumerate(places):
            columns[str(names[place])] = block[row]
    if len({len(column) for column in columns.values()}) > 1:
        raise ValueError("columns of different lengths")
    return columns


def _index(value: Any) -> list[Any]:
    """Return the labels of an index: `_new_Index(class, {"data": array})`."""
    data = value.args[1]["data"]
    return list(to_array(data))


def _places(value: Any, count: int) -> list[int]:
    """Return which columns a block holds: a slice or an array of places."""
    if isinstance(value, Made) and value.name.rpartition(".")[2] == "slice":
        start, stop, step = value.args
        places = list(range(count))[slice(start, stop, step)]
    else:
        places = [int(place) for place in to_array(value)]
    if any(not 0 <= place < count for place in places):
        raise ValueError("a block for a column that does not exist")
    return places


def to_array(value: Any) -> NDArray[Any]:
    """Return a pickled numpy array; a copy, of numbers or of plain objects.

    Raises:
        TypeError: if it is no array, or one of other things.
        ValueError: if its bytes do not fill its shape.
    """
    if not isinstance(value, Made):
        raise TypeError(f"{type(value).__name__} is no array")
    kind = value.name.rpartition(".")[2]
    if kind == "_frombuffer":
        data, dtype, lengths, order = value.args
        return _fill(_bytes(data), _dtype(dtype), _shape(lengths), order)
    if kind != "_reconstruct":
        raise TypeError(f"{value.name} is no array")
    _, lengths, dtype, by_column, data = value.state
    shape = _shape(lengths)
    order = "F" if by_column else "C"
    if not isinstance(data, list):
        return _fill(_bytes(data), _dtype(dtype), shape, order)
    if _dtype_code(dtype) not in {"O", "O8", "O4"} or math.prod(shape) != len(data):
        raise ValueError(f"{len(data)} objects in an array of the shape {shape}")
    flat = np.empty(len(data), dtype=object)
    for i, item in enumerate(data):
        flat[i] = item if isinstance(item, str | int | float | bool | None) else None
    return flat.reshape(shape, order=order)


def _shape(value: Any) -> tuple[int, ...]:
    """Return a shape of at most three lengths, before anything is multiplied with it."""
    if not isinstance(value, tuple | list) or not 1 <= len(value) <= 3:
        raise ValueError("a shape that is none")
    if any(type(length) is not int or not 0 <= length < 2**31 for length in value):
        raise ValueError("a shape with a length that is none")
    return tuple(value)


def _fill(data: bytes, dtype: np.dtype[Any], shape: tuple[int, ...], order: str) -> NDArray[Any]:
    if order not in ("C", "F"):
        raise ValueError("an array that is ordered neither by row nor by column")
    if math.prod(shape) * dtype.itemsize != len(data):
        raise ValueError(f"{len(data)} bytes for the shape {shape} of {dtype}")
    return np.frombuffer(data, dtype).reshape(shape, order=order).copy()


def _dtype(value: Any) -> np.dtype[Any]:
    code = _dtype_code(value)
    if not _PLAIN_DTYPE.fullmatch(code):
        raise TypeError(f"no numbers: dtype {code!r}")
    order = value.state[1] if value.state is not None else "="
    return np.dtype(code).newbyteorder(order if order in ("<", ">") else "=")


def _dtype_code(value: Any) -> str:
    if not isinstance(value, Made) or value.name != "numpy.dtype":
        raise TypeError("no dtype")
    code = value.args[0]
    return code if isinstance(code, str) else ""


def _bytes(value: Any) -> bytes:
    """Return bytes; protocols before 3 wrote them as Latin-1 text to be encoded."""
    if isinstance(value, Made) and value.name in {"_codecs.encode", "builtins.bytearray"}:
        return str(value.args[0]).encode("latin-1")
    if isinstance(value, bytes | bytearray):
        return bytes(value)
    if isinstance(value, Name | str):
        raise TypeError("text where bytes should be")
    raise TypeError(f"{type(value).__name__} where bytes should be")
