"""Prelabels out, a person's regions back: pure functions, no server."""

import json
import xml.etree.ElementTree as ElementTree

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from labeling import rectangles
from labeling.backend import LabelTask
from labeling.reconcile import Changes, find_changes, read_regions, to_boxes
from labeling.tasks import (
    BOTTOM,
    BOX,
    HEADING,
    HEIGHT,
    REVERSED,
    TaskContext,
    label_config,
    make_context,
    make_prediction,
)
from scene.bev import BevView
from scene.box import Boxes
from scene.errors import LabelError
from scene.pose import wrap_angle
from scene.taxonomy import CATEGORY, CATEGORY_NAMES

VIEW = BevView()


def make_boxes(seed: int, count: int) -> Boxes:
    rng = np.random.default_rng(seed)
    return Boxes.make(
        np.column_stack([rng.uniform(-19, 59, count), rng.uniform(-29, 29, count),
                         rng.uniform(-1, 3, count)]),
        rng.uniform(0.3, 12, (count, 3)), rng.uniform(-np.pi, np.pi, count),
        rng.choice(CATEGORY_NAMES, count), track_id=[f"t{i}" for i in range(count)],
        score=rng.uniform(0.1, 1, count),
    )  # fmt: skip


def sloped_points() -> np.ndarray:
    rng = np.random.default_rng(0)
    xy = np.column_stack([rng.uniform(-20, 60, 20_000), rng.uniform(-30, 30, 20_000)])
    return np.column_stack([xy, 0.05 * xy[:, 0]]).astype(np.float32)


def sent(boxes: Boxes) -> tuple[TaskContext, list[dict]]:
    """Return what comes back from the server when a person presses Submit at once."""
    context, shown = make_context(LabelTask("a", 1, boxes, sloped_points()), VIEW)
    wire = json.loads(json.dumps([context.to_meta(), make_prediction(context, shown)]))
    return TaskContext.from_meta(wire[0]), wire[1]["result"]


def region(region_id: str, category: str, place: dict, **more) -> dict:
    value = place | {"rectanglelabels": [category]}
    return {"id": region_id, "from_name": BOX, "type": "rectanglelabels", "value": value} | more


CAR_AHEAD = {"x": 50.0, "y": 50.0, "width": 3.0, "height": 5.5, "rotation": 0.0}
CAR_ACROSS = {"x": 50.0, "y": 50.0, "width": 8.0, "height": 2.0, "rotation": 0.0}


@settings(max_examples=30)
@given(st.integers(0, 2**32), st.integers(0, 12))
def test_untouched_prelabels_come_back_as_they_were(seed, count):
    boxes = make_boxes(seed, count)
    context, results = sent(boxes)
    regions = read_regions(results, context)
    back = to_boxes(regions, context)
    assert back.category.tolist() == boxes.category.tolist()
    assert back.track_id.tolist() == boxes.track_id.tolist()
    np.testing.assert_allclose(back.center_xyz_m[:, :2], boxes.center_xyz_m[:, :2], atol=1e-9)
    np.testing.assert_allclose(back.center_xyz_m[:, 2], boxes.center_xyz_m[:, 2], atol=2e-3)
    np.testing.assert_allclose(back.size_lwh_m, boxes.size_lwh_m, atol=1e-3)
    np.testing.assert_allclose(wrap_angle(back.yaw_rad - boxes.yaw_rad), 0, atol=1e-9)
    assert np.isnan(back.score).all()
    assert np.isnan(back.velocity_xy_mps).all()
    assert find_changes(regions, [{"result": results}], context) == Changes(count, 0, 0, 0)


def test_a_prelabel_outside_the_picture_is_not_sent():
    boxes = make_boxes(0, 3)
    boxes.center_xyz_m[1, 0] = 75.0
    context, results = sent(boxes)
    assert len(context.prelabels) == 2
    assert to_boxes(read_regions(results, context), context).track_id.tolist() == ["t0", "t2"]


def test_height_and_underside_survive_without_their_numbers():
    boxes = make_boxes(1, 3)
    context, results = sent(boxes)
    only_boxes = [result for result in results if result["from_name"] == BOX]
    back = to_boxes(read_regions(only_boxes, context), context)
    np.testing.assert_allclose(back.center_xyz_m, boxes.center_xyz_m, atol=1e-9)
    np.testing.assert_allclose(back.size_lwh_m, boxes.size_lwh_m, atol=1e-9)


def test_a_new_region_stands_on_the_local_ground_with_its_usual_height():
    context, _ = sent(Boxes.empty())
    boxes = to_boxes(read_regions([region("x", "car", CAR_AHEAD)], context), context)
    height = CATEGORY["car"].size_lwh_m[2]
    x = boxes.center_xyz_m[0, 0]
    assert boxes.size_lwh_m[0, 2] == height
    assert boxes.center_xyz_m[0, 2] - height / 2 == pytest.approx(0.05 * x, abs=0.15)
    assert abs(0.05 * x) > 0.5  # flat ground would have been wrong


