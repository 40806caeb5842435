from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from scene.errors import ConfigError, DataError, FormatError
from tests.support.kitti_evaluator import INSTALL, evaluate_with_oracle, load_evaluator
from tests.support.kitti_images import chosen, detected, images, labels
from tests.support.shared_data import shared_data
from training.evaluation.kitti import KittiObjects, evaluate_kitti, recall_walk

ORACLE = load_evaluator()
with_oracle = pytest.mark.skipif(ORACLE is None, reason=f"oracle missing: {INSTALL}")
EMPTY = KittiObjects.parse("")


CASES = {
    "usual": lambda: images(0, 12),
    "exact": lambda: images(1, 8, noise=0.0, miss=0.0),
    "poor": lambda: images(2, 10, noise=2.5, clutter=15),
    "many ties": lambda: images(3, 12, levels=4),
}


def compare(truth, found):
    expected = evaluate_with_oracle(ORACLE, truth, found)
    ours = evaluate_kitti(truth, found)
    assert set(ours) == set(expected)
    for key, value in expected.items():
        np.testing.assert_allclose(ours[key], value, rtol=0, atol=1e-6, err_msg=str(key))
    return ours


@with_oracle
@pytest.mark.slow
@pytest.mark.parametrize("case", CASES)
def test_equal_to_the_official_evaluator(case):
    ours = compare(*CASES[case]())
    assert any(0 < score.r40 < 100 for score in ours.values()) or case == "exact"


@with_oracle
@pytest.mark.slow
def test_equal_to_the_official_evaluator_on_real_labels():
    text = shared_data("kitti_object/training/label_2/000008.txt").read_text()
    truth, rng = KittiObjects.parse(text), np.random.default_rng(0)
    found = [detected(rng, truth, noise=0.5, clutter=2) for _ in range(15)]
    ours = compare([truth] * 15, found)
    assert 20 < ours["Car", "3d", "hard"].r40 < 100


def test_the_labels_themselves_score_full():
    rng = np.random.default_rng(5)
    drawn = [labels(rng, 40, ["Car", "Pedestrian", "Cyclist", "Van"]) for _ in range(20)]
    large = np.array([0.0, 0.0, 30.0, 30.0])  # fewer than 41 easy ones cannot fill the curve
    truth = [replace(t, occlusion=0 * t.occlusion, truncation=0 * t.truncation,
                     rectangle_px=t.rectangle_px + large) for t in drawn]  # fmt: skip
    found = [
        replace(o, boxes=replace(o.boxes, score=rng.random(len(o))))
        for o in (chosen(t, t.boxes.category != "DontCare") for t in truth)
    ]
    for (name, metric, difficulty), score in evaluate_kitti(truth, found).items():
        assert score.r11 == pytest.approx(100.0), (name, metric, difficulty)


def test_recall_steps_of_many_hits_are_forty_one():
    scores = np.linspace(0.9, 0.1, 400)
    assert len(recall_walk(scores, 400)) == 41
    np.testing.assert_allclose(recall_walk(np.array([0.3, 0.9, 0.5]), 4), [0.9, 0.5, 0.3])


def test_a_label_line_becomes_an_upright_box():
    line = "Car 0.10 1 -1.5 100 120 200 190 1.5 1.6 3.9 2.0 1.7 10.0 -1.5707963 0.75"
    objects = KittiObjects.parse(line)
    np.testing.assert_allclose(objects.boxes.center_xyz_m, [[10.0, -2.0, -0.95]])
    np.testing.assert_allclose(objects.boxes.yaw_rad, [0.0], atol=1e-6)
    assert objects.boxes.score.tolist() == [0.75]
    assert objects.occlusion.tolist() == [1.0]


def test_bad_input_is_refused():
    with pytest.raises(FormatError, match="line 2: 3 words"):
        KittiObjects.parse("\nCar 1 2")
    with pytest.raises(FormatError, match="line 1: could not convert"):
        KittiObjects.parse("Car " + "x " * 14)
    with pytest.raises(DataError, match="1 images of truth and 0 of detections"):
        evaluate_kitti([EMPTY], [])
    unscored = KittiObjects.parse("Car 0 0 0 0 0 50 50 1.5 1.6 3.9 0 1.7 10 0")
    with pytest.raises(DataError, match="image 0: a detection has no score"):
        evaluate_kitti([unscored], [unscored])
    with pytest.raises(ConfigError, match="Van"):
        evaluate_kitti([], [], {"Van": 0.7})


def test_no_objects_at_all_score_nothing():
    for score in evaluate_kitti([EMPTY, EMPTY], [EMPTY, EMPTY]).values():
        assert score == (0.0, 0.0)
