"""Compiled loops of `curation.clusters`: joining of points, extents of clusters."""

from __future__ import annotations

import numpy as np
from numba import njit
from numpy.typing import NDArray

from scene.types import Float32, Float64

CELL_M = 0.2
LOW_M, HIGH_M = 0.3, 2.4  # band that joins cells; crowns of trees above it must not
TOP_M = 6.0
BIN_M = 0.25
_ANGLES = 18


@njit(cache=True)
def beam_step(points: Float32) -> float:
    """Return the angle between neighbouring points of a beam, radians.

    Median over 64 points, 6 m to 40 m away, of the distance to the nearest other point divided by
    the range. Neighbours along a beam are nearer than those of the next beam on every spinning
    lidar we know. 0.006 if too few points lie there.
    """
    ratio = np.empty(64)
    used = 0
    stride = max(1, len(points) // 97)
    for i in range(0, len(points), stride):
        away = np.sqrt(points[i, 0] ** 2 + points[i, 1] ** 2)
        if used == len(ratio) or not 6.0 < away < 40.0:
            continue
        best = np.float32(np.inf)
        for j in range(len(points)):
            dx, dy = points[j, 0] - points[i, 0], points[j, 1] - points[i, 1]
            dz = points[j, 2] - points[i, 2]
            square = dx * dx + dy * dy + dz * dz
            if square < best and j != i:
                best = square
        ratio[used] = np.sqrt(best) / away
        used += 1
    if used < 16:
        return 0.006
    return float(min(max(np.median(ratio[:used]), 0.001), 0.02))


@njit(cache=True)
def _root(parent: NDArray[np.int32], index: int) -> int:
    """Return the representative of a set, halving the way to it."""
    while parent[index] != index:
        parent[index] = parent[parent[index]]
        index = parent[index]
    return index


@njit(cache=True)
def join_cells(points: Float32, height: Float32, reach_m: float, step_rad: float):
    """Return (N,) cluster number of every point (-1: none) and the number of clusters.

    Points above the joining band belong to the cluster whose cell they are over.
    """
    size = int(2 * reach_m / CELL_M) + 1
    grid = np.full((size, size), -1, dtype=np.int32)
    extent = np.empty((len(points), 4), dtype=np.float32)  # x min, x max, y min, y max of a cell
    cells = np.empty((len(points), 2), dtype=np.int32)
    count = 0
    for i in range(len(points)):
        if not LOW_M < height[i] < HIGH_M:
            continue
        x, y = points[i, 0], points[i, 1]
        row, col = int((x + reach_m) / CELL_M), int((y + reach_m) / CELL_M)
        k = grid[row, col]
        if k < 0:
            k = grid[row, col] = count
            cells[k, 0], cells[k, 1] = row, col
            extent[k, 0], extent[k, 1], extent[k, 2], extent[k, 3] = x, x, y, y
            count += 1
        else:
            extent[k, 0], extent[k, 1] = min(extent[k, 0], x), max(extent[k, 1], x)
            extent[k, 2], extent[k, 3] = min(extent[k, 2], y), max(extent[k, 3], y)
    parent = np.arange(count, dtype=np.int32)
    for i in range(count):
        _join_near(grid, cells, extent, parent, i, step_rad)
    number, found = _number(parent)
    label = np.full(len(points), -1, dtype=np.int32)
    for i in range(len(points)):
        if LOW_M < height[i] < TOP_M:
            row = int((points[i, 0] + reach_m) / CELL_M)
            col = int((points[i, 1] + reach_m) / CELL_M)
            if grid[row, col] >= 0:
                label[i] = number[grid[row, col]]
    return label, found


@njit(cache=True)
def _number(parent: NDArray[np.int32]):
    """Return the number of the set of every element and how many sets there are."""
    number = np.full(len(parent), -1, dtype=np.int32)
    found = 0
    for i in range(len(parent)):
        root = _root(parent, i)
        if number[root] < 0:
            number[root] = found
            found += 1
        number[i] = number[root]
    return number, found


@njit(cache=True)
def _join_near(
    grid: NDArray[np.int32],
    cells: NDArray[np.int32],
    extent: Float32,
    parent: NDArray[np.int32],
    index: int,
    step_rad: float,
) -> None:
    """Join one cell with the cells whose points are near enough for their range.

    The gap is measured between the extents of the points, not of the cells: a person 0.3 m from
    a wall stays apart from it.
    """
    size = len(grid)
    x_min, x_max, y_min, y_max = extent[index]
    near = min(max(0.1 + 1.3 * step_rad * np.hypot(x_min, y_min), 0.18), 0.7)
    window = int(near / CELL_M) + 1
    row, col = cells[index]
    for r in range(row, min(size, row + window + 1)):
        for c in range(max(0, col - window), min(size, col + window + 1)):
            other = grid[r, c]
            if other < 0 or other == index:
                continue
            gap_x = max(extent[other, 0] - x_max, x_min - extent[other, 1], 0.0)
            gap_y = max(extent[other, 2] - y_max, y_min - extent[other, 3], 0.0)
            if gap_x * gap_x + gap_y * gap_y <= near * near:
                a, b = _root(parent, index), _root(parent, other)
                parent[max(a, b)] = min(a, b)


@njit(cache=True)
def measure(points: Float32, height: Float32, label: NDArray[np.int32], count: int) -> Float64:
    """Return (count, 7): centre x, y, length, width, yaw, top above ground, number of points."""
    sizes = np.zeros(count + 1, dtype=np.int64)
    bins = np.zeros(count, dtype=np.int64)
    for i in range(len(points)):
        if label[i] >= 0:
            sizes[label[i] + 1] += 1
            bins[label[i]] |= 1 << int(height[i] / BIN_M)
    start = np.cumsum(sizes)
    cursor = start[:-1].copy()
    order = np.empty(start[-1], dtype=np.int64)
    for i in range(len(points)):
        if label[i] >= 0:
            order[cursor[label[i]]] = i
            cursor[label[i]] += 1
    out = np.zeros((count, 7))
    for k in range(count):
        member = order[start[k] : start[k + 1]]
        xy = np.empty((len(member), 2))
        away = np.hypot(points[member[0], 0], points[member[0], 1])
        limit = _top_bin(bins[k], away) * BIN_M
        used, top = 0, 0.0
        for i in member:
            if height[i] < limit:
                xy[used, 0], xy[used, 1] = points[i, 0], points[i, 1]
                used += 1
                top = max(top, height[i])
        _rectangle(xy[:used], out[k])
        out[k, 5], out[k, 6] = top, used
    return out


@njit(cache=True)
def _top_bin(bins: int, range_m: float) -> int:
    """Return the first height bin above the object: a gap wider than two beams ends it.

    So a pole keeps its height, and a person under a tree does not get the tree's.
    """
    gap = int((0.4 + 0.03 * range_m) / BIN_M) + 1
    last = -1
    for bin_index in range(int(TOP_M / BIN_M) + 1):
        if bins >> bin_index & 1:
            if last >= 0 and bin_index - last > gap:
                break
            last = bin_index
    return last + 1


@njit(cache=True)
def _rectangle(xy: Float64, out: Float64) -> None:
    """Write centre, longer side, shorter side and yaw of the best fitting rectangle.

    Of rectangles over 90 degrees the one with most points near two of its sides is taken.
    """
    best, best_angle = -1.0, 0.0
    stride = max(1, len(xy) // 200)  # enough points to choose an angle
    for k in range(_ANGLES):
        angle = k * np.pi / 2 / _ANGLES
        score = _closeness(xy[::stride], angle)
        if score > best:
            best, best_angle = score, angle
    cos, sin = np.cos(best_angle), np.sin(best_angle)
    along = xy[:, 0] * cos + xy[:, 1] * sin
    across = -xy[:, 0] * sin + xy[:, 1] * cos
    a, b = (along.min() + along.max()) / 2, (across.min() + across.max()) / 2
    length, width = along.max() - along.min(), across.max() - across.min()
    out[0], out[1] = a * cos - b * sin, a * sin + b * cos
    yaw = best_angle
    if width > length:
        length, width, yaw = width, length, best_angle + np.pi / 2
    out[2], out[3] = length, width
    out[4] = yaw - np.pi if yaw > np.pi / 2 else yaw


@njit(cache=True)
def _closeness(xy: Float64, angle: float) -> float:
    """Return the sum over points of 1 / distance to the nearest side, at least 0.05 m."""
    cos, sin = np.cos(angle), np.sin(angle)
    along = xy[:, 0] * cos + xy[:, 1] * sin
    across = -xy[:, 0] * sin + xy[:, 1] * cos
    a_min, a_max, b_min, b_max = along.min(), along.max(), across.min(), across.max()
    total = 0.0
    for i in range(len(xy)):
        side_a = min(along[i] - a_min, a_max - along[i])
        side_b = min(across[i] - b_min, b_max - across[i])
        total += 1.0 / max(min(side_a, side_b), 0.05)
    return total
