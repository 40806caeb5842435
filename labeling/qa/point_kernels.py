"""Compiled pass over the points of a sweep: what lies in and around every box."""

from __future__ import annotations

import numpy as np
from numba import njit
from numpy.typing import NDArray

from scene.types import Float32, Float64, Int64

SHELL_M = 0.4  # how far outside a face points are counted


@njit(cache=True, nogil=True)
def look_at_boxes(
    points: Float32,
    offset_ns: NDArray[np.int32],
    center: Float64,
    half: Float64,
    cos: Float64,
    sin: Float64,
    lift: Float64,
    inside: Int64,
    shell: Int64,
    time_sum: Float64,
) -> None:
    """Count points per box; all results are added to.

    Args:
        points: (P, 3) ego frame.
        offset_ns: (P,) time of each point in the sweep.
        center: (N, 3) of the boxes.
        half: (N, 3) half their sizes.
        cos: (N,) of their headings.
        sin: (N,) of their headings.
        lift: (N,) points lower than this above the bottom are ground.
        inside: (N,) points in the box above the lift.
        shell: (N, 4) points beyond the front, rear, left and right face, beside nothing else.
        time_sum: (N,) sum of the times of the points inside, ns.
    """
    count = len(center)
    reach = np.empty(count)
    for i in range(count):
        reach[i] = np.sqrt(half[i, 0] ** 2 + half[i, 1] ** 2) + SHELL_M
    for p in range(len(points)):
        x, y, z = points[p, 0], points[p, 1], points[p, 2]
        for i in range(count):
            dx, dy = x - center[i, 0], y - center[i, 1]
            if abs(dx) > reach[i] or abs(dy) > reach[i]:
                continue
            up = z - center[i, 2]
            if up > half[i, 2] or up < lift[i] - half[i, 2]:
                continue
            along = dx * cos[i] + dy * sin[i]
            across = -dx * sin[i] + dy * cos[i]
            front, side = abs(along) - half[i, 0], abs(across) - half[i, 1]
            if front <= 0 and side <= 0:
                inside[i] += 1
                time_sum[i] += offset_ns[p]
            elif front <= SHELL_M and side <= 0:
                shell[i, 0 if along > 0 else 1] += 1
            elif side <= SHELL_M and front <= 0:
                shell[i, 2 if across > 0 else 3] += 1
