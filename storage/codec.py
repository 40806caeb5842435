"""The Starloop point codec, version 1: one sweep as compact, checked bytes.

Written down byte by byte in `docs/point-codec.md`, with a reader in plain numpy, so that nobody's
data is locked in. Coordinates are rounded to a declared step (1 mm unless told otherwise), points
are put in an order in which neighbours are close, differences are split into byte planes and each
plane is compressed with zstd. `lossless` keeps order and float bits instead.
"""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from scene.errors import DataError, FormatError
from scene.sweep import Sweep
from scene.types import Float32, Int, Int64
from storage.codec_envelope import (
    HAS_RING,
    HAS_TIME,
    LOSSLESS,
    MAX_POINTS,
    Header,
    seal,
    unseal,
)

DEFAULT_STEP_M: Final = 0.001

_ESCAPES_DIFFER: Final = "point codec: number of escapes differs from the number of marks"
_MAX_STEPS = 1 << 30
_INTENSITY_LEVELS = 255
_SCRAMBLED_M = 2.0

Uint32 = NDArray[np.uint32]
Plane = NDArray[np.uint8]


def encode(sweep: Sweep, *, step_m: float = DEFAULT_STEP_M, lossless: bool = False) -> bytes:
    """Return the sweep as bytes; the timestamp is kept outside.

    Args:
        sweep: N points, ego frame. Times (`offset_ns`) and rings are always kept exactly.
        step_m: coordinates are rounded to multiples of this; the error is at most half of it plus
            float32 rounding. Intensity is kept in 255 steps. Points come back in another order.
        lossless: keep the order and every bit of coordinates and intensity instead.

    Raises:
        DataError: if a coordinate or intensity is not finite, an intensity is outside [0, 1], a
            point is too far away for the step, or the step is not positive.
    """
    if not (np.isfinite(step_m) and step_m > 0):
        raise DataError(f"point codec: step_m must be positive, got {step_m}")
    _check(sweep, step_m, lossless)
    flags = (
        (LOSSLESS if lossless else 0)
        | (HAS_RING if sweep.ring is not None else 0)
        | (HAS_TIME if sweep.offset_ns.any() else 0)
    )
    order = None if lossless else _order(sweep)
    time_step_ns = _time_step(sweep.offset_ns, order) if flags & HAS_TIME else 1
    planes: list[Plane] = []
    if lossless:
        for column in (*sweep.points_ego_m.T, sweep.intensity):
            planes += _byte_planes(np.ascontiguousarray(column).view(np.uint32))
    else:
        planes += _quantised_planes(sweep, order, step_m)
    if sweep.ring is not None:
        planes += _delta_planes(sweep.ring, order)
    if flags & HAS_TIME:
        planes += _time_planes(sweep.offset_ns, order, time_step_ns)
    return seal(Header(flags, len(sweep), step_m, time_step_ns), planes)


def decode(data: bytes, timestamp_ns: int) -> Sweep:
    """Return the sweep encoded in `data`.

    Args:
        data: the bytes of one sweep.
        timestamp_ns: start of the revolution, from the row that holds the bytes.

    Raises:
        FormatError: if the bytes are damaged, cut, or of a version this reader does not know.
    """
    header, streams = unseal(data)
    fields = _Streams(streams, header.num_points)
    if header.lossless:
        xyzi = np.stack([fields.bits().view(np.float32) for _ in range(4)], axis=1)
        points, intensity = np.ascontiguousarray(xyzi[:, :3]), np.ascontiguousarray(xyzi[:, 3])
    else:
        points = _scale([fields.deltas() for _ in range(3)], header.step_m)
        intensity = fields.plane().astype(np.float32) / np.float32(_INTENSITY_LEVELS)
    ring = fields.values().astype(np.uint16) if header.has_ring else None
    offset_ns = np.zeros(header.num_points, dtype=np.int32)
    if header.has_time:
        column_number, rest = fields.values(), fields.values()
        offset_ns = (column_number * np.uint32(header.time_step_ns) + rest).view(np.int32)
    fields.finish()
    return Sweep(timestamp_ns, points, intensity, offset_ns, ring)


def _check(sweep: Sweep, step_m: float, lossless: bool) -> None:
    """Refuse what the format cannot hold."""
    if len(sweep) > MAX_POINTS:
        raise DataError(f"sweep {sweep.timestamp_ns}: {len(sweep)} points, at most {MAX_POINTS}")
    if not len(sweep):
        return
    # min and max are NaN or infinite exactly when some value is, and need no temporary array
    low, high = float(sweep.points_ego_m.min()), float(sweep.points_ego_m.max())
    if not (np.isfinite(low) and np.isfinite(high)):
        bad = int((~np.isfinite(sweep.points_ego_m)).any(axis=1).sum())
        raise DataError(
            f"sweep {sweep.timestamp_ns}: {bad} of {len(sweep)} points are not finite; "
            "drop them before storing"
        )
    dim, bright = float(sweep.intensity.min()), float(sweep.intensity.max())
    if not (dim >= 0.0 and bright <= 1.0):  # also true for NaN
        raise DataError(
            f"sweep {sweep.timestamp_ns}: intensity from {dim} to {bright}; "
            "the reader must scale it to 0..1"
        )
    if not lossless and max(-low, high) / step_m >= _MAX_STEPS:
        raise DataError(
            f"sweep {sweep.timestamp_ns}: a coordinate of {max(-low, high):.0f} m does not fit "
            f"a step of {step_m} m; use a larger step"
        )


