from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scene.box import Boxes
from scene.errors import ConfigError, DataError
from tests.support.detections import random_frames, with_score
from tests.support.waymo_reference import _area, reference
from training.evaluation import EvalFrame
from training.evaluation.waymo import MIN_IOU, area_under, evaluate_waymo


def frames_of(seed, noise=0.12, **how):
    return random_frames(seed, 8, list(MIN_IOU), noise_m=noise, **how)


CASES = {
    "usual": lambda: frames_of(0),
    "poor": lambda: frames_of(1, noise=0.5, clutter=12),
    "many ties": lambda: frames_of(2, score_levels=5),
    "crowded": lambda: frames_of(3, boxes_per_frame=25),
    "no predictions": lambda: [replace(f, predictions=Boxes.empty()) for f in frames_of(4)],
}


@pytest.mark.slow
@pytest.mark.parametrize("case", CASES)
def test_equal_to_the_rules_written_out(case):
    frames = CASES[case]()
    ours = evaluate_waymo(frames)
    for (name, level), score in ours.items():
        expected = reference(frames, name, MIN_IOU[name], level)
        np.testing.assert_allclose(score, expected, rtol=0, atol=1e-9, err_msg=f"{name} {level}")


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**32 - 1))
def test_area_equals_the_walk_down_the_recalls(seed):
    rng = np.random.default_rng(seed)
    recall = rng.choice([0.0, 0.02, 0.1, 0.15, 0.3, 0.62, 0.9, 1.0], rng.integers(1, 8))
    precision = rng.random(len(recall))
    expected = _area(precision.tolist(), recall.tolist())
    assert area_under(recall, precision) == pytest.approx(expected, abs=1e-9)


def test_a_box_turned_around_counts_for_ap_and_not_for_aph():
    truth = Boxes.make([[10.0, 0, 1]], [[4.0, 2, 2]], [0.0], ["car"], num_points=np.array([50]))
    turned = with_score(replace(truth, yaw_rad=np.array([np.pi])), np.array([0.9]))
    score = evaluate_waymo([EvalFrame("a", "a", truth, turned)], {"car": 0.7})
    assert score["car", 1].ap == pytest.approx(1.0)
    assert score["car", 1].aph == pytest.approx(0.0)


def test_truth_with_few_points_is_asked_for_at_level_two_only():
    truth = Boxes.make(
        [[10.0, 0, 1], [20.0, 0, 1]], [[4.0, 2, 2]] * 2, [0.0, 0.0], ["car"] * 2,
        num_points=np.array([50, 3]),
    )  # fmt: skip
    found = with_score(truth.take(np.array([0])), np.array([0.9]))
    score = evaluate_waymo([EvalFrame("a", "a", truth, found)], {"car": 0.7})
    assert score["car", 1].ap == pytest.approx(1.0)
    assert score["car", 2].ap == pytest.approx(0.5)


def test_bad_input_is_refused_and_no_truth_is_nan():
    frame = EvalFrame("a", "a", Boxes.empty(), Boxes.empty())
    assert np.isnan(evaluate_waymo([frame], {"car": 0.7})["car", 2].ap)
    with pytest.raises(ConfigError, match="at least one category"):
        evaluate_waymo([frame], {})
    unscored = Boxes.make([[1.0, 0, 0]], [[1.0, 1, 1]], [0.0], ["car"])
    with pytest.raises(DataError, match="no score"):
        evaluate_waymo([EvalFrame("a", "a", Boxes.empty(), unscored)])
