"""Rules about points: what is missing, impossible or never changes."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import numpy as np

from recordings.rules import Facts, Finding, Rule
from recordings.sweep_look import SweepLook

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
RULES: Final = (SOME_EMPTY, NOT_FINITE, GROUND, NO_INTENSITY)

_MAX_GROUND_M: Final = 0.8
_GROUND_BAND_M: Final = (4.0, 15.0)
_MIN_GROUND_POINTS: Final = 200
_GROUND_POINTS: Final = 20_000  # enough for a percentile


class GeometryRules:
    """Watches points."""

    def __init__(self, facts: Facts) -> None:
        del facts
        self._num_sweeps = self._num_empty = self._num_not_finite = 0
        self._intensity = [np.inf, -np.inf]
        self._ground: list[float] = []

    def add(self, look: SweepLook) -> None:
        """Look at one sweep."""
        self._num_sweeps += 1
        if not look.num_points:
            self._num_empty += 1
            return
        self._num_not_finite += look.num_not_finite
        self._intensity[0] = min(self._intensity[0], look.intensity_min)
        self._intensity[1] = max(self._intensity[1], look.intensity_max)
        if look.sampled and (height_m := ground_height_m(look)) is not None:
            self._ground.append(height_m)

    def finish(self) -> Iterator[Finding]:
        """Give what was found."""
        if 0 < self._num_empty < self._num_sweeps:
            yield SOME_EMPTY.found(
                f"{self._num_empty} of {self._num_sweeps} sweeps have no usable point",
                self._num_empty,
            )
        if self._num_not_finite:
            message = f"{self._num_not_finite} points are NaN or infinite"
            yield NOT_FINITE.found(message, self._num_not_finite)
        if self._num_empty < self._num_sweeps and self._intensity[0] == self._intensity[1]:
            yield NO_INTENSITY.found(f"intensity is {self._intensity[0]:g} at every point")
        if self._ground and abs(height := float(np.median(self._ground))) > _MAX_GROUND_M:
            yield GROUND.found(
                f"the ground around the vehicle lies at z = {height:.2f} m, expected near 0"
            )


def ground_height_m(look: SweepLook) -> float | None:
    """Return the height of the ground around the vehicle, None if there is too little of it."""
    points = look.sweep.points_ego_m[:: 1 + look.num_points // _GROUND_POINTS]
    squared = points[:, 0] ** 2 + points[:, 1] ** 2
    near = (squared > _GROUND_BAND_M[0] ** 2) & (squared < _GROUND_BAND_M[1] ** 2)
    if np.count_nonzero(near) < _MIN_GROUND_POINTS:
        return None
    return float(np.percentile(points[near, 2], 10))
