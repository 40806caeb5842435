"""Rules about where the sensors sit and how the cameras see."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from recordings.recording import NOT_SENSORS
from recordings.rules import Facts, Finding, Rule

ASSUMED: Final = Rule(
    "REC007", "warning", "the lidar's mounting was assumed",
    "record /tf_static with the lidar's pose in base_link",
)  # fmt: skip
RULES: Final = (ASSUMED,)


def check_calibration(facts: Facts) -> Iterator[Finding]:
    """Give what is wrong with the calibration."""
    sensors = sorted(facts.calibration.assumed - NOT_SENSORS)
    if sensors:
        yield ASSUMED.found(
            f"no mounting in the recording for {', '.join(sensors)}: taken for the ego frame",
            len(sensors),
        )
