import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from labeling import rectangles
from labeling.rectangles import Rectangles
from scene.bev import BevView
from scene.box import Boxes
from scene.errors import LabelError
from scene.pose import wrap_angle

VIEW = BevView()


def make_boxes(x, y, length, width, yaw):
    count = len(x)
    return Boxes.make(
        np.stack([x, y, np.zeros(count)], 1),
        np.stack([length, width, np.ones(count)], 1),
        yaw,
        ["car"] * count,
    )


def column(low, high):
    return arrays(np.float64, 6, elements=st.floats(low, high))


@settings(max_examples=30)
@given(column(-30, 80), column(-40, 40), column(0.1, 20), column(0.1, 5), column(-3.2, 3.2))
def test_round_trip(x, y, length, width, yaw):
    boxes = make_boxes(x, y, length, width, yaw)
    back = rectangles.to_footprints(rectangles.from_boxes(boxes, VIEW), VIEW)
    np.testing.assert_allclose(back.center_xy_m, boxes.center_xyz_m[:, :2], atol=1e-9)
    np.testing.assert_allclose(back.size_lw_m, boxes.size_lwh_m[:, :2], atol=1e-9)
    np.testing.assert_allclose(wrap_angle(back.yaw_rad - boxes.yaw_rad), 0, atol=1e-9)


@settings(max_examples=30)
@given(column(-3.2, 3.2))
def test_all_four_corners_agree_with_the_box(yaw):
    """The drawn shape, not only our own inverse: rotate the rectangle as a canvas does."""
    boxes = make_boxes(np.linspace(-5, 40, 6), np.linspace(-20, 20, 6), np.full(6, 4.6),
                       np.full(6, 1.9), yaw)  # fmt: skip
    values = rectangles.from_boxes(boxes, VIEW).values
    rows, columns = VIEW.shape
    for i, (x, y, width, height, rotation) in enumerate(values):
        angle = np.radians(rotation)
        turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
        w, h = width * columns / 100, height * rows / 100
        local = np.array([[0, 0], [w, 0], [w, h], [0, h]])  # clockwise from the pivot
        drawn = local @ turn.T + [x * columns / 100, y * rows / 100]
        expected = VIEW.to_pixels(boxes.corners_bev_m()[i])  # front left, front right, ...
        np.testing.assert_allclose(drawn, expected, atol=1e-8)


def test_known_rectangle():
    """5 m ahead, 2 m to the left, facing forward: the front edge is the top edge."""
    boxes = make_boxes(np.array([5.0]), np.array([2.0]), np.array([4.0]), np.array([2.0]),
                       np.array([0.0]))  # fmt: skip
    x, y, width, height, rotation = rectangles.from_boxes(boxes, VIEW).values[0]
    assert (x, y) == pytest.approx((100 * (30 - 3) / 60, 100 * (60 - 7) / 80))
    assert (width, height, rotation) == pytest.approx((100 * 2 / 60, 100 * 4 / 80, 0))


def test_left_turn_is_counter_clockwise():
    boxes = make_boxes(np.zeros(1), np.zeros(1), np.ones(1), np.ones(1), np.array([np.pi / 2]))
    assert rectangles.from_boxes(boxes, VIEW).values[0, 4] == pytest.approx(270)


@pytest.mark.parametrize("value", [[1, 1, 0, 5, 0], [1, 1, 5, -1, 0], [np.nan, 1, 5, 5, 0]])
def test_degenerate_rectangles_are_refused(value):
    with pytest.raises(LabelError, match="rectangle 0"):
        rectangles.to_footprints(Rectangles(np.array([value], dtype=float)), VIEW)


def test_inside_view():
    boxes = make_boxes(np.array([0, 61, 0, -21]), np.array([0, 0, 31, 0]), np.ones(4), np.ones(4),
                       np.zeros(4))  # fmt: skip
    assert rectangles.inside_view(boxes, VIEW).tolist() == [True, False, False, False]
