"""Points to pillars on a processor: no padding, no sort, no list of cells that grows.

The features and the point network are those of `training.centerpoint.PointNet` (PointPillars,
Lang et al., CVPR 2019, without its limit of points a pillar: MVF, Zhou et al., CoRL 2019). A table
with a place for every cell numbers the pillars in the order in which points touch them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, NamedTuple

import numba
import numpy as np
from numpy.typing import NDArray

from scene.errors import ShapeError
from scene.types import Float32
from training.config import TrainConfig

Int32 = NDArray[np.int32]

_FAR_M: Final = 50.0
_OFFSETS: Final = 5
_MOST_FEATURES: Final = 10


@dataclass(frozen=True, slots=True)
class PillarGrid:
    """Where the pillars stand.

    Attributes:
        x_min_m, y_min_m, z_min_m, z_max_m: the corner of the grid, and the heights that count.
        pillar_m: side of a pillar.
        rows, columns: pillars along x and y.
    """

    x_min_m: float
    y_min_m: float
    z_min_m: float
    z_max_m: float
    pillar_m: float
    rows: int
    columns: int

    @classmethod
    def of(cls, config: TrainConfig) -> PillarGrid:
        """Return the grid of some settings."""
        return cls(
            config.x_min_m, config.y_min_m, config.z_min_m, config.z_max_m, config.pillar_m,
            *config.grid_shape,
        )  # fmt: skip


class Pillars(NamedTuple):
    """The points of one frame that lie in the grid, and the pillars that have points.

    Attributes:
        features: (M, 9 or 10) float32, see `describe_points`.
        pillar: (M,) int32 row of `cells`.
        cells: (P,) int32 flat cell `row * columns + column`, in the order of first touch.
    """

    features: Float32
    pillar: Int32
    cells: Int32


class PointMax(NamedTuple):
    """The answer of the point network.

    Attributes:
        picture: (P, C) float32, the largest answer of each pillar's points.
        cells: (P,) int32, as in `Pillars`.
    """

    picture: Float32
    cells: Int32


def describe_points(points: Float32, grid: PillarGrid) -> Pillars:
    """Return what a point network sees of every point in the grid.

    Columns: x and y over 50 m, the other columns of the point, x and y from the mean of its
    pillar's points (in pillars), z from that mean (m), x and y from the middle of its pillar (in
    pillars).

    Args:
        points: (N, 4) or (N, 5) float32 x, y, z (ego, m), intensity[, lag]. Points outside the
            grid or not finite are left out.
        grid: where the pillars stand.

    Raises:
        ShapeError: if the points have another shape.
    """
    place, cells, sums = _locate(points, grid)
    kept = int(np.count_nonzero(place >= 0))
    features = np.empty((kept, points.shape[1] + _OFFSETS), dtype=np.float32)
    pillar = np.empty(kept, dtype=np.int32)
    _describe(points, place, sums, grid.x_min_m, grid.y_min_m, grid.pillar_m, features, pillar)
    return Pillars(features, pillar, cells)


def largest_answers(points: Float32, grid: PillarGrid, weight: Float32, bias: Float32) -> PointMax:
    """Describe points, answer with a linear layer and ReLU, keep each pillar's largest answers.

    No feature of a point is ever stored: points are visited pillar by pillar.

    Args:
        points: as for `describe_points`.
        grid: where the pillars stand.
        weight: (F, C) of the linear layer, batch normalisation folded in; F is 9 or 10.
        bias: (C,).

    Raises:
        ShapeError: if the shapes do not fit.
    """
    expected = points.shape[1] + _OFFSETS
    if weight.shape != (expected, len(bias)):
        raise ShapeError(
            f"point network: weight {weight.shape} and bias {bias.shape} do not fit points "
            f"{points.shape}; expected ({expected}, {len(bias)})"
        )
    points = np.ascontiguousarray(points)
    place, cells, sums = _locate(points, grid)
    if expected == _MOST_FEATURES - 1:
        weight = np.insert(weight, 4, 0.0, axis=0)  # no lag
    order = np.empty(len(points), dtype=np.int32)
    start = np.empty(len(cells) + 1, dtype=np.int32)
    _group(place, sums, order, start)
    picture = np.empty((len(cells), len(bias)), dtype=np.float32)
    _answer(
        points, order, start, cells, sums, grid.x_min_m, grid.y_min_m, grid.pillar_m, grid.columns,
        np.ascontiguousarray(weight, dtype=np.float32), bias.astype(np.float32), picture,
    )  # fmt: skip
    return PointMax(picture, cells)


def _locate(points: Float32, grid: PillarGrid) -> tuple[Int32, Int32, Float32]:
    """Return (N,) pillar of each point or -1, (P,) cells, (P, 4) sums of x, y, z and the count."""
    if points.ndim != 2 or points.shape[1] not in (4, 5) or points.dtype != np.float32:
        raise ShapeError(f"pillars: expected (N, 4 or 5) float32 points, got {points.shape}")
    points = np.ascontiguousarray(points)
    table = np.full(grid.rows * grid.columns, -1, dtype=np.int32)
    most = min(len(points), len(table))
    place, cells = np.empty(len(points), np.int32), np.empty(most, np.int32)
    sums = np.empty((most, 4), np.float32)
    count = _number(
        points, grid.x_min_m, grid.y_min_m, grid.z_min_m, grid.z_max_m, grid.pillar_m, grid.rows,
        grid.columns, table, place, cells, sums,
    )  # fmt: skip
    return place, cells[:count], sums[:count]


@numba.njit(cache=True, nogil=True, error_model="numpy")
def _number(
    points, x_min, y_min, z_min, z_max, side, rows, columns, table, place, cells, sums
):  # pragma: no cover - compiled
    """Give every point its pillar and sum up the points of each pillar; return how many pillars.

    The arithmetic is float32, as on an accelerator: a point on an edge falls on the same side.
    """
    x_min, y_min, side = np.float32(x_min), np.float32(y_min), np.float32(side)
    z_min, z_max = np.float32(z_min), np.float32(z_max)
    lag = points.shape[1] > 4
    count = 0
    for i in range(len(points)):
        x, y, z = points[i, 0], points[i, 1], points[i, 2]
        u = (x - x_min) / side
        v = (y - y_min) / side
        inside = u >= 0 and u < rows and v >= 0 and v < columns and z >= z_min and z < z_max
        if not inside or not np.isfinite(points[i, 3]) or (lag and not np.isfinite(points[i, 4])):
            place[i] = -1
            continue
        cell = np.int32(u) * columns + np.int32(v)
        p = table[cell]
        if p < 0:
            p = count
            count += 1
            table[cell] = p
            cells[p] = cell
            sums[p, 0], sums[p, 1], sums[p, 2], sums[p, 3] = x, y, z, np.float32(1)
        else:
            sums[p, 0] += x
            sums[p, 1] += y
            sums[p, 2] += z
            sums[p, 3] += np.float32(1)
        place[i] = p
    for p in range(count):
        share = np.float32(1) / sums[p, 3]
        sums[p, 0] *= share
        sums[p, 1] *= share
        sums[p, 2] *= share
    return count


@numba.njit(cache=True, nogil=True, error_model="numpy")
def _describe(points, place, means, x_min, y_min, side, features, pillar):  # pragma: no cover
    """Fill (M, 9 or 10) features and (M,) pillars of the points that have one."""
    x_min, y_min, near = np.float32(x_min), np.float32(y_min), np.float32(1.0 / side)
    side, far = np.float32(side), np.float32(1.0 / _FAR_M)
    own = points.shape[1]
    k = 0
    for i in range(len(points)):
        p = place[i]
        if p < 0:
            continue
        x, y, z = points[i, 0], points[i, 1], points[i, 2]
        u, v = (x - x_min) / side, (y - y_min) / side
        features[k, 0] = x * far
        features[k, 1] = y * far
        for c in range(2, own):
            features[k, c] = points[i, c]
        features[k, own] = (x - means[p, 0]) * near
        features[k, own + 1] = (y - means[p, 1]) * near
        features[k, own + 2] = z - means[p, 2]
        features[k, own + 3] = u - np.floor(u) - np.float32(0.5)
        features[k, own + 4] = v - np.floor(v) - np.float32(0.5)
        pillar[k] = p
        k += 1


@numba.njit(cache=True, nogil=True)
def _group(place, means, order, start):  # pragma: no cover - compiled
    """Fill (M,) points by pillar and (P + 1,) where each pillar's points begin."""
    start[0] = 0
    for p in range(len(means)):
        start[p + 1] = start[p] + np.int32(means[p, 3])
    for i in range(len(place)):
        p = place[i]
        if p >= 0:
            order[start[p]] = i
            start[p] += 1
    for p in range(len(means), 0, -1):
        start[p] = start[p - 1]
    start[0] = 0


