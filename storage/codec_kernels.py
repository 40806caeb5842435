"""Inner loops of the point codec. Imported when first used: numba is slow to import.

Loops that can be vectorised are kept apart from those that cannot. Those over grouped points are in
`codec_group_kernels`.
"""

from __future__ import annotations

import numba
import numpy as np
from numpy.typing import NDArray

Plane = NDArray[np.uint8]
Uint32 = NDArray[np.uint32]

_ESCAPE = 0xFFFF
_ROUND = 1.5 * 2.0**52  # adding and taking it away rounds a float64 to the nearest even integer


@numba.njit(cache=True, nogil=True)
def fill_rings(ends, ring):  # pragma: no cover - compiled
    """Write the (N,) uint32 rings of points that are grouped by ring."""
    start = np.uint32(0)
    for value in range(len(ends)):
        ring[start : ends[value]] = value
        start = ends[value]


@numba.njit(cache=True, nogil=True)
def number_times(offset_ns, table_ns, number):  # pragma: no cover - compiled
    """Number the distinct times of points that are in firing order; return how many there are.

    Times that go backwards, or more of them than fit the table, give -1.

    Args:
        offset_ns: (N,) int32.
        table_ns: (M,) int32, to be filled with the distinct times.
        number: (N,) uint32, to be written.
    """
    last = np.int32(0)
    count = 0
    for i in range(len(offset_ns)):
        time = offset_ns[i]
        if count == 0 or time != last:
            if count == len(table_ns) or (count and time < last):
                return -1
            table_ns[count] = time
            last = time
            count += 1
        number[i] = count - 1
    return count


@numba.njit(cache=True, nogil=True)
def quantise(values_m, scale, max_steps, steps):  # pragma: no cover - compiled
    """Write (M,) rounded coordinates; return whether all can be stored.

    Comparisons with NaN are false, so NaN cannot.

    Args:
        values_m: (M,) float32.
        scale: float64, steps a meter.
        max_steps: float64; steps must be smaller.
        steps: (M,) int32, to be written.
    """
    bad = np.int32(0)
    for i in range(len(values_m)):
        value = (np.float64(values_m[i]) * scale + _ROUND) - _ROUND
        bad |= np.int32(0) if abs(value) < max_steps else np.int32(1)
        steps[i] = np.int32(value)
    return bad == 0


@numba.njit(cache=True, nogil=True)
def levels(intensity, top, level):  # pragma: no cover - compiled
    """Write (N,) uint8 intensities from 0 to `top`, a float32; return whether all are in [0, 1]."""
    bad = np.int32(0)
    for i in range(len(intensity)):
        bright = intensity[i]
        fine = (bright >= np.float32(0.0)) & (bright <= np.float32(1.0))
        bad |= np.int32(0) if fine else np.int32(1)
        level[i] = np.uint8(np.int32(np.rint(bright * top)))
    return bad == 0


@numba.njit(cache=True, nogil=True)
def zigzag_planes(values, before, low, high):  # pragma: no cover - compiled
    """Write low and high bytes of the zigzag differences; return the largest of them.

    Args:
        values: (N,) int32 or uint32.
        before: (N,) of the same type: what each value is the difference from.
        low: (N,) uint8, to be written.
        high: (N,) uint8, to be written.
    """
    largest = np.uint32(0)
    for i in range(len(values)):
        delta = np.int32(values[i]) - np.int32(before[i])
        turned = np.uint32(np.int32(delta << 1) ^ (np.int32(delta) >> 31))
        largest = max(largest, turned)
        low[i] = np.uint8(turned)
        high[i] = np.uint8(turned >> np.uint32(8))
    return largest


