"""When each point of a sweep was measured, whatever the column is called and whatever it counts.

Drivers write seconds, milliseconds, microseconds or nanoseconds, as integers or floats, since the
epoch, since the header stamp, until the header stamp (negative), or since something of their own
(power-on, the full hour). One recording comes from one driver, so the rule is chosen once, from the
first sweeps that can tell: the points of a revolution span about one sweep period, and of units
that are a factor of 1000 apart only one can fit. A unit in the column's name wins. If no unit fits,
the times are dropped and that is said once.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final, Literal

import numpy as np
from numpy.typing import NDArray

from recordings.geometry import points_kernels
from recordings.recording import Damage

Reference = Literal["epoch", "stamp", "first"]

TIME_NAMES: Final = (
    "offset_ns", "t", "time", "timestamp", "time_stamp", "offset_time", "point_time_offset",
    "time_offset", "timeoffset", "timestamp_ns", "time_ns", "t_ns", "t_us", "time_us", "t_offset",
    "timestamp_offset", "relative_time", "rel_time", "point_time", "ts", "stamp",
)  # fmt: skip

_UNITS_NS: Final = (1, 1_000, 1_000_000, 1_000_000_000)
_NAMED_UNITS_NS: Final = {
    "ns": 1, "nsec": 1, "nanoseconds": 1,
    "us": 1_000, "usec": 1_000, "microseconds": 1_000,
    "ms": 1_000_000, "msec": 1_000_000, "milliseconds": 1_000_000,
    "s": 1_000_000_000, "sec": 1_000_000_000, "seconds": 1_000_000_000,
}  # fmt: skip

# No point lies further from its sweep's time than this.
_MAX_OFFSET_NS: Final = 2_000_000_000
# Shares of the sweep period that the points of a sweep may span: from a sensor with a narrow view
# (a sector of 14 degrees) to one whose sweeps overlap. The two are less than 1000 apart.
_MIN_SPAN, _MAX_SPAN = 0.04, 1.5
# A recording may hold every fifth sweep only; a sweep still takes what a revolution takes.
_USUAL_PERIOD_NS: Final = 100_000_000
_MAX_SPAN_NS: Final = 1_050_000_000
# Fewer points cannot tell how long a revolution takes; they are read in the usual unit of their
# type, integers as nanoseconds and floats as seconds, and decide nothing for the recording.
_MIN_POINTS: Final = 64
_MAX_TRIES: Final = 5


@dataclass(frozen=True, slots=True)
class TimeRule:
    """How to read the time column of one recording.

    Attributes:
        unit_ns: nanoseconds in one count of the column.
        reference: what it counts from: the "epoch", the sweep's "stamp", or its own "first" point,
            where the driver's clock is neither.
    """

    unit_ns: int
    reference: Reference


def sweep_period_ns(timestamps_ns: Iterable[int]) -> int:
    """Return the usual nanoseconds from one sweep to the next; 0 where that cannot be known."""
    steps = np.diff(np.unique(np.fromiter(timestamps_ns, dtype=np.int64)))
    return int(np.median(steps)) if len(steps) else 0


def find_rule(
    time: NDArray[np.generic], timestamp_ns: int, period_ns: int = 0, name: str = ""
) -> TimeRule | None:
    """Return how to read a (N,) time column, None if no unit makes sense of it.

    Args:
        time: the column, in the driver's type.
        timestamp_ns: time of the sweep.
        period_ns: time from one sweep to the next; 0 if unknown.
        name: name of the column.
    """
    named = _unit_of(name)
    if named is not None:
        return _rule(time, timestamp_ns, named)
    ends = _ends(time)
    if ends is None:
        return None
    span = ends[1] - ends[0]
    fitting = [unit for unit in _UNITS_NS if _fits(span * unit, period_ns)]
    return _rule(time, timestamp_ns, fitting[0]) if fitting else None


def _rule(time: NDArray[np.generic], timestamp_ns: int, unit_ns: int) -> TimeRule | None:
    """Return the rule with the given unit, None if it puts points too far from each other.

    A clock that begins at zero, as simulators and counted files have, puts the epoch and the
    stamp near each other: then the times count from the one that they lie nearer to.
    """
    ends = _ends(time)
    if ends is None or (ends[1] - ends[0]) * unit_ns > _MAX_OFFSET_NS:
        return None
    low, high = ends[0] * unit_ns, ends[1] * unit_ns
    from_stamp = max(abs(low), abs(high)) < _MAX_OFFSET_NS
    from_epoch = abs(low - timestamp_ns) < _MAX_OFFSET_NS
    if from_stamp and from_epoch:
        from_epoch = _away(low, high, timestamp_ns) < _away(low, high, 0)
    if from_epoch:
        return TimeRule(unit_ns, "epoch")
    return TimeRule(unit_ns, "stamp" if from_stamp else "first")


def _away(low: float, high: float, moment: int) -> float:
    """Return how far outside an interval a moment lies, 0 inside."""
    return max(low - moment, moment - high, 0)


def _tells(rule: TimeRule, time: NDArray[np.generic], timestamp_ns: int) -> bool:
    """Return whether times tell what they count from: the epoch and the stamp must lie apart.

    In the first sweeps of a clock that begins at zero they do not.
    """
    ends = _ends(time)
    if ends is None:
        return False
    low, high = ends[0] * rule.unit_ns, ends[1] * rule.unit_ns
    apart = abs(_away(low, high, timestamp_ns) - _away(low, high, 0))
    return apart > (high - low) / 2


def apply_rule(
    rule: TimeRule, time: NDArray[np.generic], timestamp_ns: int, origin_ns: int = 0
) -> NDArray[np.int32] | None:
    """Return (N,) int32 nanoseconds after `timestamp_ns`; None if one lies over 2 s from it.

    Args:
        rule: of the recording.
        time: (N,) in the driver's type.
        timestamp_ns: time of the sweep.
        origin_ns: added to times that count from the stamp, for drivers that mean another moment.
    """
    offset = np.empty(len(time), dtype=np.int32)
    if not len(time):
        return offset
    if rule.reference == "epoch":
        # Whole counts are subtracted first: a float64 epoch in nanoseconds has a step of 256 ns.
        whole, rest_ns = divmod(timestamp_ns, rule.unit_ns)
    elif rule.reference == "stamp":
        whole, rest_ns = 0, -origin_ns
    else:
        whole, rest_ns = None, 0
    if time.dtype.kind in "iu":
        plain = time.dtype.isnative and time.dtype != np.uint64
        exact = time if plain else time.astype(np.int64)
        start = int(exact.min()) if whole is None else whole
        fits = points_kernels.offsets_of_integers(
            exact, start, rule.unit_ns, rest_ns, offset, _MAX_OFFSET_NS
        )
    else:
        real = points_kernels.readable(time)
        first = float(real.min()) if whole is None else float(whole)
        fits = points_kernels.offsets_of_floats(
            real, first, rule.unit_ns, rest_ns, offset, _MAX_OFFSET_NS
        )
    return offset if fits else None


class PointTimes:
    """Reads the time columns of one recording, sweep by sweep.

    Attributes:
        rule: the rule, None until a sweep has told it and for ever if none does.
    """

    def __init__(self, damage: list[Damage], period_ns: int = 0, origin_ns: int = 0) -> None:
        """Start undecided.

        Args:
            damage: where it is said that times were dropped.
            period_ns: time from one sweep to the next; 0 if unknown.
            origin_ns: see `apply_rule`.
        """
        self.rule: TimeRule | None = None
        self._damage = damage
        self._period_ns = period_ns
        self._origin_ns = origin_ns
        self._tries = 0
        self._said = False

    def offsets_ns(
        self, time: NDArray[np.generic] | None, timestamp_ns: int, where: str, name: str = ""
    ) -> NDArray[np.int32] | None:
        """Return (N,) int32 nanoseconds after `timestamp_ns`; None where they are not known.

        Args:
            time: (N,) in the driver's type, None if there is no such column.
            timestamp_ns: time of the sweep.
            where: file or topic, for the damage list.
            name: name of the column.
        """
        if time is None or not len(time):
            return None
        rule = self.rule or self._decide(time, timestamp_ns, where, name)
        if rule is None:
            return None
        found = apply_rule(rule, time, timestamp_ns, self._origin_ns)
        if found is None:
            self._say(where, f"point times at {timestamp_ns} ns lie over 2 s from the sweep's time")
        return found

    def _decide(
        self, time: NDArray[np.generic], timestamp_ns: int, where: str, name: str
    ) -> TimeRule | None:
        """Return the rule for this sweep, which becomes that of the recording if it is sure."""
        if self._tries >= _MAX_TRIES or time.min() == time.max():
            return None  # a field that holds one value everywhere was not filled by the driver
        if len(time) < _MIN_POINTS and _unit_of(name) is None:
            usual_ns = 1 if time.dtype.kind in "iu" else 1_000_000_000
            return _rule(time, timestamp_ns, usual_ns)
        rule = find_rule(time, timestamp_ns, self._period_ns, name)
        if rule is None:
            self._tries += 1
            lost = f"per-point times of sweep {timestamp_ns} and of those after it until one fits"
            self._say(where, self._no_unit(time, name), lost)
        elif _tells(rule, time, timestamp_ns):
            self.rule = rule
        return rule

    def _no_unit(self, time: NDArray[np.generic], name: str) -> str:
        ends = _ends(time)
        span = "not finite" if ends is None else f"{ends[1] - ends[0]:g} of {time.dtype}"
        period = (
            f"a sweep period of {self._period_ns / 1e9:.3f} s" if self._period_ns else "a sweep"
        )
        called = f" {name!r}" if name else ""
        return f"no unit makes the span of the point times{called} ({span}) fit {period}"

    def _say(self, where: str, what: str, lost: str = "per-point times") -> None:
        if not self._said:  # it will be the same with every sweep: said once
            self._said = True
            self._damage.append(Damage(where, what, lost, rule="REC019"))


def _ends(time: NDArray[np.generic]) -> tuple[int | float, int | float] | None:
    """Return the least and the greatest value; None unless all are finite."""
    low, high = time.min().item(), time.max().item()
    return (low, high) if np.isfinite(low) and np.isfinite(high) else None


def _unit_of(name: str) -> int | None:
    """Return the unit that a column's name ends in, None if it names none."""
    match = re.search(r"_([a-z]+)$", name.lower())
    return _NAMED_UNITS_NS.get(match[1]) if match else None


def _fits(span_ns: float, period_ns: int) -> bool:
    """Return whether the points of a sweep may span so long a time."""
    usual = min(period_ns or _USUAL_PERIOD_NS, _USUAL_PERIOD_NS)
    longest = _MAX_SPAN * period_ns if period_ns else _MAX_SPAN_NS
    return _MIN_SPAN * usual <= span_ns <= min(longest, _MAX_SPAN_NS)
