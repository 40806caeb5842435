from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest

from scene.box import Boxes
from scene.errors import ConfigError, DataError, FormatError
from tests.support.detections import random_frames, with_score
from training.evaluation import (
    Delta,
    EvalFrame,
    Evaluation,
    Region,
    compare,
    evaluate,
    score_slices,
)
from training.evaluation.matching import pool_frames
from training.evaluation.resampling import group_weights, interval, share_not_better

BOTH = ["car", "pedestrian"]


def boxes_at(centers, category="car", score=None, num_points=None, size=(4.0, 2.0, 1.5)):
    count = len(centers)
    centers = np.array([[x, y, 0.8] for x, y in centers]).reshape(count, 3)
    boxes = Boxes.make(
        centers,
        np.tile(size, (count, 1)),
        np.zeros(count),
        [category] * count,
        num_points=None if num_points is None else np.array(num_points),
    )
    return boxes if score is None else with_score(boxes, np.asarray(score, dtype=float))


def frame(truth, predictions, name="f0", group="g0"):
    return EvalFrame(name, group, truth, predictions)


def test_perfect_predictions_score_one():
    truth = boxes_at([(10, 0), (20, 5), (30, -5)])
    result = evaluate([frame(truth, with_score(truth, np.array([0.9, 0.8, 0.7])))], ["car"])
    assert result.mean_ap.value == pytest.approx(1.0)
    assert result.of("car").errors["trans_err"] == 0.0


def test_ap_of_a_curve_worked_out_by_hand():
    # Order: hit, miss, hit of two truths: precision 1 up to recall .5, then 1/2 -> 2/3 linearly.
    truth = boxes_at([(10, 0), (20, 0)])
    found = boxes_at([(10, 0), (40, 10), (20, 0)], score=[0.9, 0.8, 0.7])
    recall = np.arange(11, 101) / 100
    # At recall .5 itself np.interp takes the last point, which is the false positive's 1/2.
    precision = np.where(recall < 0.5, 1.0, 0.5 + (recall - 0.5) / 0.5 * (2 / 3 - 0.5))
    expected = np.mean(precision - 0.1) / 0.9
    result = evaluate([frame(truth, found)], ["car"], resamples=0)
    np.testing.assert_allclose(result.of("car").ap_by_threshold, expected, atol=1e-12)


def test_category_without_truth_is_nan_and_left_out_of_the_means():
    truth = boxes_at([(10, 0)])
    found = Boxes.concatenate(
        [with_score(truth, np.array([0.9])), boxes_at([(5, 5)], "pedestrian", [0.99])]
    )
    result = evaluate([frame(truth, found)], BOTH)
    assert np.isnan(result.of("pedestrian").ap.value)
    assert result.of("pedestrian").num_boxes == 0
    assert result.mean_ap.value == pytest.approx(1.0)
    assert np.isfinite(result.nds.value)


def test_nothing_at_all_is_nan_not_an_error():
    result = evaluate([frame(Boxes.empty(), Boxes.empty())], BOTH)
    assert np.isnan(result.mean_ap.value)
    assert np.isnan(result.nds.value)
    assert np.isnan(evaluate([], BOTH).mean_ap.value)


def test_truth_without_points_or_out_of_range_or_region_is_not_asked_for():
    truth = boxes_at([(10, 0), (12, 8), (60, 0), (-20, 0)], num_points=[5, 0, 9, -1])
    found = boxes_at([(10, 0), (-20, 0)], score=[0.9, 0.8])
    everywhere = evaluate([frame(truth, found)], ["car"])
    assert everywhere.of("car").num_boxes == 2
    ahead = evaluate([frame(truth, found)], ["car"], region=Region(0, 50, -25, 25))
    assert ahead.of("car").num_boxes == 1
    assert ahead.of("car").num_predictions == 1
    assert ahead.region == Region(0, 50, -25, 25)


def test_range_bins_follow_the_truth_not_the_prediction():
    truth = boxes_at([(20.1, 0)])
    found = boxes_at([(19.9, 0)], score=[0.9])
    near, middle, far = evaluate([frame(truth, found)], ["car"]).ranges
    assert (near.num_boxes, middle.num_boxes, far.num_boxes) == (0, 1, 0)
    assert np.isnan(near.ap.value)
    assert middle.ap.value == pytest.approx(1.0)
    assert near.num_predictions == 0  # the match belongs to the truth's bin
    cones = evaluate([frame(truth, found)], ["traffic_cone"]).ranges
    assert [(score.range_min_m, score.range_max_m) for score in cones] == [(0, 20), (20, 30)]


