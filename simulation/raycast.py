"""Exact ray casting for a spinning lidar, fast because a whole column of beams shares one azimuth.

The beams of one column lie in one upright plane. In that plane a solid is the interval of ground
distance [near, far] in which the column crosses its outline, times its height. So the outline is
met once a column, not once a ray, and only columns within the solid's bearing are looked at.
"""

from __future__ import annotations

from typing import Final

import numpy as np
from numba import njit
from numpy.typing import NDArray

from scene.types import Float64, Int64
from simulation.primitives import Primitives

NOTHING: Final = -2
GROUND: Final = -1
_TWO_PI: Final = 2.0 * np.pi


def cast(
    solids: Primitives,
    velocity_xy_mps: Float64,
    origin_xyz_m: Float64,
    origin_velocity_xy_mps: Float64,
    first_azimuth_rad: float,
    azimuth_step_rad: float,
    column_step_s: float,
    num_columns: int,
    elevation_tan: Float64,
    max_range_m: float,
    ground_z_m: float = 0.0,
) -> tuple[Float64, NDArray[np.int32], Float64]:
    """Find the first solid each beam meets.

    Column c fires at `c * column_step_s`, towards `first_azimuth_rad + c * azimuth_step_rad`, from
    a sensor that moves on; solids move too.

    Args:
        solids: N solids at the time of column 0, any level frame.
        velocity_xy_mps: (N, 2) velocities of the solids.
        origin_xyz_m: (3,) sensor position at column 0.
        origin_velocity_xy_mps: (2,) sensor velocity.
        first_azimuth_rad: direction of column 0.
        azimuth_step_rad: positive step between columns, all columns together about one turn.
        column_step_s: time between columns.
        num_columns: C.
        elevation_tan: (B,) tangents of the beam elevations, ascending.
        max_range_m: hits further away along the ground count as nothing.
        ground_z_m: height of the ground plane.

    Returns:
        (C, B) distance along the ground in meters (inf for nothing), (C, B) index of the solid,
        `GROUND` or `NOTHING`, and (C, B) cosine of the angle of incidence.
    """
    near = np.hypot(*(solids.center_xy_m - origin_xyz_m[:2]).T) - np.hypot(*solids.half_xy_m.T)
    index = np.flatnonzero(near < max_range_m + 5.0)
    return _cast(
        index,
        solids.kind,
        solids.center_xy_m,
        solids.half_xy_m,
        np.cos(solids.yaw_rad),
        np.sin(solids.yaw_rad),
        solids.z_min_m,
        solids.z_max_m,
        np.ascontiguousarray(velocity_xy_mps),
        np.ascontiguousarray(origin_xyz_m),
        np.ascontiguousarray(origin_velocity_xy_mps),
        first_azimuth_rad,
        azimuth_step_rad,
        column_step_s,
        num_columns,
        elevation_tan,
        max_range_m,
        ground_z_m,
    )


@njit(cache=True)
def _cast(
    index: Int64,
    kind: NDArray[np.uint8],
    center: Float64,
    half: Float64,
    cos_yaw: Float64,
    sin_yaw: Float64,
    z_min: Float64,
    z_max: Float64,
    velocity: Float64,
    origin: Float64,
    origin_velocity: Float64,
    first_azimuth: float,
    azimuth_step: float,
    column_step: float,
    num_columns: int,
    tangent: Float64,
    max_range: float,
    ground_z: float,
) -> tuple[Float64, NDArray[np.int32], Float64]:
    """Paint every solid into the depth image, then the ground where nothing nearer is."""
    distance = np.full((num_columns, len(tangent)), np.inf)
    hit = np.full((num_columns, len(tangent)), NOTHING, np.int32)
    incidence = np.zeros((num_columns, len(tangent)))
    _paint_ground(distance, hit, incidence, tangent, ground_z - origin[2], max_range)
    azimuth = first_azimuth + azimuth_step * np.arange(num_columns)
    cos_azimuth, sin_azimuth = np.cos(azimuth), np.sin(azimuth)
    turn = _TWO_PI / azimuth_step
    duration = column_step * num_columns
    for i in index:
        low = z_min[i] - origin[2]
        high = z_max[i] - origin[2]
        middle, spread = _bearing(
            center[i], half[i], float(cos_yaw[i]), float(sin_yaw[i]),
            velocity[i] - origin_velocity, origin, duration,
        )  # fmt: skip
        start = (middle - spread - first_azimuth) / azimuth_step
        start -= np.floor(start / turn) * turn
        width = 2.0 * spread / azimuth_step
        for shift in (-1.0, 0.0, 1.0):
            first = max(0, int(np.floor(start + shift * turn)) - 1)
            last = min(num_columns, int(np.ceil(start + shift * turn + width)) + 2)
            for c in range(first, last):
                time = c * column_step
                ox = origin[0] - center[i, 0] + (origin_velocity[0] - velocity[i, 0]) * time
                oy = origin[1] - center[i, 1] + (origin_velocity[1] - velocity[i, 1]) * time
                if kind[i] == 0:
                    near, far, facing = _outline_box(
                        ox, oy, cos_azimuth[c], sin_azimuth[c],
                        float(cos_yaw[i]), float(sin_yaw[i]), half[i, 0], half[i, 1],
                    )  # fmt: skip
                else:
                    near, far, facing = _outline_circle(
                        ox, oy, cos_azimuth[c], sin_azimuth[c], half[i, 0]
                    )
                if near < far and near < max_range:
                    _paint(
                        distance[c], hit[c], incidence[c], i, tangent, near, far, facing, low, high
                    )
    return distance, hit, incidence


