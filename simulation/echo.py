"""From where beams end to what the sensor reports: range noise, intensity, weak echoes lost."""

from __future__ import annotations

import numpy as np
from numba import njit
from numpy.typing import NDArray

from scene.types import Float32, Float64, Int64
from simulation.primitives import FOLIAGE, GLASS
from simulation.raycast import GROUND, NOTHING

_ASPHALT_REFLECTIVITY = 0.14
_PAINT_REFLECTIVITY = 0.62
_CROWN_DEPTH_M = 0.35  # mean way of a beam into leaves
_GLASS_LOST = 0.6  # share of beams that go through a window
_BEST_CHANCE = 0.985  # even strong echoes are lost now and then
_STEPS_PER_M = 1024.0  # binary millimetres: exact in float32, and they compress well


@njit(cache=True)
def echoes(
    ground_m: Float64,
    solid: NDArray[np.int32],
    cosine: Float64,
    tangent: Float64,
    reflectivity: Float64,
    surface: NDArray[np.uint8],
    owner: Int64,
    normal: Float32,
    uniform: Float32,
    origin: Float64,
    velocity: Float64,
    first_azimuth: float,
    azimuth_step: float,
    column_step: float,
    ego_pose: Float64,
    road: Float64,
    num_lanes: int,
    limits: Float64,
) -> tuple[Float32, Float32, Int64, NDArray[np.uint16], Int64]:
    """Turn a depth image into the points of a sweep, in the order of firing.

    Args:
        ground_m: (C, B) distance along the ground, from `raycast.cast`.
        solid: (C, B) index of the solid, from `raycast.cast`.
        cosine: (C, B) cosine of incidence, from `raycast.cast`.
        tangent: (B,) of the beam elevations.
        reflectivity: (N,) of the solids.
        surface: (N,) of the solids.
        owner: (N,) of the solids.
        normal: (C, B, 3) standard normal random numbers.
        uniform: (C, B, 3) random numbers in [0, 1).
        origin: (3,) of the sensor at column 0, map frame.
        velocity: (2,) of the sensor.
        first_azimuth: direction of column 0.
        azimuth_step: between columns.
        column_step: seconds between columns.
        ego_pose: (3,) x, y, yaw of the ego at column 0.
        road: (5,) x, y, yaw, curvature and lane width.
        num_lanes: lanes in each direction.
        limits: (5,) smallest range, largest range, range noise, range step, ground roughness.

    Returns:
        (P, 3) float32 points in the ego frame at column 0, (P,) float32 intensity, (P,) column,
        (P,) uint16 beam, (P,) owner, negative for scenery and ground.
    """
    num_columns, num_beams = ground_m.shape
    points = np.empty((num_columns * num_beams, 3), np.float32)
    intensity = np.empty(num_columns * num_beams, np.float32)
    column = np.empty(num_columns * num_beams, np.int64)
    beam = np.empty(num_columns * num_beams, np.uint16)
    whose = np.empty(num_columns * num_beams, np.int64)
    slant = np.sqrt(1.0 + tangent * tangent)
    cos_ego, sin_ego = np.cos(ego_pose[2]), np.sin(ego_pose[2])
    count = 0
    for c in range(num_columns):
        azimuth = first_azimuth + azimuth_step * c
        dx, dy = np.cos(azimuth), np.sin(azimuth)
        ox = origin[0] + velocity[0] * column_step * c
        oy = origin[1] + velocity[1] * column_step * c
        for b in range(num_beams):
            index = solid[c, b]
            if index == NOTHING:
                continue
            kind = int(surface[index]) if index >= 0 else 0
            if kind == GLASS and uniform[c, b, 1] < _GLASS_LOST:
                continue
            if index == GROUND:
                at = ground_m[c, b]
                shine = _ground_reflectivity(ox + dx * at, oy + dy * at, road, num_lanes)
            else:
                shine = reflectivity[index]
            facing = cosine[c, b]
            true_m = ground_m[c, b] * slant[b]
            range_m = true_m + _noise(index, kind, facing, normal[c, b], uniform[c, b], limits)
            range_m = np.rint(range_m / limits[3]) * limits[3]
            if range_m < limits[0] or range_m > limits[1]:
                continue
            if uniform[c, b, 0] > _chance(shine * facing, range_m):
                continue
            level = range_m / slant[b]
            x, y = ox + dx * level - ego_pose[0], oy + dy * level - ego_pose[1]
            points[count, 0] = np.rint((x * cos_ego + y * sin_ego) * _STEPS_PER_M) / _STEPS_PER_M
            points[count, 1] = np.rint((y * cos_ego - x * sin_ego) * _STEPS_PER_M) / _STEPS_PER_M
            up = origin[2] + level * tangent[b]
            points[count, 2] = np.rint(up * _STEPS_PER_M) / _STEPS_PER_M
            value = shine * (0.35 + 0.65 * facing) + 0.02 * normal[c, b, 2]
            intensity[count] = np.rint(min(max(value, 0.0), 1.0) * 255.0) / 255.0
            column[count], beam[count] = c, b
            whose[count] = owner[index] if index >= 0 else -1
            count += 1
    return (
        points[:count].copy(), intensity[:count].copy(), column[:count].copy(),
        beam[:count].copy(), whose[:count].copy(),
    )  # fmt: skip


@njit(cache=True, inline="always")
def _noise(
    index: int, kind: int, facing: float, normal: Float32, uniform: Float32, limits: Float64
) -> float:
    """Return the error of one range."""
    noise = normal[0] * limits[2]
    if index == GROUND:
        # a bump of height h is met h / sin(elevation) earlier, at most a hand's breadth or two
        bump = normal[1] * limits[4] / max(facing, 0.05)
        noise += min(max(bump, -0.3), 0.3)
    elif kind == FOLIAGE:
        noise -= _CROWN_DEPTH_M * np.log(1.0 - uniform[2])
    return noise


@njit(cache=True, inline="always")
def _chance(strength: float, range_m: float) -> float:
    """Return how likely an echo is detected: received power falls with the range squared."""
    power = strength * (40.0 / range_m) ** 2
    return _BEST_CHANCE if power > 0.05 else _BEST_CHANCE * np.sqrt(max(power, 0.0) / 0.05)


@njit(cache=True, inline="always")
def _ground_reflectivity(x: float, y: float, road: Float64, num_lanes: int) -> float:
    """Return the reflectivity of asphalt or of the lines painted on it (see `Road.to_road`)."""
    cos, sin = np.cos(road[2]), np.sin(road[2])
    along = (x - road[0]) * cos + (y - road[1]) * sin
    aside = (y - road[1]) * cos - (x - road[0]) * sin
    k = road[3]
    if abs(k) > 1e-9:
        turn_x, turn_y = k * along, 1.0 - k * aside
        along = np.arctan2(turn_x, turn_y) / k
        aside = (1.0 - np.sqrt(turn_x * turn_x + turn_y * turn_y)) / k
    lane = abs(aside) / road[4]
    number = np.rint(lane)
    if number > num_lanes or abs(lane - number) * road[4] >= 0.09:
        return _ASPHALT_REFLECTIVITY
    gap = number < num_lanes and along - np.floor(along / 9.0) * 9.0 > 3.0
    return _ASPHALT_REFLECTIVITY if gap else _PAINT_REFLECTIVITY
