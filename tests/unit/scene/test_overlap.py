"""Overlap of footprints against shapely."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scene.box import Boxes
from scene.overlap import bev_iou, iou_3d_of_pairs


def boxes(rng, count, spread=3.0):
    return Boxes.make(
        np.column_stack([rng.uniform(-spread, spread, (count, 2)), rng.uniform(0, 1, count)]),
        rng.uniform(0.3, 5.0, (count, 3)),
        rng.uniform(-np.pi, np.pi, count),
        ["car"] * count,
    )


@given(seed=st.integers(0, 2**32 - 1))
@settings(max_examples=25, deadline=None)
def test_equal_to_shapely(seed):
    shapely = pytest.importorskip("shapely")
    rng = np.random.default_rng(seed)
    one, two = boxes(rng, 8), boxes(rng, 7)
    a = [shapely.Polygon(c) for c in one.corners_bev_m()]
    b = [shapely.Polygon(c) for c in two.corners_bev_m()]
    expected = [[p.intersection(q).area / p.union(q).area for q in b] for p in a]
    np.testing.assert_allclose(bev_iou(one, two), expected, atol=1e-7)


@given(seed=st.integers(0, 2**32 - 1))
@settings(max_examples=25, deadline=None)
def test_a_box_is_itself_and_order_does_not_matter(seed):
    one, two = boxes(np.random.default_rng(seed), 6), boxes(np.random.default_rng(seed + 1), 6)
    np.testing.assert_allclose(np.diag(bev_iou(one, one)), 1.0, atol=1e-9)
    np.testing.assert_allclose(bev_iou(one, two), bev_iou(two, one).T, atol=1e-9)


def test_known_values():
    square = Boxes.make([[0, 0, 0]], [[2, 2, 2]], [0.0], ["car"])
    moved = Boxes.make([[1, 0, 1], [0, 0, 0], [9, 0, 0]], [[2, 2, 2]] * 3, [0, np.pi / 4, 0],
                       ["car"] * 3)  # fmt: skip
    octagon = 8 * (np.sqrt(2) - 1)
    np.testing.assert_allclose(bev_iou(square, moved)[0], [1 / 3, octagon / (8 - octagon), 0])
    zero = np.zeros(1, dtype=np.int64)
    np.testing.assert_allclose(iou_3d_of_pairs(square, moved, zero, zero), [2 / 14])


def test_no_boxes():
    assert bev_iou(Boxes.empty(), Boxes.empty()).shape == (0, 0)
    assert bev_iou(boxes(np.random.default_rng(0), 3), Boxes.empty()).shape == (3, 0)
