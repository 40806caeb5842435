"""Rules about what a recording holds: nothing, too little, or the same thing again."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from recordings.rules import Facts, Finding, Rule
from recordings.sweep_look import SweepLook

NO_SWEEP: Final = Rule(
    "REC001", "error", "no sweep at all",
    "check that the lidar topic or folder was recorded; see the damage list",
)  # fmt: skip
ALL_EMPTY: Final = Rule(
    "REC002", "error", "every sweep is empty",
    "check the driver: clouds of only NaN or zeros mean no returns or no decoding",
)  # fmt: skip
REPEATED: Final = Rule(
    "REC010", "warning", "the same points again under another time",
    "the driver hung or the file was joined wrongly; cut the repeated stretch",
)  # fmt: skip
RULES: Final = (NO_SWEEP, ALL_EMPTY, REPEATED)


class ContentRules:
    """Watches what the recording holds."""

    def __init__(self, facts: Facts) -> None:
        # A robot's episode without a lidar, or a log of odometry, is whole without sweeps.
        self._has_lidar = bool(facts.sensor)
        self._has_streams = bool(facts.signals) or len(facts.trajectory) > 0
        self._num_sweeps = self._num_empty = self._num_images = 0
        self._last_digest: int | None = None
        self._repeated: list[int] = []

    def add(self, look: SweepLook) -> None:
        """Look at one sweep."""
        self._num_sweeps += 1
        if not look.num_points:
            self._num_empty += 1
            return
        if look.digest == self._last_digest:
            self._repeated.append(look.timestamp_ns)
        self._last_digest = look.digest

    def add_image(self) -> None:
        """Count an image."""
        self._num_images += 1

    def finish(self) -> Iterator[Finding]:
        """Give what was found."""
        streams = self._has_streams or self._num_images > 0
        if not self._num_sweeps and (self._has_lidar or not streams):
            yield NO_SWEEP.found("the recording holds no sweep")
        if self._num_sweeps and self._num_empty == self._num_sweeps:
            count = self._num_sweeps
            yield ALL_EMPTY.found(f"{count} of {count} sweeps have no usable point", count)
        if self._repeated:
            yield REPEATED.found(
                f"{len(self._repeated)} sweeps repeat the points of the sweep before them, first "
                f"at {self._repeated[0]} ns",
                len(self._repeated),
            )
