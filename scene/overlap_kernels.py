"""Compiled loops over pairs of rotated rectangles. Imported when first used: numba is slow.

A rectangle is (x, y, length, width, yaw), float64. Two whose circumscribed circles do not meet
share nothing, which a distance tells; the others are clipped.
"""

from __future__ import annotations

import numba
import numpy as np

_MOST_CORNERS = 16
_ROUNDING = 1.0 + 1e-9


@numba.njit(cache=True, nogil=True, error_model="numpy")
def fill_iou(first, second, iou):  # pragma: no cover - compiled
    """Fill (M, N) intersection over union of (M, 5) and (N, 5) rectangles."""
    work = np.empty((2, _MOST_CORNERS, 2))
    reach = np.empty(len(second))
    for j in range(len(second)):
        reach[j] = np.hypot(second[j, 2], second[j, 3]) / 2
    for i in range(len(first)):
        own = np.hypot(first[i, 2], first[i, 3]) / 2
        for j in range(len(second)):
            dx, dy = second[j, 0] - first[i, 0], second[j, 1] - first[i, 1]
            far = own + reach[j]
            iou[i, j] = _iou(first[i], second[j], work) if dx * dx + dy * dy < far * far else 0.0


@numba.njit(cache=True, nogil=True, error_model="numpy")
def suppress(rectangles, group, order, threshold, kept):  # pragma: no cover - compiled
    """Mark which of (N, 5) rectangles stay; greedy, in the given (N,) order.

    One that stays removes all later ones of its (N,) group that overlap it by more than the
    threshold.
    """
    work = np.empty((2, _MOST_CORNERS, 2))
    count = len(order)
    sorted_ = np.empty((count, 5))
    reach, area = np.empty(count), np.empty(count)
    which = np.empty(count, np.int64)
    for k in range(count):
        sorted_[k] = rectangles[order[k]]
        reach[k] = np.hypot(sorted_[k, 2], sorted_[k, 3]) / 2
        area[k] = sorted_[k, 2] * sorted_[k, 3]
        which[k] = group[order[k]]
    alive = np.ones(count, np.bool_)
    for i in range(count):
        kept[order[i]] = alive[i]
        if not alive[i]:
            continue
        x, y, own, size, kind = sorted_[i, 0], sorted_[i, 1], reach[i], area[i], which[i]
        for j in range(i + 1, count):
            dx, dy, far = sorted_[j, 0] - x, sorted_[j, 1] - y, own + reach[j]
            if not alive[j] or which[j] != kind or dx * dx + dy * dy >= far * far:
                continue
            small, large = min(size, area[j]), max(size, area[j])
            # Even one inside the other would share no more than this.
            if small * _ROUNDING > threshold * large and (
                _iou(sorted_[i], sorted_[j], work) > threshold
            ):
                alive[j] = False


@numba.njit(cache=True, nogil=True, error_model="numpy")
def _iou(one, two, work):  # pragma: no cover - compiled
    """Return intersection over union; 0 where neither has an area."""
    shared = _intersection(one, two, work)
    union = one[2] * one[3] + two[2] * two[3] - shared
    return shared / union if union > 0 else 0.0


@numba.njit(cache=True, nogil=True, error_model="numpy")
def _intersection(one, two, work):  # pragma: no cover - compiled
    """Return the shared area: `two` in the axes of `one`, clipped at its four sides.

    Source: Sutherland and Hodgman, "Reentrant polygon clipping" (1974).
    """
    half_x, half_y = one[2] / 2, one[3] / 2
    cos, sin = np.cos(one[4]), np.sin(one[4])
    dx, dy = two[0] - one[0], two[1] - one[1]
    x, y = dx * cos + dy * sin, dy * cos - dx * sin
    cos, sin = np.cos(two[4] - one[4]), np.sin(two[4] - one[4])
    ax, ay = cos * two[2] / 2, sin * two[2] / 2
    bx, by = -sin * two[3] / 2, cos * two[3] / 2
    polygon, other = work[0], work[1]
    polygon[0, 0], polygon[0, 1] = x + ax + bx, y + ay + by
    polygon[1, 0], polygon[1, 1] = x - ax + bx, y - ay + by
    polygon[2, 0], polygon[2, 1] = x - ax - bx, y - ay - by
    polygon[3, 0], polygon[3, 1] = x + ax - bx, y + ay - by
    count = 4
    for axis in range(2):
        limit = half_x if axis == 0 else half_y
        for sign in (-1.0, 1.0):
            count = _clip(polygon, count, axis, sign, limit, other)
            polygon, other = other, polygon
            if count == 0:
                return 0.0
    twice = 0.0
    for i in range(count):
        j = i + 1 if i + 1 < count else 0
        twice += polygon[i, 0] * polygon[j, 1] - polygon[j, 0] * polygon[i, 1]
    return abs(twice) / 2


@numba.njit(cache=True, nogil=True, error_model="numpy")
def _clip(polygon, count, axis, sign, limit, clipped):  # pragma: no cover - compiled
    """Keep the part of a convex polygon with `sign * coordinate <= limit`; return its corners."""
    found = 0
    last = count - 1
    last_over = sign * polygon[last, axis] - limit
    for i in range(count):
        over = sign * polygon[i, axis] - limit
        if (over > 0) != (last_over > 0):
            share = last_over / (last_over - over)
            clipped[found, 0] = polygon[last, 0] + share * (polygon[i, 0] - polygon[last, 0])
            clipped[found, 1] = polygon[last, 1] + share * (polygon[i, 1] - polygon[last, 1])
            found += 1
        if over <= 0:
            clipped[found, 0], clipped[found, 1] = polygon[i, 0], polygon[i, 1]
            found += 1
        last, last_over = i, over
    return found