@numba.njit(cache=True, nogil=True)
def escape(values, before, low, high, escapes):  # pragma: no cover - compiled
    """Mark in the planes what does not fit 16 bits and write it to `escapes`; return how many."""
    count = 0
    for i in range(len(values)):
        delta = np.int32(np.int32(values[i]) - np.int32(before[i]))
        turned = np.uint32(np.int32(delta << 1) ^ (delta >> 31))
        if turned >= _ESCAPE:
            low[i] = high[i] = 0xFF
            escapes[count] = turned
            count += 1
    return count


@numba.njit(cache=True, nogil=True)
def exceptions(values, positions, deltas):  # pragma: no cover - compiled
    """Find the usual difference between neighbours and write the others; return it and how many.

    The usual one is the majority of the first ones, if there is one (Boyer and Moore's vote).

    Args:
        values: (N,) uint32.
        positions: (M + 1,) uint32, to be filled with where the difference is another.
        deltas: (M + 1,) uint32, to be filled with those differences.

    Returns:
        The usual difference, and the number of exceptions; -1 if there are more than M.
    """
    common, votes, before = np.uint32(0), 0, np.uint32(0)
    for i in range(min(len(values), 4096)):
        delta = np.uint32(values[i] - before)
        before = values[i]
        if votes == 0:
            common = delta
        votes += 1 if delta == common else -1
    count, before = 0, np.uint32(0)
    for i in range(len(values)):
        delta = np.uint32(values[i] - before)
        before = values[i]
        positions[count], deltas[count] = i, delta  # without a branch that is hard to foresee
        count += delta != common
        if count == len(positions):
            return common, -1
    return common, count


@numba.njit(cache=True, nogil=True)
def divide(offset_ns, step_ns, number, rest):  # pragma: no cover - compiled
    """Write nearest multiples and rests, modulo 2**32: offset = number * step + rest."""
    for i in range(len(offset_ns)):
        time = np.int64(offset_ns[i])
        nearest = (time + step_ns // 2) // step_ns
        number[i] = np.uint32(nearest & 0xFFFFFFFF)
        rest[i] = np.uint32((time - nearest * step_ns) & 0xFFFFFFFF)


@numba.njit(cache=True, nogil=True)
def unzigzag(low, high, escapes, values):  # pragma: no cover - compiled
    """Write (N,) integers from their planes; return how many escapes were used, -1 if too few."""
    count = 0
    for i in range(len(low)):
        turned = np.uint32(low[i]) | (np.uint32(high[i]) << np.uint32(8))
        if turned == _ESCAPE:
            if count == len(escapes):
                return -1
            turned = escapes[count]
            count += 1
        values[i] = (turned >> np.uint32(1)) ^ (np.uint32(0) - (turned & np.uint32(1)))
    return count


@numba.njit(cache=True, nogil=True)
def spread(common, positions, deltas, values):  # pragma: no cover - compiled
    """Undo `exceptions`; False if the positions are not inside or do not increase.

    Args:
        common: the usual difference.
        positions: (M,) uint32, where there is another.
        deltas: (M,) uint32.
        values: (N,) uint32, to be written.
    """
    total, k = np.uint32(0), 0
    for i in range(len(values)):
        delta = common
        if k < len(positions) and positions[k] == i:
            delta = deltas[k]
            k += 1
        total = np.uint32(total + delta)
        values[i] = total
    return k == len(positions)


@numba.njit(cache=True, nogil=True)
def restore(low, high, escapes, step_m, points, axis):  # pragma: no cover - compiled
    """Write one column of (N, 3) points from the planes of its differences; see `unzigzag`."""
    count = 0
    total = np.uint32(0)
    for i in range(len(low)):
        turned = np.uint32(low[i]) | (np.uint32(high[i]) << np.uint32(8))
        if turned == _ESCAPE:
            if count == len(escapes):
                return -1
            turned = escapes[count]
            count += 1
        sign = np.uint32(0) - (turned & np.uint32(1))
        total = np.uint32(total + ((turned >> np.uint32(1)) ^ sign))
        points[i, axis] = np.float32(np.int32(total) * step_m)
    return count
