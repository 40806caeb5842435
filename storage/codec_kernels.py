"""Inner loops of the point codec. Imported when first used: numba is slow to import."""

from __future__ import annotations

import numba
import numpy as np
from numpy.typing import NDArray

from scene.types import Float32, Int64

Plane = NDArray[np.uint8]
Uint32 = NDArray[np.uint32]

_ESCAPE = 0xFFFF


def group_by(ring: NDArray[np.uint16]) -> Int64:
    """Return the (N,) order that groups equal rings and keeps the order inside each."""
    return _group_by(ring)


def median_gap_m(points_m: Float32, order: Int64 | None) -> float:
    """Return the median step along x and y, meters, between neighbours of up to 2,048 samples."""
    at = np.linspace(0, len(points_m) - 2, min(2048, len(points_m) - 1)).astype(np.int64)
    here, there = (at, at + 1) if order is None else (order[at], order[at + 1])
    return float(np.median(np.abs(points_m[there, :2] - points_m[here, :2]).sum(axis=1)))


def quantise(
    points_m: Float32, axis: int, order: Int64 | None, step_m: float
) -> tuple[Plane, Plane, Uint32]:
    """Return low bytes, high bytes and escapes of one coordinate's differences in steps."""
    steps = np.empty(len(points_m), dtype=np.uint32)
    if order is None:
        _round(points_m, axis, 1.0 / step_m, steps)
    else:
        _round_ordered(points_m, axis, order, 1.0 / step_m, steps)
    return difference(steps)


def difference(values: Uint32) -> tuple[Plane, Plane, Uint32]:
    """Return low bytes, high bytes and escapes of the zigzag differences of (N,) words.

    The first difference is from 0; all arithmetic is modulo 2**32, so it always comes back.
    """
    low = np.empty(len(values), dtype=np.uint8)
    high = np.empty(len(values), dtype=np.uint8)
    escapes = np.empty(len(values), dtype=np.uint32)
    count = _difference(values, low, high, escapes)
    return low, high, escapes[:count].copy()


def accumulate(low: Plane, high: Plane, escapes: Uint32) -> Uint32:
    """Undo `difference`."""
    values = np.empty(len(low), dtype=np.uint32)
    _accumulate(low, high, escapes, values)
    return values


def restore(
    low: Plane, high: Plane, escapes: Uint32, step_m: float, points_m: Float32, axis: int
) -> None:
    """Undo `quantise` into one column of (N, 3) points."""
    _restore(low, high, escapes, step_m, points_m, axis)


@numba.njit(cache=True, nogil=True)
def _group_by(ring):  # pragma: no cover - compiled
    starts = np.zeros(65537, dtype=np.int64)
    for value in ring:
        starts[value + 1] += 1
    for i in range(1, 65537):
        starts[i] += starts[i - 1]
    order = np.empty(len(ring), dtype=np.int64)
    for i in range(len(ring)):
        order[starts[ring[i]]] = i
        starts[ring[i]] += 1
    return order


@numba.njit(cache=True, nogil=True)
def _round(points, axis, scale, steps):  # pragma: no cover - compiled
    for i in range(len(points)):
        steps[i] = np.uint32(np.int64(np.rint(np.float64(points[i, axis]) * scale)) & 0xFFFFFFFF)


@numba.njit(cache=True, nogil=True)
def _round_ordered(points, axis, order, scale, steps):  # pragma: no cover - compiled
    for i in range(len(points)):
        value = np.float64(points[order[i], axis])
        steps[i] = np.uint32(np.int64(np.rint(value * scale)) & 0xFFFFFFFF)


@numba.njit(cache=True, nogil=True)
def _difference(values, low, high, escapes):  # pragma: no cover - compiled
    count = 0
    before = np.uint32(0)
    for i in range(len(values)):
        delta = np.int32(np.uint32(values[i] - before))
        before = values[i]
        zigzag = np.uint32((delta << 1) ^ (delta >> 31))
        if zigzag >= _ESCAPE:
            escapes[count] = zigzag
            count += 1
            zigzag = np.uint32(_ESCAPE)
        low[i] = zigzag & 0xFF
        high[i] = zigzag >> 8
    return count


@numba.njit(cache=True, nogil=True)
def _accumulate(low, high, escapes, values):  # pragma: no cover - compiled
    count = 0
    total = np.uint32(0)
    for i in range(len(low)):
        zigzag = np.uint32(low[i]) | (np.uint32(high[i]) << np.uint32(8))
        if zigzag == _ESCAPE:
            zigzag = escapes[count]
            count += 1
        sign = np.uint32(0) - (zigzag & np.uint32(1))
        total = np.uint32(total + ((zigzag >> np.uint32(1)) ^ sign))
        values[i] = total


@numba.njit(cache=True, nogil=True)
def _restore(low, high, escapes, step_m, points, axis):  # pragma: no cover - compiled
    count = 0
    total = np.uint32(0)
    for i in range(len(low)):
        zigzag = np.uint32(low[i]) | (np.uint32(high[i]) << np.uint32(8))
        if zigzag == _ESCAPE:
            zigzag = escapes[count]
            count += 1
        sign = np.uint32(0) - (zigzag & np.uint32(1))
        total = np.uint32(total + ((zigzag >> np.uint32(1)) ^ sign))
        points[i, axis] = np.float32(np.int32(total) * step_m)
