from __future__ import annotations

import numpy as np

from scene.bev import BevView, draw_boxes, rasterise
from scene.box import Boxes

VIEW = BevView(-10, 30, -20, 20, 0.5)


def test_pixels_and_meters_are_inverse() -> None:
    points = np.array([[0.0, 0.0], [12.3, -7.5]])
    np.testing.assert_allclose(VIEW.to_meters(VIEW.to_pixels(points)), points)


def test_forward_is_up_and_left_is_left() -> None:
    column, row = VIEW.to_pixels(np.array([29.9, 19.9]))
    assert row < 1
    assert column < 1


def test_a_high_point_is_brighter_than_the_ground() -> None:
    image = rasterise(np.array([[5.0, 5.0, 0.0], [5.0, -5.0, 2.0], [99.0, 0.0, 0.0]]), VIEW)
    column, row = VIEW.to_pixels(np.array([[5.0, 5.0], [5.0, -5.0]])).astype(int).T
    assert image[row[1], column[1]].sum() > image[row[0], column[0]].sum() > 3 * 12
    assert (image.sum(axis=2) > 3 * 12).sum() == 2


def test_a_box_is_drawn_around_its_center() -> None:
    image = np.zeros((*VIEW.shape, 3), np.uint8)
    draw_boxes(image, Boxes.make([[10, 0, 0]], [[4, 2, 1]], np.zeros(1), ["car"]), VIEW, (9, 9, 9))
    rows, columns = np.nonzero(image.sum(axis=2))
    center = VIEW.to_meters(np.array([[columns.min(), rows.min()], [columns.max(), rows.max()]]))
    assert np.abs(center.mean(axis=0) - [10, 0]).max() <= 1.0
