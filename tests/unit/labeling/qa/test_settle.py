"""Whose word counts for a frame."""

from dataclasses import replace

import numpy as np
import pytest

from labeling.clips import ClipResult, FrameAnswer
from labeling.qa.settle import Disputed, Settled, seconds_of_frame, settle_frame
from scene.box import Boxes


def car(x=10.0, track="t1"):
    return Boxes.make([[x, 0, 1]], [[4.5, 1.9, 1.7]], [0.0], ["car"], track_id=[track])


def says(boxes, who, when=0, seconds=30.0, **kwargs):
    answer = FrameAnswer.manual(boxes)
    return ClipResult("t", "r", {5: answer}, who, f"e/{who}/{when}", seconds, when, **kwargs)


def test_one_person_stands_and_the_newest_answer_counts():
    found = settle_frame(5, [says(car(9.0), "a", 2), says(car(8.0), "a", 1)])
    assert isinstance(found, Settled)
    assert found.answer.boxes.center_xyz_m[0, 0] == 9.0
    assert (found.annotator, found.review, found.seconds) == ("a", "submitted", 60.0)


def test_people_who_agree_meet_in_the_middle_with_ids_of_the_first():
    found = settle_frame(5, [says(car(10.1, "x7"), "b"), says(car(10.0, "t1"), "a")])
    assert isinstance(found, Settled)
    assert found.annotator == "a+b"
    assert found.answer.boxes.center_xyz_m[0, 0] == pytest.approx(10.05)
    assert found.answer.boxes.track_id.tolist() == ["t1"]
    assert found.answer.origin.tolist() == ["manual"]


def test_people_who_disagree_ask_a_reviewer_whose_word_is_last():
    two = [says(car(10.0), "a"), says(Boxes.empty(), "b", seconds=10.0)]
    found = settle_frame(5, two)
    assert isinstance(found, Disputed)
    assert found.disputes[0].kind == "missing"
    assert len(found.proposal.boxes) == 1
    decided = settle_frame(5, [*two, says(car(10.2), "c", 9, purpose="review")])
    assert isinstance(decided, Settled)
    assert (decided.annotator, decided.review) == ("c", "fixed")
    assert decided.seconds == 70.0


def test_accepted_answers_win_and_rejected_ones_do_not_count():
    found = settle_frame(5, [says(car(10.0), "a", review="accepted"), says(car(20.0), "b", 9)])
    assert isinstance(found, Settled)
    assert (found.annotator, found.review) == ("a", "accepted")
    alone = settle_frame(5, [says(car(10.0), "a", review="rejected"), says(car(20.0), "b")])
    assert isinstance(alone, Settled)
    assert alone.annotator == "b"
    assert settle_frame(5, [says(car(), "a", review="rejected")]) is None
    assert settle_frame(6, [says(car(), "a")]) is None


def test_an_empty_frame_can_be_agreed_on():
    found = settle_frame(5, [says(Boxes.empty(), "a"), says(Boxes.empty(), "b")])
    assert isinstance(found, Settled)
    assert len(found.answer.boxes) == 0


def test_time_of_a_clip_is_shared_by_its_boxes():
    two = FrameAnswer.manual(Boxes.concatenate([car(0.0), car(20.0)]))
    clip = replace(says(car(), "a"), frames={5: two, 6: FrameAnswer.manual(Boxes.empty())})
    assert seconds_of_frame(clip, 5) == pytest.approx(22.5)
    assert seconds_of_frame(clip, 5) + seconds_of_frame(clip, 6) == pytest.approx(clip.seconds)
    unknown = settle_frame(5, [says(car(), "a", seconds=np.nan)])
    assert isinstance(unknown, Settled)
    assert np.isnan(unknown.seconds)
