"""Scores by condition: what adds up, what a plain loop says, what nobody knows."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import replace

import numpy as np
import pytest

from scene.box import Boxes
from tests.support.detections import random_frames
from training.evaluation import ConditionScore, evaluate, score_conditions
from training.evaluation.conditions import UNKNOWN, visible_share

BOTH = ["car", "pedestrian"]
NOTHING: dict[str, str] = {}


@pytest.fixture(scope="module")
def frames():
    rng = np.random.default_rng(0)
    return [
        replace(f, truth=replace(f.truth, num_points=rng.integers(-1, 150, len(f.truth))))
        for f in random_frames(3, 40, BOTH, groups=8)
    ]


def by_name(
    scores: list[ConditionScore], category: str = ""
) -> dict[tuple[str, str], ConditionScore]:
    return {(s.kind, s.value): s for s in scores if s.category == category}


def test_the_boxes_of_a_kind_add_up_to_all_that_are_evaluated(frames):
    scores = score_conditions(frames, [NOTHING] * len(frames), BOTH)
    total = sum(score.num_boxes for score in evaluate(frames, BOTH).classes)
    for category in ("", *BOTH):
        counted = Counter()
        for score in scores:
            if score.category == category:
                counted[score.kind] += score.num_boxes
        assert len(set(counted.values())) == 1, counted
        assert len(counted) == 6
    assert sum(s.num_boxes for s in by_name(scores).values() if s.kind == "points") == total


def test_one_condition_that_holds_everywhere_is_the_evaluation_itself(frames):
    known = [{"source": "kitti, velodyne"}] * len(frames)
    scores = score_conditions(frames, known, BOTH, resamples=50, seed=3)
    result = evaluate(frames, BOTH, resamples=50, seed=3)
    assert by_name(scores)["source", "kitti, velodyne"].ap == result.mean_ap
    for category in BOTH:
        one = by_name(scores, category)["source", "kitti, velodyne"]
        assert one.ap == result.of(category).ap
        assert one.num_boxes == result.of(category).num_boxes
    assert by_name(scores)["place", UNKNOWN].ap == result.mean_ap
    assert ("source", UNKNOWN) not in by_name(scores)


def test_frames_are_told_apart_by_what_is_known_of_them(frames):
    known = [{"place": "north"} if i % 3 == 0 else {} for i in range(len(frames))]
    scores = by_name(score_conditions(frames, known, BOTH, resamples=20))
    north = evaluate([f for i, f in enumerate(frames) if i % 3 == 0], BOTH, resamples=0)
    assert scores["place", "north"].ap.value == pytest.approx(north.mean_ap.value, abs=1e-12)
    rest = evaluate([f for i, f in enumerate(frames) if i % 3], BOTH, resamples=0)
    assert scores["place", UNKNOWN].ap.value == pytest.approx(rest.mean_ap.value, abs=1e-12)
    holding = [i for i, f in enumerate(frames) if i % 3 == 0 and (f.truth.num_points != 0).any()]
    assert scores["place", "north"].num_frames == len(holding)


def test_many_places_are_cut_to_those_with_the_most_boxes(frames):
    known = [{"place": f"cell {i}"} for i in range(len(frames))]
    places = [s for s in by_name(score_conditions(frames, known, BOTH, resamples=0)).values()
              if s.kind == "place"]  # fmt: skip
    assert len(places) == 25
    assert places[-1].value == "others"
    assert max(s.num_boxes for s in places[:-1]) >= min(s.num_boxes for s in places[:-1]) > 0


def test_a_place_called_others_is_counted_once(frames):
    known = [{"place": ("others", "berlin")[i % 2]} for i in range(len(frames))]
    scores = [s for s in score_conditions(frames, known, BOTH) if s.kind == "place"]
    names = [(s.value, s.category) for s in scores]
    assert len(names) == len(set(names))
    assert {s.value for s in scores} == {"others", "berlin"}


def test_a_false_alarm_counts_at_its_own_speed_and_has_no_points():
    car = Boxes.make(
        np.array([[10.0, 0, 0.8], [20.0, 5, 0.8]]), np.tile([4.0, 2.0, 1.5], (2, 1)), np.zeros(2),
        ["car", "car"], velocity_xy_mps=np.array([[0.0, 0.1], [12.0, 0.0]]),
        num_points=np.array([300, 4]),
    )  # fmt: skip
    alarm = Boxes.make(
        np.array([[30.0, -8, 0.8]]), np.array([[4.0, 2.0, 1.5]]), np.zeros(1), ["car"],
        velocity_xy_mps=np.array([[11.0, 0.0]]),
    )  # fmt: skip
    found = Boxes.concatenate([alarm, car])
    from training.evaluation import EvalFrame

    one = EvalFrame("f", "g", car, replace(found, score=np.array([0.95, 0.9, 0.8])))
    scores = by_name(score_conditions([one], [NOTHING], ["car"], resamples=0))
    assert scores["speed", "under 0.5 m/s"].ap.value == pytest.approx(1.0)
    assert scores["speed", "over 10 m/s"].ap.value < 0.6  # the alarm comes first
    assert np.isnan(scores["points", "1-5"].ap.value)
    assert scores["points", "1-5"].recall.value == 1.0
    assert scores["points", "over 100"].num_boxes == 1
    assert scores["visible", UNKNOWN].num_boxes == 2  # two boxes say nothing of the lidar


def test_recall_against_a_plain_loop(frames):
    scores = score_conditions(frames, [NOTHING] * len(frames), ["car"], resamples=0)
    result = evaluate(frames, ["car"], resamples=0)
    (m,) = result.matches
    best, cut = -1.0, 0
    hits = 0
    for i, taken in enumerate(m.match[2]):
        hits += taken >= 0
        f1 = 2 * hits / (i + 1 + len(m.truth_frame))
        if f1 > best:
            best, cut = f1, i
    found = {int(t) for t in m.match[2][: cut + 1] if t >= 0}
    speeds = []
    for f in frames:
        mine = f.truth.take((f.truth.category == "car") & (f.truth.num_points != 0))
        mine = mine.take(mine.range_m() < 50)
        speeds += np.hypot(*mine.velocity_xy_mps.T).tolist()
    slow = [i for i, speed in enumerate(speeds) if 0.5 <= speed < 3]
    expected = sum(i in found for i in slow) / len(slow)
    assert by_name(scores, "car")["speed", "0.5-3 m/s"].recall.value == pytest.approx(expected)
    unknown = [i for i, speed in enumerate(speeds) if np.isnan(speed)]
    assert by_name(scores, "car")["speed", UNKNOWN].num_boxes == len(unknown) > 0


def test_visible_share_does_not_depend_on_distance_or_heading():
    rng = np.random.default_rng(1)
    count = 200
    angle, range_m = rng.uniform(-np.pi, np.pi, count), rng.uniform(5, 50, count)
    yaw = rng.uniform(-np.pi, np.pi, count)
    center = np.stack([range_m * np.cos(angle), range_m * np.sin(angle), np.zeros(count)], 1)
    size = np.tile([4.0, 2.0, 1.5], (count, 1))
    turn = yaw - angle
    outline = (4 * np.abs(np.sin(turn)) + 2 * np.abs(np.cos(turn))) * 1.5
    hidden = np.arange(count) % 4 == 0
    share = np.where(hidden, 0.1, 1.0)
    points = np.maximum(1, (1e5 * share * outline / range_m**2)).astype(np.int64)
    boxes = Boxes.make(center, size, yaw, ["car"] * count, num_points=points)
    found = visible_share(boxes, np.full(count, "lidar"))
    np.testing.assert_allclose(found, share, atol=0.06)
    few = visible_share(boxes.take(np.arange(19)), np.full(19, "lidar"))
    assert np.isnan(few).all()
    uncounted = visible_share(replace(boxes, num_points=np.full(count, -1)), np.full(count, "x"))
    assert np.isnan(uncounted).all()


def test_scores_survive_json_and_nothing_at_all_is_no_error(frames):
    scores = score_conditions(frames, [NOTHING] * len(frames), BOTH, resamples=20)
    text = json.dumps([score.to_dict() for score in scores], allow_nan=False)
    back = [ConditionScore.from_dict(row) for row in json.loads(text)]
    assert [repr(score) for score in back] == [repr(score) for score in scores]
    assert score_conditions([], [], BOTH) == []
