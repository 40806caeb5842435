"""The fault table of docs/training-faults.md: two workers, gloo, one fault a row.

Every row that ends with the model ends with the bits of the training that nothing happened to.
"""

from __future__ import annotations

import itertools
import os
import signal
from collections.abc import Iterator

import psutil
import pytest

from tests.support.fault_lab import CONFIG, UNHURRIED, Lab, Outcome

pytestmark = [pytest.mark.integration, pytest.mark.timeout(900)]
RESTART, SKIP, REPLACE = (
    "restart in place",
    "roll back and leave the batch out",
    "exclude the place and restart",
)

STRICT = {"patience": {"least_s": 1.5}}


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    made = Lab(tmp_path_factory.mktemp("lab"))
    yield made
    made.close()


@pytest.fixture(scope="module")
def calm(lab: Lab) -> Outcome:
    """The training that nothing happened to."""
    outcome = lab.run("calm")
    assert outcome.code == 0, outcome.log
    assert not outcome.faults()
    return outcome


@pytest.mark.parametrize(
    ("chaos", "options", "kind", "act"),
    [
        ("exception:7", {}, "exception", RESTART),
        ("memory@0:7", {}, "exception", RESTART),
        ("kill@0:7", {}, "killed", RESTART),
        ("kill@1:7", {}, "killed", RESTART),
        ("hang:12", STRICT, "hang", RESTART),
        ("deadlock:12", STRICT, "hang", RESTART),
        ("freeze@0:12", STRICT, "hang", RESTART),
        ("stuck:12", STRICT, "stuck collective", RESTART),
        ("slow@1:0", {"spares": 1, "limits": {"straggles": 1}}, "straggler", REPLACE),
        ("flip:10", {"replay_every": 5}, "silent corruption", RESTART),
        (f"device@1:7,{UNHURRIED}", {"spares": 1}, "device", REPLACE),
        (f"device@1:7,{UNHURRIED}", {}, "device", REPLACE),  # no spare: one worker does both shards
    ],
    ids=lambda value: value if isinstance(value, str) and ":" in value else "",
)
def test_after_a_fault_training_ends_with_the_same_bits(
    lab: Lab, calm: Outcome, chaos: str, options: dict, kind: str, act: str
) -> None:
    outcome = lab.run(f"{chaos.replace(':', '-')}-{len(options)}", chaos, **options)
    assert outcome.code == 0, outcome.log
    (fault,) = outcome.faults()
    assert (fault["kind"], fault["act"]) == (kind, act), outcome.log
    assert outcome.step == CONFIG.iterations
    assert outcome.bits == calm.bits
    account = outcome.account()
    assert account["lost_steps"] <= 1
    assert len(account["recoveries"]) == 1
    assert account["restart_s"] > 0
    if kind == "hang" and not chaos.startswith("hang"):  # where it stands is kept
        assert "_strike" in fault["detail"]


def test_a_hang_is_perceived_by_its_own_median(lab: Lab, calm: Outcome) -> None:
    (fault,) = lab.run("hang-limit", "hang@0:20", **STRICT).faults()
    steps = [e for e in lab.events("hang-limit") if e["event"] == "step" and e["rank"] == 0]
    before = [e["t_ns"] for e in steps if e["t_ns"] < fault["t_ns"] - 900_000_000]
    gaps = sorted(b - a for a, b in itertools.pairwise(before))
    usual_s = gaps[len(gaps) // 2] / 1e9
    assert fault["seconds"] < max(3 * usual_s, 1.5) * 1.5 + 0.5
    assert "state T" in fault["detail"]


def test_a_bad_batch_is_left_out_and_a_second_one_ends_it_with_evidence(lab: Lab) -> None:
    once = lab.run("nan", "nan:7")
    assert once.code == 0, once.log
    (fault,) = once.faults()
    assert (fault["kind"], fault["act"], fault["step"]) == ("bad batch", SKIP, 7)
    assert "tiny.0001@" in fault["detail"]
    killed_too = lab.run("nan-kill", "nan:7,kill@0:11,kill@1:13")
    assert killed_too.code == 0, killed_too.log
    assert killed_too.bits == once.bits
    twice = lab.run("nan-twice", "nan:7,nan@0:9")
    assert twice.code == 77
    assert [f["act"] for f in twice.faults()] == [SKIP, "stop"]
    assert "losses_by_shard" in twice.faults()[1]["detail"]
    assert twice.step == 9  # what was good is kept


def test_what_happens_twice_alike_is_not_tried_a_third_time(lab: Lab) -> None:
    error = lab.run("error-twice", "exception:7x2")
    assert error.code == 1
    assert [f["act"] for f in error.faults()] == [RESTART, "stop"]
    assert "the same error twice" in error.log
    corrupt = lab.run("flip-twice", "flip:10x2", replay_every=5)
    assert corrupt.code == 79
    assert "checksums" in corrupt.faults()[1]["detail"]


def test_slow_storage_holds_up_no_step(lab: Lab, calm: Outcome) -> None:
    outcome = lab.run("slow-storage", "slowstorage:3")
    assert outcome.code == 0, outcome.log
    assert outcome.bits == calm.bits
    # Every write takes a second, and no step waits for one.
    assert outcome.account()["checkpoint_s"] < 0.5 * calm.account()["wall_s"]
    assert outcome.account()["restart_s"] == 0


def test_without_storage_everything_is_safe_before_it_stops(lab: Lab, calm: Outcome) -> None:
    limits = {"storage_patience_s": 0.1}
    away = lab.run("away", f"storage:3,{UNHURRIED}", limits=limits)
    assert away.code == 75, away.log
    assert away.faults()[-1]["kind"] == "storage"
    assert "the object store is away" in away.log
    assert list(lab.spill("away").rglob("step-*"))
    again = lab.run("away")
    assert again.code == 0, again.log
    assert f"resumed from step {away.step}" in again.log
    assert again.bits == calm.bits


def test_a_notice_of_preemption_is_followed_and_resumed_from(lab: Lab, calm: Outcome) -> None:
    first = lab.run("notice", f"sigterm:8,{UNHURRIED}")
    assert first.code == 75, first.log
    assert 8 <= first.step < CONFIG.iterations
    assert first.faults()[0]["kind"] == "preemption"
    second = lab.run("notice")
    assert second.code == 0
    assert f"resumed from step {first.step}" in second.log
    assert second.bits == calm.bits


def test_a_killed_supervisor_leaves_nobody_and_loses_little(lab: Lab, calm: Outcome) -> None:
    supervisor = lab.start("orphans", UNHURRIED)
    lab.wait_for("orphans", 14)
    lab.wait_for_checkpoint("orphans")
    family = psutil.Process(supervisor).children(recursive=True)
    assert len(family) >= 3
    os.kill(supervisor, signal.SIGKILL)
    _, alive = psutil.wait_procs(family, timeout=60)
    assert not alive
    assert lab.end("orphans").code == -signal.SIGKILL
    outcome = lab.run("orphans")
    assert outcome.code == 0, outcome.log
    assert "resumed from step" in outcome.log
    assert outcome.bits == calm.bits


def test_workers_killed_again_and_again_cost_no_bit(lab: Lab, calm: Outcome) -> None:
    """Kills from outside, at moments of no choice of ours."""
    lab.start("storm", UNHURRIED)
    for step in (4, 9, 14, 19, 24):
        pids = lab.wait_for("storm", step)
        os.kill(pids[step % 2], signal.SIGKILL)
    outcome = lab.end("storm")
    assert outcome.code == 0, outcome.log
    assert len(outcome.account()["recoveries"]) >= 4
    assert outcome.bits == calm.bits
