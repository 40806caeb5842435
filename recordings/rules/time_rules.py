"""Rules about time: order and rate of sweeps, clocks of sensors, times of points."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import numpy as np

from recordings.recording import ASSUMED_CLOCK, ASSUMED_POSES
from recordings.rules.rule import Facts, Finding, Rule, Times
from recordings.rules.sweep_look import SweepLook
from scene.types import Int64

ORDER: Final = Rule(
    "REC005", "error", "sweeps are not in time order",
    "record with one clock; sort the recording by header stamp",
)  # fmt: skip
GAPS: Final = Rule(
    "REC006", "warning", "gaps in the sweep rate",
    "sweeps were dropped while recording: check disk and network load",
)  # fmt: skip
CLOCK_ASSUMED: Final = Rule(
    "REC011", "warning", "the clock was assumed",
    "name the files by their time in nanoseconds",
)  # fmt: skip
DRIFT: Final = Rule(
    "REC015", "warning", "the sweep period drifts",
    "stamp sweeps by the sensor's clock and synchronise it (PTP), not by arrival",
)  # fmt: skip
JITTER: Final = Rule(
    "REC016", "warning", "sweeps are stamped irregularly",
    "stamp sweeps by the sensor's clock, not by when the computer got round to them",
)  # fmt: skip
CLOCK_JUMP: Final = Rule(
    "REC017", "error", "the clock was set while recording",
    "cut the recording at the jump; set the clock (GNSS, PTP, NTP) before recording",
)  # fmt: skip
CLOCK_UNSET: Final = Rule(
    "REC018", "warning", "the clock was never set",
    "set the recorder's clock (GNSS, PTP, NTP); drives cannot be ordered or joined otherwise",
)  # fmt: skip
POINT_TIMES: Final = Rule(
    "REC019", "warning", "times of points do not fit the sweep period",
    "check unit and origin of the per-point time field; motion compensation relies on it",
)  # fmt: skip
POSES_SHIFTED: Final = Rule(
    "REC020", "warning", "poses and lidar have shifted clocks",
    "record both by one clock, or correct the poses' stamps by the shift named",
)  # fmt: skip
IMAGES_SHIFTED: Final = Rule(
    "REC021", "warning", "a camera and the lidar have shifted clocks",
    "record both by one clock; images would be paired with the wrong sweeps",
)  # fmt: skip
IMAGE_GAPS: Final = Rule(
    "REC022", "warning", "a camera lost images",
    "images were dropped while recording: check disk and network load",
)  # fmt: skip
RULES: Final = (
    ORDER, GAPS, CLOCK_ASSUMED, DRIFT, JITTER, CLOCK_JUMP, CLOCK_UNSET, POINT_TIMES, POSES_SHIFTED,
    IMAGES_SHIFTED, IMAGE_GAPS,
)  # fmt: skip

_GAP_FACTOR: Final = 1.8
_MIN_STEPS: Final = 8
# PandaSet, Argoverse 2 and KITTI keep their period to 0.3 %; a motor that does not hold its speed,
# or stamps by a clock that is being slewed, shows by 3 % between the ends of a drive.
_DRIFT_SHARE: Final = 0.03
# Real drives jitter below 4 % of the period (KITTI: 3 ms of 103). Stamps of arrival come in bursts.
_JITTER_SHARE: Final = 0.25
_CLOCK_JUMP_NS: Final = 600 * 10**9  # a recording is minutes long and does not pause for ten
# Boot clocks count from 1970; GPS time, which Argoverse 2 uses, began on 6 January 1980.
_FIRST_CLOCK_NS: Final = 315_964_800 * 10**9
_LAST_CLOCK_NS: Final = 4_102_444_800 * 10**9  # the year 2100
# Points of a sweep span the period (or the part of it that a 30 degree field of view takes). A
# wrong unit is wrong by a factor of 1,000.
_SPAN_SHARE: Final = (0.01, 1.6)
_MIN_SHIFT_NS: Final = 60_000_000  # below the extrapolation bound of poses a shift goes unnoticed
_IMAGE_SHIFT_NS: Final = 1_000_000_000
_IMAGE_GAP_FACTOR: Final = 2.5


class TimeRules:
    """Watches the times of sweeps, points and images."""

    def __init__(self, facts: Facts) -> None:
        self._facts = facts
        self._times = Times()
        self._span_ns: list[int] = []
        self._images: dict[str, Times] = {}

    def add(self, look: SweepLook) -> None:
        """Look at one sweep."""
        self._times.append(look.timestamp_ns)
        if look.num_points and len(self._span_ns) < 256:  # the same all along
            self._span_ns.append(look.last_offset_ns - look.first_offset_ns)

    def add_image(self, sensor: str, timestamp_ns: int) -> None:
        """Look at the time of one image."""
        self._images.setdefault(sensor, Times()).append(timestamp_ns)

    def finish(self) -> Iterator[Finding]:
        """Give what was found."""
        times = self._times.to_numpy()
        assumed = self._facts.calibration.assumed
        if ASSUMED_CLOCK in assumed:
            yield CLOCK_ASSUMED.found(
                "no times in the recording: sweeps are taken to be 0.1 s apart"
            )
        elif len(times):
            yield from _about_era(times)
        if len(times) >= 2:
            yield from _about_steps(times)
            yield from self._about_point_times(times)
        if len(times) and ASSUMED_POSES not in assumed:
            yield from _about_shift(times, self._facts.trajectory.timestamps_ns)
        for sensor, stamps in sorted(self._images.items()):
            yield from _about_images(sensor, stamps.to_numpy(), times)

    def _about_point_times(self, times: Int64) -> Iterator[Finding]:
        steps = np.diff(times)
        period = float(np.median(steps[steps > 0])) if (steps > 0).any() else 0.0
        span = float(np.median(self._span_ns)) if self._span_ns else 0.0
        if not period or not span:  # zeros: the times are unknown, which is no fault
            return
        share = span / period
        if not _SPAN_SHARE[0] < share < _SPAN_SHARE[1]:
            yield POINT_TIMES.found(
                f"the points of a sweep span {span / 1e6:.3f} ms, but sweeps are "
                f"{period / 1e6:.1f} ms apart"
            )


def _about_era(times: Int64) -> Iterator[Finding]:
    first, last = int(times.min()), int(times.max())
    if first < _FIRST_CLOCK_NS and last - first < _CLOCK_JUMP_NS:
        yield CLOCK_UNSET.found(
            f"the first sweep is at {first} ns, {first / 1e9:.0f} s after 1 January 1970"
        )
    elif last > _LAST_CLOCK_NS:
        yield CLOCK_UNSET.found(f"a sweep is at {last} ns, after the year 2100")


def _about_steps(times: Int64) -> Iterator[Finding]:
    steps = np.diff(times)
    if (steps <= 0).any():
        index = int(np.argmax(steps <= 0))
        yield ORDER.found(
            f"sweep {index + 1} at {times[index + 1]} ns is not after the one before",
            int((steps <= 0).sum()),
        )
        return  # gaps and jitter follow from it
    jumps = np.flatnonzero(np.abs(steps) > _CLOCK_JUMP_NS)
    if len(jumps):
        at = int(jumps[0])
        yield CLOCK_JUMP.found(
            f"{steps[at] / 1e9:+.0f} s between sweeps {at} and {at + 1}, at {times[at + 1]} ns",
            len(jumps),
        )
    usual = float(np.median(steps))
    if usual <= 0:
        return
    gaps = np.flatnonzero((steps > _GAP_FACTOR * usual) & (steps <= _CLOCK_JUMP_NS))
    if len(gaps):
        worst = int(gaps[np.argmax(steps[gaps])])
        yield GAPS.found(
            f"{len(gaps)} gaps in a rate of {1e9 / usual:.1f} Hz, the longest "
            f"{steps[worst] / 1e9:.2f} s after {times[worst]} ns",
            len(gaps),
        )
    yield from _about_rate(steps[(steps > 0) & (steps <= _GAP_FACTOR * usual)])


def _about_rate(steps: Int64) -> Iterator[Finding]:
    """Look at the steps that are neither gaps nor backwards."""
    if len(steps) < _MIN_STEPS:
        return
    usual = float(np.median(steps))
    third = len(steps) // 3
    begin, end = float(np.median(steps[:third])), float(np.median(steps[-third:]))
    uneven = float(np.percentile(np.abs(steps - usual), 80)) / usual
    if uneven > _JITTER_SHARE:
        yield JITTER.found(
            f"steps between sweeps differ by {uneven:.0%} of the period of {usual / 1e6:.1f} ms",
            int((np.abs(steps - usual) > _JITTER_SHARE * usual).sum()),
        )
    elif abs(end - begin) > _DRIFT_SHARE * usual:
        yield DRIFT.found(f"the period goes from {begin / 1e6:.2f} ms to {end / 1e6:.2f} ms")


def _about_shift(times: Int64, poses: Int64) -> Iterator[Finding]:
    """Poses that begin late and end late by the same time were stamped by another clock."""
    if len(times) < _MIN_STEPS or len(poses) < _MIN_STEPS:
        return
    begin_ns, end_ns = int(poses[0] - times[0]), int(poses[-1] - times[-1])
    step_ns, period_ns = float(np.median(np.diff(poses))), float(np.median(np.diff(times)))
    least_ns = max(_MIN_SHIFT_NS, 2.5 * step_ns)
    # All topics stop at once, and a sweep is stamped at its start: the last pose is later by up
    # to a period.
    late = begin_ns > least_ns and end_ns > period_ns + 2 * step_ns
    early = begin_ns < -least_ns and end_ns < -least_ns
    if (late or early) and abs(begin_ns - end_ns) < period_ns + 2 * step_ns:
        yield POSES_SHIFTED.found(
            f"ego poses begin {begin_ns / 1e9:+.2f} s and end {end_ns / 1e9:+.2f} s from the sweeps"
        )


def _about_images(sensor: str, stamps: Int64, times: Int64) -> Iterator[Finding]:
    stamps = np.sort(stamps)
    if len(times) and len(stamps):
        early, late = int(times[0] - stamps[-1]), int(stamps[0] - times[-1])
        if max(early, late) > _IMAGE_SHIFT_NS:
            yield IMAGES_SHIFTED.found(
                f"{sensor} has no image during the lidar's time: "
                + (f"its first is {late / 1e9:.2f} s after the last sweep" if late > early
                   else f"its last is {early / 1e9:.2f} s before the first sweep"),
                len(stamps),
            )  # fmt: skip
        elif len(stamps) >= _MIN_STEPS and len(times) >= _MIN_STEPS:
            begin, end = int(stamps[0] - times[0]), int(stamps[-1] - times[-1])
            if begin * end > 0 and min(abs(begin), abs(end)) > _IMAGE_SHIFT_NS:
                yield IMAGES_SHIFTED.found(
                    f"{sensor} begins {begin / 1e9:+.2f} s and ends {end / 1e9:+.2f} s from the "
                    "lidar",
                )
    steps = np.diff(stamps)
    if len(steps) < _MIN_STEPS:
        return
    usual = float(np.median(steps))
    gaps = np.flatnonzero(steps > _IMAGE_GAP_FACTOR * usual)
    if len(gaps):
        worst = int(gaps[np.argmax(steps[gaps])])
        yield IMAGE_GAPS.found(
            f"{sensor}: {len(gaps)} gaps in a rate of {1e9 / usual:.1f} Hz, the longest "
            f"{steps[worst] / 1e9:.2f} s after {stamps[worst]} ns",
            len(gaps),
        )
