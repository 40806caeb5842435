"""Whether bodies touch, seen from above."""

from __future__ import annotations

import numpy as np
from numba import njit

from scene.types import Float64
from simulation.actors import Cast, CastState


def first_contact(ego_outline: Float64, cast: Cast, state: CastState) -> int | None:
    """Return the first actor whose outline meets the ego's, or None.

    Args:
        ego_outline: (5,) centre x, centre y, length, width, yaw, map frame.
        cast: the actors; their sizes are used.
        state: where they are.
    """
    size = cast.sizes_m
    near = np.linalg.norm(state.xy_m - ego_outline[:2], axis=1) < 5.0 + size[:, 0]
    for index in np.flatnonzero(near):
        outline = np.array(
            [*state.xy_m[index], size[index, 0], size[index, 1], state.yaw_rad[index]]
        )
        if outlines_meet(ego_outline, outline):
            return int(index)
    return None


@njit(cache=True)
def outlines_meet(first: Float64, second: Float64) -> bool:
    """Return whether two rectangles (centre x, y, length, width, yaw) overlap.

    Separating axis theorem: they do unless their shadows on one of the four edge directions are
    apart. Source: Gottschalk, Lin, Manocha, "OBBTree", SIGGRAPH 1996.
    """
    dx, dy = second[0] - first[0], second[1] - first[1]
    for axis in range(4):
        angle = (first[4] if axis < 2 else second[4]) + (np.pi / 2 if axis % 2 else 0.0)
        ax, ay = np.cos(angle), np.sin(angle)
        reach = 0.0
        for box in (first, second):
            cos, sin = np.cos(box[4]), np.sin(box[4])
            reach += box[2] / 2 * abs(cos * ax + sin * ay) + box[3] / 2 * abs(cos * ay - sin * ax)
        if abs(dx * ax + dy * ay) > reach:
            return False
    return True
