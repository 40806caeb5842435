import os
import signal
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest
import torch  # noqa: TID253

from scene.errors import ConfigError
from training.supervisor import stage
from training.supervisor.board import Board
from training.supervisor.chaos import Injection, WorkerChaos, parse
from training.supervisor.monitor import Monitor
from training.supervisor.options import Options


def test_times_repeat_and_steps_happen_once():
    assert parse("kill:30s, hang@0:2m,nan:100,exception@1:7x2") == (
        Injection("kill", every_s=30.0),
        Injection("hang", 0, every_s=120.0),
        Injection("nan", step=100),
        Injection("exception", 1, 7, times=2),
    )
    assert parse("") == ()


@pytest.mark.parametrize("text", ["kill", "kill:", "kill:soon", "explode:3", "kill:3 4", "nan@x:1"])
def test_what_is_not_understood_is_explained(text):
    with pytest.raises(ConfigError, match=r"kill:30s .*nan:100"):
        parse(text)


@pytest.mark.parametrize(
    "text", ["nan:30s", "exception@0:5m", "slow:1h", "kill:0s", "kill:30sx3", "nan:7.5", "nan:7x0"]
)
def test_what_would_not_happen_as_it_says_is_refused(text):
    with pytest.raises(ConfigError, match=f"chaos '{text}'"):
        parse(text)


def test_faults_of_workers_that_there_are_not_are_refused():
    for chaos in ("kill@2:30s", "nan@2:100", "slow@3:1"):
        with pytest.raises(ConfigError, match="workers are 0 to 1"):
            Options(workers=2, spares=1, chaos=chaos)
    assert Options(workers=2, spares=1, chaos="kill@1:30s,slow@2:1").injections[0].rank == 1


def test_a_fault_of_a_worker_that_was_given_up_does_not_end_the_supervisor():
    children = [SimpleNamespace(signals=[]) for _ in range(2)]
    for child in children:
        child.signal = child.signals.append
    options = Options(workers=2, chaos="kill@1:30s")
    monitor = Monitor(options, Board(2, 10), cast(Any, None), lambda: None)
    for size in (1, 2):
        crew = SimpleNamespace(children=children[:size], places=[0, 1][:size])
        monitor._strike(options.injections[0], cast(Any, crew))
    assert [child.signals for child in children] == [[], [signal.SIGKILL]]


def test_a_fault_by_step_strikes_one_worker_as_often_as_it_says():
    board = Board(2, 10)
    plan = parse("nan@0:3x2,spike:3")
    for rank, column in ((0, 0), (1, -2)):
        chaos = WorkerChaos(plan, board, rank, 2)
        for attempt in range(3):
            packet = torch.ones(6)
            chaos.strike(2, [packet])
            assert torch.equal(packet, torch.ones(6))
            chaos.strike(3, [packet])
            touched = not torch.equal(packet, torch.ones(6))
            assert touched == (attempt < (2 if rank == 0 else 1))
            if touched:
                assert packet[column] != 1


def test_values_pass_through_a_memory_file_without_a_copy():
    value = {"a": np.arange(1000.0), "b": [np.zeros((3, 0)), "text"], "c": np.arange(5)[::2]}
    file = os.memfd_create("test")
    try:
        stage.pack(file, value)
        found = stage.unpack(file)
    finally:
        os.close(file)
    assert np.array_equal(found["a"], value["a"])
    assert not found["a"].flags.writeable
    assert found["b"][0].shape == (3, 0)
    assert np.array_equal(found["c"], [0, 2, 4])
