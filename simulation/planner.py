"""The planner under test: car-following (IDM), yielding to crossing road users, emergency brake."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from scene.box import Boxes
from scene.taxonomy import VEHICLES
from scene.types import Float64, Mask
from simulation.ego import VehicleModel
from simulation.lidar import EgoMotion
from simulation.road import Road
from simulation.tracker import Tracks

HORIZON_S = 4.0
_TIMES_S = np.arange(0.0, HORIZON_S + 1e-9, 0.1)


@dataclass(frozen=True, slots=True)
class PlannerConfig:
    """Comfort and safety figures.

    Attributes:
        acceleration_mps2, deceleration_mps2: comfortable; IDM's a and b.
        headway_s, standstill_gap_m: IDM's T and s0.
        max_comfort_brake_mps2: nuPlan's comfort bound, -4.05; stronger is the emergency brake.
        vehicle_margin_m, person_margin_m: free space kept beside the ego's own width.
        yield_s: time kept between a crossing road user and the ego at the same place.
    """

    acceleration_mps2: float = 1.5
    deceleration_mps2: float = 2.0
    headway_s: float = 1.2
    standstill_gap_m: float = 2.5
    max_comfort_brake_mps2: float = 4.05
    vehicle_margin_m: float = 0.25
    person_margin_m: float = 0.45
    yield_s: float = 1.0


def idm_acceleration(
    config: PlannerConfig, speed_mps: float, desired_mps: float, gap_m: Float64, lead_mps: Float64
) -> Float64:
    """Return (N,) accelerations behind N leaders.

    Source: Treiber, Hennecke, Helbing, "Congested traffic states", Phys. Rev. E 62, 2000.
    """
    a, b = config.acceleration_mps2, config.deceleration_mps2
    closing = speed_mps * (speed_mps - lead_mps) / (2 * np.sqrt(a * b))
    wanted = config.standstill_gap_m + np.maximum(0.0, speed_mps * config.headway_s + closing)
    free = 1.0 - (speed_mps / desired_mps) ** 4
    return a * (free - (wanted / np.maximum(gap_m, 0.1)) ** 2)


@dataclass(frozen=True, slots=True)
class Projection:
    """Road users relative to the ego's lane.

    Attributes:
        gap_m: (N,) from the ego's front bumper to their nearest point; negative beside the ego.
        past_m: (N,) from the ego's rear bumper to their furthest point; negative behind the ego.
        speed_mps: (N,) along the road.
        aside_m: (N,) distance of their centre from the lane's middle, left positive.
        aside_mps: (N,) its change.
        half_width_m: (N,) across the road.
    """

    gap_m: Float64
    past_m: Float64
    speed_mps: Float64
    aside_m: Float64
    aside_mps: Float64
    half_width_m: Float64


def project(
    boxes_map: Boxes, ego: EgoMotion, road: Road, lane_d_m: float, model: VehicleModel
) -> Projection:
    """Return where map-frame boxes are relative to the ego's lane."""
    s, d = road.to_road(boxes_map.center_xyz_m[:, :2])
    heading = road.yaw_rad + road.curvature_1pm * s
    cos, sin = np.cos(heading), np.sin(heading)
    vx, vy = np.nan_to_num(boxes_map.velocity_xy_mps).T
    turn = boxes_map.yaw_rad - heading
    half_l, half_w = boxes_map.size_lwh_m[:, 0] / 2, boxes_map.size_lwh_m[:, 1] / 2
    along = np.abs(np.cos(turn)) * half_l + np.abs(np.sin(turn)) * half_w
    across = np.abs(np.sin(turn)) * half_l + np.abs(np.cos(turn)) * half_w
    ego_s, _ = road.to_road(ego.xy_m[None])
    return Projection(
        gap_m=s - along - ego_s - model.front_m,
        past_m=s + along - ego_s + model.rear_m,
        speed_mps=vx * cos + vy * sin,
        aside_m=d - lane_d_m,
        aside_mps=-vx * sin + vy * cos,
        half_width_m=across,
    )


