"""Rules about signals: states, actions, IMU, GNSS and other numbers over time."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Final

import numpy as np

from recordings.rules.rule import Facts, Finding, Rule
from scene.signal import Signal, state_action_pairs
from scene.types import Float64, Mask

BACKWARDS: Final = Rule(
    "REC070", "error", "times of a signal go backwards (a warning but for states and actions)",
    "record with one clock; sort the rows by time",
)  # fmt: skip
GAPS: Final = Rule(
    "REC071", "warning", "gaps in the rate of a signal",
    "samples were dropped while recording: check the load of the robot's computer",
)  # fmt: skip
FROZEN: Final = Rule(
    "REC072", "warning", "a joint is commanded to move and its state never changes",
    "the encoder or its channel is dead; leave out the episode or the joint",
)  # fmt: skip
OFF_ACTION: Final = Rule(
    "REC073", "warning", "the state does not follow the action",
    "a slipping joint, a collision, or state and action in different units",
)  # fmt: skip
SPIKES: Final = Rule(
    "REC074", "warning", "single values jump far out of range and back",
    "a decoding or bus fault: drop these samples before training on them",
)  # fmt: skip
NO_VALUES: Final = Rule(
    "REC075", "error", "a signal without any value (a warning but for states and actions)",
    "check that its source was running; leave the signal out if the robot lacks it",
)  # fmt: skip
NOTHING_MOVES: Final = Rule(
    "REC076", "warning", "nothing moves in the whole recording",
    "the robot was off or its driver sent a default; leave the episode out",
)  # fmt: skip
ENDS_APART: Final = Rule(
    "REC077", "warning", "states and actions end at different times",
    "one of the sources stopped early; cut the recording at the shorter one",
)  # fmt: skip
NO_GRAVITY: Final = Rule(
    "REC078", "warning", "the accelerometer does not measure gravity",
    "publish m/s2 with gravity (REP-145); 1.0 means that the unit is g",
)  # fmt: skip
HANGS: Final = Rule(
    "REC079", "warning", "a signal keeps the same values for a while",
    "real sensors are noisy: the driver hung or rows were repeated; cut the stretch",
)  # fmt: skip
SOME_VALUES: Final = Rule(
    "REC080", "warning", "some samples of a state or action lack a value",
    "a joint that did not answer in time: check its bus, or cut the stretch",
)  # fmt: skip
RULES: Final = (
    BACKWARDS, GAPS, FROZEN, OFF_ACTION, SPIKES, NO_VALUES, NOTHING_MOVES, ENDS_APART, NO_GRAVITY,
    HANGS, SOME_VALUES,
)  # fmt: skip

GRAVITY_MPS2: Final = 9.80665
_GAP_FACTOR: Final = 2.5
_GAP_MIN_S: Final = 0.05
_MIN_SAMPLES: Final = 10
_FROZEN_SHARE: Final = 0.10  # of the widest action's span: so much was asked of a joint
_FOLLOW_SHARE: Final = 0.30  # of the action's own span, after the best delay
_MAX_DELAY_S: Final = 0.5
_SPIKE_FACTOR: Final = 20.0  # of the usual step
_SPIKE_SHARE: Final = 0.5  # of the span without the spike
_HANG_S: Final = 0.5
_END_S: Final = 0.5
_GRAVITY_OFF_MPS2: Final = 2.5


def check_signals(facts: Facts) -> Iterator[Finding]:
    """Give what is found in the signals of a recording."""
    signals = [signal.finite() for signal in facts.signals]
    filled = [signal for signal in signals if len(signal.timestamps_ns) and signal.fields]
    for signal in signals:
        yield from _about_one(signal)
    for state, action in state_action_pairs(filled):
        yield from _about_pair(state, action)
    moving = [signal for signal in filled if _is_learnt(signal)]
    yield from _about_motion(moving)
    yield from _about_ends(moving)


def _is_learnt(signal: Signal) -> bool:
    """Return whether a policy is trained on it: a state or an action."""
    return signal.kind in ("state", "action")


def _judged(finding: Finding, signal: Signal) -> Finding:
    """Return the finding as an error only where a policy is trained on the signal."""
    return finding if _is_learnt(signal) else replace(finding, severity="warning")


def _about_one(signal: Signal) -> Iterator[Finding]:
    yield from _about_values(signal)
    if len(signal.timestamps_ns) < 2:
        return
    yield from _about_times(signal)
    if signal.kind == "imu":
        yield from _about_gravity(signal)
    if signal.kind in ("state", "action", "imu"):
        yield from _about_spikes(signal)
    if signal.kind in ("state", "imu"):
        yield from _about_repeats(signal)


def _about_values(signal: Signal) -> Iterator[Finding]:
    missing = ~np.isfinite(signal.values)
    if not len(signal.timestamps_ns) or missing.all():
        message = f"{signal.name} holds no value"
        yield _judged(NO_VALUES.found(message), signal)
    elif missing.any() and _is_learnt(signal):
        rows = int(missing.any(axis=1).sum())
        names = _names(signal, np.asarray(missing.any(axis=0)))
        message = f"{signal.name}: {rows} of {len(missing)} samples lack a value ({names})"
        yield SOME_VALUES.found(message, rows)


def _about_times(signal: Signal) -> Iterator[Finding]:
    steps = np.diff(signal.timestamps_ns)
    if (steps < 0).any():
        at = int(np.argmax(steps < 0))
        message = (
            f"{signal.name}: sample {at + 1} is {-steps[at] / 1e9:.3f} s before the one before it "
            f"({int((steps < 0).sum())} times)"
        )
        yield _judged(BACKWARDS.found(message, int((steps < 0).sum())), signal)
    usual = float(np.median(steps))
    gaps = np.flatnonzero((steps > _GAP_FACTOR * usual) & (steps > _GAP_MIN_S * 1e9))
    if usual > 0 and len(gaps):
        worst = int(gaps[np.argmax(steps[gaps])])
        message = (
            f"{signal.name}: {len(gaps)} gaps in a rate of {1e9 / usual:.1f} Hz, the longest "
            f"{steps[worst] / 1e9:.2f} s after {signal.timestamps_ns[worst]} ns"
        )
        yield GAPS.found(message, len(gaps))


def _about_gravity(signal: Signal) -> Iterator[Finding]:
    axes = [i for i, name in enumerate(signal.fields) if "acceleration" in name.lower()]
    if len(axes) != 3:
        return
    size = np.linalg.norm(signal.values[:, axes], axis=1)
    size = size[np.isfinite(size)]
    if len(size) >= _MIN_SAMPLES and abs((usual := float(np.median(size))) - GRAVITY_MPS2) > (
        _GRAVITY_OFF_MPS2
    ):
        message = f"{signal.name}: the acceleration is {usual:.2f} m/s2 as a rule, not 9.81"
        yield NO_GRAVITY.found(message)


def _about_spikes(signal: Signal) -> Iterator[Finding]:
    """Find values that leave their neighbours by far more than a usual step, and come back."""
    values = signal.values
    if len(values) < _MIN_SAMPLES:
        return
    there, back = values[1:-1] - values[:-2], values[1:-1] - values[2:]
    away = np.where(there * back > 0, np.minimum(np.abs(there), np.abs(back)), 0.0)
    steps = np.abs(np.diff(values, axis=0))
    known = np.isfinite(steps).any(axis=0)
    usual = np.full(values.shape[1], np.inf)
    usual[known] = np.nanpercentile(steps[:, known], 90, axis=0)
    spikes = (away > _SPIKE_FACTOR * usual) & (away > _SPIKE_SHARE * signal.span()) & (usual > 0)
    if not spikes.any():
        return
    row, column = np.unravel_index(int(np.argmax(np.where(spikes, away, 0.0))), away.shape)
    message = (
        f"{signal.name}: {int(spikes.sum())} values jump and come back, the largest "
        f"{signal.fields[int(column)]} by {away[row, column]:.3g} at "
        f"{signal.timestamps_ns[int(row) + 1]} ns"
    )
    yield SPIKES.found(message, int(spikes.sum()))


def _about_repeats(signal: Signal) -> Iterator[Finding]:
    """Find stretches in which every value stays bit for bit, though it changes elsewhere."""
    values = signal.values
    same = (values[1:] == values[:-1]).all(axis=1)
    if same.all() or not same.any():
        return  # nothing ever changes: REC076
    edges = np.flatnonzero(np.diff(np.concatenate([[False], same, [False]]).astype(np.int8)))
    firsts, lasts = edges[::2], edges[1::2]
    times = signal.timestamps_ns
    lengths_s = (times[lasts] - times[firsts]) / 1e9
    worst = int(np.argmax(lengths_s))
    usual_s = float(np.median(np.diff(times))) / 1e9
    if lengths_s[worst] < max(_HANG_S, 5 * usual_s):
        return
    message = (
        f"{signal.name}: the same values for {lengths_s[worst]:.2f} s from {times[firsts[worst]]} "
        f"ns on ({int((lengths_s >= _HANG_S).sum())} such stretches)"
    )
    yield HANGS.found(message)


def _about_pair(state: Signal, action: Signal) -> Iterator[Finding]:
    if len(state.values) < _MIN_SAMPLES:
        return
    asked, done = action.span(), state.span()
    widest = asked.max()
    if widest <= 0:
        return
    still = np.ptp(state.values, axis=0) == 0  # NaN is not still
    frozen = still & (asked > _FROZEN_SHARE * widest)
    if frozen.any():
        message = f"{_names(state, frozen)}: commanded to move, but the state never changes"
        yield FROZEN.found(message, int(frozen.sum()))
    late = ~still & (asked > _FROZEN_SHARE * widest) & _same_quantity(state, action, asked, done)
    error, delay_s = _best_delay(state, action)
    far = late & (error > _FOLLOW_SHARE * asked)
    if far.any():
        worst = int(np.argmax(np.where(far, error / asked, 0.0)))
        message = (
            f"{_names(state, far)}: off the action by {error[worst] / asked[worst]:.0%} of its "
            f"range for {state.fields[worst]}, even {delay_s[worst]:.2f} s later"
        )
        yield OFF_ACTION.found(message, int(far.sum()))


def _same_quantity(state: Signal, action: Signal, asked: Float64, done: Float64) -> Mask:
    """Return (C,) where the action can be a goal for the state, not a change of it.

    Changes (delta actions) and speeds lie around zero while the state does not.
    """
    near = np.abs(action.mean() - state.mean()) <= np.fmax(asked, done)
    return near & (asked > 0.2 * done) & (asked < 20 * done)


def _best_delay(state: Signal, action: Signal) -> tuple[Float64, Float64]:
    """Return (C,) mean distance of state and action at the best delay, and that delay in s.

    The mean offset of a joint is not counted: gravity and calibration make one.
    """
    step_s = float(np.median(np.diff(state.timestamps_ns))) / 1e9
    longest = min(len(state.values) // 2, round(_MAX_DELAY_S / step_s) if step_s > 0 else 0)
    delays = np.unique(np.linspace(0, longest, min(longest + 1, 16)).round().astype(int))
    errors = []
    for delay in delays:
        off = state.values[delay:] - action.values[: len(action.values) - delay]
        off = off[np.isfinite(off).all(axis=1)]
        bias = np.median(off, axis=0) if len(off) else 0.0
        mean = np.abs(off - bias).mean(axis=0) if len(off) else np.full(off.shape[1], np.inf)
        errors.append(mean)
    table = np.array(errors)
    best = table.argmin(axis=0)
    return table.min(axis=0), delays[best] * step_s


def _about_motion(moving: Sequence[Signal]) -> Iterator[Finding]:
    long = [signal for signal in moving if len(signal.timestamps_ns) >= _MIN_SAMPLES]
    if long and all((np.ptp(signal.values, axis=0) == 0).all() for signal in long):
        message = f"nothing moves: {', '.join(signal.name for signal in long)} never change"
        yield NOTHING_MOVES.found(message)


def _about_ends(moving: Sequence[Signal]) -> Iterator[Finding]:
    if len(moving) < 2:
        return
    ends = np.array([signal.timestamps_ns[-1] for signal in moving])
    if (apart_s := float(np.ptp(ends)) / 1e9) > _END_S:
        early, late = moving[int(ends.argmin())], moving[int(ends.argmax())]
        message = f"{early.name} ends {apart_s:.2f} s before {late.name}"
        yield ENDS_APART.found(message)


def _names(signal: Signal, chosen: Mask, limit: int = 3) -> str:
    """Return the names of some fields for a message."""
    names = [name for name, picked in zip(signal.fields, chosen, strict=True) if picked]
    more = f" and {len(names) - limit} more" if len(names) > limit else ""
    return ", ".join(names[:limit]) + more
