"""Annotations of rectangle tasks as answers: origin, time, review state."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from labeling.backend import LabelTask
from labeling.rectangle_answers import read_answer
from labeling.tasks import make_context, make_prediction
from scene.bev import BevView
from scene.box import Boxes

BOXES = Boxes.make(
    [[10.0, 3.0, 0.9], [20.0, -4.0, 0.9], [30.0, 5.0, 0.9]], [[4.5, 1.9, 1.7]] * 3,
    [0.1, 2.0, -1.0], ["car"] * 3, track_id=["a", "b", "c"], score=np.full(3, 0.8),
)  # fmt: skip


def task() -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """Return a task as the server gives it, and its prediction's results."""
    context, boxes = make_context(LabelTask("r", 5, BOXES, np.zeros((0, 3), np.float32)), BevView())
    prediction = make_prediction(context, boxes)
    return {"id": 7, "meta": context.to_meta(), "predictions": [prediction]}, prediction["result"]


def annotation(results: list[dict[str, Any]], **kwargs: Any) -> dict[str, Any]:
    return {
        "id": 9, "result": results, "updated_at": "2026-03-02T08:15:00.250000Z",
        "lead_time": 41.5, "ground_truth": False, **kwargs,
    }  # fmt: skip


def test_origins_deletions_time_and_place() -> None:
    served, results = task()
    kept = [r for r in results if r["id"] != "p002"]
    moved = [
        r | {"value": r["value"] | {"x": r["value"]["x"] + 1.0}} if r["id"] == "p001" else r
        for r in kept
    ]
    drawn = {
        "id": "new", "from_name": "box", "to_name": "bev", "type": "rectanglelabels",
        "value": {"x": 10, "y": 10, "width": 3, "height": 5, "rotation": 0,
                  "rectanglelabels": ["truck"]},
    }  # fmt: skip
    found = read_answer(("r", 5), served, annotation([*moved, drawn]), "task", "label_studio:3")
    answer = found.frames[5]
    assert answer.origin.tolist() == ["prediction", "prediction-changed", "manual"]
    assert answer.num_deleted == 1
    assert (found.seconds, found.annotator, found.review) == (41.5, "label_studio:3", "submitted")
    assert found.external_id == "label_studio:7/9"
    assert found.submitted_ns == 1772439300250000000
    np.testing.assert_allclose(answer.boxes.center_xyz_m[0], BOXES.center_xyz_m[0], atol=1e-3)
    assert answer.boxes.track_id.tolist() == ["a", "b", ""]


def test_ground_truth_is_accepted_and_time_may_be_unknown() -> None:
    served, results = task()
    found = read_answer(
        ("r", 5), served, annotation(results, ground_truth=True, lead_time=None), "t", "a"
    )
    assert found.review == "accepted"
    assert np.isnan(found.seconds)
    assert found.frames[5].origin.tolist() == ["prediction"] * 3
    assert found.frames[5].num_deleted == 0


@pytest.mark.parametrize("shown", [[], None])
def test_without_prelabels_everything_is_manual(shown: Any) -> None:
    served, results = task()
    found = read_answer(("r", 5), served | {"predictions": shown}, annotation(results), "t", "a")
    assert set(found.frames[5].origin.tolist()) == {"manual"}