def test_interval_needs_two_groups_and_contains_the_value():
    frames = random_frames(0, 60, BOTH, groups=12)
    result = evaluate(frames, BOTH)
    for score in result.classes:
        assert score.ap.low < score.ap.value < score.ap.high
    alone = evaluate([replace(f, group="one") for f in frames], BOTH)
    assert np.isnan(alone.mean_ap.low)
    assert alone.mean_ap.value == result.mean_ap.value


@pytest.mark.slow
def test_interval_holds_the_long_run_value():
    """Without the widening for few groups this falls to about 0.8."""
    long_run = evaluate(random_frames(999, 1000, ["car"]), ["car"], resamples=0).mean_ap.value
    small = [random_frames(seed, 16, ["car"], groups=8) for seed in range(40)]
    intervals = [evaluate(frames, ["car"], resamples=200).mean_ap for frames in small]
    held = np.mean([i.low <= long_run <= i.high for i in intervals])
    assert held >= 0.85


def test_fewer_groups_make_a_wider_interval():
    samples = np.concatenate([[0.5], np.random.default_rng(0).normal(0.5, 0.1, 2000)])
    widths = [
        interval(samples, groups).high - interval(samples, groups).low for groups in (4, 9, 900)
    ]
    assert widths[0] > widths[1] > widths[2]
    assert widths[2] == pytest.approx(2 * 1.96 * 0.1, rel=0.05)


def test_same_seed_same_result_and_group_names_decide_the_draw():
    frames = random_frames(1, 20, BOTH)
    assert evaluate(frames, BOTH, seed=5).to_dict() == evaluate(frames, BOTH, seed=5).to_dict()
    weights = group_weights(["b", "a", "b"], 50, seed=2)
    assert (weights[:, 0] == weights[:, 2]).all()
    np.testing.assert_array_equal(weights[:, [1, 0, 2]], group_weights(["a", "b", "b"], 50, 2))
    assert (weights[1:, :2].sum(axis=1) == 2).all()


def test_json_round_trip_keeps_what_a_comparison_needs():
    frames = random_frames(2, 20, BOTH)
    result = evaluate(frames, [*BOTH, "bus"], region=Region(-10, 50, -25, 25))
    text = json.dumps(result.to_dict(), allow_nan=False)
    back = Evaluation.from_dict(json.loads(text))
    assert json.dumps(back.to_dict()) == text
    assert compare(result, back).mean_ap.value == 0.0
    with pytest.raises(FormatError, match="evaluate again"):
        Evaluation.from_dict({"format": "other"})
    damaged = json.loads(text)
    damaged["matches"][0]["score"] = "<f8:AAAA"
    with pytest.raises(FormatError, match="damaged"):
        Evaluation.from_dict(damaged)


@pytest.mark.parametrize(
    ("predictions", "message"),
    [
        (boxes_at([(1, 1)]), "has no score"),
        (boxes_at([(np.nan, 1)], score=[0.5]), "not finite"),
        (boxes_at([(1, 1)], score=[0.5], size=(0.0, 1.0, 1.0)), "not positive"),
        (boxes_at([(i / 50, 0) for i in range(501)], score=[0.5] * 501), "501 predictions"),
    ],
)
def test_boxes_that_cannot_be_compared_are_refused(predictions, message):
    with pytest.raises(DataError, match=f"frame f0: .*{message}"):
        evaluate([frame(Boxes.empty(), predictions)], ["car"])


def test_frames_and_categories_are_named_once():
    empty = frame(Boxes.empty(), Boxes.empty())
    with pytest.raises(DataError, match="f0 occurs twice"):
        evaluate([empty, empty], ["car"])
    for categories in ([], ["car", "car"], ["unicorn"]):
        with pytest.raises(ConfigError, match="cannot evaluate"):
            evaluate([empty], categories)


def test_comparison_is_paired():
    """Two models that err alike: each interval is wide, that of the difference is narrow."""
    frames = random_frames(3, 60, ["car"], groups=15)
    slightly_worse = [
        replace(f, predictions=f.predictions.take(np.arange(len(f.predictions)) != 0))
        if i % 6 == 0 else f
        for i, f in enumerate(frames)
    ]  # fmt: skip
    before, after = (evaluate(f, ["car"]) for f in (frames, slightly_worse))
    change = compare(before, after).classes[0]
    width = before.of("car").ap.high - before.of("car").ap.low
    assert change.value < 0
    assert change.high < 0
    assert change.high - change.low < width / 2


def test_comparison_sees_a_drop_of_one_category_only():
    frames = random_frames(4, 60, BOTH, groups=12)
    blind = [
        replace(f, predictions=f.predictions.take(f.predictions.category != "pedestrian"))
        for f in frames
    ]
    change = compare(evaluate(frames, BOTH), evaluate(blind, BOTH))
    car, pedestrian = change.classes
    assert change.per_class == {"car": car, "pedestrian": pedestrian}
    assert car.value == car.low == car.high == 0.0
    assert car.not_better == 1.0  # the same boxes are not better
    assert pedestrian.after == 0.0
    assert pedestrian.not_better == 1.0
    assert pedestrian.high < 0
    row = change.to_dict()["classes"][1]
    assert set(row) == {
        "category", "before", "after", "value", "low", "high", "num_boxes", "not_better"
    }  # fmt: skip
    assert type(change).from_dict(json.loads(json.dumps(change.to_dict()))) == change