def _order(sweep: Sweep) -> Int64 | None:
    """Return the order in which neighbours are close, or None for the order as given.

    Files of spinning lidars are in firing order, so grouping by ring is enough. Where that leaves
    far neighbours (a shuffled cloud), points are ordered by ring and azimuth.
    """
    from storage import codec_kernels

    if len(sweep) < 2:
        return None
    order = None
    if sweep.ring is not None:
        order = codec_kernels.group_by(sweep.ring)
    if codec_kernels.median_gap_m(sweep.points_ego_m, order) < _SCRAMBLED_M:
        return order
    azimuth = np.arctan2(sweep.points_ego_m[:, 1], sweep.points_ego_m[:, 0])
    ring = np.zeros(len(sweep), np.uint16) if sweep.ring is None else sweep.ring
    return np.lexsort((azimuth, ring))


def _time_step(offset_ns: NDArray[np.int32], order: Int64 | None) -> int:
    """Return the usual time between neighbours, ns: times become few distinct column numbers."""
    head = slice(0, 8192)
    times = offset_ns[head] if order is None else offset_ns[order[head]]
    steps = np.diff(times.astype(np.int64))
    steps = steps[steps > 0]
    return int(min(np.median(steps), 2**31 - 1)) if len(steps) else 1


def _time_planes(offset_ns: NDArray[np.int32], order: Int64 | None, step_ns: int) -> list[Plane]:
    """Return the planes of the column numbers and of the rests."""
    from storage import codec_kernels

    number, rest = codec_kernels.divide(offset_ns, step_ns)
    return _delta_planes(number, order) + _delta_planes(rest, order)


def _quantised_planes(sweep: Sweep, order: Int64 | None, step_m: float) -> list[Plane]:
    """Return the planes of x, y, z differences and of the intensity."""
    from storage import codec_kernels

    planes: list[Plane] = []
    for axis in range(3):
        low, high, escapes = codec_kernels.quantise(sweep.points_ego_m, axis, order, step_m)
        planes += [low, high, escapes.view(np.uint8)]
    return [*planes, codec_kernels.levels(sweep.intensity, order, _INTENSITY_LEVELS)]


def _delta_planes(values: Int, order: Int64 | None) -> list[Plane]:
    """Return low bytes, high bytes and escapes of the differences of (N,) values."""
    from storage import codec_kernels

    low, high, escapes = codec_kernels.difference(values, order)
    return [low, high, escapes.view(np.uint8)]


def _byte_planes(bits: Uint32) -> list[Plane]:
    """Return the four byte planes of (N,) words, lowest first."""
    table = bits.astype("<u4").view(np.uint8).reshape(-1, 4)
    return [np.ascontiguousarray(table[:, i]) for i in range(4)]


class _Streams:
    """Reads the streams of one sweep in their order."""

    def __init__(self, streams: list[bytes], num_points: int) -> None:
        self._left = list(reversed(streams))
        self._num_points = num_points

    def plane(self) -> Plane:
        """Return the next stream: one byte a point."""
        plane = self._next()
        if len(plane) != self._num_points:
            raise FormatError(f"point codec: plane of {len(plane)} for {self._num_points} points")
        return plane

    def deltas(self) -> tuple[Plane, Plane, Uint32]:
        """Return low bytes, high bytes and escapes of the next field."""
        low, high, escapes = self.plane(), self.plane(), self._next()
        if len(escapes) % 4:
            raise FormatError(f"point codec: escapes of {len(escapes)} bytes, not a multiple of 4")
        return low, high, escapes.view("<u4").astype(np.uint32, copy=False)

    def values(self) -> Uint32:
        """Return the (N,) integers of the next field, modulo 2**32."""
        from storage import codec_kernels

        values = codec_kernels.accumulate(*self.deltas())
        if values is None:
            raise FormatError(_ESCAPES_DIFFER)
        return values

    def bits(self) -> Uint32:
        """Return (N,) words from the next four byte planes."""
        return np.stack([self.plane() for _ in range(4)], axis=1).view("<u4")[:, 0]

    def finish(self) -> None:
        """Refuse bytes that belong to no field."""
        if self._left:
            raise FormatError(f"point codec: {len(self._left)} streams more than fields")

    def _next(self) -> Plane:
        if not self._left:
            raise FormatError("point codec: fewer streams than fields")
        return np.frombuffer(self._left.pop(), dtype=np.uint8)


def _scale(axes: list[tuple[Plane, Plane, Uint32]], step_m: float) -> Float32:
    """Return (N, 3) float32 meters of three difference fields."""
    from storage import codec_kernels

    points = np.empty((len(axes[0][0]), 3), dtype=np.float32)
    for axis, (low, high, escapes) in enumerate(axes):
        if not codec_kernels.restore(low, high, escapes, step_m, points, axis):
            raise FormatError(_ESCAPES_DIFFER)
    return points
