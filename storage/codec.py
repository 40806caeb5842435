"""The Starloop point codec, version 2: one sweep as compact, checked bytes.

Written down byte by byte in `docs/point-codec.md`, with a reader in plain numpy, so that nobody's
data is locked in. Coordinates are rounded to a declared step (1 mm unless told otherwise), points
are put in an order in which neighbours are close, differences are split into byte planes and each
plane is compressed with zstd. `lossless` keeps order and float bits instead. Version 1 is read too.
"""

from __future__ import annotations

from typing import Any, Final, NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray

from scene.errors import DataError, FormatError
from scene.sweep import Sweep
from scene.types import Int64
from storage.codec_envelope import (
    HAS_RING,
    HAS_TIME,
    LOSSLESS,
    MAX_POINTS,
    TIME_TABLE,
    Header,
    seal,
    unseal,
)
from storage.codec_fields import (
    Plane,
    Streams,
    byte_planes,
    difference_planes,
    integer_planes,
    meters,
)

DEFAULT_STEP_M: Final = 0.001

_MAX_STEPS: Final = 1 << 30
_INTENSITY_LEVELS: Final = 255
_SCRAMBLED_M: Final = 2.0
_SHARED_TIME: Final = 4  # a table of times pays when so many points share one
_SAMPLES: Final = 512

Order = NDArray[np.uint32]
_Integer = TypeVar("_Integer", bound=np.integer[Any])


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
    if len(sweep) > MAX_POINTS:
        raise DataError(f"sweep {sweep.timestamp_ns}: {len(sweep)} points, at most {MAX_POINTS}")
    if lossless:
        _refuse(sweep, np.inf)
        order = _as_is(len(sweep))
        planes = [
            plane
            for column in (*sweep.points_ego_m.T, sweep.intensity)
            for plane in byte_planes(np.ascontiguousarray(column).view(np.uint32))
        ]
        ring = _ring_numbers(sweep)
    else:
        sweep, order, ring, planes = _quantised(sweep, step_m)
    flags = LOSSLESS if lossless else 0
    if ring is not None:
        flags |= HAS_RING
        planes += integer_planes(ring)
    time_step_ns = 1
    if sweep.offset_ns.any():
        times = _times(sweep, order)
        flags |= HAS_TIME | (0 if times.step_ns else TIME_TABLE)
        planes += times.planes
        time_step_ns = times.step_ns
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
    fields = Streams(streams, header.num_points)
    integers = fields.differences if header.version == 1 else fields.integers
    if header.lossless:
        xyzi = np.stack([fields.bits().view(np.float32) for _ in range(4)], axis=1)
        points, intensity = np.ascontiguousarray(xyzi[:, :3]), np.ascontiguousarray(xyzi[:, 3])
    else:
        points = meters([fields.point_planes() for _ in range(3)], header.step_m)
        intensity = fields.plane().astype(np.float32) / np.float32(_INTENSITY_LEVELS)
    ring = integers().astype(np.uint16) if header.has_ring else None
    offset_ns = np.zeros(header.num_points, dtype=np.int32)
    if header.has_table:
        table, number = fields.table().view(np.int32), integers()
        if header.num_points:
            offset_ns = _look_up(table, number)
    elif header.has_time:
        number, rest = integers(), integers()
        offset_ns = (number * np.uint32(header.time_step_ns) + rest).view(np.int32)
    fields.finish()
    return Sweep(timestamp_ns, points, intensity, offset_ns, ring)


class _Quantised(NamedTuple):
    """A sweep in steps.

    Attributes:
        sweep: the points, perhaps sorted.
        order: (N,) which of them is at each place.
        ring: (N,) their rings in that order.
        planes: x, y, z and intensity.
    """

    sweep: Sweep
    order: Order
    ring: Order | None
    planes: list[Plane]


def _quantised(sweep: Sweep, step_m: float) -> _Quantised:
    """Return the sweep in steps, in an order in which neighbours are close.

    Files of spinning lidars are in firing order, so grouping by ring puts neighbours side by
    side. Where that leaves them far apart (a shuffled cloud), points are sorted by ring and
    azimuth first.
    """
    steps, level = _rounded(sweep, step_m)
    order, ring, axes, bright = _grouped(sweep, steps, level)
    if _is_scrambled(axes, step_m):
        sweep = _sorted(sweep)
        steps, bright = _rounded(sweep, step_m)
        order, ring, axes = _as_is(len(sweep)), _ring_numbers(sweep), _axes(steps)
    planes = [plane for axis in axes for plane in difference_planes(axis)]
    return _Quantised(sweep, order, ring, [*planes, bright])


def _rounded(sweep: Sweep, step_m: float) -> tuple[NDArray[np.int32], Plane]:
    """Return (N, 3) coordinates in steps and (N,) levels of intensity.

    Raises:
        DataError: if one cannot be stored.
    """
    from storage import codec_kernels

    steps, level = np.empty((len(sweep), 3), np.int32), np.empty(len(sweep), np.uint8)
    points = np.ascontiguousarray(sweep.points_ego_m).reshape(-1)
    fits = codec_kernels.quantise(points, 1.0 / step_m, float(_MAX_STEPS), steps.reshape(-1))
    bright = codec_kernels.levels(sweep.intensity, np.float32(_INTENSITY_LEVELS), level)
    if not (fits and bright):
        _refuse(sweep, _MAX_STEPS * step_m)
    return steps, level