@numba.njit(cache=True, nogil=True, error_model="numpy", fastmath={"contract", "nsz", "nnan"})
def _answer(
    points, order, start, cells, means, x_min, y_min, side, columns, weight, bias, picture
):  # pragma: no cover - compiled
    """Fill (P, C) largest answers.

    All of a pillar's features but the point's own place, intensity and lag are the same or linear
    in the place from the pillar's middle, so five products a channel are left to do for a point.
    """
    channels = len(bias)
    lag = points.shape[1] > 4
    slope = np.empty((5, channels), np.float32)
    for c in range(channels):
        slope[0, c] = weight[0, c] / _FAR_M + (weight[5, c] + weight[8, c]) / side
        slope[1, c] = weight[1, c] / _FAR_M + (weight[6, c] + weight[9, c]) / side
        slope[2, c] = weight[2, c] + weight[7, c]
        slope[3, c] = weight[3, c]
        slope[4, c] = weight[4, c]
    base, best = np.empty(channels, np.float32), np.empty(channels, np.float32)
    for p in range(len(cells)):
        middle_x = np.float32((cells[p] // columns + 0.5) * side + x_min)
        middle_y = np.float32((cells[p] % columns + 0.5) * side + y_min)
        mean_x = (means[p, 0] - middle_x) / np.float32(side)
        mean_y = (means[p, 1] - middle_y) / np.float32(side)
        mean_z = means[p, 2]
        far_x, far_y = middle_x / np.float32(_FAR_M), middle_y / np.float32(_FAR_M)
        for c in range(channels):
            base[c] = bias[c] + weight[0, c] * far_x + weight[1, c] * far_y + weight[2, c] * mean_z
            base[c] -= weight[5, c] * mean_x + weight[6, c] * mean_y
            best[c] = np.float32(0)
        for k in range(start[p], start[p + 1]):
            i = order[k]
            x, y, z = points[i, 0] - middle_x, points[i, 1] - middle_y, points[i, 2] - mean_z
            bright = points[i, 3]
            late = points[i, 4] if lag else np.float32(0)
            for c in range(channels):
                value = base[c] + slope[0, c] * x + slope[1, c] * y + slope[2, c] * z
                value += slope[3, c] * bright + slope[4, c] * late
                best[c] = max(best[c], value)
        for c in range(channels):
            picture[p, c] = best[c]
