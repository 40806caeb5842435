"""Agreement, consensus and alpha on people whose mistakes are known."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from labeling.qa.agreement import compare_frame, measure_agreement
from labeling.qa.alpha import gwet_ac1, krippendorff_alpha
from labeling.qa.consensus import axis_medians, find_consensus, merge_boxes, weighted_median
from labeling.qa.matching import box_errors, match_boxes
from scene.box import Boxes
from scene.pose import SE3, wrap_angle
from tests.support.annotators import Person, random_street

SEEDS = st.integers(0, 2**32 - 1)


def car(x=10.0, y=0.0, yaw=0.0, category="car", length=4.5):
    return Boxes.make([[x, y, 1.0]], [[length, 1.9, 1.7]], [yaw], [category])


@given(seed=SEEDS)
@settings(max_examples=30, deadline=None)
def test_alpha_is_that_of_the_krippendorff_package(seed):
    package = pytest.importorskip("krippendorff")
    rng = np.random.default_rng(seed)
    codes = rng.integers(-1, 4, (int(rng.integers(2, 5)), int(rng.integers(5, 30))))
    data = np.where(codes < 0, np.nan, codes)
    if len(np.unique(codes[codes >= 0])) < 2:
        return
    try:
        expected = package.alpha(data, level_of_measurement="nominal")
    except ValueError:  # it refuses when there is nothing to compare
        assert np.isnan(krippendorff_alpha(codes)) or krippendorff_alpha(codes) == 1.0
        return
    np.testing.assert_allclose(krippendorff_alpha(codes), expected, atol=1e-12)


def test_alpha_of_the_published_example():
    # Krippendorff 2011, example C: four observers, twelve units, nominal alpha 0.743.
    data = [
        [1, 2, 3, 3, 2, 1, 4, 1, 2, 0, 0, 0], [1, 2, 3, 3, 2, 2, 4, 1, 2, 5, 0, 3],
        [0, 3, 3, 3, 2, 3, 4, 2, 2, 5, 1, 0], [1, 2, 3, 3, 2, 4, 4, 1, 2, 5, 1, 0],
    ]  # fmt: skip
    assert krippendorff_alpha(np.array(data) - 1) == pytest.approx(0.743, abs=5e-4)


def test_ac1_stays_high_where_nearly_all_agree():
    codes = np.ones((2, 100), dtype=int)
    codes[0, :3] = 0
    assert krippendorff_alpha(codes) < 0.1
    assert gwet_ac1(codes) > 0.95


def test_alpha_without_answers():
    assert np.isnan(krippendorff_alpha(np.full((2, 4), -1)))
    assert np.isnan(krippendorff_alpha(np.zeros((2, 0), dtype=int)))
    assert krippendorff_alpha(np.ones((3, 5), dtype=int)) == 1.0


@given(seed=SEEDS)
@settings(max_examples=8, deadline=None)
def test_consensus_turns_with_the_world(seed):
    rng = np.random.default_rng(seed)
    truth = random_street(rng, 12)
    answers = [Person(noise_m=0.1, noise_deg=3).label(truth, rng) for _ in range(3)]
    move = SE3.from_yaw(rng.uniform(-3, 3), rng.uniform(-20, 20, 3))
    here = find_consensus(answers).boxes.transform(move)
    there = find_consensus([a.transform(move) for a in answers]).boxes
    pairs = match_boxes(here, there, same_class=True)
    assert len(pairs.first) == len(here) == len(there)
    errors = box_errors(there.take(pairs.second), here.take(pairs.first))
    np.testing.assert_allclose(errors.offset_m, 0, atol=1e-6)
    np.testing.assert_allclose(errors.yaw_rad, 0, atol=1e-6)
    np.testing.assert_allclose(errors.size_m, 0, atol=1e-6)


@given(seed=SEEDS)
@settings(max_examples=8, deadline=None)
def test_order_of_people_does_not_matter(seed):
    rng = np.random.default_rng(seed)
    truth = random_street(rng, 8)
    answers = [Person(miss=0.1).label(truth, rng) for _ in range(3)]
    one, two = find_consensus(answers).boxes, find_consensus(answers[::-1]).boxes
    pairs = match_boxes(one, two, same_class=True)
    assert len(pairs.first) == len(one) == len(two)
    np.testing.assert_allclose(pairs.distance_m, 0, atol=1e-9)


@given(
    values=st.lists(st.floats(-5, 5), min_size=1, max_size=9),
    weight=st.integers(1, 3),
)
@settings(deadline=None)
def test_weight_of_two_is_two_people(values, weight):
    doubled = weighted_median(np.repeat(values, weight), np.ones(len(values) * weight))
    heavy = weighted_median(np.array(values), np.full(len(values), float(weight)))
    plain = np.median(values)
    np.testing.assert_allclose([doubled, heavy], plain, atol=1e-12)


@given(yaw=st.floats(-np.pi, np.pi), spread=st.floats(0, 0.3))
@settings(deadline=None)
def test_a_flipped_minority_does_not_turn_the_axis(yaw, spread):
    answers = np.array([yaw - spread, yaw, yaw + spread, yaw + np.pi])
    (agreed,) = axis_medians(wrap_angle(answers)[None], np.ones((1, 4)))
    assert abs(float(wrap_angle(np.array([agreed - yaw]))[0])) <= spread + 1e-6


def test_two_people_meet_half_way_also_across_the_seam():
    (agreed,) = axis_medians(np.radians([[179.0, -179.0]]), np.ones((1, 2)))
    assert abs(abs(np.degrees(agreed)) - 180.0) < 1e-6
    box, kept = merge_boxes(Boxes.concatenate([car(10.0), car(10.4)]), np.ones(2))
    assert box.center_xyz_m[0, 0] == pytest.approx(10.2)
    assert kept.all()


def test_an_outlier_is_left_out():
    group = Boxes.concatenate([car(10.0), car(10.02), car(10.04), car(12.0)])
    box, kept = merge_boxes(group, np.ones(4))
    assert kept.tolist() == [True, True, True, False]
    assert box.center_xyz_m[0, 0] == pytest.approx(10.02)


def test_a_heavy_vote_decides_the_class():
    group = Boxes.concatenate([car(category="truck"), car(), car()])
    assert merge_boxes(group, np.array([3.0, 1.0, 1.0]))[0].category[0] == "truck"
    assert merge_boxes(group, np.ones(3))[0].category[0] == "car"


@pytest.mark.parametrize(
    ("other", "kind"),
    [
        (Boxes.empty(), "missing"),
        (car(category="truck"), "class"),
        (car(yaw=np.pi), "heading"),
        (car(x=10.9), "place"),
        (car(length=7.5), "size"),
        (car(yaw=0.5), "yaw"),
    ],
)
def test_each_kind_of_disagreement_is_named(other, kind):
    found = compare_frame({"a": car(), "b": other}).disputes
    assert kind in [d.kind for d in found]
    assert "10 m" in found[0].reason


@pytest.mark.parametrize("order", ["abc", "bac", "cab"])
def test_who_is_in_the_middle_does_not_hide_that_two_others_disagree(order):
    drawn = [
        Boxes.make([[10.0 + dx, 0.0, 1.0]], [[0.7, 0.7, 1.7]], [0.0], ["pedestrian"])
        for dx in (-0.18, 0.0, 0.18)
    ]
    found = compare_frame(dict(zip(order, drawn, strict=True))).disputes
    assert [dispute.kind for dispute in found] == ["place"]
    assert "0.36 m apart" in found[0].reason


def test_agreement_has_nothing_to_review():
    close = car(x=10.05, yaw=0.02)
    assert compare_frame({"a": car(), "b": close}).disputes == ()
    person = Boxes.make([[5, 5, 1]], [[0.6, 0.6, 1.7]], [0.0], ["pedestrian"])
    beside = Boxes.make([[5.1, 5.1, 1]], [[0.6, 0.6, 1.7]], [0.1], ["pedestrian"])
    assert compare_frame({"a": person, "b": beside}).disputes == ()


def test_figures_follow_the_planted_mistakes():
    rng = np.random.default_rng(3)
    frames = {}
    for i in range(30):
        truth = random_street(rng, 20)
        frames["r", i] = {
            "a": Person(noise_m=0.02, noise_deg=0.5).label(truth, rng),
            "b": Person(noise_m=0.02, noise_deg=0.5, miss=0.1, confuse=0.2, flip=0.1).label(
                truth, rng
            ),
        }
    rows = {row.slice_name: row for row in measure_agreement(frames)}
    every = rows["all"]
    assert every.num_frames == 30
    assert every.num_objects == 600
    # of b's 90 % named right (80 % + a tenth of 20 % by luck): 2 * 0.9 * 0.82 / 1.9
    assert every.f1_50 == pytest.approx(0.777, abs=0.05)
    assert every.flips == pytest.approx(0.1, abs=0.05)
    assert every.mean_iou > 0.9
    assert 0.6 < every.alpha_class < 0.9
    assert every.alpha_presence < 0.1 < 0.8 < every.ac1_presence
    assert {"car", "pedestrian", "0-20 m", "20-40 m"} <= set(rows)
    assert (
        rows["0-20 m"].num_objects + rows["20-40 m"].num_objects + rows["over 40 m"].num_objects
        == 600
    )


def test_people_who_agree_that_nothing_is_there_do_not_disagree():
    nothing = Boxes.empty()
    empty = {("r", 1): {"a": nothing, "b": nothing}}
    [row] = measure_agreement(empty)
    assert (row.num_frames, row.num_objects) == (1, 0)
    assert np.isnan([row.f1_50, row.f1_70, row.mean_iou]).all()
    row = measure_agreement({**empty, ("r", 2): {"a": car(), "b": car()}})[0]
    assert (row.num_frames, row.f1_50) == (2, 1.0)


def test_frames_of_one_person_say_nothing():
    assert measure_agreement({("r", 1): {"a": car()}}) == []
    rows = measure_agreement({("r", 1): {"a": Boxes.empty(), "b": Boxes.empty()}})
    assert rows[0].num_objects == 0
