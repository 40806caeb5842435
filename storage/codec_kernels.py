"""Inner loops of the point codec. Imported when first used: numba is slow to import."""

from __future__ import annotations

from typing import Any

import numba
import numpy as np
from numpy.typing import NDArray

from scene.types import Float32, Int64

Plane = NDArray[np.uint8]
Uint32 = NDArray[np.uint32]

_ESCAPE = 0xFFFF
_ROUND = 1.5 * 2.0**52  # adding and taking it away rounds a float64 to the nearest even integer


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
    low, high, escapes = _planes(len(points_m))
    count = _quantise(points_m, axis, _sequence(order), 1.0 / step_m, low, high, escapes)
    return low, high, escapes[:count].copy()


def levels(intensity: Float32, order: Int64 | None, top: float) -> Plane:
    """Return (N,) uint8 `round(intensity * top)` in the order."""
    out = np.empty(len(intensity), dtype=np.uint8)
    _levels(intensity, _sequence(order), np.float32(top), out)
    return out


def difference(
    values: NDArray[np.integer[Any]], order: Int64 | None
) -> tuple[Plane, Plane, Uint32]:
    """Return low bytes, high bytes and escapes of the zigzag differences of (N,) integers.

    The first difference is from 0; all arithmetic is modulo 2**32, so it always comes back.
    """
    low, high, escapes = _planes(len(values))
    count = _difference(values, _sequence(order), low, high, escapes)
    return low, high, escapes[:count].copy()


def divide(offset_ns: NDArray[np.int32], step_ns: int) -> tuple[Uint32, Uint32]:
    """Return (N,) nearest multiples and (N,) rests, modulo 2**32: offset = number * step + rest."""
    number = np.empty(len(offset_ns), dtype=np.uint32)
    rest = np.empty(len(offset_ns), dtype=np.uint32)
    _divide(offset_ns, step_ns, number, rest)
    return number, rest


def accumulate(low: Plane, high: Plane, escapes: Uint32) -> Uint32 | None:
    """Undo `difference`; None when marks and escapes do not fit."""
    values = np.empty(len(low), dtype=np.uint32)
    return values if _accumulate(low, high, escapes, values) == len(escapes) else None


def restore(
    low: Plane, high: Plane, escapes: Uint32, step_m: float, points_m: Float32, axis: int
) -> bool:
    """Undo `quantise` into one column of (N, 3) points; False when escapes do not fit."""
    return _restore(low, high, escapes, step_m, points_m, axis) == len(escapes)


def _planes(count: int) -> tuple[Plane, Plane, Uint32]:
    return np.empty(count, np.uint8), np.empty(count, np.uint8), np.empty(count, np.uint32)


def _sequence(order: Int64 | None) -> Int64:
    """Return the order, empty for the order as given: one compiled kernel serves both."""
    return np.empty(0, dtype=np.int64) if order is None else order


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
def _zigzag(value, before):  # pragma: no cover - compiled
    """Scalars only: handing arrays to a helper costs more than the work."""
    delta = np.int32(np.uint32(value - before))
    return np.uint32((delta << 1) ^ (delta >> 31))


@numba.njit(cache=True, nogil=True)
def _quantise(points, axis, order, scale, low, high, escapes):  # pragma: no cover - compiled
    count = 0
    before = np.uint32(0)
    for i in range(len(points)):
        k = order[i] if len(order) else i
        steps = np.int64((np.float64(points[k, axis]) * scale + _ROUND) - _ROUND)
        value = np.uint32(steps & 0xFFFFFFFF)
        zigzag = _zigzag(value, before)
        before = value
        if zigzag >= _ESCAPE:
            escapes[count] = zigzag
            count += 1
            zigzag = np.uint32(_ESCAPE)
        low[i] = zigzag & 0xFF
        high[i] = zigzag >> 8
    return count


@numba.njit(cache=True, nogil=True)
def _difference(values, order, low, high, escapes):  # pragma: no cover - compiled
    count = 0
    before = np.uint32(0)
    for i in range(len(values)):
        value = np.uint32(values[order[i] if len(order) else i])
        zigzag = _zigzag(value, before)
        before = value
        if zigzag >= _ESCAPE:
            escapes[count] = zigzag
            count += 1
            zigzag = np.uint32(_ESCAPE)
        low[i] = zigzag & 0xFF
        high[i] = zigzag >> 8
    return count


@numba.njit(cache=True, nogil=True)
def _levels(intensity, order, top, out):  # pragma: no cover - compiled
    for i in range(len(intensity)):
        out[i] = np.uint8(np.rint(intensity[order[i] if len(order) else i] * top))


@numba.njit(cache=True, nogil=True)
def _divide(offset_ns, step_ns, number, rest):  # pragma: no cover - compiled
    for i in range(len(offset_ns)):
        time = np.int64(offset_ns[i])
        nearest = (time + step_ns // 2) // step_ns
        number[i] = np.uint32(nearest & 0xFFFFFFFF)
        rest[i] = np.uint32((time - nearest * step_ns) & 0xFFFFFFFF)


@numba.njit(cache=True, nogil=True)
def _accumulate(low, high, escapes, values):  # pragma: no cover - compiled
    count = 0
    total = np.uint32(0)
    for i in range(len(low)):
        zigzag = np.uint32(low[i]) | (np.uint32(high[i]) << np.uint32(8))
        if zigzag == _ESCAPE:
            if count == len(escapes):
                return -1
            zigzag = escapes[count]
            count += 1
        sign = np.uint32(0) - (zigzag & np.uint32(1))
        total = np.uint32(total + ((zigzag >> np.uint32(1)) ^ sign))
        values[i] = total
    return count


@numba.njit(cache=True, nogil=True)
def _restore(low, high, escapes, step_m, points, axis):  # pragma: no cover - compiled
    count = 0
    total = np.uint32(0)
    for i in range(len(low)):
        zigzag = np.uint32(low[i]) | (np.uint32(high[i]) << np.uint32(8))
        if zigzag == _ESCAPE:
            if count == len(escapes):
                return -1
            zigzag = escapes[count]
            count += 1
        sign = np.uint32(0) - (zigzag & np.uint32(1))
        total = np.uint32(total + ((zigzag >> np.uint32(1)) ^ sign))
        points[i, axis] = np.float32(np.int32(total) * step_m)
    return count
