"""Rules about points: impossible, doubtful, or the same whatever happens.

What is missing from the lidar's view is looked at in `view_rules`.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import numpy as np

from recordings.rules import sweep_kernels
from recordings.rules.rule import Facts, Finding, Rule, Times
from recordings.rules.sweep_look import FAR_M, SweepLook
from scene.types import Float64, Int64

SOME_EMPTY: Final = Rule(
    "REC003", "warning", "some sweeps are empty",
    "check the driver: clouds of only NaN or zeros mean no returns or no decoding",
)  # fmt: skip
NOT_FINITE: Final = Rule(
    "REC004", "error", "points that are not finite",
    "readers drop such points; report the format of this file",
)  # fmt: skip
GROUND: Final = Rule(
    "REC013", "warning", "the ground is not near z = 0",
    "the ego origin belongs on the ground: correct the lidar's mounting height",
)  # fmt: skip
NO_INTENSITY: Final = Rule(
    "REC014", "warning", "intensity is the same everywhere",
    "record the driver's intensity field; a detector loses accuracy without it",
)  # fmt: skip
FAR: Final = Rule(
    "REC023", "warning", "points farther than a lidar sees",
    "filter them in the driver: they are decoding errors or multiple echoes",
)  # fmt: skip
WRONG_UNIT: Final = Rule(
    "REC024", "error", "coordinates are not metres around the vehicle",
    "convert to metres in the sensor's frame: these look like millimetres or map coordinates",
)  # fmt: skip
GROUND_JUMP: Final = Rule(
    "REC025", "warning", "the height of the ground jumps",
    "the mounting or its calibration changed on the way: cut the recording there, check the mount",
)  # fmt: skip
COLLAPSE: Final = Rule(
    "REC026", "warning", "the number of points collapses",
    "packets were lost or the window is covered: check the network, clean the lidar",
)  # fmt: skip
SATURATED: Final = Rule(
    "REC027", "warning", "intensity is saturated",
    "record the raw intensity, or scale it to the range of its type",
)  # fmt: skip
RULES: Final = (
    SOME_EMPTY, NOT_FINITE, GROUND, NO_INTENSITY, FAR, WRONG_UNIT, GROUND_JUMP, COLLAPSE, SATURATED,
)  # fmt: skip

# Real drives: the ground lies at -0.42 to +0.10 m, the lower end where the ego origin is taken at
# axle height (Argoverse 2, PandaSet).
_MAX_GROUND_M: Final = 0.8
_GROUND_BAND_M: Final = (4.0, 15.0)
_GROUND_SHARE: Final = 0.1  # of the points there are lower than this
_MIN_GROUND_POINTS: Final = 200
_GROUND_POINTS: Final = 20_000  # enough for a percentile
_FAR_SHARE: Final = 1e-4
# The middle of a real sweep lies 7 to 20 m away; in millimetres that is 7,000. A survey tile spans
# a kilometre or two, and is only far.
_MAX_MEDIAN_M: Final = 4000.0
# Within a drive the estimate varies by 0.18 m on real roads. A crest passes within two seconds,
# so both the moments before and after, and all before and all after must differ.
_GROUND_JUMP_M: Final = 0.4
_GROUND_WINDOW: Final = 4
# The count of points varies by 4 % in real drives; open country halves it. A third for three
# sweeps running is neither.
_COLLAPSE_SHARE: Final = 0.33
_COLLAPSE_SWEEPS: Final = 3
_MIN_SWEEPS: Final = 10
# Real drives have up to 1 % of the points at the end of the scale.
_SATURATED_SHARE: Final = 0.3


class GeometryRules:
    """Watches points."""

    def __init__(self, facts: Facts) -> None:
        del facts
        self._num_points = Times()
        self._num_empty = self._num_not_finite = self._num_far = 0
        self._saturated = 0.0
        self._intensity = [np.inf, -np.inf]
        self._ground: list[tuple[int, float]] = []
        self._sampled = self._sampled_far = 0

    def add(self, look: SweepLook) -> None:
        """Look at one sweep."""
        self._num_points.append(look.num_points)
        if not look.num_points:
            self._num_empty += 1
            return
        self._num_not_finite += look.num_not_finite
        self._num_far += look.num_far
        self._saturated += look.saturated
        self._intensity[0] = min(self._intensity[0], look.intensity_min)
        self._intensity[1] = max(self._intensity[1], look.intensity_max)
        if not look.sampled:
            return
        self._sampled += look.num_points
        if look.num_far:
            points = look.sweep.points_ego_m
            self._sampled_far += sweep_kernels.count_beyond(points, _MAX_MEDIAN_M)
        if (height_m := ground_height_m(look)) is not None:
            self._ground.append((look.timestamp_ns, height_m))

    def finish(self) -> Iterator[Finding]:
        """Give what was found."""
        counts = self._num_points.to_numpy()
        num_sweeps, total = len(counts), int(counts.sum())
        if 0 < self._num_empty < num_sweeps:
            yield SOME_EMPTY.found(
                f"{self._num_empty} of {num_sweeps} sweeps have no usable point", self._num_empty
            )
        if self._num_not_finite:
            message = f"{self._num_not_finite} points are NaN or infinite"
            yield NOT_FINITE.found(message, self._num_not_finite)
        if not total:
            return
        yield from self._about_range(total)
        yield from self._about_intensity(num_sweeps - self._num_empty)
        yield from self._about_ground()
        yield from _about_counts(counts)

    def _about_range(self, total: int) -> Iterator[Finding]:
        far = self._sampled_far / max(self._sampled, 1)
        if far > 0.5:
            yield WRONG_UNIT.found(
                f"{far:.0%} of the points are farther than {_MAX_MEDIAN_M:.0f} m"
            )
        elif self._num_far > _FAR_SHARE * total:
            message = f"{self._num_far} of {total} points are farther than {FAR_M:.0f} m"
            yield FAR.found(message, self._num_far)

    def _about_intensity(self, num_sweeps: int) -> Iterator[Finding]:
        low, high = self._intensity
        share = self._saturated / num_sweeps
        if low == high:
            yield NO_INTENSITY.found(f"intensity is {low:g} at every point")
        elif share > _SATURATED_SHARE:
            yield SATURATED.found(f"{share:.0%} of the points have the highest intensity")

    def _about_ground(self) -> Iterator[Finding]:
        if not self._ground:
            return
        height = np.array([height_m for _, height_m in self._ground])
        if abs(usual := float(np.median(height))) > _MAX_GROUND_M:
            yield GROUND.found(
                f"the ground around the vehicle lies at z = {usual:.2f} m, expected near 0"
            )
        at, jump_m = _largest_jump(height)
        if abs(jump_m) > _GROUND_JUMP_M:
            yield GROUND_JUMP.found(f"by {jump_m:+.2f} m at {self._ground[at][0]} ns, and stays")


def ground_height_m(look: SweepLook) -> float | None:
    """Return the height of the ground around the vehicle, None if there is too little of it."""
    step = 1 + look.num_points // _GROUND_POINTS
    height_m = sweep_kernels.low_height(
        look.sweep.points_ego_m, step, *_GROUND_BAND_M, _GROUND_SHARE, _MIN_GROUND_POINTS
    )
    return None if np.isnan(height_m) else float(height_m)


def _largest_jump(height_m: Float64) -> tuple[int, float]:
    """Return where the level of a series changes most for good, and by how much."""
    best = (0, 0.0)
    window = _GROUND_WINDOW
    for at in range(window, len(height_m) - window + 1):  # two a second: short
        near = np.median(height_m[at : at + window]) - np.median(height_m[at - window : at])
        whole = np.median(height_m[at:]) - np.median(height_m[:at])
        jump = float(near if abs(near) < abs(whole) else whole)
        if near * whole > 0 and abs(jump) > abs(best[1]):
            best = (at, jump)
    return best


def _about_counts(counts: Int64) -> Iterator[Finding]:
    if len(counts) < _MIN_SWEEPS:
        return
    usual = float(np.median(counts[counts > 0]))
    low = (counts > 0) & (counts < _COLLAPSE_SHARE * usual)
    kernel = np.ones(_COLLAPSE_SWEEPS, dtype=np.int64)
    runs = np.convolve(low.astype(np.int64), kernel, "valid") == _COLLAPSE_SWEEPS
    if runs.any():
        yield COLLAPSE.found(
            f"{int(low.sum())} sweeps have as few as {int(counts[low].min())} points, usual are "
            f"{usual:.0f}; first sweep {int(np.argmax(runs))}",
            int(low.sum()),
        )
