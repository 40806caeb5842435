"""Memory for what is decompressed, cut from slabs that are used again.

Fresh memory costs a page fault for every page, together half as much as decompressing into it. A
slab is of huge pages, and when nothing that was cut from it is looked at any more, the next blocks
are cut from it.
"""

from __future__ import annotations

import threading
import weakref
from typing import Final

import numpy as np
from numpy.typing import NDArray

LEAST_BYTES: Final = 2**18  # less is not worth it
_SLAB_BYTES: Final = 32 * 2**20
_MOST_FREE: Final = 4


class _Memory(np.ndarray):
    """Owns the bytes. A type of its own: numpy does not look through it for who owns them."""


class _Lease(np.ndarray):
    """A use of the bytes; everything that is cut from the slab keeps it alive, and no longer."""


_OPEN: Final = threading.local()  # each thread cuts from a slab of its own
_FREE: Final[list[_Memory]] = []


def room(size: int) -> NDArray[np.uint8]:
    """Return (size,) bytes that nobody else uses; what they hold is undefined."""
    slab, used = getattr(_OPEN, "slab", (None, 0))
    if slab is None or used + size > len(slab):
        slab, used = _slab(size), 0
    _OPEN.slab = (slab, used + size)
    return slab[used : used + size]


def clear() -> None:
    """Give slabs that nobody uses back to the system."""
    _FREE.clear()


def _slab(size: int) -> NDArray[np.uint8]:
    if size > _SLAB_BYTES:
        return np.empty(size, np.uint8)
    try:
        memory = _FREE.pop()
    except IndexError:
        memory = _Memory(_SLAB_BYTES, np.uint8)
    lease = memory.view(_Lease)
    weakref.finalize(lease, _take_back, memory).atexit = False
    return np.asarray(lease)


def _take_back(memory: _Memory) -> None:
    if len(_FREE) < _MOST_FREE:
        _FREE.append(memory)
