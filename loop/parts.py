"""Finished parts of a long ingest, kept in the bucket so that a killed one goes on from there.

A part holds encoded sweeps and the state of everything that looked at them. Its key says for which
landed bytes, code and settings it counts, so a part is either exactly right or never looked at.
State is pickled, but only plain values and classes of `recordings` and `scene` are taken back:
a bucket must not be able to run code.
"""

from __future__ import annotations

import hashlib
import importlib
import io
import logging
import pickle
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

import pyarrow as pa

from scene.errors import NotFoundError
from scene.recording import RecordingId
from storage import layout
from storage.store import ObjectStore
from storage.sweep_writer import SweepRow

logger = logging.getLogger(__name__)

_SCHEMA: Final = pa.schema(
    [
        pa.field("timestamp_ns", pa.int64(), nullable=False),
        pa.field("num_points", pa.int64(), nullable=False),
        pa.field("points", pa.large_binary(), nullable=False),
    ]
)
_PLAIN: Final = frozenset(
    {
        ("array", "_array_reconstructor"), ("array", "array"), ("builtins", "set"),
        ("builtins", "frozenset"), ("builtins", "complex"), ("collections", "Counter"),
        ("collections", "OrderedDict"), ("collections", "defaultdict"), ("collections", "deque"),
        ("builtins", "list"), ("builtins", "dict"), ("builtins", "int"), ("builtins", "float"),
        ("numpy", "dtype"), ("numpy", "ndarray"), ("numpy._core.multiarray", "_reconstruct"),
        ("numpy._core.multiarray", "scalar"), ("numpy._core.numeric", "_frombuffer"),
    }
)  # fmt: skip
_OURS: Final = ("recordings.", "scene.")


class Parts:
    """The parts of one recording.

    Args:
        store: the bucket.
        recording: whose.
        identity: everything that the stored bytes depend on: landed bytes, code, settings.
    """

    def __init__(self, store: ObjectStore, recording: RecordingId, identity: str) -> None:
        self._store = store
        self._recording = recording
        self._key = hashlib.sha256(identity.encode()).hexdigest()[:16]
        self._count = 0

    def save(self, rows: Sequence[SweepRow], state: bytes) -> None:
        """Keep the next part with the state after its last sweep."""
        values = zip(*rows, strict=True)
        columns = [pa.array(column, f.type) for column, f in zip(values, _SCHEMA, strict=True)]
        meta = {"state": state, "sha256": hashlib.sha256(state).hexdigest().encode()}
        schema = _SCHEMA.with_metadata(meta)
        sink = pa.BufferOutputStream()
        with pa.ipc.new_file(sink, schema) as writer:
            writer.write_batch(pa.record_batch(columns, schema=schema))
        self._store.put(self._part(self._count), sink.getvalue().to_pybytes())
        self._count += 1

    def load(self) -> Iterator[tuple[list[SweepRow], bytes]]:
        """Yield rows and state of the parts that are there, in order; new ones follow them."""
        while True:
            try:
                data = self._store.get(self._part(self._count))
            except NotFoundError:
                return
            table = pa.ipc.open_file(data).read_all()
            meta = table.schema.metadata or {}
            state = meta.get(b"state", b"")
            if meta.get(b"sha256") != hashlib.sha256(state).hexdigest().encode():
                return
            self._count += 1
            columns = (column.to_pylist() for column in table.columns)
            yield [SweepRow(*values) for values in zip(*columns, strict=True)], state

    def clear(self) -> None:
        """Remove the parts of the recording, also those of other bytes or older code."""
        for stat in list(self._store.list(layout.parts(self._recording))):
            self._store.delete(stat.key)

    def _part(self, number: int) -> str:
        return f"{layout.parts(self._recording)}{self._key}/{number:06d}.arrow"


def freeze(state: object, known: Mapping[str, object]) -> bytes | None:
    """Return state as bytes; None if some of it cannot be kept.

    Args:
        state: what a later process needs.
        known: objects that the later process has itself, by name; they are only referred to.
    """
    names = {id(value): name for name, value in known.items()}
    target = io.BytesIO()

    class Pickler(pickle.Pickler):
        def persistent_id(self, obj: Any) -> str | None:
            return names.get(id(obj))

    try:
        Pickler(target, protocol=5).dump(state)
        thaw(target.getvalue(), known)
    except (pickle.PicklingError, pickle.UnpicklingError, TypeError, AttributeError) as error:
        logger.warning("an interrupted ingest of this recording would start over: %s", error)
        return None
    return target.getvalue()


def thaw(data: bytes, known: Mapping[str, object]) -> Any:
    """Undo `freeze`.

    Raises:
        pickle.UnpicklingError: if the bytes name anything but plain values and our classes.
    """

    class Unpickler(pickle.Unpickler):
        def persistent_load(self, pid: str) -> object:
            return known[pid]

        def find_class(self, module_name: str, global_name: str, /) -> Any:
            if (module_name, global_name) in _PLAIN:
                return super().find_class(module_name, global_name)
            if module_name.startswith(_OURS) and "." not in global_name:
                found = getattr(importlib.import_module(module_name), global_name, None)
                if isinstance(found, type) and found.__module__.startswith(_OURS):
                    return found
            raise pickle.UnpicklingError(f"{module_name}.{global_name} is not taken from a bucket")

    return Unpickler(io.BytesIO(data)).load()
