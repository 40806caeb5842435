"""The Starloop point codec, version 2: one sweep as compact, checked bytes.

Written down byte by byte in `docs/point-codec.md`, with a reader in plain numpy, so that nobody's
data is locked in. Coordinates are rounded to a declared step (1 mm unless told otherwise), points
are put in an order in which neighbours are close, differences are split into byte planes and each
plane is compressed with zstd. `lossless` keeps order and float bits instead. Version 1 is read too.
"""

from __future__ import annotations

from typing import Final, NamedTuple

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
    Uint32,
    byte_planes,
    difference_planes,
    integer_planes,
    meters,
)
from storage.codec_group import INTENSITY_LEVELS, pack

DEFAULT_STEP_M: Final = 0.001

_MAX_STEPS: Final = float(1 << 30)
_SCRAMBLED_M: Final = 2.0
_SHARED_TIME: Final = 4  # a table of times pays when so many points share one


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
    flags = LOSSLESS if lossless else 0
    planes, times = _exact(sweep) if lossless else _quantised(sweep, step_m)
    if sweep.ring is not None:
        flags |= HAS_RING
    if times is not None:
        flags |= HAS_TIME | (0 if times.step_ns else TIME_TABLE)
    if times is None:
        return seal(Header(flags, len(sweep), step_m, 1), planes)
    return seal(Header(flags, len(sweep), step_m, times.step_ns), [*planes, *times.planes])


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
        intensity = fields.plane().astype(np.float32) / np.float32(INTENSITY_LEVELS)
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


class _Times(NamedTuple):
    """Times as planes; the step is 0 where they are rows of a table."""

    step_ns: int
    planes: list[Plane]


def _exact(sweep: Sweep) -> tuple[list[Plane], _Times | None]:
    """Return the planes of bits and rings as they are, and the times, if there are any.

    Raises:
        DataError: if a value is not finite or not within its range.
    """
    _refuse(sweep, np.inf)
    planes = [
        plane
        for column in (*sweep.points_ego_m.T, sweep.intensity)
        for plane in byte_planes(np.ascontiguousarray(column).view(np.uint32))
    ]
    if sweep.ring is not None:
        planes += integer_planes(sweep.ring.astype(np.uint32))
    table = _table_of_times(sweep)
    if table is not None:
        numbers = integer_planes(table.number)
        return planes, _Times(0, [*difference_planes(table.times_ns), *numbers])
    return planes, _steps_of_times(sweep.offset_ns) if _timed(sweep) else None


def _quantised(sweep: Sweep, step_m: float) -> tuple[list[Plane], _Times | None]:
    """Return the planes of the points and of their rings, and the times, if there are any.

    Files of spinning lidars are in firing order, so grouping by ring puts neighbours side by
    side. Where that leaves them far apart (a shuffled cloud), points are sorted by ring and
    azimuth first.

    Raises:
        DataError: if a value cannot be stored.
    """
    table = _table_of_times(sweep)
    packed = pack(sweep, table and table.number, step_m, _MAX_STEPS)
    if not packed.fits:
        _refuse(sweep, _MAX_STEPS * step_m)
    if packed.is_scrambled(_SCRAMBLED_M / step_m):
        sweep = _sorted(sweep)
        table = _table_of_times(sweep)
        packed = pack(sweep, table and table.number, step_m, _MAX_STEPS)
    planes, steps = packed.planes()
    if sweep.ring is not None:
        planes += packed.ring_planes()
    if table is not None:
        numbers = packed.number_planes(steps, table.number)
        return planes, _Times(0, [*difference_planes(table.times_ns), *numbers])
    if not _timed(sweep):
        return planes, None
    return planes, _steps_of_times(sweep.offset_ns[packed.order()])


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


class _Table(NamedTuple):
    """Distinct times, and for each point the row of its own."""

    times_ns: NDArray[np.int32]
    number: Uint32


def _timed(sweep: Sweep) -> bool:
    """Return whether there are times; the last one is almost never 0 if there are."""
    return bool(sweep.offset_ns[-1:].any() or sweep.offset_ns.any())


def _table_of_times(sweep: Sweep) -> _Table | None:
    """Return the distinct times where many points share one, None where they do not.

    A lidar fires a column at once, and every ring sees the same columns again.
    """
    from storage import codec_kernels

    if not _timed(sweep):
        return None
    table = np.empty(len(sweep) // _SHARED_TIME, np.int32)
    number = np.empty(len(sweep), np.uint32)
    count = codec_kernels.number_times(sweep.offset_ns, table, number)
    return _Table(table[:count], number) if count >= 0 else None


def _steps_of_times(offset_ns: NDArray[np.int32]) -> _Times:
    """Return times as multiples of the usual step, and rests."""
    from storage import codec_kernels

    step_ns = _time_step(offset_ns)
    number, rest = np.empty((2, len(offset_ns)), np.uint32)
    codec_kernels.divide(offset_ns, step_ns, number, rest)
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
