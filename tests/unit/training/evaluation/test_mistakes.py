from __future__ import annotations

import numpy as np
import pytest

from scene.box import Boxes
from tests.support.detections import random_frames, with_score
from training.evaluation import EvalFrame, evaluate
from training.evaluation.curves import RECALLS, calibrate, precision_curve
from training.evaluation.mistakes import KINDS, find_mistakes

BOTH = ["car", "pedestrian"]


def boxes_at(spots, score=None):
    xy, names = np.array([s[:2] for s in spots], float), [s[2] for s in spots]
    boxes = Boxes.make(
        np.column_stack([xy, np.ones(len(xy))]), np.ones((len(xy), 3)), np.zeros(len(xy)), names
    )
    return boxes if score is None else with_score(boxes, np.array(score))


def one_of_each():
    truth = boxes_at([(10, 0, "car"), (20, 0, "car"), (30, 0, "car"), (10, 20, "pedestrian"),
                      (20, 20, "pedestrian"), (-20, 0, "car")])  # fmt: skip
    found = boxes_at(
        [(10, 0, "car"), (10.5, 0, "car"), (20, 3, "car"), (10, 20.5, "car"), (30, 20, "car"),
         (20, 23, "car"), (30, 0, "car")],
        [0.9, 0.8, 0.7, 0.65, 0.6, 0.55, 0.5],
    )  # fmt: skip
    return [EvalFrame("f", "g", truth, found)]


def test_every_kind_is_told_apart():
    mistakes = find_mistakes(one_of_each(), BOTH)
    assert mistakes.kind.tolist() == [
        "hit", "duplicate", "localisation", "class", "background", "both", "hit"
    ]  # fmt: skip
    # The truth under a class or localisation mistake is not called missed as well.
    assert np.flatnonzero(mistakes.missed).tolist() == [4, 5]
    assert mistakes.count == {
        "class": 1, "localisation": 1, "both": 1, "duplicate": 1, "background": 1, "missed": 2
    }  # fmt: skip
    assert mistakes.by_category["pedestrian"]["missed"] == 1


def test_costs_are_what_map_gains_and_fit_the_evaluation():
    frames = random_frames(3, 30, BOTH, noise_m=1.6, clutter=10)
    mistakes = find_mistakes(frames, BOTH)
    ap_2m = [score.ap_by_threshold[2] for score in evaluate(frames, BOTH, resamples=0).classes]
    assert mistakes.mean_ap == pytest.approx(np.mean(ap_2m))
    for kind in KINDS:
        assert mistakes.cost[kind] > -1e-12, kind
    assert mistakes.cost["background"] > mistakes.cost["duplicate"]


def test_putting_the_only_mistake_right_makes_it_perfect():
    truth = boxes_at([(10, 0, "car"), (20, 0, "car")])
    found = boxes_at([(10, 0, "car"), (20, 3, "car")], [0.8, 0.9])
    mistakes = find_mistakes([EvalFrame("f", "g", truth, found)], ["car"])
    assert mistakes.mean_ap + mistakes.cost["localisation"] == pytest.approx(1.0)
    assert mistakes.cost["class"] == mistakes.cost["missed"] == 0.0


def test_counts_leave_out_weak_predictions():
    frames = one_of_each()
    assert find_mistakes(frames, BOTH, min_score=0.63).count["background"] == 0


def test_scores_that_keep_their_promise_have_no_calibration_error():
    rng = np.random.default_rng(0)
    score = np.repeat([0.25, 0.75], 2000)
    right = rng.random(4000) < score
    truth = boxes_at([(0, 0, "car")])
    frames = [
        EvalFrame(str(i), "g", truth, boxes_at([(0 if r else 30, 0, "car")], [s]))
        for i, (r, s) in enumerate(zip(right[::10], score[::10], strict=True))
    ]
    calibration = calibrate(evaluate(frames, ["car"], resamples=0).matches)
    assert calibration.error < 0.06
    assert calibration.count.tolist() == [0, 0, 200, 0, 0, 0, 0, 200, 0, 0]
    assert np.isnan(calibration.right[0])


def test_the_curve_gives_the_ap_of_its_threshold():
    frames = random_frames(5, 20, BOTH)
    result = evaluate(frames, BOTH, resamples=0)
    for matches, score in zip(result.matches, result.classes, strict=True):
        curve = precision_curve(matches)
        assert curve is not None
        ap = np.maximum(curve.precision[11:] - 0.1, 0).mean() / 0.9
        assert ap == pytest.approx(score.ap_by_threshold[2])
        assert (curve.precision[curve.max_recall + 0.01 < RECALLS] == 0).all()
    empty = evaluate([EvalFrame("f", "g", Boxes.empty(), Boxes.empty())], ["car"], resamples=0)
    assert precision_curve(empty.matches[0]) is None
