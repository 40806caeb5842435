"""Memory that a pass over a recording frees is used again instead of being asked for anew."""

from __future__ import annotations

import ctypes
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

_M_TRIM_THRESHOLD, _M_TOP_PAD, _M_MMAP_THRESHOLD = -1, -2, -3  # malloc.h
_LARGEST_MMAP_THRESHOLD: Final = 32 * 2**20  # glibc refuses more
_KEPT_BYTES: Final = 512 * 2**20
_PAD_BYTES: Final = 64 * 2**20


@contextmanager
def reused() -> Iterator[None]:
    """Keep freed memory in the process while the block runs, and return it at its end.

    glibc asks the kernel for every array of more than 128 KB and gives it back at once, so the
    arrays of each sweep cost a page fault every 4 KB: a tenth of the time of an ingest, and threads
    wait for one another in the kernel. Without glibc nothing changes.

    Source: mallopt(3).
    """
    library = ctypes.CDLL(None)
    try:
        mallopt, trim = library.mallopt, library.malloc_trim
    except AttributeError:  # another C library
        yield
        return
    mallopt(_M_MMAP_THRESHOLD, _LARGEST_MMAP_THRESHOLD)
    mallopt(_M_TRIM_THRESHOLD, _KEPT_BYTES)
    mallopt(_M_TOP_PAD, _PAD_BYTES)
    try:
        yield
    finally:
        trim(0)
