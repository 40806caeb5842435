"""Proof that two sets of boxes are the same cuboids: by their corners, and by the points inside."""

from __future__ import annotations

import numpy as np

from scene.box import Boxes, points_in_boxes
from scene.types import Float, Float64


def corners_m(boxes: Boxes) -> Float64:
    """Return (N, 8, 3) corners, those of the bottom face first."""
    flat = boxes.corners_bev_m()
    half = boxes.size_lwh_m[:, 2] / 2
    faces = []
    for sign in (-1, 1):
        height = np.repeat((boxes.center_xyz_m[:, 2] + sign * half)[:, None, None], 4, axis=1)
        faces.append(np.concatenate([flat, height], axis=2))
    return np.concatenate(faces, axis=1)


def match(expected: Boxes, found: Boxes) -> np.ndarray:
    """Return which of the boxes found is nearest to each of those expected."""
    distance = np.linalg.norm(expected.center_xyz_m[:, None] - found.center_xyz_m[None], axis=2)
    order = distance.argmin(axis=1)
    assert sorted(order) == list(range(len(found))), "not one box for each"
    return order


def assert_same_boxes(
    expected: Boxes, found: Boxes, points_m: Float, found_points_m: Float | None = None,
    tolerance_m: float = 1e-6,
) -> Boxes:  # fmt: skip
    """Check corners, points inside and categories; return the boxes found in the expected order.

    Points within 2 mm of a face are left out: rounding may put them on either side.
    """
    assert len(found) == len(expected)
    if not len(expected):
        return found
    found = found.take(match(expected, found))
    np.testing.assert_allclose(corners_m(found), corners_m(expected), atol=tolerance_m)
    near = points_in_boxes(points_m, expected, 0.002) & ~points_in_boxes(points_m, expected, -0.002)
    clear = ~near.any(axis=0)
    inside = points_in_boxes(points_m[clear], expected)
    again = points_m if found_points_m is None else found_points_m
    np.testing.assert_array_equal(points_in_boxes(again[clear], found), inside)
    assert inside.sum() > 0
    assert found.category.tolist() == expected.category.tolist()
    return found
