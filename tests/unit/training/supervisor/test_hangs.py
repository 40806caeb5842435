import numpy as np
import pytest

from training.steps import Section
from training.supervisor.board import Board
from training.supervisor.hangs import Patience, find_hang, find_straggler
from training.supervisor.policy import Kind

NOW = 10**12
PATIENCE = Patience(least_s=1.0, setup_s=60.0, first_s=30.0, data_factor=10.0, save_s=600.0)


def board(*workers, step_s=0.1):
    """Workers are (section, seconds in it, steps since the start)."""
    made = Board(len(workers), 100)
    made.step_s[:20] = step_s
    for row, (section, seconds, begun) in zip(made.ranks, workers, strict=True):
        row["section"], row["begun"], row["step"] = section, begun, 20
        row["since_ns"] = NOW - int(seconds * 1e9)
    return made


def hang(*workers, states=None, waited_s=None, step_s=0.1):
    states, waited_s = states or ["R"] * len(workers), waited_s or [0.0] * len(workers)
    return find_hang(board(*workers, step_s=step_s), states, waited_s, NOW, PATIENCE)


def test_a_worker_that_computes_for_too_long_hangs_and_not_the_one_that_waits_for_it():
    fault, _ = hang((Section.EXCHANGE, 1.2, 5), (Section.COMPUTE, 1.1, 5))
    assert fault is not None
    assert (fault.kind, fault.rank) == (Kind.HANG, 1)
    fault, rest_s = hang((Section.EXCHANGE, 1.2, 5), (Section.COMPUTE, 0.9, 5))
    assert fault is None
    assert rest_s == pytest.approx(0.1, abs=1e-3)


def test_the_limit_is_three_median_steps_or_a_second():
    assert hang((Section.COMPUTE, 2.9, 5), step_s=1.0)[0] is None
    assert hang((Section.COMPUTE, 3.1, 5), step_s=1.0)[0] is not None


def test_a_worker_that_waits_for_a_core_does_not_hang():
    late = ((Section.COMPUTE, 1.5, 5), (Section.EXCHANGE, 1.2, 5))
    fault, rest_s = hang(*late, waited_s=[0.8, 0.0])
    assert fault is None
    assert rest_s == pytest.approx(0.3, abs=1e-3)
    assert hang(*late, waited_s=[0.4, 0.0])[0] is not None


def test_when_all_wait_in_the_exchange_it_is_stuck():
    fault, _ = hang((Section.EXCHANGE, 1.2, 5), (Section.EXCHANGE, 1.1, 5))
    assert fault is not None
    assert (fault.kind, fault.rank) == (Kind.STUCK, -1)


def test_one_that_stayed_behind_in_the_exchange_is_to_blame():
    made = board((Section.EXCHANGE, 0.1, 6), (Section.EXCHANGE, 1.5, 5))
    made.ranks["step"] = [21, 20]
    fault, _ = find_hang(made, ["S", "S"], [0.0, 0.0], NOW, PATIENCE)
    assert fault is not None
    assert (fault.kind, fault.rank) == (Kind.HANG, 1)


def test_setup_first_step_data_and_checkpoints_have_more_time():
    for section, begun, seconds in (
        (Section.SETUP, 0, 59.0),
        (Section.COMPUTE, 0, 29.0),
        (Section.DATA, 5, 9.9),
        (Section.CHECKPOINT, 5, 599.0),
    ):
        assert hang((section, seconds, begun))[0] is None, section
        assert hang((section, seconds * 1.1, begun))[0] is not None, section


def test_a_stopped_process_gets_no_extra_time_for_data_or_exchange():
    assert hang((Section.DATA, 1.1, 5), states=["T"])[0] is not None
    fault, _ = hang((Section.EXCHANGE, 0.5, 5), (Section.EXCHANGE, 1.1, 5), states=["S", "T"])
    assert fault is not None
    assert (fault.kind, fault.rank) == (Kind.HANG, 1)


def test_a_straggler_is_half_again_as_slow_as_the_others():
    even = np.full((4, 16), 0.1)
    assert find_straggler(even) is None
    slow = even.copy()
    slow[2] *= 1.8
    found = find_straggler(slow)
    assert found is not None
    assert found[0] == 2
    assert found[1] == pytest.approx(1.8)
    slow[0, 3] = np.nan
    assert find_straggler(slow) is None
    assert find_straggler(slow[:1]) is None
    tiny = np.array([[1e-3] * 16, [2e-3] * 16])
    assert find_straggler(tiny) is None
