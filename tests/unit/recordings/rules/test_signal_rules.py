from __future__ import annotations

import numpy as np
import pytest

from recordings.rules.rule import Facts, Finding
from recordings.rules.signal_rules import check_signals
from scene.signal import Signal, SignalKind
from tests.support.lerobot_writer import FIELDS, FPS, episode_values

TIMES = np.arange(100, dtype=np.int64) * 10**9 // FPS


def robot(
    state: np.ndarray | None = None, action: np.ndarray | None = None, times: np.ndarray = TIMES
) -> list[Signal]:
    good = episode_values(3, len(times))
    state = good[0].astype(float) if state is None else state
    action = good[1].astype(float) if action is None else action
    return [
        Signal("observation.state", "state", "", tuple(FIELDS), times, state),
        Signal("action", "action", "", tuple(FIELDS), times, action),
    ]


def found(signals: list[Signal]) -> list[Finding]:
    return list(check_signals(Facts(signals=signals)))


def codes(signals: list[Signal]) -> dict[str, str]:
    return {finding.code: finding.severity for finding in found(signals)}


def spoilt(rows: object, field: int, value: float) -> np.ndarray:
    state = episode_values(3, len(TIMES))[0].astype(float)
    state[rows, field] = value
    return state


def test_a_healthy_robot_has_no_finding() -> None:
    for episode in range(8):
        state, action = (v.astype(float) for v in episode_values(episode, len(TIMES)))
        assert codes(robot(state, action)) == {}


@pytest.mark.parametrize(
    ("signals", "code", "severity", "words"),
    [
        (robot(times=np.where(np.arange(100) == 60, TIMES[57], TIMES)), "REC070", "error",
         "sample 60 is 0.100 s before"),
        (robot(times=TIMES + (np.arange(100) >= 40) * 10**9), "REC071", "warning",
         "1 gaps in a rate of 20.0 Hz, the longest 1.05 s"),
        (robot(spoilt(slice(None), 1, 0.25)), "REC072", "warning",
         "elbow: commanded to move, but the state never changes"),
        (robot(-episode_values(3, 100)[0].astype(float)), "REC073", "warning", "off the action by"),
        (robot(spoilt(50, 2, 90.0)), "REC074", "warning", "1 values jump and come back"),
        (robot(spoilt(slice(None), slice(None), np.nan)), "REC075", "error", "holds no value"),
        (robot(spoilt(7, 2, np.nan)), "REC080", "warning", "1 of 100 samples lack a value"),
        (robot(np.ones((100, 3)), np.ones((100, 3))), "REC076", "warning", "nothing moves"),
        (robot(spoilt(slice(30, 60), slice(None), 0.1)), "REC079", "warning",
         "the same values for 1.45 s"),
    ],
)  # fmt: skip
def test_each_rule_fires_on_its_fault(
    signals: list[Signal], code: str, severity: str, words: str
) -> None:
    mine = [finding for finding in found(signals) if finding.code == code]
    assert [finding.severity for finding in mine][:1] == [severity]
    assert words in mine[0].message
    assert mine[0].remedy


def test_signals_that_end_apart() -> None:
    state, action = robot()
    short = Signal("action", "action", "", tuple(FIELDS), TIMES[:80], action.values[:80])
    assert codes([state, short]) == {"REC077": "warning"}


def test_other_signals_never_keep_a_recording_out() -> None:
    for kind in ("imu", "gnss", "other"):
        shaken = np.where(np.arange(100) == 60, TIMES[57], TIMES)
        signal = Signal("x", kind, "", ("a",), shaken, np.full((100, 1), np.nan))
        assert set(codes([signal]).values()) == {"warning"}


@pytest.mark.parametrize(("gravity", "fires"), [(9.81, False), (1.0, True), (0.0, True)])
def test_gravity(gravity: float, fires: bool) -> None:
    fields = tuple(f"linear_acceleration_{axis}_mps2" for axis in "xyz")
    rng = np.random.default_rng(0)
    values = rng.normal(0, 0.1, (100, 3)) + np.array([0, 0, gravity])
    assert ("REC078" in codes([Signal("/imu", "imu", "imu", fields, TIMES, values)])) == fires


def test_delta_actions_and_other_units_are_not_held_against_the_state() -> None:
    state = episode_values(3, 101)[0].astype(float)
    deltas = np.diff(state, axis=0)
    assert codes(robot(state[:-1], deltas)) == {}
    assert codes(robot(state[:-1], np.degrees(state[1:]))) == {}


@pytest.mark.parametrize("kind", ["state", "action", "imu", "gnss", "other"])
@pytest.mark.parametrize("shape", [(0, 3), (1, 3), (2, 3), (5, 0), (12, 3)])
def test_signals_of_any_size_are_looked_at(kind: SignalKind, shape: tuple[int, int]) -> None:
    fields = tuple(f"angular_acceleration_{i}" for i in range(shape[1]))
    for fill in (0.0, np.nan, np.inf):
        values = np.full(shape, fill)
        signal = Signal("x", kind, "", fields, np.zeros(shape[0], dtype=np.int64), values)
        found([signal, Signal("y", "action", "", fields, signal.timestamps_ns, values)])
