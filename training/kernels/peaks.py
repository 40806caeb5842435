"""Peaks of a heat map, painted on a processor."""

from __future__ import annotations

import numba
import numpy as np

from scene.types import Float32, Int64


def paint_peaks(heatmap: Float32, label: Int64, cell: Int64, radius: Int64) -> None:
    """Raise (C, X, Y) maps to a gaussian around each of M cells, in place, 1 at the cell itself.

    The width is a sixth of the window's, as in CornerNet (Law and Deng, ECCV 2018).

    Args:
        heatmap: of all categories.
        label: (M,) category.
        cell: (M, 2) row and column, inside the map.
        radius: (M,) cells that the window reaches from its middle.
    """
    _paint(
        heatmap,
        np.asarray(label, np.int64),
        np.ascontiguousarray(cell, np.int64),
        np.asarray(radius, np.int64),
    )


@numba.njit(cache=True, nogil=True)
def _paint(heatmap, label, cell, radius):  # pragma: no cover - compiled
    rows, columns = heatmap.shape[1:]
    bell = np.empty(0)
    known = -1
    for m in range(len(label)):
        reach = radius[m]
        if reach != known:  # along one axis; the picture of two is their product
            sigma = (2 * reach + 1) / 6
            bell = np.exp(-(np.arange(reach + 1) ** 2) / (2 * sigma**2))
            known = reach
        row, column = cell[m]
        for x in range(max(0, row - reach), min(rows, row + reach + 1)):
            along = bell[abs(x - row)]
            for y in range(max(0, column - reach), min(columns, column + reach + 1)):
                value = np.float32(along * bell[abs(y - column)])
                if value > heatmap[label[m], x, y]:
                    heatmap[label[m], x, y] = value