def _grouped(
    sweep: Sweep, steps: NDArray[np.int32], level: Plane
) -> tuple[Order, Order | None, NDArray[np.int32], Plane]:
    """Return order, rings, (3, N) coordinates and intensities with equal rings together."""
    from storage import codec_kernels

    count = len(sweep)
    if sweep.ring is None or not count:
        return _as_is(count), _ring_numbers(sweep), _axes(steps), level
    ends = np.zeros(int(sweep.ring.max()) + 1, np.uint32)
    codec_kernels.count_rings(sweep.ring, ends)
    order, ring = np.empty(count, np.uint32), np.empty(count, np.uint32)
    axes, bright = np.empty((3, count), np.int32), np.empty(count, np.uint8)
    codec_kernels.group(steps, level, sweep.ring, ends, order, axes, bright)
    codec_kernels.fill_rings(ends, ring)
    return order, ring, axes, bright


def _as_is(count: int) -> Order:
    return np.arange(count, dtype=np.uint32)


def _ring_numbers(sweep: Sweep) -> Order | None:
    return None if sweep.ring is None else sweep.ring.astype(np.uint32)


def _axes(steps: NDArray[np.int32]) -> NDArray[np.int32]:
    """Return (N, 3) coordinates as (3, N)."""
    return np.ascontiguousarray(steps.T)


def _is_scrambled(steps: NDArray[np.int32], step_m: float) -> bool:
    """Return whether neighbours are usually meters apart, judged by samples, in x and y."""
    from storage import codec_kernels

    count = steps.shape[1]
    stride = max(1, count // _SAMPLES)
    far = codec_kernels.count_far(steps[0], steps[1], _SCRAMBLED_M / step_m, stride)
    return far * 2 * stride > count


def _sorted(sweep: Sweep) -> Sweep:
    """Return the points by ring and azimuth."""
    azimuth = np.arctan2(sweep.points_ego_m[:, 1], sweep.points_ego_m[:, 0])
    order: Int64 = np.lexsort((azimuth,) if sweep.ring is None else (azimuth, sweep.ring))
    return Sweep(
        sweep.timestamp_ns,
        sweep.points_ego_m[order],
        sweep.intensity[order],
        sweep.offset_ns[order],
        None if sweep.ring is None else sweep.ring[order],
    )


def _taken(values: NDArray[np.generic], order: Order, kind: type[_Integer]) -> NDArray[_Integer]:
    """Return (N,) integers in their order, modulo what the type holds."""
    from storage import codec_kernels

    taken = np.empty(len(values), kind)
    codec_kernels.take(values, order, taken)
    return taken


class _Times(NamedTuple):
    """Times as planes; the step is 0 where they are rows of a table."""

    step_ns: int
    planes: list[Plane]


def _times(sweep: Sweep, order: Order) -> _Times:
    """Return the times as numbers of distinct times where many points share one, else as steps.

    A lidar fires a column at once, and every ring sees the same columns again.
    """
    from storage import codec_kernels

    offset_ns = sweep.offset_ns
    table = np.empty(len(offset_ns) // _SHARED_TIME, np.int32)
    number = np.empty(len(offset_ns), np.uint32)
    count = codec_kernels.number_times(offset_ns, table, number)
    if count >= 0:
        number = _taken(number, order, np.uint32)
        return _Times(0, [*difference_planes(table[:count]), *integer_planes(number)])
    ordered = _taken(offset_ns, order, np.int32)
    step_ns = _time_step(ordered)
    rest = np.empty(len(offset_ns), np.uint32)
    codec_kernels.divide(ordered, step_ns, number, rest)
    return _Times(step_ns, [*integer_planes(number), *integer_planes(rest)])


def _time_step(offset_ns: NDArray[np.int32]) -> int:
    """Return the usual time between neighbours, ns: times become few distinct numbers."""
    steps = np.diff(offset_ns[:8192].astype(np.int64))
    steps = steps[steps > 0]
    return int(min(np.median(steps), 2**31 - 1)) if len(steps) else 1


def _look_up(table_ns: NDArray[np.int32], number: NDArray[np.uint32]) -> NDArray[np.int32]:
    """Return the time of each point."""
    if not len(table_ns) or int(number.max()) >= len(table_ns):
        raise FormatError(f"point codec: a time that is not among the {len(table_ns)} of the table")
    return table_ns[number]


def _refuse(sweep: Sweep, limit_m: float) -> None:
    """Raise for what the format cannot hold, if there is any such thing."""
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
    if max(-low, high) >= limit_m - 1e-9:
        raise DataError(
            f"sweep {sweep.timestamp_ns}: a coordinate of {max(-low, high):.0f} m does not fit "
            "the step; use a larger step"
        )