def test_share_of_resamples_without_improvement():
    changes = np.array([0.02, 0.03, -0.01, 0.0, 0.04, np.nan])
    assert share_not_better(changes, 5) == 0.5  # two of four known ones; no change is no better
    assert np.isnan(share_not_better(changes, 1))
    assert np.isnan(share_not_better(np.array([0.1, np.nan]), 5))
    frames = random_frames(8, 60, ["car"], groups=15)
    fewer = [replace(f, predictions=f.predictions.take(np.arange(len(f.predictions)) != 0))
             if i % 6 == 0 else f for i, f in enumerate(frames)]  # fmt: skip
    worse, better = evaluate(fewer, ["car"]), evaluate(frames, ["car"])
    up, down = compare(worse, better).mean_ap, compare(better, worse).mean_ap
    assert up.value > 0
    assert up.not_better < 0.05
    assert down.not_better > 0.95


def test_a_comparison_of_before_there_was_a_share_can_be_read():
    frames = random_frames(9, 8, ["car"])
    row = compare(evaluate(frames, ["car"]), evaluate(frames, ["car"])).mean_ap.to_dict()
    del row["not_better"]
    assert np.isnan(Delta.from_dict(row).not_better)


def test_comparison_refuses_other_frames_or_categories():
    frames = random_frames(5, 8, BOTH)
    first = evaluate(frames, BOTH)
    with pytest.raises(DataError, match="different frames"):
        compare(first, evaluate(frames[:-1], BOTH))
    with pytest.raises(DataError, match="same list"):
        compare(first, evaluate(frames, BOTH[::-1]))


def test_slice_near_vehicle_takes_the_outline_not_the_centre():
    car = boxes_at([(10, 0)], size=(8.0, 2.0, 1.5))
    close = boxes_at([(16.5, 0)], "pedestrian")  # 6.5 m from the centre, 2.5 m from the bumper
    away = boxes_at([(10, 4.5)], "pedestrian")  # 3.5 m from the side
    frames = [
        frame(Boxes.concatenate([car, close]), with_score(close, np.array([0.8])), "near", "a"),
        frame(Boxes.concatenate([car, away]), Boxes.empty(), "apart", "b"),
        frame(close, Boxes.empty(), "without car", "c"),
    ]
    rows = {row["name"]: row for row in score_slices(frames, BOTH)}
    near = rows["pedestrian near vehicle"]
    assert (near["num_frames"], near["num_boxes"], near["near"]) == (1, 1, "vehicle")
    assert near["ap"] == pytest.approx(1.0)
    assert np.isnan(near["ap_low"])
    assert rows["pedestrian 0-20 m"]["num_boxes"] == 3
    assert rows["pedestrian 0-20 m"]["near"] == ""
    assert "car near vehicle" not in rows


def test_slices_agree_with_the_evaluation():
    frames = random_frames(6, 40, BOTH, groups=8)
    result = evaluate(frames, BOTH)
    rows = {row["name"]: row for row in score_slices(frames, BOTH)}
    for score in result.ranges:
        row = rows[f"{score.category} {score.range_min_m:.0f}-{score.range_max_m:.0f} m"]
        assert (row["ap"], row["ap_low"], row["ap_high"]) == (
            score.ap.value, score.ap.low, score.ap.high
        )  # fmt: skip


def test_near_slice_against_a_plain_loop():
    from training.evaluation.slices import frames_near_vehicle

    frames = random_frames(7, 50, ["car", "truck", "pedestrian"], boxes_per_frame=5)
    pool = pool_frames(frames, ["car", "truck", "pedestrian"], None)
    near = frames_near_vehicle(pool, "pedestrian")
    assert 0 < near.sum() < len(near)
    for i, fast in enumerate(near):
        truth = pool.truth.take(pool.truth_frame == i)
        assert fast == brute_near(truth)


def brute_near(truth):
    from shapely.geometry import Point, Polygon

    outlines = [Polygon(c) for c in truth.take(truth.category != "pedestrian").corners_bev_m()]
    people = truth.take(truth.category == "pedestrian").center_xyz_m
    return any(o.distance(Point(p[0], p[1])) <= 3.0 for p in people for o in outlines)


def test_no_torch_and_no_numba_until_something_is_evaluated():
    code = "import sys, training.evaluation; sys.exit(bool({'torch', 'numba'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
