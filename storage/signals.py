"""Series of numbers of a recording: one Parquet file each, with the columns that it has."""

from __future__ import annotations

import io
import json
from collections.abc import Iterable
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from scene.errors import DataError, FormatError
from scene.recording import RecordingId
from scene.signal import Signal
from storage import layout
from storage.store import ObjectStore

_META: Final = b"starloop"
_TIME: Final = "timestamp_ns"


def write_signals(
    store: ObjectStore, recording: RecordingId, signals: Iterable[Signal], folder: str = ""
) -> None:
    """Write the signals of a recording; those of an earlier ingest that are gone are deleted.

    Args:
        store: where to.
        recording: whose.
        signals: each with a name of its own.
        folder: key with a trailing slash, where not `storage.layout.signals_prefix`.

    Raises:
        DataError: if two signals have one name, or a signal has one field twice.
    """
    folder = folder or layout.signals_prefix(recording)
    written: set[str] = set()
    names: set[str] = set()
    for signal in signals:
        if signal.name in names or len({_TIME, *signal.fields}) != len(signal.fields) + 1:
            raise DataError(f"{recording}: signal {signal.name!r} or a field of it appears twice")
        key = f"{folder}{layout.signal_file(signal.name)}"
        if key in written:  # /imu/data and /imu_data
            key = f"{folder}{layout.signal_file(signal.name, unique=True)}"
        names.add(signal.name)
        written.add(key)
        store.put(key, _encode(signal))
    for stat in list(store.list(folder)):
        if stat.key not in written:
            store.delete(stat.key)


def read_signals(store: ObjectStore, recording: RecordingId) -> list[Signal]:
    """Return all signals of a recording, by name; none if it has none.

    Raises:
        FormatError: if an object is not one that `write_signals` wrote.
    """
    keys = [stat.key for stat in store.list(layout.signals_prefix(recording))]
    return sorted((_decode(store.get(key), key) for key in keys), key=lambda signal: signal.name)


def _encode(signal: Signal) -> bytes:
    meta = {"name": signal.name, "kind": signal.kind, "frame": signal.frame}
    schema = pa.schema(
        [(_TIME, pa.int64()), *((field, pa.float64()) for field in signal.fields)],
        metadata={_META: json.dumps(meta, sort_keys=True).encode()},
    )
    arrays = [pa.array(signal.timestamps_ns), *(pa.array(column) for column in signal.values.T)]
    buffer = io.BytesIO()
    table = pa.Table.from_arrays(arrays, schema=schema)
    pq.write_table(table, buffer, compression="zstd", use_dictionary=False)
    return buffer.getvalue()


def _decode(data: bytes, key: str) -> Signal:
    try:
        table = pq.read_table(pa.BufferReader(data))
        meta: dict[str, Any] = json.loads((table.schema.metadata or {})[_META])
        columns = [column.to_numpy() for column in table.columns]
    except (pa.ArrowException, OSError, KeyError, ValueError) as error:
        raise FormatError(f"{key}: not a Starloop signal file ({error!r})") from error
    values = np.stack(columns[1:], axis=1) if columns[1:] else np.zeros((len(columns[0]), 0))
    fields = tuple(table.column_names[1:])
    return Signal(meta["name"], meta["kind"], meta["frame"], fields, columns[0], values)
