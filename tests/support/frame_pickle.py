"""Writes pickles of frames as pandas 0.25 did, when PandaSet was made; needs no pandas."""

from __future__ import annotations

import gzip
import io
import pickle
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np


@dataclass
class Global:
    """A name that unpickling looks up."""

    module: str
    name: str


@dataclass
class Call:
    """A call that unpickling makes, with the state that the result gets."""

    function: Global
    args: tuple[Any, ...]
    state: Any = None
    new: bool = False


class FramePickler(pickle._Pickler):  # type: ignore[name-defined]
    """Writes `Global` and `Call` as the opcodes that they stand for."""

    def save(self, obj: Any, save_persistent_id: bool = True) -> None:
        if isinstance(obj, Global):
            self.write(f"c{obj.module}\n{obj.name}\n".encode())
        elif isinstance(obj, Call):
            self.save(obj.function)
            self.save(obj.args)
            self.write(pickle.NEWOBJ if obj.new else pickle.REDUCE)
            if obj.state is not None:
                self.save(obj.state)
                self.write(pickle.BUILD)
        else:
            super().save(obj, save_persistent_id)


def dumps(value: Any, protocol: int = 4) -> bytes:
    """Return a pickle of plain values, numpy arrays, `Global`s and `Call`s."""
    stream = io.BytesIO()
    FramePickler(stream, protocol).dump(value)
    return stream.getvalue()


def old_frame(columns: Mapping[str, np.ndarray]) -> Call:
    """Return a frame as pandas 0.25 pickled it: one block for each type of column."""
    names = list(columns)
    count = len(next(iter(columns.values())))
    base = "pandas.core.indexes.base"
    make = Global(base, "_new_Index")
    labels = Call(
        make, (Global(base, "Index"), {"data": np.array(names, dtype=object), "name": None})
    )
    rows = {"name": None, "start": 0, "stop": count, "step": 1}
    row_index = Call(make, (Global("pandas.core.indexes.range", "RangeIndex"), rows))
    blocks = []
    for dtype in dict.fromkeys(array.dtype for array in columns.values()):
        places = [i for i, name in enumerate(names) if columns[name].dtype == dtype]
        values = np.stack([columns[names[i]] for i in places])
        blocks.append({"values": values, "mgr_locs": _places(places)})
    axes = [labels, row_index]
    state = (axes, [b["values"] for b in blocks], [labels], {"0.14.1": {"axes": axes, "blocks": blocks}})  # noqa: E501 # fmt: skip
    manager = Call(Global("pandas.core.internals.managers", "BlockManager"), (), state, new=True)
    return Call(
        Global("pandas.core.frame", "DataFrame"), (),
        {"_data": manager, "_typ": "dataframe", "_metadata": []}, new=True,
    )  # fmt: skip


def _places(places: list[int]) -> Any:
    """Return a slice where the places follow one another, as pandas does, or an array."""
    if places == list(range(places[0], places[-1] + 1)):
        return slice(places[0], places[-1] + 1, 1)
    return np.array(places)


def write_frame(path: Path, columns: Mapping[str, np.ndarray]) -> None:
    """Write a frame, compressed if the name says so."""
    path.parent.mkdir(parents=True, exist_ok=True)
    data = dumps(old_frame(columns))
    path.write_bytes(gzip.compress(data, 1) if path.suffix == ".gz" else data)
