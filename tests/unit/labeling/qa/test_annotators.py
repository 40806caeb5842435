"""Estimated biases against planted ones; cost and corrections against counted ones."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from labeling.clips import ClipResult, FrameAnswer
from labeling.qa.annotators import BIASES, measure_annotators
from labeling.qa.cost import corrections, measure_cost, seconds_per_box
from labeling.qa.honeypots import choose_honeypots
from labeling.qa.intervals import mean_by_block, ratio_by_block
from scene.box import Boxes
from scene.errors import LabelError
from tests.support.annotators import Person, random_street

GENEROUS = Person(
    offset_m=(0.12, -0.06, 0.05), size_m=(0.25, 0.10, 0.05), yaw_deg=2.0, miss=0.05, flip=0.02
)
TIGHT = Person(
    offset_m=(-0.08, 0.03, 0.0), size_m=(-0.15, -0.06, -0.04), yaw_deg=-1.0, ghost=0.1, noise_m=0.1
)


def planted(person):
    values = [*(100 * v for v in (*person.offset_m, *person.size_m)), person.yaw_deg]
    return dict(zip(BIASES, values, strict=True))


def result(task, frames, annotator="a", seconds=60.0, recording="r"):
    return ClipResult(task, recording, frames, annotator, f"x/{task}/{annotator}", seconds, 0)


def honeypots(seed, num_frames=12, num_boxes=15):
    rng = np.random.default_rng(seed)
    known = {("r", t): random_street(rng, num_boxes) for t in range(num_frames)}
    results = [
        result(f"{t}", {t: FrameAnswer.manual(person.label(truth, rng))}, name)
        for name, person in (("generous", GENEROUS), ("tight", TIGHT))
        for (_, t), truth in known.items()
    ]
    return results, known


def test_intervals_cover_planted_biases():
    covered = total = 0
    for seed in range(6):
        results, known = honeypots(seed)
        rows = {row.annotator: row for row in measure_annotators(results, known)}
        for name, person in (("generous", GENEROUS), ("tight", TIGHT)):
            for bias, true in planted(person).items():
                estimate = getattr(rows[name], bias)
                covered += estimate.low <= true <= estimate.high
                total += 1
                assert estimate.high - estimate.low < 8.0
    assert total == 84
    assert covered / total > 0.90  # 0.95 in the long run


def test_precision_recall_and_flips():
    results, known = honeypots(0, num_frames=30)
    rows = {row.annotator: row for row in measure_annotators(results, known)}
    assert rows["generous"].recall.value == pytest.approx(0.95, abs=0.03)
    assert rows["generous"].precision.value > 0.98
    assert rows["tight"].recall.value > 0.98
    assert rows["tight"].precision.value == pytest.approx(1 / 1.1, abs=0.03)
    assert rows["generous"].flips.value == pytest.approx(0.02, abs=0.02)
    assert rows["tight"].score == pytest.approx(2 / 2.1, abs=0.03)
    assert rows["generous"].num_known == 30


def test_who_boxes_nothing_or_only_what_is_not_there_scores_nothing():
    street, nothing = random_street(np.random.default_rng(3), 5), Boxes.empty()
    known = {("r", 0): street, ("r", 1): nothing}
    answers = {"idle": {0: nothing}, "false": {1: street}, "right": {1: nothing}}
    results = [
        result(name, {time: FrameAnswer.manual(boxes) for time, boxes in frames.items()}, name)
        for name, frames in answers.items()
    ]
    scores = {row.annotator: row.score for row in measure_annotators(results, known)}
    assert (scores["idle"], scores["false"]) == (0.0, 0.0)
    assert np.isnan(scores["right"])  # nothing to find, nothing found: no measure of anybody


def test_frames_without_a_known_answer_say_nothing_about_errors():
    results, _ = honeypots(1, num_frames=3)
    row = measure_annotators(results, {})[0]
    assert row.num_known == 0
    assert np.isnan(row.along_cm.value)
    assert np.isnan(row.score)
    assert row.seconds_per_box.value > 0
    assert f"{row.along_cm:.1f}" == "-"


def frame(kept=0, changed=0, manual=0, deleted=0):
    count = kept + changed + manual
    boxes = Boxes.make(
        np.arange(3 * count).reshape(count, 3),
        np.ones((count, 3)),
        np.zeros(count),
        ["car"] * count,
    )
    origin = ["prediction"] * kept + ["prediction-changed"] * changed + ["manual"] * manual
    return FrameAnswer(boxes, np.array(origin, dtype=np.str_), deleted)


def test_cost_with_and_without_prelabels():
    rng = np.random.default_rng(0)
    results = []
    for task in range(20):
        kept, changed, manual, deleted = (int(v) for v in rng.integers(1, 9, 4))
        seconds = 1.0 * kept + 6.0 * changed + 20.0 * manual + 2.0 * deleted + 5.0
        results.append(
            result(f"p{task}", {0: frame(kept, changed, manual, deleted)}, seconds=seconds)
        )
        alone = int(rng.integers(2, 9))
        results.append(result(f"m{task}", {0: frame(manual=alone)}, seconds=20.0 * alone + 5.0))
    results.append(result("untimed", {0: frame(manual=4)}, seconds=float("nan")))
    rows = {row.name: row for row in measure_cost(results)}
    assert rows["all"].num_tasks == 40
    assert rows["without prelabels"].seconds.value > 20.0
    assert rows["with prelabels"].seconds.value < rows["without prelabels"].seconds.value
    for name, seconds in (
        ("prediction", 1.0), ("prediction-changed", 6.0), ("manual", 20.0), ("deleted", 2.0),
        ("frame", 5.0),
    ):  # fmt: skip
        assert rows[name].seconds.value == pytest.approx(seconds, abs=1e-6)


def test_correction_rate_counts_changed_and_deleted():
    results = [result("a", {0: frame(kept=6, changed=1, deleted=1), 1: frame(kept=2, manual=5)})]
    assert corrections(results).value == pytest.approx(0.2)
    assert corrections(results).num == 10
    assert np.isnan(corrections([result("b", {0: frame(manual=3)})]).value)
    assert corrections([]).num == 0
    assert measure_cost([]) == []


def test_empty_frames_cost_time_too():
    tasks = [result("a", {0: frame(manual=2)}, seconds=40.0), result("b", {0: frame()}, seconds=10)]
    assert seconds_per_box(tasks).value == pytest.approx(25.0)


@given(values=st.lists(st.floats(-100, 100), min_size=2, max_size=40))
@settings(max_examples=30, deadline=None)
def test_the_interval_holds_the_mean(values):
    estimate = mean_by_block(np.array(values), np.arange(len(values)) // 2)
    assert estimate.value == pytest.approx(np.mean(values), abs=1e-9)
    assert estimate.low <= estimate.value + 1e-9
    assert estimate.high >= estimate.value - 1e-9


def test_one_block_has_no_interval():
    estimate = ratio_by_block(np.ones(3), np.ones(3), np.zeros(3, dtype=np.int64))
    assert (estimate.value, estimate.low, estimate.high) == (1.0, -np.inf, np.inf)


@given(count=st.integers(0, 200), more=st.integers(0, 50), share=st.floats(0, 0.3))
@settings(max_examples=40, deadline=None)
def test_honeypots_are_a_fixed_share_and_stay_chosen(count, more, share):
    known = [("r", t) for t in range(60)]
    first = choose_honeypots(known, count, share)
    assert first == choose_honeypots(reversed(known), count, share)
    assert len(first) == min(60, int(np.ceil(count * share)) if share else 0)
    assert set(first) <= set(choose_honeypots(known, count + more, share))


def test_answers_are_checked():
    with pytest.raises(LabelError, match="no frame"):
        result("a", {})
    with pytest.raises(LabelError, match="origin 'guess' is unknown"):
        FrameAnswer(frame(manual=1).boxes, np.array(["guess"]))
    with pytest.raises(LabelError, match="origins of shape"):
        FrameAnswer(frame(manual=2).boxes, np.array(["manual"]))
    with pytest.raises(LabelError, match="'fine' is none of"):
        ClipResult("t", "r", {0: frame()}, "a", "x", 1.0, 0, review="fine")
