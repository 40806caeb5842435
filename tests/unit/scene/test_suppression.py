import numpy as np
import pytest
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st

from scene.box import Boxes
from scene.errors import ShapeError
from scene.overlap import bev_iou
from scene.suppression import iou_matrix, rectangles, suppress, suppress_boxes


def random_rectangles(rng, count, spread):
    return np.stack(
        [
            rng.uniform(-spread, spread, count), rng.uniform(-spread, spread, count),
            rng.uniform(0.3, 8, count), rng.uniform(0.3, 3, count), rng.uniform(-4, 4, count),
        ],
        axis=1,
    )  # fmt: skip


def polygons(boxes):
    made = Boxes.make(
        np.pad(boxes[:, :2], ((0, 0), (0, 1))), np.pad(boxes[:, 2:4], ((0, 0), (0, 1))),
        boxes[:, 4], ["car"] * len(boxes),
    )  # fmt: skip
    return shapely.polygons(made.corners_bev_m())


def shapely_iou(first, second):
    one, two = polygons(first)[:, None], polygons(second)[None]
    shared = shapely.area(shapely.intersection(one, two))
    return shared / (shapely.area(one) + shapely.area(two) - shared)


def greedy(boxes, scores, group, threshold):
    """The definition, word for word, on shapely's overlaps."""
    iou = shapely_iou(boxes, boxes)
    left = sorted(range(len(boxes)), key=lambda i: (-scores[i], i))
    kept = []
    while left:
        best = left.pop(0)
        kept.append(best)
        left = [i for i in left if group[i] != group[best] or iou[best, i] <= threshold]
    return kept


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 10_000), spread=st.sampled_from([0.5, 3.0, 15.0]))
def test_iou_equals_shapely(seed, spread):
    rng = np.random.default_rng(seed)
    first, second = random_rectangles(rng, 12, spread), random_rectangles(rng, 9, spread)
    found = iou_matrix(first, second)
    np.testing.assert_allclose(found, shapely_iou(first, second), atol=1e-9)
    np.testing.assert_allclose(found, iou_matrix(second, first).T, atol=1e-12)


def test_iou_equals_the_numpy_form():
    rng = np.random.default_rng(5)
    table = random_rectangles(rng, 40, 8.0)
    boxes = Boxes.make(
        np.pad(table[:, :2], ((0, 0), (0, 1))), np.pad(table[:, 2:4], ((0, 0), (0, 1))),
        table[:, 4], ["car"] * 40,
    )  # fmt: skip
    found = iou_matrix(rectangles(boxes), rectangles(boxes))
    np.testing.assert_allclose(found, bev_iou(boxes, boxes), atol=1e-9)


@pytest.mark.parametrize(
    ("one", "two", "iou"),
    [
        ((0, 0, 4, 2, 0), (0, 0, 4, 2, 0), 1.0),
        ((0, 0, 4, 2, 0), (0, 0, 4, 2, np.pi), 1.0),
        ((0, 0, 4, 2, 0), (0, 0, 2, 4, np.pi / 2), 1.0),
        ((0, 0, 4, 2, 0), (2, 0, 4, 2, 0), 1 / 3),
        ((0, 0, 4, 2, 0), (4, 0, 4, 2, 0), 0.0),  # a common edge
        ((0, 0, 4, 4, 0), (0, 0, 2, 2, 0.3), 0.25),  # one inside the other
        ((0, 0, 0, 2, 0), (0, 0, 4, 2, 0), 0.0),  # no area
        ((0, 0, 0, 0, 0), (0, 0, 0, 0, 0), 0.0),
        ((0, 0, 2, 2, 0), (0, 0, 2, 2, np.pi / 4), 0.7071067811865475),
        ((1e6, 1e6, 4, 2, 0.1), (1e6, 1e6, 4, 2, 0.1), 1.0),  # map coordinates
    ],
)
def test_known_overlaps(one, two, iou):
    found = iou_matrix(np.array([one], dtype=float), np.array([two], dtype=float))
    np.testing.assert_allclose(found, [[iou]], atol=1e-9)


@settings(max_examples=40, deadline=None)
@given(
    seed=st.integers(0, 10_000),
    threshold=st.sampled_from([0.0, 0.05, 0.2, 0.5, 0.7]),
    groups=st.integers(1, 3),
)
def test_the_boxes_that_stay_are_those_of_the_greedy_definition(seed, threshold, groups):
    rng = np.random.default_rng(seed)
    boxes = random_rectangles(rng, 60, 6.0)
    boxes[40:50] = boxes[:10] + rng.normal(0, 0.05, (10, 5))  # the same object twice
    scores = np.round(rng.random(60), 1)  # many ties
    group = rng.integers(0, groups, 60)
    kept = suppress(boxes, scores, group, threshold)
    assert kept.tolist() == greedy(boxes, scores, group, threshold)


def test_many_boxes():
    rng = np.random.default_rng(1)
    boxes = random_rectangles(rng, 250, 14.0)
    scores = rng.random(250)
    kept = suppress(boxes, scores, None, 0.2)
    assert kept.tolist() == greedy(boxes, scores, np.zeros(250), 0.2)
    assert 50 < len(kept) < 225


def test_categories_do_not_compete():
    place, size = np.zeros((4, 3)), np.ones((4, 3))
    boxes = Boxes.make(
        place, size, np.zeros(4), ["car", "truck", "car", "truck"],
        score=np.array([0.1, 0.9, 0.5, 0.3]),
    )  # fmt: skip
    kept = suppress_boxes(boxes, 0.5)
    assert kept.category.tolist() == ["truck", "car"]
    assert kept.score.tolist() == [0.9, 0.5]
    assert len(suppress_boxes(Boxes.empty(), 0.5)) == 0


def test_wrong_shapes_are_refused():
    with pytest.raises(ShapeError, match=r"expected \(N, 5\)"):
        iou_matrix(np.zeros((2, 7)), np.zeros((2, 5)))
    with pytest.raises(ShapeError, match="3 boxes, 2 scores"):
        suppress(np.zeros((3, 5)), np.zeros(2), None, 0.5)
