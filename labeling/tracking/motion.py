"""How objects of each kind move, as far as tracking needs to know."""

from __future__ import annotations

from typing import Final, NamedTuple

import numpy as np

from scene.taxonomy import VEHICLES
from scene.types import Float64, Int64, Text


class Motion(NamedTuple):
    """One kind of object; only detections of one kind can belong to one track.

    Attributes:
        acceleration_mps2: what white noise in the acceleration stands for, per root second.
        position_std_m: error of a detected centre, one axis in the ground plane.
        speed_std_mps: of a velocity component that nothing is known of.
        max_speed_mps: faster than this is another object.
        turn_rps2: noise of the turn rate's change.
        standing_gap_s: what stands in one place after so long is still the same object.
    """

    acceleration_mps2: float
    position_std_m: float
    speed_std_mps: float
    max_speed_mps: float
    turn_rps2: float
    standing_gap_s: float


MOTIONS: Final[tuple[Motion, ...]] = (
    Motion(2.0, 0.35, 10.0, 45.0, 0.3, 60.0),  # vehicles, which detectors take for one another
    Motion(1.5, 0.25, 6.0, 20.0, 0.6, 30.0),  # two wheels
    Motion(1.5, 0.25, 2.0, 4.0, 1.0, 10.0),  # people
    Motion(0.02, 0.2, 0.2, 0.5, 0.02, 60.0),  # what stands
)
_KIND: Final[dict[str, int]] = {
    **dict.fromkeys(VEHICLES, 0),
    "bicycle": 1, "motorcycle": 1, "pedestrian": 2, "traffic_cone": 3, "barrier": 3,
}  # fmt: skip


def kinds_of(category: Text) -> Int64:
    """Return the (N,) index into `MOTIONS` of each category; unknown names move like vehicles."""
    names, index = np.unique(category, return_inverse=True)
    kinds = np.array([_KIND.get(str(name), 0) for name in names], dtype=np.int64)
    return kinds[index] if len(names) else np.zeros(0, dtype=np.int64)


def column(kind: Int64, attribute: str) -> Float64:
    """Return the (N,) values of one attribute of `Motion` for each kind."""
    return np.array([getattr(motion, attribute) for motion in MOTIONS])[kind]
