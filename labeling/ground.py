"""A coarse map of the ground's height, small enough to travel with a labelling task."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from scene.bev import BevView
from scene.errors import LabelError
from scene.types import Float, Float64

_LOW_SHARE = 0.1
_MIN_POINTS = 5


@dataclass(frozen=True, slots=True, eq=False)
class GroundGrid:
    """Height of the ground in square cells.

    Attributes:
        x_min_m, y_min_m: ego-frame corner of cell (0, 0).
        cell_m: side of a cell.
        height_m: (X, Y) height of the ground above the ego origin.
    """

    x_min_m: float
    y_min_m: float
    cell_m: float
    height_m: Float64

    def at(self, xy_m: Float) -> Float64:
        """Return (N,) ground height at (N, 2) ego points; outside, that of the nearest cell."""
        last = np.array(self.height_m.shape) - 1
        origin = np.array([self.x_min_m, self.y_min_m])
        index = np.clip(np.floor((xy_m - origin) / self.cell_m).astype(np.int64), 0, last)
        return self.height_m[index[:, 0], index[:, 1]]

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON values, heights in centimeters."""
        centimeters = np.rint(self.height_m * 100).astype(int)
        return {
            "x_min_m": self.x_min_m,
            "y_min_m": self.y_min_m,
            "cell_m": self.cell_m,
            "height_cm": centimeters.tolist(),
        }

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> GroundGrid:
        """Make a grid of what `to_dict` returned.

        Raises:
            LabelError: if a field is missing or no number.
        """
        try:
            height = np.asarray(values["height_cm"], dtype=np.float64) / 100
            corner = (float(values["x_min_m"]), float(values["y_min_m"]), float(values["cell_m"]))
        except (KeyError, TypeError, ValueError) as error:
            raise LabelError(f"ground map of a labelling task is damaged: {error!r}") from error
        if height.ndim != 2 or not height.size:
            raise LabelError(f"ground map of a labelling task has shape {height.shape}")
        return cls(*corner, height)


def find_ground(points_ego_m: Float, view: BevView, cell_m: float = 4.0) -> GroundGrid:
    """Estimate the ground's height under a picture.

    In each cell the lowest tenth of the points ends at the ground; cells with too few points take
    the nearest measured cell, then a 3 x 3 median removes cells that saw only a roof or a wall.
    Without points the ground is taken to be flat at the ego origin's height.
    """
    shape = (
        int(np.ceil((view.x_max_m - view.x_min_m) / cell_m)),
        int(np.ceil((view.y_max_m - view.y_min_m) / cell_m)),
    )
    origin = np.array([view.x_min_m, view.y_min_m])
    points = points_ego_m[np.isfinite(points_ego_m).all(axis=1)]
    cell = np.floor((points[:, :2] - origin) / cell_m).astype(np.int64)
    inside = ((cell >= 0) & (cell < shape)).all(axis=1)
    flat = cell[inside, 0] * shape[1] + cell[inside, 1]
    height = np.full(shape[0] * shape[1], np.nan)
    z = points[inside, 2]
    order = np.lexsort([z, flat])
    cells, starts, counts = np.unique(flat[order], return_index=True, return_counts=True)
    low = starts + (counts * _LOW_SHARE).astype(np.int64)
    enough = counts >= _MIN_POINTS
    height[cells[enough]] = z[order][low[enough]]
    smooth = _median_3x3(_fill_nearest(height.reshape(shape)))
    return GroundGrid(view.x_min_m, view.y_min_m, cell_m, smooth)


def _fill_nearest(height_m: Float64) -> Float64:
    """Return the grid with every NaN cell taking the value of the nearest measured cell."""
    known = np.argwhere(np.isfinite(height_m))
    if not len(known):
        return np.zeros_like(height_m)
    cells = np.argwhere(np.ones_like(height_m, dtype=bool))
    squared = ((cells[:, None] - known[None]) ** 2).sum(axis=2)
    nearest = known[squared.argmin(axis=1)]
    return height_m[nearest[:, 0], nearest[:, 1]].reshape(height_m.shape)


def _median_3x3(height_m: Float64) -> Float64:
    padded = np.pad(height_m, 1, mode="edge")
    return np.median(sliding_window_view(padded, (3, 3)), axis=(2, 3))
