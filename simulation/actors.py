"""Road users: what they look like and the scripts by which they move along the road."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from scene.box import Boxes
from scene.types import Float64, Int64
from simulation.primitives import Primitives
from simulation.road import Road
from simulation.shapes import Shape

TICK_S = 0.05  # step of the scripts; positions in between are interpolated


@dataclass(frozen=True, slots=True)
class Motion:
    """Where an actor is, tick by tick, from the moment it starts.

    Attributes:
        s_m, d_m: (T,) place along and beside the road.
        yaw_rad: (T,) heading relative to the road.
        starts_at_ego_s_m: the script begins when the ego's front has come this far along the road;
            None begins at once. Before it begins the actor stands still.
    """

    s_m: Float64
    d_m: Float64
    yaw_rad: Float64
    starts_at_ego_s_m: float | None = None


@dataclass(frozen=True, slots=True)
class Actor:
    """One road user other than the ego."""

    track_id: str
    shape: Shape
    motion: Motion


def standing(s_m: float, d_m: float, yaw_rad: float) -> Motion:
    """Stay in one place; `yaw_rad` is relative to the road."""
    return Motion(np.array([s_m]), np.array([d_m]), np.array([yaw_rad]))


def driving(
    s_m: float,
    d_m: float,
    speed_mps: float,
    duration_s: float,
    *,
    changes: Sequence[tuple[float, float]] = (),
    shift: tuple[float, float, float] | None = None,
    oncoming: bool = False,
) -> Motion:
    """Drive along the road.

    Args:
        s_m: start along the road.
        d_m: start beside the road.
        speed_mps: start speed.
        duration_s: length of the script; afterwards the actor keeps the last place.
        changes: (from second, acceleration in m/s2), in time order; speed never becomes negative
            and never exceeds 20 m/s.
        shift: (from second, for seconds, to d) lateral move along a half cosine.
        oncoming: towards smaller s.
    """
    time = np.arange(0.0, duration_s + TICK_S, TICK_S)
    acceleration = np.zeros(len(time))
    for start, value in changes:
        acceleration[time >= start] = value
    speed = np.empty(len(time))
    speed[0] = speed_mps
    for i in range(1, len(time)):
        speed[i] = min(max(speed[i - 1] + acceleration[i - 1] * TICK_S, 0.0), 20.0)
    moved = np.concatenate([[0.0], np.cumsum((speed[1:] + speed[:-1]) / 2 * TICK_S)])
    s = s_m - moved if oncoming else s_m + moved
    d = np.full(len(time), d_m)
    if shift is not None:
        start, lasts, target = shift
        ratio = np.clip((time - start) / lasts, 0.0, 1.0)
        d = d_m + (target - d_m) * (1 - np.cos(np.pi * ratio)) / 2
    heading = np.pi if oncoming else 0.0
    return Motion(s, d, _headings(s, d, heading))


def walking(
    route_sd_m: Sequence[tuple[float, float]],
    speed_mps: float,
    *,
    wait_s: float = 0.0,
    starts_at_ego_s_m: float | None = None,
) -> Motion:
    """Go from point to point at one speed and stand still at the end.

    Args:
        route_sd_m: two or more points beside the road.
        speed_mps: of the whole way; it is reached within half a second.
        wait_s: stand at the first point before going.
        starts_at_ego_s_m: see `Motion`.
    """
    route = np.asarray(route_sd_m, float)
    legs = np.hypot(*np.diff(route, axis=0).T)
    total = float(legs.sum())
    time = np.arange(0.0, wait_s + total / speed_mps + 1.0, TICK_S) - wait_s
    gone = np.where(time < 0.5, speed_mps * np.maximum(time, 0.0) ** 2, speed_mps * (time - 0.25))
    gone = np.clip(gone, 0.0, total)
    at = np.concatenate([[0.0], np.cumsum(legs)])
    s, d = np.interp(gone, at, route[:, 0]), np.interp(gone, at, route[:, 1])
    first = np.arctan2(*(route[1] - route[0])[::-1])
    return Motion(s, d, _headings(s, d, float(first)), starts_at_ego_s_m)


def _headings(s_m: Float64, d_m: Float64, first_rad: float) -> Float64:
    """Return headings along a path; where it stands still the last heading holds."""
    ds, dd = np.gradient(s_m), np.gradient(d_m)
    moving = np.hypot(ds, dd) > 1e-4
    heading = np.where(moving, np.arctan2(dd, ds), np.nan)
    last = np.maximum.accumulate(np.where(moving, np.arange(len(s_m)), -1))
    filled = np.where(last >= 0, heading[np.maximum(last, 0)], first_rad)
    return np.asarray(np.unwrap(filled), dtype=np.float64)


@dataclass(frozen=True, slots=True)
class CastState:
    """All actors at one instant, map frame.

    Attributes:
        xy_m: (A, 2) places.
        yaw_rad: (A,) headings.
        velocity_xy_mps: (A, 2) velocities.
        phase_rad: (A,) where in their step people are.
    """

    xy_m: Float64
    yaw_rad: Float64
    velocity_xy_mps: Float64
    phase_rad: Float64


@dataclass(slots=True)
class Cast:
    """All actors of a world, sampled once so that any instant is two look-ups.

    Attributes:
        actors: the road users.
        road: the road their scripts refer to.
        started_s: (A,) when each script began; infinite while it waits for the ego.
        sizes_m: (A, 3) length, width, height.
    """

    actors: tuple[Actor, ...]
    road: Road
    started_s: Float64 = field(init=False)
    sizes_m: Float64 = field(init=False)
    _xy: Float64 = field(init=False)
    _yaw: Float64 = field(init=False)
    _travelled: Float64 = field(init=False)
    _last: Int64 = field(init=False)
    _trigger: Float64 = field(init=False)
    _stride: Float64 = field(init=False)
    _parts: Primitives = field(init=False)

    def __post_init__(self) -> None:
        """Sample all scripts in the map frame."""
        count = len(self.actors)
        longest = max((len(a.motion.s_m) for a in self.actors), default=1)
        self._xy = np.zeros((count, longest, 2))
        self._yaw = np.zeros((count, longest))
        self._travelled = np.zeros((count, longest))
        self._last = np.array([len(a.motion.s_m) - 1 for a in self.actors], dtype=np.int64)
        for i, actor in enumerate(self.actors):
            motion, pad = actor.motion, longest - len(actor.motion.s_m)
            xy, heading = self.road.to_map(motion.s_m, motion.d_m)
            steps = np.hypot(*np.diff(xy, axis=0).T) if len(xy) > 1 else np.zeros(0)
            self._xy[i] = np.pad(xy, ((0, pad), (0, 0)), mode="edge")
            self._yaw[i] = np.pad(heading + motion.yaw_rad, (0, pad), mode="edge")
            gone = np.concatenate([[0.0], np.cumsum(steps)])
            self._travelled[i] = np.pad(gone, (0, pad), mode="edge")
        triggers = [a.motion.starts_at_ego_s_m for a in self.actors]
        self._trigger = np.array([-np.inf if t is None else t for t in triggers])
        self.started_s = np.where(np.isneginf(self._trigger), 0.0, np.inf)
        self.sizes_m = np.array([a.shape.size_lwh_m for a in self.actors]).reshape(-1, 3)
        self._stride = np.array([a.shape.stride_m for a in self.actors])
        self._parts = Primitives.concatenate(
            [a.shape.parts.owned_by(i) for i, a in enumerate(self.actors)]
        )

    def notice(self, time_s: float, ego_front_s_m: float) -> None:
        """Start the scripts that wait for the ego to come this far."""
        self.started_s[np.isinf(self.started_s) & (ego_front_s_m >= self._trigger)] = time_s

    def at(self, time_s: float) -> CastState:
        """Return where everybody is."""
        tick = np.clip((time_s - self.started_s) / TICK_S, 0.0, self._last)  # -inf: not begun
        lower = np.minimum(tick.astype(np.int64), np.maximum(self._last - 1, 0))
        upper = np.minimum(lower + 1, self._last)
        ratio = tick - lower
        rows = np.arange(len(self.actors))
        start, end = self._xy[rows, lower], self._xy[rows, upper]
        yaw = self._yaw[rows, lower] + ratio * (self._yaw[rows, upper] - self._yaw[rows, lower])
        going = (tick < self._last) & (tick > 0)
        gone = self._travelled[rows, lower] * (1 - ratio) + self._travelled[rows, upper] * ratio
        phase = np.where(self._stride > 0, gone / np.maximum(self._stride, 1e-3), 0.0)
        return CastState(
            start + (end - start) * ratio[:, None],
            yaw,
            np.where(going[:, None], (end - start) / TICK_S, 0.0),
            phase * 2 * np.pi + rows,
        )

    def solids(self, state: CastState) -> Primitives:
        """Return the solids of all actors, map frame."""
        return self._parts.placed(state.xy_m, state.yaw_rad, state.phase_rad)

    def boxes(self, state: CastState) -> Boxes:
        """Return the exact boxes of all actors, map frame."""
        size = self.sizes_m
        center = np.concatenate([state.xy_m, size[:, 2:] / 2], axis=1)
        return Boxes.make(
            center, size, state.yaw_rad, [a.shape.category for a in self.actors],
            state.velocity_xy_mps, [a.track_id for a in self.actors],
        )  # fmt: skip
