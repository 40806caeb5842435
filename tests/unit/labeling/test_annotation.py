import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from labeling.annotation import (
    Annotation,
    BoxColumns,
    ClipBox,
    check_annotation,
    parse_submission,
    to_answers,
    to_clip_boxes,
)
from scene.errors import LabelError
from tests.support.clips import cars_at


def box(**changes) -> ClipBox:
    values = {
        "track_id": "a", "frame": 0, "category": "car", "center_xyz_m": (10.0, 2.0, 1.0),
        "size_lwh_m": (4.5, 1.9, 1.6), "yaw_rad": 0.3,
    }  # fmt: skip
    return ClipBox(**(values | changes))


def test_every_wrong_field_is_named_with_its_path():
    text = json.dumps(
        {
            "submission_id": "a b",
            "annotation": {"boxes": [{**box().to_json(), "size_lwh_m": [1, -2, 3], "colour": 1}]},
        }
    )
    with pytest.raises(LabelError) as caught:
        parse_submission(text, "here")
    message = str(caught.value)
    assert message.startswith("here: ")
    for path in ("submission_id", "annotation.boxes.0.size_lwh_m.1", "annotation.boxes.0.colour"):
        assert path in message


@pytest.mark.parametrize("value", ["NaN", "Infinity", "1e9", '"x"', "null"])
def test_a_place_that_is_no_place_is_refused(value):
    boxes = box().model_dump_json().replace("10.0", value)
    with pytest.raises(LabelError, match=r"center_xyz_m\.0"):
        parse_submission(f'{{"submission_id":"s","annotation":{{"boxes":[{boxes}]}}}}', "here")


@pytest.mark.parametrize(
    ("boxes", "words"),
    [
        ([box(frame=3)], "boxes.0.frame: 3, but the clip has 3 frames"),
        ([box(category="spaceship")], "boxes.0.category: 'spaceship'"),
        ([box(), box(frame=1), box()], "boxes.2.track_id: 'a' is in frame 0 already"),
    ],
)
def test_boxes_that_do_not_fit_the_clip_are_refused(boxes, words):
    with pytest.raises(LabelError) as caught:
        check_annotation(Annotation(boxes=boxes), 3)
    assert words in str(caught.value)


def test_the_origin_is_compared_and_not_believed():
    shown = [box(track_id=name, origin="prediction") for name in "abcdef"]
    given_ = [
        box(track_id="a", origin="manual"),  # a prelabel left as it was, whatever is claimed
        box(track_id="b", origin="prediction", center_xyz_m=(10.02, 2.0, 1.0)),
        box(track_id="c", origin="prediction", yaw_rad=0.3 + 2 * np.pi),
        box(track_id="d", origin="prediction", category="truck"),
        box(track_id="new", origin="manual"),
        box(track_id="e", frame=1, origin="prediction-changed"),  # carried to the next frame
    ]
    answers = to_answers(Annotation(boxes=given_), shown, [100, 200])
    assert answers[100].boxes.track_id.tolist() == ["a", "b", "c", "d", "new"]
    assert answers[100].origin.tolist() == [
        "prediction", "prediction-changed", "prediction", "prediction-changed", "manual",
    ]  # fmt: skip
    assert answers[100].num_deleted == 2
    assert answers[200].origin.tolist() == ["prediction-changed"]
    assert answers[200].num_deleted == 0
    assert np.isnan(answers[100].boxes.score).all()


def test_nothing_seen_is_an_answer_for_every_frame():
    answers = to_answers(Annotation(boxes=[]), [], [1, 2])
    assert [len(answer.boxes) for answer in answers.values()] == [0, 0]


@given(st.integers(0, 3))
@settings(max_examples=4, deadline=None)
def test_prelabels_go_out_and_come_back_unchanged(frame):
    models = to_clip_boxes({frame: cars_at(frame)})
    text = Annotation(boxes=models).model_dump_json()
    back = Annotation.model_validate_json(text)
    columns = BoxColumns.of(back.boxes)
    assert columns.frame.tolist() == [frame] * 2
    np.testing.assert_allclose(columns.boxes.center_xyz_m, cars_at(frame).center_xyz_m, atol=1e-4)
    answers = to_answers(back, models, list(range(4)))
    assert answers[frame].origin.tolist() == ["prediction"] * 2