@njit(cache=True)
def _paint_ground(
    distance: Float64,
    hit: NDArray[np.int32],
    incidence: Float64,
    tangent: Float64,
    height: float,
    max_range: float,
) -> None:
    """Fill every column with where its beams meet the plane `height` above the sensor."""
    for b in range(len(tangent)):
        if tangent[b] * height > 0.0 and height / tangent[b] <= max_range:
            distance[:, b] = height / tangent[b]
            hit[:, b] = GROUND
            incidence[:, b] = abs(tangent[b]) / np.sqrt(1.0 + tangent[b] * tangent[b])


@njit(cache=True)
def _bearing(
    center: Float64,
    half: Float64,
    cos_yaw: float,
    sin_yaw: float,
    relative_velocity: Float64,
    origin: Float64,
    duration: float,
) -> tuple[float, float]:
    """Return the middle and half width of the directions in which a solid may be seen.

    All corners at both ends of the revolution; if the sensor may be inside them, all directions.
    """
    x, y = center[0] - origin[0], center[1] - origin[1]
    move_x, move_y = relative_velocity[0] * duration, relative_velocity[1] * duration
    reach = np.hypot(half[0], half[1]) + np.hypot(move_x, move_y)
    if x * x + y * y <= reach * reach * 1.0001:
        return 0.0, np.pi
    middle = np.arctan2(y, x)
    spread = 0.0
    for end in range(2):
        for corner in range(4):
            along = half[0] if corner < 2 else -half[0]
            across = half[1] if corner % 2 == 0 else -half[1]
            dx = x + along * cos_yaw - across * sin_yaw + move_x * end
            dy = y + along * sin_yaw + across * cos_yaw + move_y * end
            angle = abs(np.arctan2(dy * x - dx * y, dx * x + dy * y))
            spread = max(spread, angle)
    return middle, spread


@njit(cache=True, inline="always")
def _outline_box(
    ox: float,
    oy: float,
    dx: float,
    dy: float,
    cos_yaw: float,
    sin_yaw: float,
    half_x: float,
    half_y: float,
) -> tuple[float, float, float]:
    """Return where a line enters and leaves a rectangle and how squarely (slab method)."""
    px, py = ox * cos_yaw + oy * sin_yaw, -ox * sin_yaw + oy * cos_yaw
    qx, qy = dx * cos_yaw + dy * sin_yaw, -dx * sin_yaw + dy * cos_yaw
    near, far, facing = -np.inf, np.inf, 0.0
    if abs(qx) > 1e-12:
        middle, reach = -px / qx, half_x / abs(qx)
        near, far, facing = middle - reach, middle + reach, abs(qx)
    elif abs(px) > half_x:
        return np.inf, -np.inf, 0.0
    if abs(qy) > 1e-12:
        middle, reach = -py / qy, half_y / abs(qy)
        if middle - reach > near:
            near, facing = middle - reach, abs(qy)
        far = min(far, middle + reach)
    elif abs(py) > half_y:
        return np.inf, -np.inf, 0.0
    if near <= 0.0:  # the sensor is inside or past it: no face to see from outside
        return np.inf, -np.inf, 0.0
    return near, far, facing


@njit(cache=True, inline="always")
def _outline_circle(
    ox: float, oy: float, dx: float, dy: float, radius: float
) -> tuple[float, float, float]:
    """Return where a line enters and leaves a circle and how squarely."""
    along = -(ox * dx + oy * dy)
    aside = ox * dy - oy * dx
    inside = radius * radius - aside * aside
    if inside <= 0.0:
        return np.inf, -np.inf, 0.0
    reach = np.sqrt(inside)
    if along - reach <= 0.0:
        return np.inf, -np.inf, 0.0
    return along - reach, along + reach, reach / radius


@njit(cache=True, inline="always")
def _paint(
    distance: Float64,
    hit: NDArray[np.int32],
    incidence: Float64,
    solid: int,
    tangent: Float64,
    near: float,
    far: float,
    facing: float,
    low: float,
    high: float,
) -> None:
    """Enter one solid into one column: its side first, then its top or its underside."""
    lowest = low / near if low < 0.0 else low / far
    highest = high / far if high < 0.0 else high / near
    for b in range(len(tangent)):
        slope = tangent[b]
        if slope < lowest:
            continue
        if slope > highest:
            break
        height = slope * near
        at, cosine = near, facing / np.sqrt(1.0 + slope * slope)
        if height > high:
            at, cosine = high / slope, abs(slope) / np.sqrt(1.0 + slope * slope)
        elif height < low:
            at, cosine = low / slope, abs(slope) / np.sqrt(1.0 + slope * slope)
        if at < distance[b]:
            distance[b], hit[b], incidence[b] = at, solid, cosine
