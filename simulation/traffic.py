"""The generated fleet's drives: which street, who is on it, what happens."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from simulation.actors import Actor, Motion, driving, walking
from simulation.road import Road
from simulation.shapes import bicycle, bus, car, pedestrian, truck
from simulation.street import StreetStyle, build_scenery, park_vehicles
from simulation.world import World


def build_drive(late: bool, duration_s: float, rng: np.random.Generator) -> World:
    """Return the world of one fleet drive.

    Early drives hold cars, lorries, buses and cyclists but nobody on foot. Late drives also hold
    people: on the pavement, between parked vehicles, and stepping out in front of the ego.
    """
    road = _road(rng, narrow=late)
    stepping = late and rng.random() < 0.8
    speed = float(rng.uniform(5.5, 8.3) if stepping else rng.uniform(7.0, 13.5))
    if abs(road.curvature_1pm) > 1e-6:
        speed = min(speed, float(np.sqrt(2.0 / abs(road.curvature_1pm))))
    steps = _stepping_places(speed, duration_s, rng) if stepping else []
    gaps = tuple((s, side) for s, _ in steps for side in (1, -1))
    style = StreetStyle(
        start_s_m=-75.0,
        end_s_m=speed * duration_s + 95.0,
        parking_left=_parking(rng, stepping),
        parking_right=_parking(rng, stepping),
        pavement_m=float(rng.uniform(2.8, 4.8)),
        house_share=float(rng.uniform(0.45, 0.95)),
        tree_every_m=float(rng.uniform(10.0, 24.0)),
        clutter_per_100m=float(rng.uniform(6.0, 14.0)),
        gaps_s_m=gaps,
    )
    scenery = build_scenery(road, style, rng)
    crowd = _Crowd(road, style, duration_s, speed, rng)
    crowd.actors += park_vehicles(road, style, rng)
    crowd.add_traffic(lead=not stepping, oncoming=not steps)
    crowd.add_cyclists(ahead=not stepping)
    if late:
        crowd.add_people_on_pavement()
        crowd.add_people_between_parked()
        crowd.add_people_waiting()
        for s, side in steps:
            crowd.add_stepping_out(s, side)
    lane = road.lane_d_m(1)
    return World(road, scenery, tuple(crowd.actors), lane, 0.0, speed, speed)


def _road(rng: np.random.Generator, narrow: bool) -> Road:
    """Draw a road: a third are straight, the rest bend with a radius of 90 to 500 m."""
    bend = 0.0 if rng.random() < 0.35 else 1.0 / float(rng.uniform(90.0, 500.0))
    return Road(
        x_m=float(rng.uniform(-500.0, 500.0)),
        y_m=float(rng.uniform(-500.0, 500.0)),
        yaw_rad=float(rng.uniform(-np.pi, np.pi)),
        curvature_1pm=bend * float(rng.choice([-1.0, 1.0])),
        lane_width_m=float(rng.uniform(3.3, 3.6)),
        num_lanes=1 if narrow or rng.random() < 0.7 else 2,
    )


def _parking(rng: np.random.Generator, stepping: bool) -> float:
    """Draw how full a parking lane is."""
    if stepping:
        return float(rng.uniform(0.6, 0.9))
    return 0.0 if rng.random() < 0.2 else float(rng.uniform(0.35, 0.85))


def _stepping_places(
    speed_mps: float, duration_s: float, rng: np.random.Generator
) -> list[tuple[float, int]]:
    """Draw where people step out, far enough apart for the ego to get going again."""
    places, s = [], 3.8 + speed_mps * float(rng.uniform(3.5, 4.2))
    while s < max(0.8 * speed_mps * duration_s, 4.3 * speed_mps):
        places.append((s, int(rng.choice([1, -1]))))
        s += float(rng.uniform(16.0, 26.0))
    return places


@dataclass(slots=True)
class _Crowd:
    """Puts road users on one street."""

    road: Road
    style: StreetStyle
    duration_s: float
    ego_mps: float
    rng: np.random.Generator
    actors: list[Actor] = field(default_factory=list)
    cycled: set[int] = field(default_factory=set)

    def _between(self, low: float, high: float) -> float:
        return float(self.rng.uniform(low, high))

    def _vehicle(self, name: str, motion: Motion) -> None:
        kind = self.rng.random()
        maker = car if kind < 0.76 else truck if kind < 0.92 else bus
        self.actors.append(Actor(name, maker(self.rng), motion))

    def _person(self, name: str, motion: Motion) -> None:
        shape = pedestrian(self.rng, child=bool(self.rng.random() < 0.15))
        self.actors.append(Actor(name, shape, motion))

    def add_traffic(self, lead: bool, oncoming: bool) -> None:
        """Add vehicles ahead in our lanes and, where nobody crosses, oncoming ones."""
        for lane in range(1, self.road.num_lanes + 1):
            if (lane == 1 and not lead) or self.rng.random() < 0.2:
                continue
            s = self._between(16.0, 32.0) if lane == 1 else self._between(-10.0, 15.0)
            speed = self.ego_mps * self._between(0.85, 1.1)
            slows = self._between(1.5, 4.5)
            changes = [(slows, -self._between(0.5, 3.0)), (slows + 1.8, self._between(0.2, 1.2))]
            for i in range(int(self.rng.integers(1, 4))):
                d = self.road.lane_d_m(lane) + self._between(-0.2, 0.2)
                delayed = [(at + 0.7 * i, value * 0.9**i) for at, value in changes]
                motion = driving(s, d, speed, self.duration_s, changes=delayed[:] if i == 0 else ())
                self._vehicle(f"lane{lane}-{i}", motion)
                s += self._between(18.0, 34.0)
        for lane in range(1, self.road.num_lanes + 1) if oncoming else ():
            s, speed = self._between(15.0, 40.0), self._between(7.0, 12.0)
            i = 0
            while s < self.style.end_s_m + 40.0:
                d = self.road.lane_d_m(-lane) + self._between(-0.2, 0.2)
                motion = driving(s, d, speed, self.duration_s, oncoming=True)
                self._vehicle(f"oncoming{lane}-{i}", motion)
                s, i = s + self._between(20.0, 55.0), i + 1

    def add_cyclists(self, ahead: bool) -> None:
        """Add cyclists between the last lane and the parking lane, ours and the oncoming side."""
        edge = self.road.half_width_m + 0.1
        for i in range(int(self.rng.integers(1, 4))):
            ours = ahead and self.rng.random() < 0.6
            self.cycled.add(-1 if ours else 1)
            s, speed = self._between(8.0, 60.0), self._between(3.2, 6.5)
            d = -edge if ours else edge
            motion = driving(
                s + 22.0 * i, d + self._between(-0.12, 0.12), speed, self.duration_s,
                oncoming=not ours,
            )  # fmt: skip
            self.actors.append(Actor(f"cyclist-{i}", bicycle(self.rng), motion))

    def add_people_on_pavement(self) -> None:
        """Let people walk along both pavements, some in pairs."""
        for i in range(int(self.rng.integers(5, 12))):
            side = int(self.rng.choice([1, -1]))
            curb = self.style.curb_d_m(self.road, side)
            d = side * (curb + self._between(1.3, self.style.pavement_m - 0.4))
            s, speed = self._between(-5.0, self.style.end_s_m - 40.0), self._between(0.9, 1.7)
            way = speed * self.duration_s * float(self.rng.choice([-1.0, 1.0]))
            for mate in range(1 if self.rng.random() < 0.7 else 2):
                beside = d - side * 0.65 * mate
                self._person(
                    f"walker-{i}{'ab'[mate]}", walking([(s, beside), (s + way, beside)], speed)
                )

    def add_people_between_parked(self) -> None:
        """Let people wait or walk at the road side of parked vehicles, clear of the ego's lane."""
        sides = [side for side in (1, -1) if side not in self.cycled]
        parked = [a for a in self.actors if a.track_id.startswith("parked")]
        for i in range(int(self.rng.integers(3, 7)) if sides else 0):
            side = int(self.rng.choice(sides))
            beside = self.road.half_width_m + self._between(0.25, 0.5)
            s = self._between(8.0, self.style.end_s_m - 60.0)
            way = self._between(0.6, 6.0) * float(self.rng.choice([-1.0, 1.0]))
            if any(_in_the_way(a, s, s + way, side * beside) for a in parked):
                continue
            route = [(s, side * beside), (s + way, side * beside)]
            self._person(f"kerbside-{i}", walking(route, self._between(0.5, 1.2)))

    def add_people_waiting(self) -> None:
        """Let people stand between the bumpers of parked vehicles or behind them at the curb."""
        for s, side in self.style.gaps_s_m:
            if self.rng.random() < 0.5:
                d = self.style.curb_d_m(self.road, side) - self._between(0.2, 0.6)
                at = s + self._between(-0.3, 0.3)
                route = [(at, side * d), (at, side * (d + 0.4))]
                self._person(f"waiting-{s:.0f}-{side}", walking(route, 0.4, wait_s=2.0))

    def add_stepping_out(self, s: float, side: int) -> None:
        """Let somebody hidden between two parked vehicles step out as the ego comes."""
        hidden = self.style.parking_d_m(self.road, side) + side * self._between(0.2, 0.5)
        speed = self._between(1.1, 1.8)
        far = self.road.lane_d_m(1)
        if self.rng.random() < 0.6:  # across to the other pavement
            route = [(s, hidden), (s, -hidden * 1.25)]
        else:  # sees the ego and goes back
            route = [(s, hidden), (s, far + side * self._between(0.0, 0.8)), (s, hidden * 1.2)]
        reach_s = abs(hidden - far) / speed + 0.25
        notice = s - self.ego_mps * (reach_s + self._between(0.3, 1.1))
        self._person(
            f"stepping-{len(self.actors)}", walking(route, speed, starts_at_ego_s_m=notice)
        )


def _in_the_way(parked: Actor, start_s_m: float, end_s_m: float, d_m: float) -> bool:
    """Return whether somebody walking along the road at `d_m` would walk through a vehicle."""
    length, width, _ = parked.shape.size_lwh_m
    place, beside = float(parked.motion.s_m[0]), float(parked.motion.d_m[0])
    apart = place - length / 2 > max(start_s_m, end_s_m) + 0.4
    apart |= place + length / 2 < min(start_s_m, end_s_m) - 0.4
    return not apart and abs(beside - d_m) < width / 2 + 0.38
