import numpy as np
import pytest

from labeling.clips import ClipResult, FrameAnswer
from labeling.qa.annotators import measure_annotators
from labeling.qa.intervals import NOTHING
from loop.label_quality import LabelQuality, TaskCounts
from scene.box import Boxes
from tests.support.annotators import random_street


def test_a_person_of_whom_nothing_is_known_does_not_hide_the_score_of_the_others():
    street = random_street(np.random.default_rng(3), 5)
    known = {("r", 0): street, ("r", 1): Boxes.empty()}
    answers = (("good", 0, street), ("idle", 0, Boxes.empty()), ("new", 1, Boxes.empty()))
    results = [
        ClipResult(name, "r", {time: FrameAnswer.manual(boxes)}, name, name, 9.0, 0)
        for name, time, boxes in answers
    ]
    counts, people = TaskCounts(3, 3, 3, 0, 0, 0, 0), measure_annotators(results, known)
    quality = LabelQuality(counts, [], people, [], NOTHING, [], 0, 0)
    assert quality.honeypot_score == pytest.approx(0.5)
