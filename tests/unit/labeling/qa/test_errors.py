"""The error finder on a small made-up drive, one planted fault at a time."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from labeling.qa.errors import find_errors
from labeling.qa.labels import LabelSet
from labeling.qa.point_stats import PointStats, stats_of_boxes
from labeling.qa.priors import SizePriors, surprise
from labeling.qa.skew import motion_skew, skewed_labels
from labeling.qa.suspicion import LOOK_SCORE
from scene.box import Boxes, points_in_boxes
from scene.pose import Trajectory
from scene.sweep import Sweep
from tests.support.label_faults import (
    KINDS,
    at_random,
    by_model_score,
    hits,
    jittered_detections,
    plant,
)

STEP_NS = 200_000_000
NUM_FRAMES = 10


def drive(seed=0):
    """Return labels of ten frames, sweeps with points in the boxes, and the ego's poses."""
    rng = np.random.default_rng(seed)
    num = 24
    person = np.arange(num) % 4 == 3
    place = np.column_stack(
        [(np.arange(num) // 4) * 12.0 - 20.0, (np.arange(num) % 4) * 9.0 - 14.0]
    )
    speed = np.where(person, 1.2, np.where(np.arange(num) % 2, 0.0, 8.0))
    yaw = np.where(np.arange(num) % 4 == 2, np.pi, 0.0) + 0.05  # one direction a lane
    size = np.where(person[:, None], [0.7, 0.7, 1.75], [4.5, 1.9, 1.6]) * rng.uniform(
        0.95, 1.05, (num, 3)
    )
    times = np.arange(NUM_FRAMES) * STEP_NS
    quat = np.tile([1.0, 0, 0, 0], (NUM_FRAMES, 1))
    ego = np.column_stack([5.0 * times / 1e9, np.zeros(NUM_FRAMES), np.zeros(NUM_FRAMES)])
    frames, sweeps = {}, []
    for i, time in enumerate(times.tolist()):
        way = speed * time / 1e9
        center = np.column_stack(
            [place[:, 0] + way * np.cos(yaw), place[:, 1] + way * np.sin(yaw), size[:, 2] / 2]
        )
        center[:, :2] += rng.normal(0, 0.02, (num, 2))
        local = rng.uniform(-0.48, 0.48, (num, 400, 3)) * size[:, None]
        cos, sin = np.cos(yaw)[:, None], np.sin(yaw)[:, None]
        points = center[:, None] + np.stack(
            [local[..., 0] * cos - local[..., 1] * sin, local[..., 0] * sin + local[..., 1] * cos,
             local[..., 2]], axis=2)  # fmt: skip
        points = points - ego[i]
        range_m = np.linalg.norm(center[:, :2] - ego[i, :2], axis=1)
        seen = rng.random((num, 400)) < np.minimum(1.0, (10.0 / range_m) ** 2)[:, None]
        counts = seen.sum(axis=1)
        points = points[seen].astype(np.float32)
        category = np.where(person, "pedestrian", "car")
        tracks = [f"t{k}" for k in range(num)]
        frames[time] = Boxes.make(center - ego[i], size, yaw, category, None, tracks, None, counts)
        zeros = np.zeros(len(points))
        sweeps.append(Sweep(time, points, zeros.astype(np.float32), zeros.astype(np.int32)))
    return frames, sweeps, Trajectory(times, quat, ego)


FRAMES, SWEEPS, POSES = drive()
TIMES = sorted(FRAMES)


def find(frames, **kwargs):
    return find_errors(LabelSet.make("r", frames, POSES), SWEEPS, **kwargs)


def edit(change, when=(5,), track=4):
    """Return the labels with the box of one track changed in some frames (None removes it)."""
    result = dict(FRAMES)
    for i in when:
        boxes = FRAMES[TIMES[i]]
        one = change(boxes.take(np.array([track])))
        rest = np.setdiff1d(np.arange(len(boxes)), [track])
        result[TIMES[i]] = (
            boxes.take(rest) if one is None else Boxes.concatenate([boxes.take(rest), one])
        )
    return result


def test_good_labels_raise_no_alarm():
    assert [s for s in find(FRAMES) if s.score > 1.6] == []


@pytest.mark.parametrize("when", [(5,), (4, 5, 6, 7)])
@pytest.mark.parametrize(
    ("change", "kind", "words"),
    [
        (
            lambda b: replace(b, center_xyz_m=b.center_xyz_m + np.array([0.6, 0.5, 0])),
            "place",
            "track",
        ),
        (lambda b: replace(b, yaw_rad=b.yaw_rad + 0.8), "heading", " 46 deg"),
        (lambda b: replace(b, yaw_rad=b.yaw_rad - np.pi), "heading", " 180 deg"),
        (lambda b: replace(b, category=np.array(["bus"])), "class", "another class"),
        (lambda b: replace(b, size_lwh_m=b.size_lwh_m * 1.4), "size", "differs by 40 %"),
        (lambda b: None, "missing", "pauses for"),
    ],
)
def test_a_planted_fault_is_named_first(change, kind, words, when):
    worst = find(edit(change, when))[0]
    assert worst.kind == kind
    assert words in worst.reason
    assert worst.track_id == "t4"
    if kind == "missing":
        assert worst.absent_ns == tuple(TIMES[i] for i in when)
    else:
        last = len(FRAMES[TIMES[0]]) - 1
        assert {(TIMES[i], last) for i in when} & set(worst.members)


def test_exchanged_ids_are_one_suspicion():
    frames = dict(FRAMES)
    for time in TIMES[5:]:
        names = FRAMES[time].track_id.copy()
        names[[0, 1]] = names[[1, 0]]
        frames[time] = replace(FRAMES[time], track_id=names)
    found = find(frames)
    assert found[0].kind == "track"
    assert set(found[0].members) == {(TIMES[5], 0), (TIMES[5], 1)}
    assert found[0].score > 3 * found[1].score


def test_a_detector_finds_whole_tracks_that_are_missing_or_misnamed():
    rng = np.random.default_rng(1)
    detections = jittered_detections(FRAMES, rng)
    gone = find(edit(lambda b: None, range(NUM_FRAMES)), detections=detections)
    assert any(s.kind == "missing" and "no label" in s.reason for s in gone[:3])
    named = edit(lambda b: replace(b, category=np.array(["truck"])), range(NUM_FRAMES))
    assert any(
        s.kind == "class" and s.track_id == "t4" for s in find(named, detections=detections)[:3]
    )
    nothing = dict.fromkeys(FRAMES, Boxes.empty())
    assert len(find(nothing, detections=detections)) >= 20


def test_clusters_without_a_label_are_told_last():
    clusters = {t: replace(b, score=np.full(len(b), 0.8)) for t, b in FRAMES.items()}
    found = find(edit(lambda b: None, range(NUM_FRAMES)), clusters=clusters)
    (told,) = [s for s in found if s.kind == "missing" and s.score > 1.0]
    assert told.reason.startswith("a cluster of points in 10 frames")
    assert told.score < 1.6


def test_a_list_beats_random_and_model_scores():
    rng = np.random.default_rng(5)
    wrong, faults = plant(FRAMES, 10, rng)
    assert {f.kind for f in faults} == set(KINDS)
    detections = jittered_detections(FRAMES, rng)
    places = {
        "ours": find(wrong), "score": by_model_score(wrong, detections, rng),
        "random": at_random(wrong, rng),
    }  # fmt: skip
    precision = {n: (hits(found, faults)[: len(faults)] >= 0).mean() for n, found in places.items()}
    assert precision["ours"] >= 0.7
    assert precision["ours"] > 2 * max(precision["score"], precision["random"])


def test_finding_a_fault_twice_counts_once():
    wrong, faults = plant(FRAMES, 5, np.random.default_rng(2))
    found = find(wrong)
    twice = [s for s in found for _ in range(2)]
    assert (hits(twice, faults) >= 0).sum() == (hits(found, faults) >= 0).sum()


def test_points_in_and_around_boxes_are_counted():
    boxes = FRAMES[0]
    found = stats_of_boxes(SWEEPS[0], boxes)
    points = SWEEPS[0].points_ego_m
    lift = np.minimum(0.3, 0.25 * boxes.size_lwh_m[:, 2])
    raised = replace(
        boxes,
        center_xyz_m=boxes.center_xyz_m + np.outer(lift / 2, [0, 0, 1]),
        size_lwh_m=boxes.size_lwh_m - np.outer(lift, [0, 0, 1]),
    )
    np.testing.assert_array_equal(found.num_inside, points_in_boxes(points, raised).sum(axis=1))
    ahead = replace(boxes, center_xyz_m=boxes.center_xyz_m + np.array([0.3, 0, 0]))
    sticking = stats_of_boxes(SWEEPS[0], ahead).num_beyond
    side = np.where(np.cos(boxes.yaw_rad) > 0, 1, 0)  # behind those that look ahead
    cars = np.flatnonzero((boxes.category == "car") & (found.num_inside > 100))
    assert len(cars) > 3
    assert (sticking.argmax(axis=1)[cars] == side[cars]).all()


def test_skew_of_labels_at_the_sweeps_start():
    labels = LabelSet.make("r", FRAMES, POSES)
    fast = np.nan_to_num(labels.speed_mps()) > 3
    points = PointStats.unknown(len(labels))
    points.num_inside[:] = 20
    points.time_ns[:] = 60e6
    points.num_beyond[:, 0] = 9
    skew = motion_skew(labels, points)
    assert skew.num_boxes == fast.sum() > 0
    assert skew.median_m == pytest.approx(8.0 * 0.06, abs=0.03)
    assert (skew.share, skew.lead) == (1.0, 1.0)
    assert motion_skew(labels, PointStats.unknown(len(labels))).num_boxes == 0
    assert skewed_labels(labels, points) == []  # they stick out: the boxes hold for their time
    points.num_beyond[:, 1] = 9
    [found] = skewed_labels(labels, points)
    assert (found.kind, found.score) == ("skew", LOOK_SCORE)
    assert np.nan_to_num(labels.speed_mps())[motion_skew(labels, points).worst] == pytest.approx(
        np.nan_to_num(labels.speed_mps()).max()
    )


def test_surprise_is_against_the_own_kind_where_there_are_enough():
    rng = np.random.default_rng(0)
    values = np.concatenate([rng.exponential(1.0, 400), rng.exponential(10.0, 400), [10.0]])
    group = np.array(["a"] * 400 + ["b"] * 400 + ["few"])
    found = surprise(values, group, 0.01)
    assert 0.03 < (found[:400] > 1).mean() < 0.07
    assert 0.03 < (found[400:800] > 1).mean() < 0.07
    assert found[800] < 1
    assert (surprise(np.full(50, 0.01), np.full(50, "a"), 0.1) <= 0.1 + 1e-12).all()
    assert (surprise(np.full(3, np.nan), np.full(3, "a"), 0.1) == 0).all()


def test_size_priors_prefer_the_right_class():
    priors = SizePriors.learn(np.zeros((0, 3)), np.zeros(0, dtype=str), np.zeros(0, dtype=str))
    from scene.taxonomy import CATEGORIES

    sizes = np.array([c.size_lwh_m for c in CATEGORIES])
    assert priors.distance(sizes).argmin(axis=1).tolist() == list(range(len(CATEGORIES)))


def test_labels_without_tracks_or_boxes():
    bare = {t: replace(b, track_id=np.full(len(b), "")) for t, b in FRAMES.items()}
    assert all(s.kind in {"place", "class", "size", "heading"} for s in find(bare))
    assert find(dict.fromkeys(FRAMES, Boxes.empty())) == []
