"""Rules about what a recording holds: nothing, too little, or the same thing again."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Final

import numpy as np

from recordings.rules.fingerprint import Fingerprint
from recordings.rules.rule import Facts, Finding, Rule, Times
from recordings.rules.sweep_look import SweepLook

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
LOOPED: Final = Rule(
    "REC050", "warning", "earlier sweeps come again",
    "the recording was played in a loop or joined with itself; cut it where it starts again",
)  # fmt: skip
NEAR_DUPLICATE: Final = Rule(
    "REC051", "warning", "parts of it are in another recording",
    "keep one of the two: the same moments in training and test make metrics look too good",
)  # fmt: skip
DUPLICATE: Final = Rule(
    "REC052", "warning", "it is there already under another name",
    "delete one of the two uploads",
)  # fmt: skip
SPARSE: Final = Rule(
    "REC053", "warning", "hardly any points in a sweep",
    "check that sweeps are assembled from whole revolutions and that the lidar is not covered",
)  # fmt: skip
UNKNOWN_CAMERA: Final = Rule(
    "REC054", "warning", "images of a camera without calibration",
    "record its intrinsics and its mounting; images cannot be paired with points without them",
)  # fmt: skip
RULES: Final = (
    NO_SWEEP, ALL_EMPTY, REPEATED, LOOPED, NEAR_DUPLICATE, DUPLICATE, SPARSE, UNKNOWN_CAMERA,
)  # fmt: skip

_MIN_SWEEPS: Final = 5
_SPARSE_POINTS: Final = 100  # the smallest lidars give 5,000 a revolution, a radar over 100
_MAX_DIGESTS: Final = 100_000  # three hours at 10 Hz


class ContentRules:
    """Watches what the recording holds.

    Attributes:
        fingerprint: by which it is found under another name.
    """

    def __init__(self, facts: Facts) -> None:
        # A robot's episode without a lidar, or a log of odometry, is whole without sweeps.
        self._has_lidar = bool(facts.sensor)
        self._has_streams = bool(facts.signals) or len(facts.trajectory) > 0
        self._facts = facts
        self._num_points = Times()
        self._last_digest: int | None = None
        self._digests: set[int] = set()
        self._repeated: list[int] = []
        self._looped: list[int] = []
        self._images: dict[str, int] = {}
        self.fingerprint = Fingerprint()

    def add(self, look: SweepLook) -> None:
        """Look at one sweep."""
        self._num_points.append(look.num_points)
        if not look.num_points:
            return
        if look.digest == self._last_digest:
            self._repeated.append(look.timestamp_ns)
        elif look.digest in self._digests:
            self._looped.append(look.timestamp_ns)
        elif len(self._digests) < _MAX_DIGESTS:
            self._digests.add(look.digest)
        self._last_digest = look.digest
        if look.sampled:
            self.fingerprint.add(look)

    def add_image(self, sensor: str) -> None:
        """Count an image."""
        self._images[sensor] = self._images.get(sensor, 0) + 1

    def finish(self) -> Iterator[Finding]:
        """Give what was found."""
        counts = self._num_points.to_numpy()
        streams = self._has_streams or bool(self._images)
        if not len(counts) and (self._has_lidar or not streams):
            yield NO_SWEEP.found("the recording holds no sweep")
        if len(counts) and not counts.any():
            message = f"{len(counts)} of {len(counts)} sweeps have no usable point"
            yield ALL_EMPTY.found(message, len(counts))
        elif len(counts) >= _MIN_SWEEPS and (usual := np.median(counts)) < _SPARSE_POINTS:
            yield SPARSE.found(f"as a rule {usual:.0f} points in a sweep")
        if self._repeated:
            yield REPEATED.found(
                f"{len(self._repeated)} sweeps repeat the points of the sweep before them, first "
                f"at {self._repeated[0]} ns",
                len(self._repeated),
            )
        if self._looped:
            yield LOOPED.found(
                f"{len(self._looped)} sweeps have the points of an earlier sweep, first at "
                f"{self._looped[0]} ns",
                len(self._looped),
            )
        yield from self._about_cameras()

    def _about_cameras(self) -> Iterator[Finding]:
        """Only beside a lidar: a robot's camera alone needs no calibration to be learnt from."""
        calibration = self._facts.calibration
        for sensor, count in sorted(self._images.items()):
            lacks = [
                what
                for what, known in (
                    ("intrinsics", calibration.cameras),
                    ("mounting", calibration.ego_SE3_sensor),
                )
                if sensor not in known
            ]
            if lacks and self._facts.sensor:
                yield UNKNOWN_CAMERA.found(f"{sensor}: no {' and no '.join(lacks)}", count)


def duplicate_findings(shares: Mapping[str, float], copies: set[str]) -> Iterator[Finding]:
    """Give the findings about recordings that share moments with this one.

    Args:
        shares: by name, the share of moments; see `recordings.rules.fingerprint.resemblance`.
        copies: those among them that are the same recording.
    """
    for name, share in sorted(shares.items(), key=lambda item: (-item[1], item[0])):
        if name in copies:
            yield DUPLICATE.found(f"its sweeps are those of {name}")
        else:
            yield NEAR_DUPLICATE.found(f"about {share:.0%} of its moments are also in {name}")
