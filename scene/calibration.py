"""Where the sensors sit on the vehicle."""

from __future__ import annotations

from dataclasses import dataclass, field

from scene.errors import FrameError
from scene.pose import SE3


@dataclass(frozen=True, slots=True)
class Calibration:
    """Extrinsics of a rig.

    Attributes:
        ego_SE3_sensor: by sensor name. `ego` is x forward, y left, z up, origin on the ground
            under the rear axle (REP-103).
        assumed: names whose transform was not in the recording and had to be assumed.
    """

    ego_SE3_sensor: dict[str, SE3] = field(default_factory=dict)
    assumed: frozenset[str] = frozenset()

    def of(self, sensor: str) -> SE3:
        """Return `ego_SE3_sensor` of one sensor.

        Raises:
            FrameError: if the sensor is unknown.
        """
        if sensor not in self.ego_SE3_sensor:
            known = ", ".join(sorted(self.ego_SE3_sensor)) or "none"
            raise FrameError(f"no calibration for sensor {sensor!r}; known sensors: {known}")
        return self.ego_SE3_sensor[sensor]
