"""What the fork server's children share besides the board: dataset and batches, read once."""

from __future__ import annotations

import mmap
import os
import pickle
from typing import Any, Final

_ALIGN: Final = 64


def pack(file: int, value: Any) -> None:
    """Write a value into a memory file, its arrays as they lie in memory."""
    buffers: list[pickle.PickleBuffer] = []
    body = pickle.dumps(value, protocol=5, buffer_callback=buffers.append)
    raws = [buffer.raw() for buffer in buffers]
    head = pickle.dumps((len(body), [raw.nbytes for raw in raws]))
    offset = _padded(8 + len(head))
    pieces: list[tuple[int, bytes | memoryview]] = [
        (0, len(head).to_bytes(8, "little") + head),
        (offset, body),
    ]
    offset += _padded(len(body))
    for raw in raws:
        pieces.append((offset, raw))
        offset += _padded(raw.nbytes)
    os.ftruncate(file, offset)
    for at, data in pieces:
        view = memoryview(data).cast("B")
        done = 0
        while done < len(view):
            done += os.pwrite(file, view[done:], at + done)


def unpack(file: int) -> Any:
    """Return the value of `pack`; its arrays are read-only and shared, nothing is copied.

    Only for memory that this family of processes wrote: it is a pickle.
    """
    size = os.fstat(file).st_size
    memory = memoryview(mmap.mmap(file, size, access=mmap.ACCESS_READ))
    length = int.from_bytes(memory[:8], "little")
    body_size, sizes = pickle.loads(memory[8 : 8 + length])  # noqa: S301
    offset = _padded(8 + length)
    body = memory[offset : offset + body_size]
    offset += _padded(body_size)
    buffers = []
    for nbytes in sizes:
        buffers.append(memory[offset : offset + nbytes])
        offset += _padded(nbytes)
    return pickle.loads(body, buffers=buffers)  # noqa: S301


def _padded(size: int) -> int:
    return -(-size // _ALIGN) * _ALIGN
