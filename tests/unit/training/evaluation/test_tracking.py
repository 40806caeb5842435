from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from scene.box import Boxes
from scene.errors import DataError
from scene.pose import SE3
from tests.support.detections import with_score
from tests.support.tracked_frames import NAMES, boxes_at, named, tracked_frames, without_gaps
from tests.support.tracking_devkit import (
    INSTALL,
    clear_with_motmetrics,
    evaluate_with_devkit,
    load_tracking_devkit,
)
from training.evaluation import EvalFrame
from training.evaluation.tracking import evaluate_tracking

DEVKIT = load_tracking_devkit()
with_devkit = pytest.mark.skipif(DEVKIT is None, reason=f"oracle missing: {INSTALL}")


CASES = {
    "usual": lambda: tracked_frames(0, length=7, objects=3),
    "many switches": lambda: tracked_frames(1, scenes=1, objects=4, switch=0.3),
    "crowded": lambda: tracked_frames(2, scenes=1, length=4, objects=12, names=["car"]),
    "mostly missed": lambda: tracked_frames(3, scenes=1, miss=0.85),
    "mostly invented": lambda: tracked_frames(4, scenes=1, length=6, clutter=9.0, names=["bus"]),
    "no predictions": lambda: [
        EvalFrame(f.frame_id, f.group, f.truth, Boxes.empty()) for f in tracked_frames(6)
    ],
}


@with_devkit
@pytest.mark.filterwarnings("ignore")
@pytest.mark.slow
@pytest.mark.parametrize("case", ["usual", "mostly missed", "no predictions"])
def test_equal_to_the_official_devkit(case):
    frames = CASES[case]()
    official = evaluate_with_devkit(DEVKIT, frames, NAMES)
    ours = evaluate_tracking(frames, NAMES).classes
    for name in NAMES:
        expected = dict(official[name])
        found = {"amota": ours[name].amota, "amotp": ours[name].amotp_m, **ours[name].at_best}
        assert set(found) == set(expected)
        for metric, value in expected.items():
            np.testing.assert_allclose(
                found[metric], value, rtol=0, atol=1e-9, err_msg=f"{name} {metric}"
            )


@with_devkit
@pytest.mark.filterwarnings("ignore")
@pytest.mark.slow
@pytest.mark.parametrize("case", CASES)
def test_equal_to_motmetrics(case):
    frames = without_gaps(CASES[case]())
    ours = evaluate_tracking(frames, NAMES).clear
    for name in NAMES:
        expected = clear_with_motmetrics(frames, name, 2.0)
        mine = ours[name]
        if not mine.num_boxes:
            continue
        found = {
            "mota": mine.mota, "motp": mine.motp_m, "idf1": mine.idf1,
            "num_switches": mine.switches, "num_fragmentations": mine.fragments,
            "mostly_tracked": mine.mostly_tracked, "mostly_lost": mine.mostly_lost,
            "num_misses": mine.misses, "num_false_positives": mine.false_positives,
            "num_matches": mine.matches,
        }  # fmt: skip
        for metric, value in expected.items():
            np.testing.assert_allclose(
                found[metric], value, rtol=0, atol=1e-9, err_msg=f"{name} {metric}"
            )


def simple(xs, tracks, scores=None):
    boxes = boxes_at(np.column_stack([xs, np.zeros(len(xs))]), ["car"] * len(xs), tracks)
    return boxes if scores is None else named(with_score(boxes, np.array(scores)), tracks)


def test_a_swap_of_two_tracks_worked_out_by_hand():
    frames = []
    for time in range(4):
        names = ["p", "q"] if time < 2 else ["q", "p"]
        truth = simple([0.0, 10.0], ["a", "b"])
        frames.append(EvalFrame(str(time), "s", truth, simple([0.0, 10.0], names, [0.9, 0.9])))
    score = evaluate_tracking(frames, ["car"]).total
    assert (score.matches, score.switches, score.misses, score.false_positives) == (6, 2, 0, 0)
    assert score.mota == pytest.approx(0.75)
    assert score.idf1 == pytest.approx(0.5)
    assert score.recall == 1.0
    assert score.mostly_tracked == 2


def test_gaps_are_filled_in_the_map_frame():
    # The ego drives 1 m a frame; the object stands at x = 10 of the map.
    poses = {str(t): SE3(np.eye(3), np.array([float(t), 0, 0])) for t in range(3)}
    truth = [simple([10.0 - t], ["a"]) for t in range(3)]
    found = [simple([10.0], ["p"], [0.8]), Boxes.empty(), simple([8.0], ["p"], [0.8])]
    frames = [
        EvalFrame(str(t), "s", one, other)
        for t, (one, other) in enumerate(zip(truth, found, strict=True))
    ]
    score = evaluate_tracking(frames, ["car"], map_SE3_ego=poses)
    assert score.total.mota == 1.0
    assert score.total.motp_m == pytest.approx(0.0)
    assert score.amota == pytest.approx(1.0)


def test_a_long_gap_is_filled_right_unless_it_is_to_equal_the_devkit():
    xs = [0.0, 1.5, 3.0, 4.5]
    frames = [
        EvalFrame(str(t), "s", simple([x], ["a"]), simple([x], ["p"], [0.5]))
        for t, x in enumerate(xs)
    ]
    gap = [
        replace(f, predictions=f.predictions if t in (0, 3) else Boxes.empty())
        for t, f in enumerate(frames)
    ]
    right = evaluate_tracking(gap, ["car"], mirrored_gaps=False).total
    assert (right.mota, right.motp_m) == (1.0, 0.0)
    assert evaluate_tracking(gap, ["car"]).total.motp_m == pytest.approx(0.75)


def test_without_truth_everything_is_nan():
    frames = [EvalFrame("a", "s", Boxes.empty(), simple([1.0], ["p"], [0.5]))]
    score = evaluate_tracking(frames, ["car"])
    assert np.isnan(score.amota)
    assert np.isnan(score.total.mota)
    assert score.total.false_positives == 1


def test_boxes_without_track_or_twice_in_a_frame_are_refused():
    good = simple([1.0], ["a"])
    with pytest.raises(DataError, match="frame f1: a box has no track id"):
        evaluate_tracking([EvalFrame("f1", "s", simple([1.0], [""]), Boxes.empty())], ["car"])
    twice = simple([1.0, 5.0], ["p", "p"], [0.5, 0.6])
    with pytest.raises(DataError, match="frame f1: track 'p' is there twice"):
        evaluate_tracking([EvalFrame("f1", "s", good, twice)], ["car"])
