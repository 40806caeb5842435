"""Builds streets: curbs, pavements, houses, hedges, trees, poles, bins and rows of parked cars."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from simulation.actors import Actor, standing
from simulation.primitives import FOLIAGE, GLASS, PrimitiveList, Primitives
from simulation.road import Road
from simulation.shapes import car, truck

_GAP_M = 1.7


@dataclass(frozen=True, slots=True)
class StreetStyle:
    """What kind of street it is.

    Attributes:
        start_s_m, end_s_m: how much of the road is furnished.
        parking_left, parking_right: share of parking places taken; 0 means no parking lane.
        parking_lane_m: width of a parking lane.
        buffer_m: empty strip between the last lane and the parking lane.
        pavement_m: width of the pavement up to the house line.
        house_share: share of the house line that is built; the rest is hedge, wall or open.
        tree_every_m, pole_every_m: mean distances.
        clutter_per_100m: bins, hydrants, bollards, post boxes and signs on each pavement.
        gaps_s_m: places (s, side) between two parked vehicles where somebody can step out; side is
            +1 left, -1 right.
        clear_s_m: (from, to, side) stretches of parking lane kept free.
    """

    start_s_m: float = -70.0
    end_s_m: float = 230.0
    parking_left: float = 0.6
    parking_right: float = 0.6
    parking_lane_m: float = 2.2
    buffer_m: float = 0.7
    pavement_m: float = 4.0
    house_share: float = 0.75
    tree_every_m: float = 14.0
    pole_every_m: float = 28.0
    clutter_per_100m: float = 9.0
    gaps_s_m: tuple[tuple[float, int], ...] = ()
    clear_s_m: tuple[tuple[float, float, int], ...] = ()

    def curb_d_m(self, road: Road, side: int) -> float:
        """Distance of the curb from the centre line on one side."""
        share = self.parking_left if side > 0 else self.parking_right
        lane = self.buffer_m + self.parking_lane_m if share > 0 else 0.5
        return road.half_width_m + lane

    def parking_d_m(self, road: Road, side: int) -> float:
        """Signed middle of the parking lane on one side."""
        return side * (road.half_width_m + self.buffer_m + self.parking_lane_m / 2)


@dataclass(slots=True)
class _Side:
    """One side of the road while it is furnished; d is measured outwards here."""

    road: Road
    side: int
    parts: PrimitiveList

    def box(
        self,
        s: float,
        d: float,
        size: tuple[float, float],
        z: tuple[float, float],
        reflectivity: float,
        surface: int = 0,
        turn: float = 0.0,
    ) -> None:
        xy, heading = self.road.to_map(np.array(s), np.array(self.side * d))
        self.parts.box(
            (float(xy[0]), float(xy[1])), size, z, reflectivity,
            yaw_rad=float(heading) + turn, surface=surface,
        )  # fmt: skip

    def pole(
        self,
        s: float,
        d: float,
        radius: float,
        z: tuple[float, float],
        reflectivity: float,
        surface: int = 0,
    ) -> None:
        xy, _ = self.road.to_map(np.array(s), np.array(self.side * d))
        self.parts.cylinder((float(xy[0]), float(xy[1])), radius, z, reflectivity, surface=surface)


def build_scenery(road: Road, style: StreetStyle, rng: np.random.Generator) -> Primitives:
    """Return everything that never moves and is nobody's vehicle."""
    parts = PrimitiveList()
    for sign in (1, -1):
        side = _Side(road, sign, parts)
        curb = style.curb_d_m(road, sign)
        _pavement(side, style, curb)
        _house_line(side, style, curb + style.pavement_m, rng)
        _trees(side, style, curb, rng)
        _poles(side, style, curb, rng)
        _clutter(side, style, curb, rng)
    return parts.build()


def _pavement(side: _Side, style: StreetStyle, curb: float) -> None:
    """Lay curb stones and pavement in pieces short enough for the bend."""
    piece, depth = 6.0, style.pavement_m + 1.5
    for s in np.arange(style.start_s_m, style.end_s_m, piece) + piece / 2:
        side.box(float(s), curb + 0.1, (piece + 0.1, 0.2), (0.0, 0.13), 0.42)
        side.box(float(s), curb + 0.2 + depth / 2, (piece + 0.1, depth), (0.0, 0.125), 0.27)


def _house_line(side: _Side, style: StreetStyle, line: float, rng: np.random.Generator) -> None:
    """Fill the plots behind the pavement with houses, hedges, walls or nothing."""
    s = style.start_s_m
    while s < style.end_s_m:
        front = float(rng.uniform(7.0, 15.0))
        middle = s + front / 2
        back = float(rng.uniform(0.3, 4.5))
        if rng.random() < style.house_share:
            _house(side, middle, line + back, front, rng)
        kind = rng.random()
        if back > 1.5 or kind < 0.3:
            height, bright = float(rng.uniform(0.7, 1.7)), float(rng.uniform(0.2, 0.5))
            leaves = FOLIAGE if kind < 0.5 else 0
            gate = float(rng.uniform(1.0, 3.0))
            half = (front - gate) / 2
            for end in (-1, 1):
                at = middle + end * (gate + half) / 2
                side.box(at, line + 0.2, (half, 0.35), (0.1, height), bright, leaves)
        s += front + (0.0 if rng.random() < 0.5 else float(rng.uniform(1.5, 7.0)))