@pytest.mark.parametrize(
    ("category", "place", "yaw", "size"),
    [
        ("car", CAR_AHEAD, 0.0, (4.4, 1.8)),
        ("car", CAR_ACROSS, np.pi / 2, (4.8, 1.6)),
        ("barrier", CAR_ACROSS, 0.0, (1.6, 4.8)),  # wider than long in nuScenes
        ("pedestrian", CAR_ACROSS, 0.0, (1.6, 4.8)),  # no usual direction: as drawn
    ],
)
def test_hand_drawn_rectangles_lie_along_the_usual_length(category, place, yaw, size):
    context, _ = sent(Boxes.empty())
    boxes = to_boxes(read_regions([region("x", category, place)], context), context)
    assert boxes.yaw_rad[0] == pytest.approx(yaw)
    assert boxes.size_lwh_m[0, :2] == pytest.approx(size)


def test_an_edited_prelabel_is_never_turned():
    boxes = make_boxes(2, 1)
    boxes.category[:] = "car"
    boxes.size_lwh_m[0] = [1.0, 4.0, 1.5]  # the person made it wide on purpose
    context, results = sent(boxes)
    back = to_boxes(read_regions(results, context), context)
    assert back.size_lwh_m[0] == pytest.approx([1.0, 4.0, 1.5])


def test_typed_numbers_and_reversed_heading():
    boxes = make_boxes(3, 1)
    context, results = sent(boxes)
    for result in results:
        if result["from_name"] in (BOTTOM, HEIGHT):
            result["value"]["number"] = {BOTTOM: -0.5, HEIGHT: 2.5}[result["from_name"]]
    results.append({"id": "p000", "from_name": HEADING, "value": {"choices": [REVERSED]}})
    back = to_boxes(read_regions(results, context), context)
    assert back.center_xyz_m[0, 2] == pytest.approx(0.75)
    assert back.size_lwh_m[0, 2] == 2.5
    assert abs(wrap_angle(back.yaw_rad - boxes.yaw_rad)[0]) == pytest.approx(np.pi)
    changes = find_changes(
        read_regions(results, context), [{"result": sent(boxes)[1]}], context
    )  # fmt: skip
    assert changes == Changes(0, 1, 0, 0)


def test_a_copy_of_a_prelabel_is_a_new_object():
    boxes = make_boxes(4, 2)
    context, results = sent(boxes)
    copy = json.loads(json.dumps(results[0])) | {"id": "fresh"}
    copy["value"]["x"] += 3.0
    regions = read_regions([*results, copy], context)
    assert [r.prelabel_id for r in regions] == ["p000", "p001", ""]
    assert to_boxes(regions, context).track_id.tolist() == ["t0", "t1", ""]
    assert find_changes(regions, [{"result": results}], context) == Changes(2, 0, 0, 1)


def test_values_without_their_rectangle_are_ignored():
    context, results = sent(make_boxes(5, 1))
    orphan = [result for result in results if result["from_name"] != BOX]
    relation = {"type": "relation", "from_id": "p000", "to_id": "p001", "direction": "right"}
    assert read_regions([*orphan, relation], context) == []
    assert len(to_boxes([], context)) == 0


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        ({"rectanglelabels": []}, "exactly one"),
        ({"rectanglelabels": ["car", "bus"]}, "exactly one"),
        ({"rectanglelabels": ["spaceship"]}, "spaceship"),
        ({"x": "left"}, "damaged"),
        ({"width": 0.0}, "no area"),
        ({"y": float("nan")}, "no area"),
    ],
)
def test_unusable_regions_are_refused(damage, message):
    context, _ = sent(Boxes.empty())
    broken = region("x", "car", CAR_AHEAD)
    broken["value"] |= damage
    with pytest.raises(LabelError, match=message):
        to_boxes(read_regions([broken], context), context)


@pytest.mark.parametrize("meta", [None, {}, {"starloop": {}}, {"starloop": {"prelabels": [1]}}])
def test_foreign_tasks_are_refused(meta):
    with pytest.raises(LabelError, match="not made by Starloop"):
        TaskContext.from_meta(meta)


def test_the_interface_is_xml_with_every_category():
    root = ElementTree.fromstring(label_config())
    assert [label.get("value") for label in root.iter("Label")] == list(CATEGORY_NAMES)
    names = {element.get("name") for element in root.iter() if element.get("name")}
    assert names == {BOX, BOTTOM, HEIGHT, HEADING, "bev"}


def test_predictions_name_the_picture_size():
    context, boxes = make_context(LabelTask("a", 1, make_boxes(6, 1), sloped_points()), VIEW)
    prediction = make_prediction(context, boxes)
    rows, columns = VIEW.shape
    assert {(r["original_width"], r["original_height"]) for r in prediction["result"]} == {
        (columns, rows)
    }
    assert prediction["score"] == pytest.approx(float(boxes.score[0]))
    assert set(rectangles.COLUMNS) <= set(prediction["result"][0]["value"])
