from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from scene.box import Boxes, count_points, points_in_boxes
from scene.errors import ShapeError
from scene.pose import SE3


def one(x=0.0, y=0.0, z=0.0, lwh=(4.0, 2.0, 1.5), yaw=0.0) -> Boxes:
    return Boxes.make([[x, y, z]], [lwh], np.array([yaw]), ["car"])


def test_points_on_the_faces_count_as_inside() -> None:
    points = np.array([[2.0, 0, 0], [2.001, 0, 0], [0, 1.0, 0.75], [0, 0, -0.76]])
    assert points_in_boxes(points, one()).tolist() == [[True, False, True, False]]


def test_a_turned_box_holds_points_along_its_heading() -> None:
    box = one(10, 5, yaw=np.pi / 2)
    points = np.array([[10.0, 6.9, 0], [11.5, 5, 0]])
    assert points_in_boxes(points, box).tolist() == [[True, False]]


@given(st.floats(-3, 3), st.floats(-50, 50), st.floats(-50, 50), st.floats(-np.pi, np.pi))
def test_moving_boxes_and_points_together_changes_no_count(yaw, x, y, turn) -> None:
    rng = np.random.default_rng(3)
    points = rng.normal(0, 2, (200, 3))
    boxes = Boxes.concatenate([one(yaw=yaw), one(1.5, -1, yaw=-yaw)])
    move = SE3.from_yaw(turn, np.array([x, y, 1.0]))
    before = count_points(points, boxes).num_points
    after = count_points(move.transform_points(points), boxes.transform(move)).num_points
    assert np.abs(before - after).max() <= 1  # a point exactly on a face may fall either side


def test_corners_start_front_left_and_go_clockwise() -> None:
    corners = one(1, 2).corners_bev_m()[0]
    np.testing.assert_allclose(corners, [[3, 3], [3, 1], [-1, 1], [-1, 3]])


def test_transform_turns_velocity_and_heading() -> None:
    boxes = Boxes.make([[1, 0, 0]], [[4, 2, 1]], np.array([0.0]), ["car"], np.array([[3.0, 0.0]]))
    turned = boxes.transform(SE3.from_yaw(np.pi / 2, np.zeros(3)))
    np.testing.assert_allclose(turned.velocity_xy_mps, [[0, 3]], atol=1e-12)
    assert turned.yaw_rad[0] == pytest.approx(np.pi / 2)


def test_columns_of_different_length_are_refused() -> None:
    with pytest.raises((ShapeError, ValueError)):
        Boxes.make(np.zeros((2, 3)), np.zeros((2, 3)), np.zeros(2), ["car"])


def test_concatenation_keeps_order_and_long_names() -> None:
    long = Boxes.make([[0, 0, 0]], [[1, 1, 1]], np.zeros(1), ["construction_vehicle"])
    both = Boxes.concatenate([one(), long])
    assert both.category.tolist() == ["car", "construction_vehicle"]
