"""Compiled loops over the records of a block and over messages."""

from __future__ import annotations

import numba
import numpy as np


@numba.njit(cache=True, nogil=True)
def gather(data, starts, rows):  # pragma: no cover - compiled
    """Copy (K, L) bytes: from each start L of them."""
    for i in range(len(starts)):
        rows[i, :] = data[starts[i] : starts[i] + rows.shape[1]]


@numba.njit(cache=True, nogil=True)
def mcap_records(data, kinds, starts, ends):  # pragma: no cover - compiled
    """Walk the records of an MCAP chunk: a byte for the kind, eight for the length, the content.

    Args:
        data: (N,) uint8.
        kinds: (M,) uint8, to be filled.
        starts: (M,) int64, to be filled with where the contents begin.
        ends: (M,) int64, to be filled.

    Returns:
        The number of records, and where the last complete one ends.
    """
    at, count = 0, 0
    while at + 9 <= len(data) and count < len(kinds):
        length = np.uint64(0)
        for k in range(8):
            length |= np.uint64(data[at + 1 + k]) << np.uint64(8 * k)
        if length > np.uint64(len(data) - at - 9):
            break
        kinds[count], starts[count] = data[at], at + 9
        at += 9 + np.int64(length)
        ends[count] = at
        count += 1
    return count, at


@numba.njit(cache=True, nogil=True)
def mcap_messages(data, starts, channels, log_times_ns):  # pragma: no cover - compiled
    """Read channel and log time of messages whose records begin at (K,) starts."""
    for i in range(len(starts)):
        at = starts[i]
        channels[i] = np.uint16(data[at]) | (np.uint16(data[at + 1]) << np.uint16(8))
        time = np.uint64(0)
        for k in range(8):
            time |= np.uint64(data[at + 6 + k]) << np.uint64(8 * k)
        log_times_ns[i] = np.int64(time)
