"""Scenarios with one hazard each: a planner that sees it avoids it, a blind one cannot."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from simulation.actors import Actor, driving, standing, walking
from simulation.ego import VehicleModel
from simulation.road import Road
from simulation.shapes import Shape, bicycle, car, pedestrian, truck
from simulation.street import StreetStyle, build_scenery, park_vehicles
from simulation.world import World

HAZARD = "hazard"  # track id of what the ego must not hit
_VERSION = 1  # raise it when the same parameters make another world
_CAR = VehicleModel()


@dataclass(frozen=True)
class Scenario:
    """One test of the whole stack.

    Attributes:
        name: short and stable; results are filed under it.
        title: one sentence for people.
        hazard: category of what must not be hit.
        parameters: what can be varied, SI units; `ego_mps` is always among them.
        duration_s: how long it runs.
        builder: makes the world of these parameters and a random generator.
    """

    name: str
    title: str
    hazard: str
    parameters: Mapping[str, float]
    duration_s: float
    builder: Callable[[Mapping[str, float], float, np.random.Generator], World] = field(repr=False)

    def build(self, seed: int) -> World:
        """Return the world; the seed changes the street and the bodies, not what happens."""
        key = int.from_bytes(hashlib.sha256(self.name.encode()).digest()[:4], "big")
        return self.builder(self.parameters, self.duration_s, np.random.default_rng([seed, key]))


def suite_digest(suite: Sequence[Scenario]) -> str:
    """Return the digest of everything that decides how a suite runs."""
    content = [[s.name, s.hazard, dict(s.parameters), s.duration_s] for s in suite]
    text = json.dumps([_VERSION, content], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _world(
    p: Mapping[str, float],
    duration_s: float,
    rng: np.random.Generator,
    hazard: Callable[[Road, StreetStyle], list[Actor]],
    *,
    parking: float = 0.6,
    gaps: tuple[tuple[float, int], ...] = (),
    clear: tuple[tuple[float, float, int], ...] = (),
    lanes: int = 1,
) -> World:
    """Furnish a street around a hazard and set the ego on its way."""
    bend = float(rng.uniform(-1.0, 1.0)) / 400.0
    road = Road(yaw_rad=float(rng.uniform(-np.pi, np.pi)), curvature_1pm=bend, num_lanes=lanes)
    style = StreetStyle(
        end_s_m=p["ego_mps"] * duration_s + 90.0,
        parking_left=parking,
        parking_right=parking,
        house_share=float(rng.uniform(0.6, 0.9)),
        gaps_s_m=gaps,
        clear_s_m=clear,
    )
    scenery = build_scenery(road, style, rng)
    actors = [*hazard(road, style), *park_vehicles(road, style, rng)]
    speed = p["ego_mps"]
    return World(road, scenery, tuple(actors), road.lane_d_m(1), 0.0, speed, speed)


def _lead_vehicle_braking(p: Mapping[str, float], t: float, rng: np.random.Generator) -> World:
    """The vehicle in front brakes to a stop (Euro NCAP CCRb)."""

    def hazard(road: Road, _: StreetStyle) -> list[Actor]:
        shape = car(rng, "sedan")
        s = _CAR.front_m + p["gap_m"] + shape.size_lwh_m[0] / 2
        changes = [(p["brakes_at_s"], -p["deceleration_mps2"])]
        motion = driving(s, road.lane_d_m(1), p["ego_mps"], t, changes=changes)
        return [Actor(HAZARD, shape, motion)]

    return _world(p, t, rng, hazard)


def _stationary_vehicle(p: Mapping[str, float], t: float, rng: np.random.Generator) -> World:
    """A vehicle stands in the lane (Euro NCAP CCRs)."""

    def hazard(road: Road, _: StreetStyle) -> list[Actor]:
        shape: Shape = car(rng, "suv")
        beside = road.lane_d_m(1) - (1.0 - p["overlap"]) * _CAR.width_m
        return [Actor(HAZARD, shape, standing(p["at_m"], beside, 0.0))]

    return _world(p, t, rng, hazard)


def _cut_in(p: Mapping[str, float], t: float, rng: np.random.Generator) -> World:
    """A slower vehicle changes from the left lane into the gap ahead (UN R157 cut-in)."""

    def hazard(road: Road, _: StreetStyle) -> list[Actor]:
        shape = car(rng, "hatchback")
        # it starts so far ahead that the gap is the wanted one when the lane change begins
        closing = p["ego_mps"] - p["speed_mps"]
        s = _CAR.front_m + p["gap_m"] + closing * p["begins_at_s"] + shape.size_lwh_m[0] / 2
        shift = (p["begins_at_s"], p["lasts_s"], road.lane_d_m(1))
        motion = driving(s, road.lane_d_m(2), p["speed_mps"], t, shift=shift)
        return [Actor(HAZARD, shape, motion)]

    return _world(p, t, rng, hazard, lanes=2)


def _crossing_pedestrian(p: Mapping[str, float], t: float, rng: np.random.Generator) -> World:
    """Somebody walks across a free road from the right (Euro NCAP CPNA)."""

    def hazard(road: Road, style: StreetStyle) -> list[Actor]:
        start = -(style.curb_d_m(road, -1) + 0.5)
        return [_crosser(pedestrian(rng), p, road, start, style.curb_d_m(road, 1))]

    clear = ((p["at_m"] - 28.0, p["at_m"] + 8.0, -1), (p["at_m"] - 8.0, p["at_m"] + 8.0, 1))
    return _world(p, t, rng, hazard, clear=clear)


def _pedestrian_from_behind_parked_vehicle(
    p: Mapping[str, float], t: float, rng: np.random.Generator
) -> World:
    """Somebody steps out between parked vehicles (Euro NCAP CPNCO)."""

    def hazard(road: Road, style: StreetStyle) -> list[Actor]:
        start = style.parking_d_m(road, -1) - 0.2
        return [_crosser(pedestrian(rng), p, road, start, style.curb_d_m(road, 1))]

    gaps = ((p["at_m"], -1), (p["at_m"], 1))
    return _world(p, t, rng, hazard, parking=0.9, gaps=gaps)


def _crossing_bicycle(p: Mapping[str, float], t: float, rng: np.random.Generator) -> World:
    """A cyclist rides across from the right (Euro NCAP CBNA)."""

    def hazard(road: Road, style: StreetStyle) -> list[Actor]:
        start = -(style.curb_d_m(road, -1) + 5.0)
        return [_crosser(bicycle(rng), p, road, start, style.curb_d_m(road, 1) + 3.0)]

    clear = ((p["at_m"] - 40.0, p["at_m"] + 10.0, -1), (p["at_m"] - 10.0, p["at_m"] + 10.0, 1))
    return _world(p, t, rng, hazard, clear=clear)


def _pedestrian_walking_ahead(p: Mapping[str, float], t: float, rng: np.random.Generator) -> World:
    """Somebody walks along in the lane (Euro NCAP CPLA)."""

    def hazard(road: Road, _: StreetStyle) -> list[Actor]:
        d = road.lane_d_m(1) - p["beside_m"]
        end = p["at_m"] + p["speed_mps"] * t
        motion = walking([(p["at_m"], d), (end, d)], p["speed_mps"])
        return [Actor(HAZARD, pedestrian(rng), motion)]

    return _world(p, t, rng, hazard)


def _stopped_truck(p: Mapping[str, float], t: float, rng: np.random.Generator) -> World:
    """A lorry unloads in the second row."""

    def hazard(road: Road, _: StreetStyle) -> list[Actor]:
        return [Actor(HAZARD, truck(rng), standing(p["at_m"], road.lane_d_m(1) - 0.4, 0.0))]

    return _world(p, t, rng, hazard)


def _crosser(
    shape: Shape, p: Mapping[str, float], road: Road, start_d_m: float, end_d_m: float
) -> Actor:
    """Return somebody who would be hit in the middle of the bumper if the ego did not brake."""
    lane, speed = road.lane_d_m(1), p["speed_mps"]
    reach_s = abs(lane - start_d_m) / speed + 0.25  # a quarter second is lost getting going
    notice = p["at_m"] - shape.size_lwh_m[1] / 2 - p["ego_mps"] * reach_s
    route = [(p["at_m"], start_d_m), (p["at_m"], end_d_m)]
    return Actor(HAZARD, shape, walking(route, speed, starts_at_ego_s_m=notice))


SUITE: tuple[Scenario, ...] = (
    Scenario(
        "lead_vehicle_braking", "The vehicle in front brakes to a stop", "car",
        {"ego_mps": 11.0, "gap_m": 20.0, "brakes_at_s": 2.0, "deceleration_mps2": 4.5}, 9.0,
        _lead_vehicle_braking,
    ),
    Scenario(
        "stationary_vehicle", "A vehicle stands in the lane", "car",
        {"ego_mps": 11.0, "at_m": 70.0, "overlap": 0.85}, 9.0, _stationary_vehicle,
    ),
    Scenario(
        "stopped_truck", "A lorry unloads in the second row", "truck",
        {"ego_mps": 11.0, "at_m": 75.0}, 9.0, _stopped_truck,
    ),
    Scenario(
        "cut_in", "A slower vehicle moves in from the left lane", "car",
        {"ego_mps": 12.0, "speed_mps": 6.0, "gap_m": 16.0, "begins_at_s": 1.5, "lasts_s": 2.2}, 8.0,
        _cut_in,
    ),
    Scenario(
        "crossing_pedestrian", "A pedestrian crosses a free road from the right", "pedestrian",
        {"ego_mps": 9.0, "speed_mps": 1.5, "at_m": 52.0}, 9.0, _crossing_pedestrian,
    ),
    Scenario(
        "pedestrian_from_behind_parked_vehicle",
        "A pedestrian steps out between parked vehicles", "pedestrian",
        {"ego_mps": 7.5, "speed_mps": 1.4, "at_m": 45.0}, 9.0,
        _pedestrian_from_behind_parked_vehicle,
    ),
    Scenario(
        "pedestrian_walking_ahead", "A pedestrian walks along in the lane", "pedestrian",
        {"ego_mps": 9.0, "speed_mps": 1.3, "at_m": 48.0, "beside_m": 0.5}, 9.0,
        _pedestrian_walking_ahead,
    ),
    Scenario(
        "crossing_bicycle", "A cyclist rides across from the right", "bicycle",
        {"ego_mps": 9.0, "speed_mps": 3.5, "at_m": 50.0}, 9.0, _crossing_bicycle,
    ),
)  # fmt: skip
