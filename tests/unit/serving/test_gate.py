from __future__ import annotations

import json
from dataclasses import dataclass, replace

import pytest

from scene.errors import FormatError
from serving.gate import Decision, GateInput, decide

NAN = float("nan")


@dataclass(frozen=True)
class Change:
    before: float
    after: float
    low: float
    high: float
    num_boxes: int = 50


FIRST = GateInput(
    model_id="m-1",
    onnx_digest="a" * 64,
    artifacts_complete=True,
    parity_passed=True,
    mean_ap=0.3,
    candidate_collisions={"cut_in": True},
)
SECOND = replace(
    FIRST,
    champion_id="m-0",
    differences={"car": Change(0.5, 0.55, -0.01, 0.1)},
    candidate_collisions={"cut_in": False, "crossing": True},
    champion_collisions={"cut_in": False, "crossing": True},
)


WITHOUT_BUSES = {**SECOND.differences, "bus": Change(NAN, NAN, NAN, NAN, 0)}


def failed(facts):
    decision = decide(facts)
    names = {reason.name for reason in decision.reasons if not reason.passed}
    assert decision.approved == (not names)
    return names


def with_change(*numbers):
    return replace(SECOND, differences={"car": Change(*numbers)})


@pytest.mark.parametrize(
    ("facts", "names"),
    [
        (FIRST, set()),
        (replace(FIRST, parity_passed=False), {"export parity"}),
        (replace(FIRST, artifacts_complete=False), {"artifacts"}),
        (replace(FIRST, onnx_digest=""), {"artifacts"}),
        (replace(FIRST, mean_ap=0.0), {"mAP above 0"}),
        (replace(FIRST, mean_ap=NAN), {"mAP above 0"}),
        (SECOND, set()),
        (with_change(0.5, 0.45, -0.08, -0.02), {"AP car"}),  # surely worse
        (with_change(0.5, 0.45, -0.12, 0.02), set()),  # perhaps worse, little lost
        (with_change(0.5, 0.39, -0.3, 0.1), {"AP car"}),  # perhaps worse, too much lost
        (with_change(0.5, 0.45, NAN, NAN), set()),  # one group: no interval
        (with_change(0.5, 0.3, NAN, NAN), {"AP car"}),
        (with_change(NAN, NAN, NAN, NAN), {"AP"}),  # no truth at all: nothing was compared
        (replace(SECOND, differences=WITHOUT_BUSES), set()),  # no truth of one category
        (replace(with_change(0.5, 0.49, -0.02, -0.005), tolerated_ap_drop=0.02), set()),
        (replace(SECOND, differences={}), {"AP"}),
        (replace(SECOND, candidate_collisions={"cut_in": True, "crossing": False}), {"simulation"}),
        (replace(SECOND, candidate_collisions={"cut_in": False}), {"simulation"}),
        (replace(SECOND, champion_collisions=None), {"simulation"}),
    ],
)
def test_rules(facts, names):
    assert failed(facts) == names


def test_first_release_says_what_it_collides_in_but_is_not_refused_for_it():
    texts = [reason.text for reason in decide(FIRST).reasons if reason.name == "simulation"]
    assert texts == ["first release, nothing to compare with: collides in 1 of 1 scenarios"]


def test_decision_keeps_digest_through_json_and_changes_with_any_fact():
    decision = decide(SECOND)
    back = Decision.from_dict(json.loads(json.dumps(decision.to_dict())))
    assert back == decision
    assert back.digest == decision.digest
    others = [
        replace(SECOND, mean_ap=0.31), replace(SECOND, max_ap_drop=0.2),
        with_change(0.5, 0.55, -0.01, 0.11), replace(SECOND, onnx_digest="b" * 64),
        replace(SECOND, candidate_collisions={"cut_in": False, "crossing": False}),
    ]  # fmt: skip
    digests = {decide(facts).inputs_digest for facts in (SECOND, *others)}
    assert len(digests) == len(others) + 1
    with pytest.raises(FormatError):
        Decision.from_dict({"format": "x"})


def test_gate_takes_the_evaluation_s_comparison_as_it_is():
    from tests.support.detections import random_frames
    from training.evaluation import compare, evaluate

    frames = random_frames(0, 40, ["car", "pedestrian"], groups=10)
    blind = [
        replace(f, predictions=f.predictions.take(f.predictions.category == "car")) for f in frames
    ]
    good, bad = (evaluate(f, ["car", "pedestrian", "bus"]) for f in (frames, blind))
    assert failed(replace(SECOND, differences=compare(good, good).per_class)) == set()
    assert failed(replace(SECOND, differences=compare(good, bad).per_class)) == {"AP pedestrian"}
    assert failed(replace(SECOND, differences=compare(bad, good).per_class)) == set()
