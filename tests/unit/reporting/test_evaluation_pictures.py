from __future__ import annotations

import io

import numpy as np
from PIL import Image

from reporting.evaluation_pictures import (
    CurveLine,
    Example,
    calibration_png,
    gallery_png,
    mistakes_png,
    precision_recall_png,
)
from scene.box import Boxes
from scene.taxonomy import CATEGORY


def pixels(png: bytes) -> np.ndarray:
    with Image.open(io.BytesIO(png)) as image:
        return np.asarray(image.convert("RGB")).astype(int)


def near(image: np.ndarray, color: tuple[int, int, int]) -> np.ndarray:
    return (np.abs(image - np.array(color)) < 24).all(axis=2)


def test_a_curve_is_drawn_in_its_colour_up_to_its_highest_recall():
    curve = CurveLine("car", np.full(101, 0.5), 0.4, 0.41)
    image = pixels(precision_recall_png([curve], "A title"))
    drawn = near(image, CATEGORY["car"].color_rgb)[:480]
    columns = np.flatnonzero(drawn.any(axis=0))
    width = image.shape[1] - 84
    assert abs(columns.max() - (64 + 0.4 * width)) < 8
    assert columns.min() < 70


def test_higher_costs_are_higher_bars():
    image = pixels(
        mistakes_png({"missed": 0.2, "background": 0.05}, {"missed": 3, "background": 1})
    )
    heights = [near(image, c).any(axis=1).sum() for c in ((86, 180, 233), (255, 82, 96))]
    assert 3.5 < heights[0] / heights[1] < 4.5


def test_empty_bins_and_no_examples_are_drawn_too():
    edge = np.linspace(0, 1, 11)
    promised, right = np.full(10, np.nan), np.full(10, np.nan)
    promised[7], right[7] = 0.75, 0.5
    count = np.zeros(10, dtype=int)
    count[7] = 12
    image = pixels(calibration_png(edge, promised, right, count, 0.25))
    assert near(image, (86, 180, 233)).any()
    assert pixels(gallery_png([], "nothing")).shape[1] == 640


def test_examples_stand_in_a_grid():
    box = Boxes.make([[10.0, 0, 1]], [[4.0, 2, 2]], [0.0], ["car"])
    example = Example("missed: car", np.zeros((5, 3)), box, Boxes.empty(), np.array([10.0, 0.0]))
    one, four = pixels(gallery_png([example])), pixels(gallery_png([example] * 4))
    assert four.shape[1] > 2.9 * one.shape[1]
    assert four.shape[0] > 1.9 * one.shape[0]