def _house(side: _Side, s: float, d: float, front: float, rng: np.random.Generator) -> None:
    """Put up a house with windows, a door step and sometimes a bay."""
    depth, height = float(rng.uniform(8.0, 12.0)), float(rng.uniform(4.5, 12.0))
    bright = float(rng.uniform(0.3, 0.6))
    side.box(s, d + depth / 2, (front, depth), (0.0, height), bright)
    for at in np.arange(-front / 2 + 1.6, front / 2 - 1.0, 2.8):
        side.box(s + float(at), d - 0.02, (1.2, 0.1), (1.1, 2.4), 0.2, GLASS)
        side.box(s + float(at), d - 0.08, (1.4, 0.16), (0.95, 1.08), bright)
    door = float(rng.uniform(-0.3, 0.3)) * front
    side.box(s + door, d - 0.4, (1.5, 0.9), (0.1, 0.45), 0.4)
    if rng.random() < 0.4:
        side.box(s - door, d - 0.35, (2.4, 0.8), (0.1, 3.0), bright * 0.9)


def _trees(side: _Side, style: StreetStyle, curb: float, rng: np.random.Generator) -> None:
    """Plant street trees near the curb and some in the gardens."""
    s = style.start_s_m + float(rng.uniform(0, style.tree_every_m))
    while s < style.end_s_m:
        garden = rng.random() < 0.25
        d = curb + (style.pavement_m + 2.0 if garden else float(rng.uniform(0.7, 1.1)))
        radius, foot = float(rng.uniform(0.08, 0.22)), float(rng.uniform(1.9, 2.9))
        crown, top = float(rng.uniform(1.0, 2.2)), foot + float(rng.uniform(2.0, 4.5))
        side.pole(s, d, radius, (0.0, foot + 0.8), 0.3)
        side.pole(s, d, crown * 0.7, (foot, top), 0.35, FOLIAGE)
        side.pole(s, d, crown, (foot + 0.5, top - 0.6), 0.35, FOLIAGE)
        s += style.tree_every_m * float(rng.uniform(0.5, 1.6))


def _poles(side: _Side, style: StreetStyle, curb: float, rng: np.random.Generator) -> None:
    """Put up street lamps and, between them, traffic signs."""
    s = style.start_s_m + float(rng.uniform(0, style.pole_every_m))
    while s < style.end_s_m:
        if rng.random() < 0.6:
            side.pole(s, curb + 0.5, float(rng.uniform(0.06, 0.11)), (0.0, 6.0), 0.4)
        else:
            side.pole(s, curb + 0.45, 0.04, (0.0, 2.6), 0.5)
            side.box(s, curb + 0.45, (0.05, 0.6), (1.9, 2.6), 0.9)
        s += style.pole_every_m * float(rng.uniform(0.5, 1.4))


def _clutter(side: _Side, style: StreetStyle, curb: float, rng: np.random.Generator) -> None:
    """Scatter what a hasty detector takes for people: bins, hydrants, bollards, post boxes."""
    length = style.end_s_m - style.start_s_m
    for s in rng.uniform(
        style.start_s_m, style.end_s_m, int(length / 100 * style.clutter_per_100m)
    ):
        d = curb + float(rng.uniform(0.4, style.pavement_m - 0.4))
        bright = float(rng.uniform(0.15, 0.6))
        kind = rng.integers(0, 6)
        top = 0.12 + float(rng.uniform(0.9, 1.3))
        if kind == 0:
            size = (float(rng.uniform(0.5, 0.7)), float(rng.uniform(0.5, 0.7)))
            side.box(float(s), d, size, (0.12, top), bright, turn=float(rng.uniform(0, 3)))
        elif kind == 1:
            side.pole(float(s), curb + 0.5, float(rng.uniform(0.12, 0.18)), (0.12, 0.95), 0.55)
        elif kind == 2:
            for i in range(int(rng.integers(2, 6))):
                side.pole(float(s) + 1.4 * i, curb + 0.35, 0.07, (0.12, 1.05), 0.45)
        elif kind == 3:
            side.box(float(s), d, (0.45, 0.4), (0.12, 1.5), bright, turn=float(rng.uniform(0, 3)))
        elif kind == 4:
            side.pole(float(s), d, float(rng.uniform(0.2, 0.32)), (0.12, top), bright)
        else:
            side.box(float(s), d, (1.1, 0.3), (0.12, 1.75), 0.3, turn=float(rng.uniform(0, 3)))


def park_vehicles(road: Road, style: StreetStyle, rng: np.random.Generator) -> list[Actor]:
    """Return rows of parked vehicles on both sides, closed up to the wanted gaps."""
    actors: list[Actor] = []
    for side, share in ((1, style.parking_left), (-1, style.parking_right)):
        gaps = sorted(s for s, at in style.gaps_s_m if at == side)
        s = style.start_s_m
        while share > 0 and s < style.end_s_m:
            shape = truck(rng) if rng.random() < 0.04 else car(rng)
            length, after = shape.size_lwh_m[0], float(rng.uniform(0.7, 1.8))
            taken = rng.random() < share
            d = style.parking_d_m(road, side) + float(rng.normal(0.0, 0.08))
            yaw = float(rng.normal(0.0, 0.02)) + (np.pi if side > 0 else 0.0)
            ahead = [g for g in gaps if g > s]
            end = ahead[0] - _GAP_M / 2 if ahead else np.inf
            if s + length > end:  # no room before the gap
                s = ahead[0] + _GAP_M / 2
                continue
            if s + length + after + 5.6 > end:  # the last one before the gap stands right at it
                s, taken, after = end - length, True, _GAP_M
            free = any(
                at == side and start < s + length and s < stop
                for start, stop, at in style.clear_s_m
            )
            if taken and not free:
                place = standing(s + length / 2, d, yaw)
                actors.append(Actor(f"parked-{len(actors):03d}", shape, place))
            s += length + after
    return actors
