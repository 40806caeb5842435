"""A turning lidar in a rectangular hall, on a vehicle that drives a curve: computed in closed form.

Independent of `simulation` and of the code under test: each point is measured from the pose at its
own time and given in the ego frame of that time, as a driver without motion correction does.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from scene.pose import Trajectory
from scene.sweep import Sweep

HALL_M = (60.0, 24.0)  # half length, half width: walls at x = +-60 and y = +-24
LIDAR_UP_M = 1.8


@dataclass(frozen=True)
class Drive:
    """Constant speed and yaw rate from a start pose, roll swinging."""

    speed_mps: float = 15.0
    yaw_rate_radps: float = 0.4
    roll_rad: float = 0.02
    start_xy_m: tuple[float, float] = (-20.0, -8.0)

    def at(self, seconds: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return (N, 3, 3) rotations and (N, 3) positions `map_SE3_ego`, exact."""
        yaw = self.yaw_rate_radps * seconds
        roll = self.roll_rad * np.sin(2 * np.pi * seconds)
        radius = self.speed_mps / self.yaw_rate_radps
        x = self.start_xy_m[0] + radius * np.sin(yaw)
        y = self.start_xy_m[1] + radius * (1 - np.cos(yaw))
        cos, sin, zero, one = np.cos(yaw), np.sin(yaw), np.zeros_like(yaw), np.ones_like(yaw)
        turn = np.array([[cos, -sin, zero], [sin, cos, zero], [zero, zero, one]])
        cos, sin = np.cos(roll), np.sin(roll)
        tilt = np.array([[one, zero, zero], [zero, cos, -sin], [zero, sin, cos]])
        rotation = np.einsum("ijn,jkn->nik", turn, tilt)
        return rotation, np.stack([x, y, zero], axis=1)

    def trajectory(self, times_ns: np.ndarray, origin_ns: int) -> Trajectory:
        """Return the poses a localisation of that rate would give."""
        from scipy.spatial.transform import Rotation

        rotation, position = self.at((times_ns - origin_ns) / 1e9)
        quat = Rotation.from_matrix(rotation).as_quat()[:, [3, 0, 1, 2]]
        return Trajectory(times_ns.astype(np.int64), quat, position)


def raw_sweep(
    drive: Drive,
    timestamp_ns: int,
    origin_ns: int,
    columns: int = 720,
    beams: int = 8,
    period_s: float = 0.1,
) -> tuple[Sweep, np.ndarray]:
    """Return one revolution, and (N, 3) where its points truly are in the map."""
    share = np.repeat(np.arange(columns) / columns, beams)
    seconds = share * period_s
    azimuth = np.pi - 2 * np.pi * share  # clockwise, from behind
    elevation = np.tile(np.linspace(-0.02, 0.08, beams), columns)
    rotation, position = drive.at((timestamp_ns - origin_ns) / 1e9 + seconds)
    flat = np.cos(elevation)
    beam = np.stack([flat * np.cos(azimuth), flat * np.sin(azimuth), np.sin(elevation)], axis=1)
    beam_map = np.einsum("nij,nj->ni", rotation, beam)
    start = position + rotation[:, :, 2] * LIDAR_UP_M
    with np.errstate(divide="ignore"):
        walls = (np.array(HALL_M) * np.sign(beam_map[:, :2]) - start[:, :2]) / beam_map[:, :2]
    reach = walls.min(axis=1)
    truth = start + beam_map * reach[:, None]
    measured = beam * reach[:, None] + np.array([0.0, 0.0, LIDAR_UP_M])
    offset_ns = np.rint(seconds * 1e9).astype(np.int32)
    points = measured.astype(np.float32)
    ring = np.tile(np.arange(beams, dtype=np.uint16), columns)
    intensity = np.full(len(points), 0.5, np.float32)
    return Sweep(timestamp_ns, points, intensity, offset_ns, ring), truth


def off_the_walls_m(points_map_m: np.ndarray) -> np.ndarray:
    """Return (N,) how far each point lies from the nearest wall."""
    away = np.abs(np.abs(points_map_m[:, :2]) - np.array(HALL_M))
    return away.min(axis=1)
