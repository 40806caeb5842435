"""Which objects a point can have to do with, looked up instead of tried one after the other.

A host knows all boxes of a batch before it sends them. It writes down which of them reach into
each square metre of the ground, and which pasted objects hide something in each direction, so that
a point on the device is compared with the few objects that are listed where it lies. The tables
have as many places as the fullest list of the batch needs: nothing is left out.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from scene.types import Float32, Int64, Mask

AZIMUTHS: Final = 512  # parts of the full turn
CELLS: Final = 128  # of a metre along each axis; the ground repeats behind them
NUM_SHADOW_VALUES: Final = 6
SENSOR_M: Final = 1.8


def boxes_by_cell(boxes: Float32, used: Mask, margin_m: float) -> NDArray[np.int32]:
    """Return (K, B * CELLS * CELLS) boxes that reach into each cell, B * M where there is none.

    The cell of a point is `(b * CELLS + floor(x) % CELLS) * CELLS + floor(y) % CELLS`. Boxes are
    in the order of their rows `b * M + m`.

    Args:
        boxes: (B, M, 7 or more) x, y, z, l, w, h (m), yaw (rad).
        used: (B, M) which of them exist.
        margin_m: by which they are larger.
    """
    from training.kernels.nearby import list_by_cell

    def write(counts: NDArray[np.int32], table: NDArray[np.int32]) -> None:
        list_by_cell(boxes, used, margin_m, counts, table)

    return _listed(write, (len(boxes), CELLS, CELLS), boxes.shape[0] * boxes.shape[1])


def shadows_by_azimuth(shadows: Float32) -> NDArray[np.int32]:
    """Return (K, B * AZIMUTHS) objects that hide something there, B * M where there is none.

    Args:
        shadows: (B, M, 6), see `cast_shadows`.
    """
    from training.kernels.nearby import list_by_azimuth

    def write(counts: NDArray[np.int32], table: NDArray[np.int32]) -> None:
        list_by_azimuth(shadows, counts, table)

    return _listed(write, (len(shadows), AZIMUTHS), shadows.shape[0] * shadows.shape[1])


def cast_shadows(cuts: Float32, owner: Int64, boxes: Float32) -> Float32:
    """Return (M, 6) what each object hides from a lidar that looks from 1.8 m above the ego.

    An object hides what is farther away within its own window of azimuth and slope.

    Args:
        cuts: (N, 3 or more) points of objects.
        owner: (N,) int64 box of each.
        boxes: (M, 7 or more).

    Returns:
        Azimuth of the centre (rad), lowest and highest turn from there (rad), lowest and highest
        slope, least distance (m). An object without points has an empty window.
    """
    from training.kernels.nearby import cast

    shadows = np.empty((len(boxes), NUM_SHADOW_VALUES), dtype=np.float32)
    cast(cuts, owner, boxes, SENSOR_M, shadows)
    return shadows


def _listed(
    write: Callable[[Any, Any], None], shape: tuple[int, ...], none: int
) -> NDArray[np.int32]:
    """Return (K, places): count, then write."""
    counts = np.zeros(shape, dtype=np.int32)
    write(counts, np.empty((0, *shape), dtype=np.int32))
    table = np.full((max(1, int(counts.max())), *shape), none, dtype=np.int32)
    counts.fill(0)
    write(counts, table)
    return table.reshape(len(table), -1)
