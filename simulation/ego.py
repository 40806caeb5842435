"""The ego vehicle: a kinematic bicycle whose brakes answer late and build up gradually."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field

import numpy as np

from scene.types import Float64
from simulation.lidar import EgoMotion
from simulation.road import Road


@dataclass(frozen=True, slots=True)
class VehicleModel:
    """Size and limits of the ego.

    Attributes:
        wheelbase_m, width_m: size.
        front_m, rear_m: from the origin, under the rear axle, to the bumpers.
        delay_s: from a command to the first change of acceleration.
        jerk_mps3: how fast acceleration can change; UN R157's reference driver: 12.65.
        max_brake_mps2: the tyres' limit; 0.85 g, the AEB of UN R157's reference.
        max_steer_rad, steer_rate_radps: of the front wheels.
    """

    wheelbase_m: float = 2.9
    front_m: float = 3.8
    rear_m: float = 1.0
    width_m: float = 1.9
    delay_s: float = 0.15
    jerk_mps3: float = 12.65
    max_brake_mps2: float = 8.34
    max_steer_rad: float = 0.55
    steer_rate_radps: float = 0.6

    def stopping_distance_m(self, speed_mps: float) -> float:
        """Return the way to a stop under full braking: delay, jerk ramp, constant deceleration."""
        brake, jerk = self.max_brake_mps2, self.jerk_mps3
        ramp_s = brake / jerk
        after_ramp = speed_mps - jerk * ramp_s**2 / 2
        if after_ramp <= 0.0:  # it stands before the brakes are fully on
            stop_s = (2 * speed_mps / jerk) ** 0.5
            return speed_mps * self.delay_s + speed_mps * stop_s - jerk * stop_s**3 / 6
        ramp_m = speed_mps * ramp_s - jerk * ramp_s**3 / 6
        return speed_mps * self.delay_s + ramp_m + after_ramp**2 / (2 * brake)


@dataclass(slots=True)
class Ego:
    """The ego's state; `step` moves it on.

    Attributes:
        model: its size and limits.
        xy_m: (2,) map position of the origin.
        yaw_rad, speed_mps, acceleration_mps2, steer_rad: as they are now.
    """

    model: VehicleModel
    xy_m: Float64
    yaw_rad: float
    speed_mps: float
    acceleration_mps2: float = 0.0
    steer_rad: float = 0.0
    _commands: deque[float] = field(default_factory=deque)

    @property
    def motion(self) -> EgoMotion:
        """Pose, speed and yaw rate."""
        rate = self.speed_mps * np.tan(self.steer_rad) / self.model.wheelbase_m
        return EgoMotion(self.xy_m.copy(), self.yaw_rad, self.speed_mps, float(rate))

    @property
    def outline(self) -> Float64:
        """(5,) centre x, centre y, length, width, yaw of the body, map frame."""
        ahead = (self.model.front_m - self.model.rear_m) / 2
        x = self.xy_m[0] + ahead * np.cos(self.yaw_rad)
        y = self.xy_m[1] + ahead * np.sin(self.yaw_rad)
        length = self.model.front_m + self.model.rear_m
        return np.array([x, y, length, self.model.width_m, self.yaw_rad])

    def step(self, command_mps2: float, road: Road, d_m: float, step_s: float) -> None:
        """Move on by one step with an acceleration command, keeping to the lane at `d_m`."""
        model = self.model
        self._commands.append(max(command_mps2, -model.max_brake_mps2))
        late = round(model.delay_s / step_s)
        wanted = self._commands.popleft() if len(self._commands) > late else 0.0
        change = np.clip(
            wanted - self.acceleration_mps2, -model.jerk_mps3 * step_s, model.jerk_mps3 * step_s
        )
        before = self.acceleration_mps2
        self.acceleration_mps2 = float(before + change)
        self._steer(road, d_m, step_s)
        speed = max(0.0, self.speed_mps + (before + self.acceleration_mps2) / 2 * step_s)
        moved = (self.speed_mps + speed) / 2 * step_s
        turn = moved * np.tan(self.steer_rad) / model.wheelbase_m
        middle = self.yaw_rad + turn / 2
        self.xy_m = self.xy_m + moved * np.array([np.cos(middle), np.sin(middle)])
        self.yaw_rad = float(self.yaw_rad + turn)
        self.speed_mps = float(speed)
        if speed == 0.0 and self.acceleration_mps2 < 0.0:
            self.acceleration_mps2 = 0.0

    def _steer(self, road: Road, d_m: float, step_s: float) -> None:
        """Turn the wheels towards a point of the lane ahead (pure pursuit, Coulter 1992)."""
        s, _ = road.to_road(self.xy_m[None])
        ahead = max(4.0, 0.9 * self.speed_mps)
        target, _ = road.to_map(s + ahead, np.array([d_m]))
        offset = target[0] - self.xy_m
        bearing = np.arctan2(offset[1], offset[0]) - self.yaw_rad
        wanted = np.arctan2(2 * self.model.wheelbase_m * np.sin(bearing), np.hypot(*offset))
        limit, rate = self.model.max_steer_rad, self.model.steer_rate_radps * step_s
        self.steer_rad += float(
            np.clip(np.clip(wanted, -limit, limit) - self.steer_rad, -rate, rate)
        )
