"""Compiled loops that estimate the ground under a sweep on a 1 m grid."""

from __future__ import annotations

import numpy as np
from numba import njit
from numpy.typing import NDArray

from scene.types import Float32, Float64

GROUND_CELL_M = 1.0
SLOPE = 0.15


@njit(cache=True)
def ground_grid(points: Float32, reach_m: float) -> Float64:
    """Return (G, G) ground height on 1 m cells centred on the ego origin.

    A cell is a candidate if what lies in its lowest 2.5 m is flat. A candidate is ground if no
    other candidate lies so much lower that the terrain between them would be steeper than 15 %.
    Other cells take the height of their nearest ground cell, smoothed.
    """
    size = int(2 * reach_m / GROUND_CELL_M) + 1
    low, flat = _lowest(points, size, reach_m)
    flat = _supported(low, flat)
    envelope = np.where(flat, low, np.inf)
    _spread_slope(envelope)
    anchor = flat & (low - envelope <= 0.12)
    ground = np.where(anchor, low, 0.0)
    if anchor.any():
        _fill(ground, anchor)
    return ground


@njit(cache=True)
def _lowest(points: Float32, size: int, reach_m: float):
    """Return low points of the cells (second lowest where there are many) and which are flat."""
    first = np.full((size, size), np.inf)
    second = np.full((size, size), np.inf)
    count = np.zeros((size, size), dtype=np.int32)
    for i in range(len(points)):
        x, y, z = points[i]
        if not (abs(x) < reach_m and abs(y) < reach_m and np.isfinite(z)):
            continue
        row, col = int((x + reach_m) / GROUND_CELL_M), int((y + reach_m) / GROUND_CELL_M)
        count[row, col] += 1
        if z < first[row, col]:
            second[row, col] = first[row, col]
            first[row, col] = z
        elif z < second[row, col]:
            second[row, col] = z
    # A single echo from below the road must not pull the ground down.
    low = np.where(count >= 4, second, first)
    upper = low.copy()
    for i in range(len(points)):
        x, y, z = points[i]
        if not (abs(x) < reach_m and abs(y) < reach_m and np.isfinite(z)):
            continue
        row, col = int((x + reach_m) / GROUND_CELL_M), int((y + reach_m) / GROUND_CELL_M)
        if upper[row, col] < z < low[row, col] + 2.5:
            upper[row, col] = z
    flat = (count > 0) & (upper - low < 0.4)
    return low, flat


@njit(cache=True)
def _supported(low: Float64, flat: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Return the flat cells with at least four flat cells of like height within 3 m.

    Mirrors and wet roads make echoes metres below the ground: alone in their cell, never many.
    """
    size = len(low)
    out = np.zeros_like(flat)
    for row in range(size):
        for col in range(size):
            if not flat[row, col]:
                continue
            support = 0
            for r in range(max(0, row - 3), min(size, row + 4)):
                for c in range(max(0, col - 3), min(size, col + 4)):
                    bound = 0.1 + SLOPE * GROUND_CELL_M * np.hypot(r - row, c - col)
                    support += flat[r, c] and abs(low[r, c] - low[row, col]) <= bound
            out[row, col] = support > 4  # the cell counts itself
    return out


@njit(cache=True)
def _spread_slope(height: Float64) -> None:
    """Lower every cell to what a slope of `SLOPE` from any other cell allows (two passes)."""
    size = len(height)
    side, corner = SLOPE * GROUND_CELL_M, SLOPE * GROUND_CELL_M * np.sqrt(2.0)
    for sign in (1, -1):
        for step in range(size * size):
            flat = step if sign == 1 else size * size - 1 - step
            row, col = flat // size, flat % size
            best = height[row, col]
            for dr, dc in ((-1, -1), (-1, 0), (-1, 1), (0, -1)):
                r, c = row + sign * dr, col + sign * dc
                if 0 <= r < size and 0 <= c < size:
                    best = min(best, height[r, c] + (corner if dr != 0 and dc != 0 else side))
            height[row, col] = best


@njit(cache=True)
def _fill(ground: Float64, anchor: NDArray[np.bool_]) -> None:
    """Give cells without ground the height of the nearest ground cell, then smooth those."""
    size = len(ground)
    distance = np.where(anchor, 0.0, np.inf)
    for sign in (1, -1, 1, -1):
        for step in range(size * size):
            flat = step if sign == 1 else size * size - 1 - step
            row, col = flat // size, flat % size
            for dr, dc in ((-1, -1), (-1, 0), (-1, 1), (0, -1)):
                r, c = row + sign * dr, col + sign * dc
                if 0 <= r < size and 0 <= c < size:
                    away = distance[r, c] + (1.4142 if dr != 0 and dc != 0 else 1.0)
                    if away < distance[row, col]:
                        distance[row, col] = away
                        ground[row, col] = ground[r, c]
    for _ in range(3):
        before = ground.copy()
        for row in range(1, size - 1):
            for col in range(1, size - 1):
                if not anchor[row, col]:
                    ground[row, col] = before[row - 1 : row + 2, col - 1 : col + 2].mean()


@njit(cache=True)
def height_above(points: Float32, ground: Float64, reach_m: float) -> Float32:
    """Return (N,) height above the ground; NaN outside the grid and on the ego vehicle."""
    height = np.full(len(points), np.nan, dtype=np.float32)
    for i in range(len(points)):
        x, y, z = points[i]
        if not (abs(x) < reach_m and abs(y) < reach_m):
            continue
        if -1.3 < x < 4.2 and abs(y) < 1.1:
            continue
        row, col = int((x + reach_m) / GROUND_CELL_M), int((y + reach_m) / GROUND_CELL_M)
        height[i] = z - ground[row, col]
    return height


def ground_at(xy_m: Float64, ground: Float64, reach_m: float) -> Float64:
    """Return (N,) ground height under (N, 2) places inside the grid."""
    index = ((xy_m + reach_m) / GROUND_CELL_M).astype(np.int64)
    index = np.clip(index, 0, len(ground) - 1)
    return ground[index[:, 0], index[:, 1]]
