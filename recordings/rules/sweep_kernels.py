"""One compiled pass over the points of a sweep for all sanity rules."""

from __future__ import annotations

import numba
import numpy as np
from numpy.typing import NDArray

from scene.types import Float32, Float64, Int64

NUM_SECTORS = 72
NEAR_M = 2.5  # closer lies the vehicle itself
_PRIME = np.uint64(1099511628211)  # FNV-1a, 64 bit
_DIGEST_STEP = 7
_STEP = 4
_HEIGHT_BINS = 2000  # of a centimetre


@numba.njit(cache=True, nogil=True)
def any_beyond(points_m: Float32, limit_m: float) -> bool:
    """Return whether a coordinate of (N, 3) contiguous points is larger, or no number at all."""
    limit = np.float32(limit_m)
    count = np.uint32(0)
    values = points_m.reshape(-1)
    for i in range(len(values)):  # without a way out, so that it runs eight at a time
        count += np.uint32(not (abs(values[i]) < limit))  # comparisons with NaN are false
    return bool(count > 0)


@numba.njit(cache=True, nogil=True)
def count_beyond(points_m: Float32, limit_m: float) -> int:
    """Return how many points are not within `limit_m` of the origin, or no numbers at all."""
    count = 0
    squared_limit = np.float32(limit_m * limit_m)
    for i in range(len(points_m)):
        x, y, z = points_m[i, 0], points_m[i, 1], points_m[i, 2]
        count += not (x * x + y * y + z * z < squared_limit)
    return count


