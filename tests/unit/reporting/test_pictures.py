"""Pictures: right place, right colour, what was missed, the same bytes every time."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image

from reporting.pictures import bev_png, missed_labels
from scene.bev import BevView
from scene.box import Boxes
from scene.taxonomy import CATEGORY

VIEW = BevView(-10, 50, -20, 20, 0.1)
NO_POINTS = np.zeros((0, 3), dtype=np.float32)


def boxes(*rows: tuple[float, float, str], num_points: int = 20) -> Boxes:
    return Boxes.make(
        np.array([(x, y, 1.0) for x, y, _ in rows]).reshape(-1, 3),
        np.tile([4.0, 2.0, 1.5], (len(rows), 1)),
        np.zeros(len(rows)),
        [c for *_, c in rows],
        score=np.full(len(rows), 0.9),
        num_points=np.full(len(rows), num_points),
    )


def pixels(png: bytes) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(png)).convert("RGB")).astype(int)


def near(image: np.ndarray, color: tuple[int, int, int]) -> np.ndarray:
    """Return (N, 2) places (column, row) of pixels close to a colour."""
    return np.argwhere(np.abs(image - np.array(color)).sum(axis=2) < 40)[:, ::-1]


@pytest.mark.parametrize(
    ("forward", "size", "center"),
    [("up", (400, 600), (150.0, 300.0)), ("right", (600, 400), (300.0, 150.0))],
)
def test_a_prediction_is_drawn_where_it_is(forward, size, center) -> None:
    """A car 20 m ahead and 5 m to the left."""
    image = pixels(bev_png(NO_POINTS, None, boxes((20.0, 5.0, "car")), view=VIEW, forward=forward))
    image = image[: size[1]]  # without the legend below
    assert image.shape[1] == size[0]
    places = near(image, CATEGORY["car"].color_rgb)
    middle = (places.min(axis=0) + places.max(axis=0)) / 2
    assert np.abs(middle - center).max() <= 2
    assert sorted((np.ptp(places, axis=0)).tolist()) == pytest.approx([20, 40], abs=4)


def test_points_are_drawn_where_they_are() -> None:
    points = np.array([[30.0, -10.0, 1.0]], dtype=np.float32)
    image = pixels(bev_png(points, None, None, view=VIEW))
    empty = pixels(bev_png(NO_POINTS, None, None, view=VIEW))
    places = np.argwhere(np.abs(image - empty).sum(axis=2) > 60)[:, ::-1]
    assert len(places) > 0
    assert np.abs(places - [300, 200]).max() <= 2


def test_missed_labels_are_those_with_points_and_no_prediction_of_their_kind() -> None:
    labels = boxes((10, 0, "car"), (20, 0, "pedestrian"), (30, 0, "car"), (40, 0, "car"))
    found = boxes((11.9, 0, "car"), (20, 0, "car"), (32.1, 0, "car"))
    assert missed_labels(labels, found).tolist() == [False, True, True, True]
    assert not missed_labels(labels, None).any()
    hidden = boxes((10, 0, "car"), num_points=0)
    assert not missed_labels(hidden, Boxes.empty()).any()


def test_a_missed_label_is_marked_in_red() -> None:
    label = boxes((20.0, 5.0, "car"))
    red = (255, 82, 96)
    missed = bev_png(NO_POINTS, label, Boxes.empty(), view=VIEW)
    hit = bev_png(NO_POINTS, label, boxes((20.5, 5.0, "car")), view=VIEW)
    assert len(near(pixels(missed)[:600], red)) > 100
    assert len(near(pixels(hit), red)) == 0
    places = near(pixels(missed)[:600], red)  # framed half a meter around the car of 4 x 2 m
    assert np.ptp(places, axis=0).tolist() == pytest.approx([30, 50], abs=4)


def test_weak_predictions_are_not_drawn() -> None:
    weak = boxes((20.0, 5.0, "car"))
    weak.score[:] = 0.2
    shown = pixels(bev_png(NO_POINTS, None, weak, view=VIEW))
    assert np.array_equal(shown, pixels(bev_png(NO_POINTS, None, Boxes.empty(), view=VIEW)))


def test_nothing_at_all_is_a_picture() -> None:
    assert pixels(bev_png(NO_POINTS, None, None)).shape == (800, 600, 3)


def test_title_and_legend_add_strips_and_cover_nothing() -> None:
    label = boxes((20.0, 5.0, "car"))
    plain = pixels(bev_png(NO_POINTS, None, None, view=VIEW))
    full = pixels(bev_png(NO_POINTS, label, label, "x" * 300, VIEW))
    assert plain.shape[0] == 600
    assert full.shape[0] > 600 + 40
    assert full.shape[1] == plain.shape[1]


def test_the_same_frame_gives_the_same_bytes() -> None:
    points = np.random.default_rng(0).normal(0, 20, (5000, 3)).astype(np.float32)
    label = boxes((20.0, 5.0, "car"))
    assert bev_png(points, label, label, "a") == bev_png(points, label, label, "a")


def test_points_with_nan_heights_do_not_stop_the_picture() -> None:
    points = np.array([[30.0, -10.0, np.nan], [np.nan, 0, 0], [5, 5, 1]], dtype=np.float32)
    assert bev_png(points, None, None)[:4] == b"\x89PNG"
