from __future__ import annotations

import numpy as np
import pytest

from scene.box import Boxes
from scene.taxonomy import CATEGORY_NAMES
from tests.support.detections import random_boxes, random_frames, with_score
from tests.support.nuscenes_devkit import INSTALL, evaluate_with_devkit, load_devkit, to_devkit
from training.evaluation import EvalFrame, evaluate
from training.evaluation.matching import THRESHOLDS_M, pool_frames

DEVKIT = load_devkit()
pytestmark = pytest.mark.skipif(DEVKIT is None, reason=f"oracle missing: {INSTALL}")
EXACT = {"rtol": 0, "atol": 1e-9}


def hard_case(name: str) -> list[EvalFrame]:
    rng = np.random.default_rng(3)
    truth = random_boxes(rng, 30, ["car", "pedestrian"])
    same = with_score(truth, np.linspace(0.1, 0.9, 30))
    match name:
        case "no predictions":
            return [EvalFrame("a", "a", truth, Boxes.empty())]
        case "no truth in one frame":
            return [EvalFrame("a", "a", truth, same), EvalFrame("b", "b", Boxes.empty(), same)]
        case "all scores equal":
            return [EvalFrame("a", "a", truth, with_score(truth, np.full(30, 0.5)))]
        case "all scores zero":
            return [EvalFrame("a", "a", truth, with_score(truth, np.zeros(30)))]
        case "every box predicted twice":
            twice = Boxes.concatenate([same, with_score(truth, np.linspace(0.2, 0.95, 30))])
            return [EvalFrame("a", "a", truth, twice)]
        case "velocity never known":
            still = Boxes.make(truth.center_xyz_m, truth.size_lwh_m, truth.yaw_rad, truth.category)
            return [EvalFrame("a", "a", still, same)]
        case "recall below one tenth":
            return [EvalFrame("a", "a", truth, same.take(np.arange(30) < 1))]
        case "exactly on a threshold":
            line = np.arange(30.0)[:, None] * [1.0, 0.0, 0.0]
            even = Boxes.make(line, truth.size_lwh_m, truth.yaw_rad, truth.category)
            aside = Boxes.make(
                line + np.array([0, 0.5, 0]), truth.size_lwh_m, truth.yaw_rad, truth.category
            )
            return [EvalFrame("a", "a", even, with_score(aside, np.linspace(0.9, 0.1, 30)))]
        case _:
            raise AssertionError(name)


CASES = {
    "distinct scores": lambda: random_frames(0, 16, CATEGORY_NAMES, boxes_per_frame=40),
    "many ties": lambda: random_frames(1, 24, CATEGORY_NAMES, score_levels=5),
    "one class": lambda: random_frames(2, 30, ["pedestrian"]),
    "barriers turn around": lambda: random_frames(4, 30, ["barrier", "traffic_cone"]),
    "mostly wrong": lambda: random_frames(5, 30, ["car", "bicycle"], miss=0.8, clutter=30),
    "crowded": lambda: random_frames(6, 4, ["car"], boxes_per_frame=100, noise_m=1.5),
} | {
    name: (lambda name=name: hard_case(name))
    for name in (
        "no predictions", "no truth in one frame", "all scores equal", "all scores zero",
        "every box predicted twice", "velocity never known", "recall below one tenth",
        "exactly on a threshold",
    )
}  # fmt: skip


def devkit_of(frames):
    """Feed the devkit what our filter keeps; the filter has its own tests."""
    pool = pool_frames(frames, CATEGORY_NAMES, None)
    parts = [
        {
            name: boxes.take(index == i)
            for i, name in enumerate(pool.frame_ids)
        }
        for boxes, index in ((pool.truth, pool.truth_frame), (pool.predictions, pool.frame))
    ]  # fmt: skip
    assert DEVKIT is not None
    truth, predictions = (to_devkit(DEVKIT, part) for part in parts)
    return evaluate_with_devkit(DEVKIT, truth, predictions, CATEGORY_NAMES), pool


@pytest.mark.parametrize("case", CASES)
def test_equal_to_the_official_devkit(case):
    frames = CASES[case]()
    official, pool = devkit_of(frames)
    ours = evaluate(frames, CATEGORY_NAMES, resamples=0)
    present = [name for name in CATEGORY_NAMES if (pool.truth.category == name).any()]
    assert present
    for score in ours.classes:
        if score.category not in present:
            assert np.isnan(score.ap.value)
            continue
        expected = [official.ap[score.category, threshold] for threshold in THRESHOLDS_M]
        np.testing.assert_allclose(score.ap_by_threshold, expected, **EXACT)
        for metric, value in score.errors.items():
            np.testing.assert_allclose(value, official.errors[score.category, metric], **EXACT)
    check_means(ours, official, present)


def check_means(ours, official, present):
    """Repeat `DetectionMetrics.nd_score` over the categories that have truth."""
    aps = [np.mean([official.ap[name, t] for t in THRESHOLDS_M]) for name in present]
    np.testing.assert_allclose(ours.mean_ap.value, np.mean(aps), **EXACT)
    metrics = ("trans_err", "scale_err", "orient_err", "vel_err", "attr_err")
    rows = np.array([[official.errors[name, m] for name in present] for m in metrics])
    known = ~np.isnan(rows).all(axis=1)
    errors = np.nanmean(rows[known], axis=1)
    nds = (5 * np.mean(aps) + np.maximum(0, 1 - errors).sum()) / 10
    np.testing.assert_allclose(ours.nds.value, nds, **EXACT)


def test_every_resample_equals_evaluating_the_drawn_frames():
    from training.evaluation.resampling import group_weights
    from training.evaluation.scoring import detection_score, sample_categories

    frames = random_frames(8, 24, ["car", "pedestrian"], groups=6)
    weights = group_weights([f.group for f in frames], 5, seed=1)
    samples = sample_categories(evaluate(frames, ["car", "pedestrian"]).matches, weights)
    for row in range(1, 6):
        drawn = [
            EvalFrame(f"{frame.frame_id}-{copy}", frame.group, frame.truth, frame.predictions)
            for frame, count in zip(frames, weights[row], strict=True)
            for copy in range(count)
        ]
        again = evaluate(drawn, ["car", "pedestrian"], resamples=0)
        np.testing.assert_allclose(
            samples.ap[:, row], [score.ap.value for score in again.classes], **EXACT
        )
        np.testing.assert_allclose(detection_score(samples)[row], again.nds.value, **EXACT)
        official, _ = devkit_of(drawn)
        aps = [np.mean([official.ap[c, t] for t in THRESHOLDS_M]) for c in ("car", "pedestrian")]
        np.testing.assert_allclose(samples.ap[:, row], aps, **EXACT)
