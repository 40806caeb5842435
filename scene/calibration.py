"""Where the sensors sit on the vehicle, and how its cameras see."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from scene.errors import FrameError, ShapeError
from scene.pose import SE3
from scene.types import Float64


@dataclass(frozen=True, slots=True)
class Intrinsics:
    """How a camera projects: frame x right, y down, z forward (REP-103 optical frame).

    Attributes:
        width_px, height_px: size of the image the numbers belong to.
        matrix: (3, 3) pinhole matrix, pixels.
        distortion: (D,) coefficients in the order of `model`; empty for a rectified image.
        model: "plumb_bob" (k1 k2 p1 p2 k3), "rational_polynomial" or "equidistant" (k1..k4).
    """

    width_px: int
    height_px: int
    matrix: Float64
    distortion: Float64 = field(default_factory=lambda: np.zeros(0))
    model: str = "plumb_bob"

    def __post_init__(self) -> None:
        """Check shapes."""
        if self.matrix.shape != (3, 3) or self.distortion.ndim != 1:
            raise ShapeError(
                f"Intrinsics: expected (3, 3) and (D,), got {self.matrix.shape} and "
                f"{self.distortion.shape}"
            )


@dataclass(frozen=True, slots=True)
class Calibration:
    """Extrinsics and intrinsics of a rig.

    Attributes:
        ego_SE3_sensor: by sensor name. `ego` is x forward, y left, z up, origin on the ground
            under the rear axle (REP-103); a camera's frame is its optical frame (z forward).
        assumed: names whose transform was not in the recording and had to be assumed.
        cameras: by sensor name.
    """

    ego_SE3_sensor: dict[str, SE3] = field(default_factory=dict)
    assumed: frozenset[str] = frozenset()
    cameras: dict[str, Intrinsics] = field(default_factory=dict)

    def of(self, sensor: str) -> SE3:
        """Return `ego_SE3_sensor` of one sensor.

        Raises:
            FrameError: if the sensor is unknown.
        """
        if sensor not in self.ego_SE3_sensor:
            known = ", ".join(sorted(self.ego_SE3_sensor)) or "none"
            raise FrameError(f"no calibration for sensor {sensor!r}; known sensors: {known}")
        return self.ego_SE3_sensor[sensor]
