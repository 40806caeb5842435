from __future__ import annotations

import numpy as np

from curation.signal_triggers import FastMotion, Idle, TrackingError, fire_signals
from scene.signal import Signal

FPS = 50
FIELDS = ("shoulder", "elbow")


def arm(values: np.ndarray, kind: str = "state", name: str = "observation.state") -> Signal:
    times = np.arange(len(values), dtype=np.int64) * 10**9 // FPS
    return Signal(name, kind, "", FIELDS, times, values)  # type: ignore[arg-type]


def slow(seconds: float) -> np.ndarray:
    t = np.arange(round(seconds * FPS)) / FPS
    return np.stack([np.sin(0.5 * t), 2 + 0.8 * np.cos(0.4 * t)], axis=1)


def test_a_slow_arm_that_follows_fires_nothing() -> None:
    values = slow(20)
    assert fire_signals([arm(values), arm(values, "action", "action")]) == []


def test_a_quick_swing_is_fast_motion() -> None:
    values = slow(20)
    values[500:525, 1] += 1.6 * np.sin(np.linspace(0, np.pi, 25))
    (event,) = FastMotion().fire([arm(values)])
    assert event.detail.startswith("elbow moved at ")
    assert 9.9e9 < event.start_ns < 10.1e9
    assert event.end_ns < 10.7e9
    assert event.strength > 2


def test_a_blocked_joint_is_a_tracking_error() -> None:
    goal = slow(20)
    values = goal.copy()
    values[300:400, 0] = values[300, 0]
    fired = TrackingError().fire([arm(values), arm(goal, "action", "action")])
    assert [event.detail.split()[0] for event in fired] == ["shoulder"]
    assert 6.0e9 < fired[0].start_ns < fired[0].end_ns <= 8.0e9


def test_an_offset_and_another_unit_are_no_tracking_error() -> None:
    values = slow(20)
    goals = [values + 0.5, np.gradient(values, axis=0), np.random.default_rng(0).random((1000, 2))]
    for goal in goals:
        assert TrackingError().fire([arm(values), arm(goal, "action", "action")]) == []


def test_standing_still_is_idle() -> None:
    values = slow(20)
    values[200:400] = values[200]
    (event,) = Idle().fire([arm(values)])
    assert 3.9e9 < event.start_ns < event.end_ns < 8.1e9
    assert 3.5 < event.strength < 4.1
    (whole,) = Idle().fire([arm(np.ones((200, 2)))])
    assert whole.strength == 3.98


def test_broken_values_do_not_break_triggers() -> None:
    values = slow(5)
    values[10:60] = np.nan
    values[:, 1] = np.nan
    for broken in (values, np.full((5, 2), np.nan), values[:2], values[:0]):
        fire_signals([arm(broken), arm(broken, "action", "action")])
