"""The fields of an encoded sweep as streams of bytes, see *Streams* in `docs/point-codec.md`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from scene.errors import FormatError

Plane = NDArray[np.uint8]
Uint32 = NDArray[np.uint32]

_ESCAPE: Final = 0xFFFF
SPARSE: Final = 4  # at most every so-manieth difference is an exception in a sparse field


def difference_planes(values: NDArray[np.integer[Any]]) -> list[Plane]:
    """Return low bytes, high bytes and escapes of the differences of (N,) 32-bit integers."""
    from storage import codec_kernels

    count = len(values)
    low, high = np.empty(count, np.uint8), np.empty(count, np.uint8)
    zero = np.zeros_like(values[:1])
    parts = ((values[:1], zero, slice(0, 1)), (values[1:], values[:-1], slice(1, None)))
    largest = [codec_kernels.zigzag_planes(v, b, low[at], high[at]) for v, b, at in parts]
    if max(largest) < _ESCAPE:
        return [low, high, low[:0]]
    escapes = [_escapes(v, b, low[at], high[at]) for v, b, at in parts]
    return [low, high, np.concatenate(escapes)]


def integer_planes(values: Uint32) -> list[Plane]:
    """Return the seven streams of (N,) integers most of which differ by the same from the last."""
    from storage import codec_kernels

    room = len(values) // SPARSE + 1
    positions, deltas = np.empty(room, np.uint32), np.empty(room, np.uint32)
    common, count = codec_kernels.exceptions(values, positions, deltas)
    nothing = np.empty(0, np.uint8)
    if count < 0:
        return [nothing, nothing, nothing, nothing, *difference_planes(values)]
    return sparse_planes(int(common), positions[:count], deltas[:count])


def sparse_planes(common: int, positions: Uint32, deltas: Uint32) -> list[Plane]:
    """Return the seven streams of integers that differ by `common` but at (M,) positions."""
    from storage import codec_kernels

    low, high = np.empty(len(deltas), np.uint8), np.empty(len(deltas), np.uint8)
    zeros = np.zeros(len(deltas), np.uint32)
    codec_kernels.zigzag_planes(deltas, zeros, low, high)
    escapes = _escapes(deltas, zeros, low, high)
    usual = np.array([common], "<u4").view(np.uint8)
    return [usual, *difference_planes(positions), low, high, escapes]


def byte_planes(bits: Uint32) -> list[Plane]:
    """Return the four byte planes of (N,) words, lowest first."""
    table = bits.astype("<u4").view(np.uint8).reshape(-1, 4)
    return [np.ascontiguousarray(table[:, i]) for i in range(4)]


def _escapes(
    values: NDArray[np.integer[Any]], before: NDArray[np.integer[Any]], low: Plane, high: Plane
) -> Plane:
    """Mark in the planes which differences are too large for them; return those as bytes."""
    from storage import codec_kernels

    escapes = np.empty(len(values), np.uint32)
    count = codec_kernels.escape(values, before, low, high, escapes)
    return escapes[:count].astype("<u4", copy=False).view(np.uint8)


class Streams:
    """Reads the streams of one sweep in their order."""

    def __init__(self, streams: Sequence[bytes], num_points: int) -> None:
        self._left = list(reversed(streams))
        self._num_points = num_points

    def plane(self) -> Plane:
        """Return the next stream: one byte a point."""
        plane = self._next()
        if len(plane) != self._num_points:
            raise FormatError(f"point codec: plane of {len(plane)} for {self._num_points} points")
        return plane

    def point_planes(self) -> tuple[Plane, Plane, Uint32]:
        """Return low bytes, high bytes and escapes of the next field: a value a point."""
        return self.plane(), self.plane(), self._words()

    def differences(self) -> Uint32:
        """Return the (N,) integers of the next field, modulo 2**32."""
        return _sum(_unzigzag(*self.point_planes()))

    def table(self) -> Uint32:
        """Return the integers of the next field, as many as it holds, modulo 2**32."""
        return _sum(_unzigzag(*self._any_planes()))

    def integers(self) -> Uint32:
        """Return the (N,) integers of the next field that is either sparse or not."""
        from storage import codec_kernels

        common = self._words()
        positions, deltas = self.table(), _unzigzag(*self._any_planes())
        expected = len(positions) if len(common) else self._num_points
        if len(common) > 1 or len(deltas) != expected or (not len(common) and len(positions)):
            raise FormatError("point codec: differences and their positions do not fit")
        if not len(common):
            return _sum(deltas)
        values = np.empty(self._num_points, np.uint32)
        if not codec_kernels.spread(common[0], positions, deltas, values):
            raise FormatError("point codec: positions that do not increase or are not inside")
        return values

    def bits(self) -> Uint32:
        """Return (N,) words from the next four byte planes."""
        return np.stack([self.plane() for _ in range(4)], axis=1).view("<u4")[:, 0]

    def finish(self) -> None:
        """Refuse bytes that belong to no field."""
        if self._left:
            raise FormatError(f"point codec: {len(self._left)} streams more than fields")

    def _any_planes(self) -> tuple[Plane, Plane, Uint32]:
        low, high, escapes = self._next(), self._next(), self._words()
        if len(low) != len(high) or len(low) > self._num_points:
            raise FormatError(f"point codec: planes of {len(low)} and {len(high)} bytes")
        return low, high, escapes

    def _words(self) -> Uint32:
        stream = self._next()
        if len(stream) % 4:
            raise FormatError(f"point codec: stream of {len(stream)} bytes, not a multiple of 4")
        return stream.view("<u4").astype(np.uint32, copy=False)

    def _next(self) -> Plane:
        if not self._left:
            raise FormatError("point codec: fewer streams than fields")
        return np.frombuffer(self._left.pop(), dtype=np.uint8)


def meters(axes: Sequence[tuple[Plane, Plane, Uint32]], step_m: float) -> NDArray[np.float32]:
    """Return (N, 3) float32 meters of three fields of differences in steps."""
    from storage import codec_kernels

    points = np.empty((len(axes[0][0]), 3), dtype=np.float32)
    for axis, (low, high, escapes) in enumerate(axes):
        if codec_kernels.restore(low, high, escapes, step_m, points, axis) != len(escapes):
            raise _escapes_differ()
    return points


def _unzigzag(low: Plane, high: Plane, escapes: Uint32) -> Uint32:
    from storage import codec_kernels

    values = np.empty(len(low), np.uint32)
    if codec_kernels.unzigzag(low, high, escapes, values) != len(escapes):
        raise _escapes_differ()
    return values


def _sum(deltas: Uint32) -> Uint32:
    return np.cumsum(deltas, dtype=np.uint32)


def _escapes_differ() -> FormatError:
    return FormatError("point codec: number of escapes differs from the number of marks")
