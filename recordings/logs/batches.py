"""Many small messages of one topic at once: where all have one layout, a field is one array.

A ROS message has a fixed layout once its texts and the lengths of its sequences are known. The
layout is taken from the first message of a batch and the definition in the file; the messages that
agree with it byte by byte in texts and lengths are read together, and any others make the caller
read that batch one by one. Only little-endian CDR.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from types import SimpleNamespace
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from recordings.logs import batch_kernels
from recordings.logs.messages import LogMessage, TransformMessage

Bytes = NDArray[np.uint8]
_BASE, _NAME, _ARRAY, _SEQUENCE = 1, 2, 3, 4  # rosbags' Nodetype
_MAX_ELEMENTS: Final = 64
_MAX_LAYOUTS: Final = 8
_HEADER_BYTES: Final = 4


class Batch(NamedTuple):
    """Messages of one topic in a block.

    Attributes:
        data: bytes of the block.
        starts: (K,) where each message begins.
        lengths: (K,) how long it is.
        log_times_ns: (K,) when it was logged.
    """

    data: Bytes
    starts: NDArray[np.int64]
    lengths: NDArray[np.int64]
    log_times_ns: NDArray[np.int64]

    def take(self, chosen: NDArray[np.bool_]) -> Batch:
        """Return some of them."""
        return Batch(
            self.data, self.starts[chosen], self.lengths[chosen], self.log_times_ns[chosen]
        )


class Decoded(NamedTuple):
    """What a batch means: messages whose numbers are (K,) arrays, and when each was logged."""

    log_times_ns: NDArray[np.int64]
    items: Sequence[LogMessage]


class _Leaf(NamedTuple):
    """A number, or an array of them."""

    offset: int
    dtype: str
    num: int  # 0: a single number


class _NotFixedError(Exception):
    """The message cannot be read as a batch."""


class _Layout:
    """Where the fields of one message lie."""

    def __init__(self, sample: bytes, definitions: Any, name: str) -> None:
        self._sample = np.frombuffer(sample, np.uint8)
        self._text = sample
        self._definitions = definitions
        self._at = _HEADER_BYTES
        self._fixed = [slice(0, _HEADER_BYTES)]
        self.size = len(sample)
        if sample[:2] != b"\0\1":
            raise _NotFixedError
        self._tree = self._message(name)
        if not self._at <= self.size <= self._at + 3:  # CDR may be padded to four bytes
            raise _NotFixedError

    def agrees(self, rows: Bytes) -> NDArray[np.bool_]:
        """Return which of (K, size) messages have the same texts and lengths."""
        fine = np.ones(len(rows), dtype=bool)
        for part in self._fixed:
            fine &= (rows[:, part] == self._sample[part]).all(axis=1)
        return fine

    def columns(self, rows: Bytes) -> Any:
        """Return the message with arrays for numbers: (K,), or (K, M) for arrays of M."""
        return _columns(self._tree, rows)

    def _message(self, name: str) -> dict[str, Any]:
        return {field: self._node(*node) for field, node in self._definitions[name][1]}

    def _node(self, kind: int, what: Any) -> Any:
        if kind == _BASE:
            return self._string() if what[0] == "string" else self._numbers(what[0], 0)
        if kind == _NAME:
            return self._message(what)
        element, count = what
        if kind == _SEQUENCE:
            count = self._length()
            if count > _MAX_ELEMENTS:
                raise _NotFixedError
        if element[0] == _BASE and element[1][0] != "string":
            return self._numbers(element[1][0], count) if count else np.empty(0)
        return [self._node(*element) for _ in range(count)]

    def _numbers(self, name: str, count: int) -> _Leaf:
        dtype = np.dtype(name).newbyteorder("<")
        self._align(dtype.itemsize)
        leaf = _Leaf(self._at, dtype.str, count)
        self._at += dtype.itemsize * max(count, 1)
        return leaf

    def _string(self) -> str:
        length = self._length()
        end = self._at + length
        if not length or end > self.size:
            raise _NotFixedError
        text, self._at = self._text[self._at : end - 1], end
        self._fixed.append(slice(end - length, end))
        return text.decode()

    def _length(self) -> int:
        self._align(4)
        end = self._at + 4
        if end > self.size:
            raise _NotFixedError
        self._fixed.append(slice(self._at, end))
        length = int.from_bytes(self._text[self._at : end], "little")
        self._at = end
        return length

    def _align(self, size: int) -> None:
        self._at += -(self._at - _HEADER_BYTES) % size


class BatchReader:
    """Reads batches of one topic.

    Args:
        definitions: types by name as rosbags' `fielddefs` give them.
        name: type of the messages.
        convert: from a message to what it means; its numbers may be arrays.
        one_layout: refuse batches in which layouts alternate.
    """

    def __init__(
        self,
        definitions: Any,
        name: str,
        convert: Callable[[Any], Sequence[LogMessage]],
        *,
        one_layout: bool,
    ) -> None:
        self._definitions = definitions
        self._name = name
        self._convert = convert
        self._max = 1 if one_layout else _MAX_LAYOUTS
        self._layouts: list[_Layout] = []

    def read(self, batch: Batch) -> list[Decoded] | None:
        """Return what a batch means, None if it must be read one by one."""
        found: list[Decoded] = []
        try:
            while len(batch.starts):
                if len(found) == self._max:
                    return None
                layout = self._layout(batch)
                same = batch.lengths == layout.size
                rows = np.empty((int(same.sum()), layout.size), np.uint8)
                batch_kernels.gather(batch.data, batch.starts[same], rows)
                agree = layout.agrees(rows)
                same[same] = agree
                message = layout.columns(rows if agree.all() else rows[agree])
                found.append(Decoded(batch.log_times_ns[same], self._convert(message)))
                batch = batch.take(~same)
        except (_NotFixedError, AttributeError, TypeError, ValueError, IndexError, KeyError):
            return None  # whoever reads them one by one says which and why
        return found if _order_does_not_matter(found) else None

    def _layout(self, batch: Batch) -> _Layout:
        """Return the layout of the first message, made once for all that are like it."""
        start, size = int(batch.starts[0]), int(batch.lengths[0])
        sample = batch.data[start : start + size]
        for layout in self._layouts:
            if layout.size == size and layout.agrees(sample[None])[0]:
                return layout
        layout = _Layout(sample.tobytes(), self._definitions, self._name)
        self._layouts = [layout, *self._layouts[: _MAX_LAYOUTS - 1]]
        return layout


def _order_does_not_matter(found: list[Decoded]) -> bool:
    """Return whether no edge of a frame tree is told by two of the layouts or elements."""
    edges = [
        (item.parent, item.child)
        for decoded in found
        for item in decoded.items
        if isinstance(item, TransformMessage)
    ]
    return len(set(edges)) == len(edges)


def _columns(tree: Any, rows: Bytes) -> Any:
    if isinstance(tree, dict):
        return SimpleNamespace(**{name: _columns(node, rows) for name, node in tree.items()})
    if isinstance(tree, list):
        return [_columns(node, rows) for node in tree]
    if not isinstance(tree, _Leaf):
        return tree
    dtype = np.dtype(tree.dtype)
    shape = (len(rows), tree.num) if tree.num else (len(rows),)
    strides = (rows.shape[1], dtype.itemsize) if tree.num else (rows.shape[1],)
    view = np.ndarray(shape, dtype, rows, tree.offset, strides)
    return view.astype(np.int64 if dtype.kind in "iu" else np.float64)