@numba.njit(cache=True, nogil=True)
def extremes(
    intensity: Float32, offset_ns: NDArray[np.int32]
) -> tuple[float, float, float, int, int]:
    """Return lowest and highest intensity, share of points that have 1, first and last offset.

    Looks at every fourth point: a quarter of the time, and it is not about single points.
    """
    low, high, saturated = np.inf, -np.inf, 0
    first, last = offset_ns[0], offset_ns[0]
    for i in range(0, len(intensity), _STEP):
        value = float(intensity[i])
        low, high = min(low, value), max(high, value)
        saturated += value >= 1.0
        first, last = min(first, offset_ns[i]), max(last, offset_ns[i])
    return low, high, saturated / (1 + (len(intensity) - 1) // _STEP), first, last


@numba.njit(cache=True, nogil=True)
def low_height(
    points_m: Float32, step: int, near_m: float, far_m: float, share: float, min_points: int
) -> float:
    """Return the height below which `share` of the points of a ring lie, to a centimetre.

    Args:
        points_m: (N, 3) ego frame.
        step: look at every n-th point.
        near_m: inner radius of the ring around the ego origin,
        far_m: and its outer radius.
        share: in (0, 1).
        min_points: NaN if there are fewer in the ring.
    """
    bins = np.zeros(_HEIGHT_BINS, dtype=np.int64)
    count = 0
    for i in range(0, len(points_m), step):
        squared = points_m[i, 0] * points_m[i, 0] + points_m[i, 1] * points_m[i, 1]
        if squared > near_m * near_m and squared < far_m * far_m:
            place = points_m[i, 2] * 100.0 + _HEIGHT_BINS / 2
            bins[int(min(max(place, 0.0), _HEIGHT_BINS - 1.0))] += 1
            count += 1
    if count < min_points:
        return np.nan
    below = 0
    for height in range(_HEIGHT_BINS):
        below += bins[height]
        if below > share * count:
            return (height + 0.5 - _HEIGHT_BINS / 2) / 100.0
    return np.nan


@numba.njit(cache=True, nogil=True)
def digest(points_m: Float32) -> np.uint64:
    """Return a number that equal points share, from every seventh point."""
    value = np.uint64(14695981039346656037)
    bits = points_m.view(np.uint32)
    for i in range(0, len(bits), _DIGEST_STEP):
        for k in range(3):
            value = (value ^ np.uint64(bits[i, k])) * _PRIME
    return value


@numba.njit(cache=True, nogil=True)
def profile(
    points_m: Float32,
    origin_m: Float64,
    low_m: float,
    high_m: float,
    max_range_m: float,
    count: Int64,
    standing: Int64,
    range_sum_m: Float64,
) -> None:
    """Add points to sums by azimuth sector around (3,) `origin_m`; sector 0 begins at -x.

    Sectors go counter-clockwise; they are equal parts of a square's edge and so 3.6 to 7.1 degrees.

    Args:
        points_m: (N, 3) ego frame.
        origin_m: where the lidar sits.
        low_m: height above which a point counts as standing on the ground,
        high_m: and below which.
        max_range_m: how far a standing point may be.
        count: (S,) all points.
        standing: (S,) standing points.
        range_sum_m: (S,) horizontal distances of the standing points.
    """
    sectors = len(count)
    quarter = sectors / 4
    for i in range(len(points_m)):
        x, y = points_m[i, 0] - origin_m[0], points_m[i, 1] - origin_m[1]
        sum_xy = abs(x) + abs(y)
        if not (sum_xy > 0.0 and sum_xy < np.inf):
            continue
        # Pseudo-angle on a square instead of arctan2: 0 at -x, 1 at -y, 2 at +x, 3 at +y.
        turn = x / sum_xy
        turn = 1.0 + turn if y < 0 else 3.0 - turn
        sector = min(int(turn * quarter), sectors - 1)
        count[sector] += 1
        if points_m[i, 2] > low_m and points_m[i, 2] < high_m and sum_xy > NEAR_M:
            distance = np.sqrt(x * x + y * y)
            if distance < max_range_m:
                standing[sector] += 1
                range_sum_m[sector] += distance


@numba.njit(cache=True, nogil=True)
def mark_cells(
    points_m: Float32,
    origin_m: Float64,
    low_m: float,
    cell_m: float,
    sample: int,
    last: NDArray[np.uint8],
    hits: NDArray[np.uint8],
) -> None:
    """Count, for every cell of a grid around the lidar, the sweeps that have a point in it.

    Args:
        points_m: (N, 3) ego frame.
        origin_m: where the lidar sits; the middle of the grid.
        low_m: height below which points are ground.
        cell_m: edge of a cell.
        sample: number of this sweep, 1 to 255.
        last: (X, Y, Z) the last sample that hit a cell.
        hits: (X, Y, Z) samples that hit it.
    """
    shape = last.shape
    for i in range(len(points_m)):
        if not points_m[i, 2] > low_m:
            continue
        x = int(np.floor((points_m[i, 0] - origin_m[0]) / cell_m)) + shape[0] // 2
        y = int(np.floor((points_m[i, 1] - origin_m[1]) / cell_m)) + shape[1] // 2
        z = int(np.floor((points_m[i, 2] - origin_m[2]) / cell_m)) + shape[2] // 2
        inside = 0 <= x < shape[0] and 0 <= y < shape[1] and 0 <= z < shape[2]
        if inside and last[x, y, z] != sample:
            last[x, y, z] = sample
            hits[x, y, z] += 1


@numba.njit(cache=True, nogil=True)
def hold_points(
    points_m: Float32,
    step: int,
    low_m: float,
    center_m: Float64,
    half_m: Float64,
    cos: Float64,
    sin: Float64,
    holds: NDArray[np.bool_],
) -> None:
    """Write which boxes hold at least one of every n-th point.

    Args:
        points_m: (N, 3) ego frame.
        step: look at every n-th point.
        low_m: leave out points below this height.
        center_m: (B, 3) centres of the boxes,
        half_m: (B, 3) half their length, width and height,
        cos: (B,) cosine of their yaw,
        sin: (B,) and its sine.
        holds: (B,) the answer; boxes that are True already are not looked at.
    """
    for i in range(0, len(points_m), step):
        z = points_m[i, 2]
        if not z > low_m:
            continue
        x, y = points_m[i, 0], points_m[i, 1]
        for k in range(len(center_m)):
            if holds[k] or abs(z - center_m[k, 2]) > half_m[k, 2]:
                continue
            dx, dy = x - center_m[k, 0], y - center_m[k, 1]
            along, across = dx * cos[k] + dy * sin[k], dy * cos[k] - dx * sin[k]
            holds[k] = abs(along) <= half_m[k, 0] and abs(across) <= half_m[k, 1]
