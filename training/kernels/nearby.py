"""Inner loops of `training.nearby`."""

from __future__ import annotations

import math

import numba
import numpy as np

from training.nearby import AZIMUTHS, CELLS

_SLACK_M = 0.01  # rounding must not put a point into a cell that does not know its box
_SLACK_RAD = 1e-4


@numba.njit(cache=True, nogil=True)
def list_by_cell(boxes, used, margin_m, counts, table):  # pragma: no cover - compiled
    """Write which boxes reach into each cell, in the order of their numbers.

    Args:
        boxes: (B, M, 7 or more) float32 x, y, z, l, w, h, yaw.
        used: (B, M) bool.
        margin_m: by which boxes are larger.
        counts: (B, CELLS, CELLS) int32 zeros; to be written: boxes of each cell.
        table: (K, B, CELLS, CELLS) int32 row of the box, B * M for none; only counted if K is 0.
    """
    most = boxes.shape[1]
    for b in range(boxes.shape[0]):
        for m in range(most):
            if not used[b, m]:
                continue
            cos, sin = abs(math.cos(boxes[b, m, 6])), abs(math.sin(boxes[b, m, 6]))
            length = boxes[b, m, 3] / 2 + margin_m + _SLACK_M
            width = boxes[b, m, 4] / 2 + margin_m + _SLACK_M
            reach_x, reach_y = cos * length + sin * width, sin * length + cos * width
            x_min = math.floor(boxes[b, m, 0] - reach_x)
            x_max = math.floor(boxes[b, m, 0] + reach_x)
            y_min = math.floor(boxes[b, m, 1] - reach_y)
            y_max = math.floor(boxes[b, m, 1] + reach_y)
            for x in range(x_min, min(x_max, x_min + CELLS - 1) + 1):
                for y in range(y_min, min(y_max, y_min + CELLS - 1) + 1):
                    row, column = x & (CELLS - 1), y & (CELLS - 1)
                    if len(table):
                        table[counts[b, row, column], b, row, column] = b * most + m
                    counts[b, row, column] += 1


@numba.njit(cache=True, nogil=True)
def list_by_azimuth(shadows, counts, table):  # pragma: no cover - compiled
    """Write which objects hide something in each part of the full turn.

    Args:
        shadows: (B, M, 6), see `training.nearby.cast_shadows`.
        counts: (B, AZIMUTHS) int32 zeros; to be written.
        table: (K, B, AZIMUTHS) int32 row of the object, B * M for none; only counted if K is 0.
    """
    most = shadows.shape[1]
    for b in range(shadows.shape[0]):
        for m in range(most):
            middle, low, high = shadows[b, m, 0], shadows[b, m, 1], shadows[b, m, 2]
            if not low <= high:
                continue
            per_rad = AZIMUTHS / (2 * math.pi)
            first = math.floor((middle + low - _SLACK_RAD + math.pi) * per_rad)
            last = math.floor((middle + high + _SLACK_RAD + math.pi) * per_rad)
            for part in range(first, min(last, first + AZIMUTHS - 1) + 1):
                place = part & (AZIMUTHS - 1)
                if len(table):
                    table[counts[b, place], b, place] = b * most + m
                counts[b, place] += 1


@numba.njit(cache=True, nogil=True)
def cast(cuts, owner, boxes, sensor_m, shadows):  # pragma: no cover - compiled
    """Write the (M, 6) shadows of (N, 3 or more) points that belong to `owner` of M boxes."""
    for m in range(len(boxes)):
        shadows[m, 0] = np.float32(math.atan2(boxes[m, 1], boxes[m, 0]))
        shadows[m, 1:6:2] = np.inf
        shadows[m, 2:5:2] = -np.inf
    for n in range(len(cuts)):
        shadow = shadows[owner[n]]
        distance = max(math.hypot(cuts[n, 0], cuts[n, 1]), 0.1)
        slope = np.float32((cuts[n, 2] - sensor_m) / distance)
        turn = math.atan2(cuts[n, 1], cuts[n, 0]) - shadow[0]
        turn = np.float32((turn + math.pi) % (2 * math.pi) - math.pi)
        shadow[1], shadow[2] = min(shadow[1], turn), max(shadow[2], turn)
        shadow[3], shadow[4] = min(shadow[3], slope), max(shadow[4], slope)
        shadow[5] = min(shadow[5], np.float32(distance))
