"""Which detection follows which: one pass over time, forwards or backwards."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Final, NamedTuple

import numpy as np

from labeling.tracking.filters import State, correct, predict
from labeling.tracking.motion import column
from labeling.tracking.observations import Observations
from scene.types import Float64, Int64, Text

_GATE: Final = 11.8  # 99.7 % of a chi-square with two degrees of freedom
_LOST_M: Final = 4.0  # a prediction less certain than this is worth nothing
_LOST_S: Final = 1.5  # after this the pieces are left to be joined knowing both sides
_OTHER_CATEGORY: Final = 2.0  # what a change of category within a kind costs
_VELOCITY_STD_MPS: Final = 1.5  # of a detected velocity
_NEVER: Final = 1e6


class Links(NamedTuple):
    """Pairs of detections of one object, each the next one after the other in its pass.

    Attributes:
        earlier, later: (L,) indices of detections, in time.
        cost: (L,) how badly they fit: negative logarithm of a likelihood.
    """

    earlier: Int64
    later: Int64
    cost: Float64


@dataclass(slots=True)
class _Active:
    """Tracks that a pass knows of.

    Attributes:
        state: (K, 2) x and y, map frame.
        last: (K,) newest detection.
        kind, category: (K,) of that detection.
        since_s: (K,) time since it.
    """

    state: State
    last: Int64
    kind: Int64
    category: Text
    since_s: Float64

    def take(self, index: Int64) -> _Active:
        return _Active(
            self.state.take(index), *(getattr(self, f.name)[index] for f in fields(self)[1:])
        )

    def join(self, other: _Active) -> _Active:
        state = State(*(np.concatenate(pair) for pair in zip(self.state, other.state, strict=True)))
        rest = (
            np.concatenate([getattr(self, f.name), getattr(other, f.name)])
            for f in fields(self)[1:]
        )
        return _Active(state, *rest)


def link(seen: Observations, *, backwards: bool = False) -> Links:
    """Follow all objects through time and return which detection followed which.

    Every detection may start a track and go on with one. A track without detections is predicted
    on, ever less certain of where it is, until a detection fits or it could be anywhere.

    Args:
        seen: all detections.
        backwards: start at the last frame.
    """
    direction = -1 if backwards else 1
    bounds = np.searchsorted(seen.frame, np.arange(len(seen.seconds) + 1))
    active = _start(seen, np.zeros(0, dtype=np.int64), direction)
    pairs: list[Links] = []
    clock = None
    for frame in range(len(seen.seconds))[::direction]:
        now = float(seen.seconds[frame])
        active = _wait(active, 0.0 if clock is None else abs(now - clock))
        clock = now
        found = np.arange(bounds[frame], bounds[frame + 1])
        rows, columns, cost = _assign(active, seen, found)
        hit = found[columns]
        ends = (active.last[rows], hit)
        pairs.append(Links(ends[0], ends[1], cost))
        missed = np.setdiff1d(np.arange(len(active.last)), rows)
        new = np.setdiff1d(np.arange(len(found)), columns)
        active = (
            _go_on(active.take(rows), seen, hit)
            .join(active.take(missed))
            .join(_start(seen, found[new], direction))
        )
    former, latter, cost = (np.concatenate(parts) for parts in zip(*pairs, strict=True))
    return Links(latter, former, cost) if backwards else Links(former, latter, cost)


def _start(seen: Observations, index: Int64, direction: int) -> _Active:
    boxes, kind = seen.boxes.take(index), seen.kind[index]
    known = np.isfinite(boxes.velocity_xy_mps)
    velocity = np.where(known, direction * boxes.velocity_xy_mps, 0.0)
    free = column(kind, "speed_std_mps")[:, None]
    spread = np.where(known, np.minimum(_VELOCITY_STD_MPS, free), free)
    variance = np.broadcast_to(column(kind, "position_std_m")[:, None] ** 2, velocity.shape)
    state = State(boxes.center_xyz_m[:, :2], velocity, variance, np.zeros_like(velocity), spread**2)
    return _Active(state, index, kind, boxes.category, np.zeros(len(index)))


def _wait(active: _Active, seconds: float) -> _Active:
    """Predict all tracks and drop those that could be anywhere."""
    noise = column(active.kind, "acceleration_mps2")[:, None] ** 2
    active.state = predict(active.state, np.full((len(noise), 1), seconds), noise)
    active.since_s = active.since_s + seconds
    alive = (active.state.vv < _LOST_M**2).all(axis=1) & (active.since_s <= _LOST_S + seconds / 2)
    return active.take(np.flatnonzero(alive))


def _go_on(active: _Active, seen: Observations, hit: Int64) -> _Active:
    """Correct tracks with the detections that they got."""
    variance = column(active.kind, "position_std_m")[:, None] ** 2
    state = correct(active.state, seen.boxes.center_xyz_m[hit, :2], variance)
    return _Active(state, hit, active.kind, seen.boxes.category[hit], np.zeros(len(hit)))


def _assign(active: _Active, seen: Observations, found: Int64) -> tuple[Int64, Int64, Float64]:
    """Return rows of tracks, columns of detections and their cost, cheapest in total.

    Source: Kuhn, "The Hungarian method for the assignment problem", 1955 (scipy).
    """
    from scipy.optimize import linear_sum_assignment

    offset = seen.boxes.center_xyz_m[None, found, :2] - active.state.value[:, None]
    variance = active.state.vv + column(active.kind, "position_std_m")[:, None] ** 2
    distance = (offset**2 / variance[:, None]).sum(axis=2)
    reach = column(active.kind, "max_speed_mps") * active.since_s
    reach += 4 * column(active.kind, "position_std_m")
    possible = (distance < _GATE) & (active.kind[:, None] == seen.kind[found])
    since_last = seen.boxes.center_xyz_m[None, found, :2]
    since_last = since_last - seen.boxes.center_xyz_m[active.last][:, None, :2]
    possible &= np.hypot(since_last[..., 0], since_last[..., 1]) < reach[:, None]
    cost = distance + np.log(variance).sum(axis=1)[:, None]
    other = active.category[:, None] != seen.boxes.category[found]
    cost = np.where(possible, cost + _OTHER_CATEGORY * other, _NEVER)
    rows, columns = linear_sum_assignment(cost)
    good = possible[rows, columns]
    return rows[good], columns[good], cost[rows[good], columns[good]]