def time_to_collision_s(view: Projection, speed_mps: float, half_width_m: float) -> Float64:
    """Return (N,) seconds until the ego touches each road user if nobody changes speed.

    `HORIZON_S` means not within the horizon.
    """
    time = _TIMES_S[None]
    beside = np.abs(view.aside_m[:, None] + view.aside_mps[:, None] * time)
    relative = (view.speed_mps - speed_mps)[:, None] * time
    touching = (
        (beside < half_width_m + view.half_width_m[:, None])
        & (view.gap_m[:, None] + relative <= 0.0)
        & (view.past_m[:, None] + relative >= 0.0)
    )
    return np.where(touching.any(axis=1), _TIMES_S[touching.argmax(axis=1)], HORIZON_S)


@dataclass(slots=True)
class Planner:
    """Turns tracks into one acceleration command.

    Attributes:
        config: its figures.
        model: the vehicle it drives.
        road, lane_d_m: its route.
        desired_mps: speed on a free road.
        emergency: whether the emergency brake is on.
    """

    config: PlannerConfig
    model: VehicleModel
    road: Road
    lane_d_m: float
    desired_mps: float
    emergency: bool = False

    def plan(self, tracks: Tracks, ego: EgoMotion) -> float:
        """Return the wanted acceleration in m/s2."""
        view = project(tracks.boxes, ego, self.road, self.lane_d_m, self.model)
        view = _steady(view, tracks.velocity_std_mps)
        relevant = self.relevant(view, tracks.boxes, ego)
        gap, lead = view.gap_m[relevant], np.maximum(view.speed_mps[relevant], 0.0)
        nobody = np.array([np.inf]), np.array([self.desired_mps])
        follow = idm_acceleration(self.config, ego.speed_mps, self.desired_mps, *nobody)
        if len(gap):
            behind = idm_acceleration(self.config, ego.speed_mps, self.desired_mps, gap, lead)
            follow = np.minimum(follow, behind.min())
        self.emergency = self._must_brake(ego.speed_mps, gap, lead)
        if self.emergency:
            return -self.model.max_brake_mps2
        return float(max(follow[0], -self.config.max_comfort_brake_mps2))

    def relevant(self, view: Projection, boxes: Boxes, ego: EgoMotion) -> Mask:
        """Return who must be driven behind: in the way now, or crossing it too soon."""
        vehicle = np.isin(boxes.category, list(VEHICLES))
        margin = np.where(vehicle, self.config.vehicle_margin_m, self.config.person_margin_m)
        reach = self.model.width_m / 2 + margin + view.half_width_m
        ahead = (view.gap_m > -1.0) & (view.gap_m < 80.0)
        in_the_way = np.abs(view.aside_m) < reach
        return ahead & (in_the_way | self._crossing(view, reach, ego.speed_mps))

    def _crossing(self, view: Projection, reach: Float64, speed_mps: float) -> Mask:
        """Return who enters the lane about when the ego gets there."""
        beside = view.aside_m[:, None] + view.aside_mps[:, None] * _TIMES_S[None]
        inside = np.abs(beside) < reach[:, None]
        enters = _TIMES_S[inside.argmax(axis=1)]
        leaves = _TIMES_S[inside.shape[1] - 1 - inside[:, ::-1].argmax(axis=1)]
        closing = np.maximum(speed_mps - np.maximum(view.speed_mps, 0.0), 0.5)
        arrives = np.maximum(view.gap_m, 0.0) / np.maximum(closing, 2.0)
        soon = (arrives < leaves + self.config.yield_s) & (arrives > enters - self.config.yield_s)
        return inside.any(axis=1) & soon & (np.abs(view.aside_mps) > 0.3)

    def _must_brake(self, speed_mps: float, gap_m: Float64, lead_mps: Float64) -> bool:
        """Return whether comfort can no longer avoid contact; a started emergency holds on."""
        closing = speed_mps - lead_mps
        urgent = closing > 0.3
        if speed_mps < 0.1 or not urgent.any():
            return False
        gap, closing = gap_m[urgent] - 1.2, closing[urgent]
        need = np.array([self.model.stopping_distance_m(float(c)) for c in closing])
        factor = 1.8 if self.emergency else 1.25
        return bool((gap < need * factor).any())


def _steady(view: Projection, std_mps: Float64) -> Projection:
    """Take back lateral speeds that may be noise: shrink by one standard deviation."""
    aside = np.sign(view.aside_mps) * np.maximum(np.abs(view.aside_mps) - std_mps, 0.0)
    return Projection(
        view.gap_m, view.past_m, view.speed_mps, view.aside_m, aside, view.half_width_m
    )
