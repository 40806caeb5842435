"""Rules over the signals of a robot: where it moved fast, missed its goals, or did nothing.

Joints come in radians, degrees, metres and made-up units, so everything is measured in spans: the
distance from the 2nd to the 98th percentile of a field in the recording.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final, Protocol

import numpy as np

from curation.triggers import Event, spans
from scene.signal import Signal, state_action_pairs
from scene.types import Float64, Mask

_MERGE_NS: Final = 300_000_000
_LIVELY_SHARE: Final = 0.15  # of the widest span of a signal: less is noise


class SignalTrigger(Protocol):
    """A rule over the signals of a recording. Same signals, same events."""

    @property
    def name(self) -> str:
        """Short name, used in tables."""
        ...

    def fire(self, signals: Sequence[Signal]) -> list[Event]:
        """Return the events in time order."""
        ...


@dataclass(frozen=True, slots=True)
class FastMotion:
    """A joint crossed its range quickly: where contacts, blur and mistakes happen.

    Attributes:
        spans_per_s: threshold on the speed of a field.
        window_s: speeds are means over this time, to drown the noise of encoders.
    """

    spans_per_s: float = 2.0
    window_s: float = 0.2
    name: str = "fast_motion"

    def fire(self, signals: Sequence[Signal]) -> list[Event]:
        """Return one event a stretch; strength is the peak speed in spans a second."""
        events = []
        for state in _of_kind(signals, "state"):
            width, lively = _span(state)
            speed = _speed(state, self.window_s)[:, lively] / width[lively]
            if not speed.size:
                continue
            peak = np.nan_to_num(speed).max(axis=1)
            names = np.array(state.fields)[lively]
            for first, last in spans(peak >= self.spans_per_s, state.timestamps_ns, _MERGE_NS):
                part = np.nan_to_num(speed[first : last + 1])
                worst = str(names[int(part.max(axis=0).argmax())])
                detail = f"{worst} moved at {part.max():.1f} of its ranges a second"
                events.append(_event(self.name, state, first, last, float(part.max()), detail))
        return events


@dataclass(frozen=True, slots=True)
class TrackingError:
    """The state stayed away from the action: a collision, a slip, a load too heavy.

    Attributes:
        share: of the field's span by which state and action differ, their usual offset aside.
        hold_s: how long at least.
    """

    share: float = 0.3
    hold_s: float = 0.15
    name: str = "tracking_error"

    def fire(self, signals: Sequence[Signal]) -> list[Event]:
        """Return one event a stretch; strength is the peak error in spans."""
        events = []
        for state, action in state_action_pairs(signals):
            width, lively = _span(state)
            lively &= _follows(state, action)
            off = (action.values - state.values)[:, lively]
            if not off.size:
                continue
            error = np.abs(np.nan_to_num(off - np.nanmedian(off, axis=0))) / width[lively]
            names = np.array(state.fields)[lively]
            far = error.max(axis=1) >= self.share
            for first, last in spans(far, state.timestamps_ns, _MERGE_NS):
                times = state.timestamps_ns
                if times[last] - times[first] < self.hold_s * 1e9:
                    continue
                part = error[first : last + 1]
                worst = str(names[int(part.max(axis=0).argmax())])
                detail = f"{worst} was off its action by {part.max():.0%} of its range"
                events.append(_event(self.name, state, first, last, float(part.max()), detail))
        return events


@dataclass(frozen=True, slots=True)
class Idle:
    """Nothing moved: waiting for a person, stuck, or the end of the task.

    Attributes:
        spans_per_s: below this speed a field stands still.
        hold_s: how long at least.
    """

    spans_per_s: float = 0.05
    hold_s: float = 1.0
    name: str = "idle"

    def fire(self, signals: Sequence[Signal]) -> list[Event]:
        """Return one event a stretch; strength is its length in seconds."""
        events = []
        for state in _of_kind(signals, "state"):
            width, lively = _span(state)
            speed = _speed(state, 0.3)[:, lively] / width[lively]
            still = np.nan_to_num(speed).max(axis=1, initial=0.0) < self.spans_per_s
            one_step_ns = int(1.5 * np.median(np.diff(state.timestamps_ns)))
            for first, last in spans(still, state.timestamps_ns, one_step_ns):
                seconds = float(state.timestamps_ns[last] - state.timestamps_ns[first]) / 1e9
                if seconds >= self.hold_s:
                    detail = f"nothing of {state.name} moved for {seconds:.1f} s"
                    events.append(_event(self.name, state, first, last, seconds, detail))
        return events


DEFAULT_SIGNAL_TRIGGERS: Final[tuple[SignalTrigger, ...]] = (FastMotion(), TrackingError(), Idle())


def fire_signals(
    signals: Sequence[Signal], triggers: Sequence[SignalTrigger] = DEFAULT_SIGNAL_TRIGGERS
) -> list[Event]:
    """Return the events of all triggers, by start time and then by trigger."""
    finite = [signal.finite() for signal in signals]
    events = [event for trigger in triggers for event in trigger.fire(finite)]
    return sorted(events, key=lambda e: (e.start_ns, e.trigger, e.end_ns))


def _of_kind(signals: Sequence[Signal], kind: str) -> Iterator[Signal]:
    for signal in signals:
        if signal.kind == kind and len(signal.timestamps_ns) > 2 and signal.fields:
            yield signal


def _span(signal: Signal) -> tuple[Float64, Mask]:
    """Return (C,) spans, and which fields move more than noise."""
    width = signal.span()
    return width, (width > _LIVELY_SHARE * width.max(initial=0.0)) & (width > 0)


def _speed(signal: Signal, window_s: float) -> Float64:
    """Return (T, C) the absolute speed of each field over a centred window."""
    times = signal.timestamps_ns / 1e9
    half = window_s / 2
    first = np.searchsorted(times, times - half, side="left")
    last = np.searchsorted(times, times + half, side="right") - 1
    short = last <= first
    first = np.where(short, np.maximum(first - 1, 0), first)
    last = np.where(short, np.minimum(last + 1, len(times) - 1), last)
    seconds = np.maximum(times[last] - times[first], 1e-9)
    return np.abs(signal.values[last] - signal.values[first]) / seconds[:, None]


def _follows(state: Signal, action: Signal) -> Mask:
    """Return (C,) where the action is a goal for the state: the two go together."""
    a, s = (np.nan_to_num(x.values - x.mean()) for x in (action, state))
    size = np.sqrt((a * a).sum(axis=0) * (s * s).sum(axis=0))
    return (a * s).sum(axis=0) > 0.7 * np.maximum(size, 1e-12)


def _event(name: str, signal: Signal, first: int, last: int, strength: float, detail: str) -> Event:
    times = signal.timestamps_ns
    return Event(name, int(times[first]), int(times[last]), strength, detail)
