"""From links of two passes to tracks: agree, then join pieces across gaps from both sides."""

from __future__ import annotations

from typing import Final, NamedTuple

import numpy as np

from labeling.tracking.associate import Links
from labeling.tracking.filters import smooth
from labeling.tracking.motion import column
from labeling.tracking.observations import Observations
from scene.types import Float64, Int64, Mask

_MOVING_GAP_S: Final = 3.0  # a moving object that was away for longer is another one
_MOVING_GAP_A_HIT_S: Final = 0.6  # allowed for each detection of the piece with fewer of them
_STANDING_GAP_A_HIT_S: Final = 2.0
_STANDING_MPS: Final = 0.5
_STANDING_REACH_M: Final = 1.0
_TURN_S: Final = 0.8  # how much of a piece tells how it turns at its end
_TURN_MPS: Final = 2.0
_MAX_TURN_RPS: Final = 0.8
_NEVER: Final = 1e6


class Slots(NamedTuple):
    """Tracks over time, one after another: a slot for each frame from the first to the last one.

    Attributes:
        start: (K + 1,) where the slots of each track begin.
        track: (M,) of each slot.
        frame: (M,) of each slot.
        seen: (M,) detection in the slot; where there is none, the one before it in the track.
        observed: (M,) whether there is a detection.
    """

    start: Int64
    track: Int64
    frame: Int64
    seen: Int64
    observed: Mask


def number_tracks(num_detections: int, forward: Links, backward: Links) -> Int64:
    """Return the (N,) track of each detection from what two passes linked.

    A link that both passes made holds. Of the others the cheapest hold, as long as no detection
    follows two or is followed by two.
    """
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    count = np.int64(num_detections)
    mine = forward.earlier * count + forward.later
    theirs = backward.earlier * count + backward.later
    pairs = np.concatenate([mine, theirs])
    cost = np.concatenate([forward.cost, backward.cost])
    cost = cost - _NEVER * np.concatenate([np.isin(mine, theirs), np.isin(theirs, mine)])
    links = _choose(pairs // max(count, 1), pairs % max(count, 1), cost, num_detections)
    graph = coo_array(
        (np.ones(len(links), dtype=np.int8), (links[:, 0], links[:, 1])), shape=(count, count)
    )
    return connected_components(graph, directed=False)[1].astype(np.int64)


def _choose(earlier: Int64, later: Int64, cost: Float64, count: int) -> Int64:
    """Return (L, 2) links, none sharing an end, picking the cheapest at both ends first."""
    chosen: list[Int64] = []
    while len(earlier):
        order = np.argsort(cost, kind="stable")
        earlier, later, cost = earlier[order], later[order], cost[order]
        rank = np.arange(len(earlier))
        best_from = np.full(count, len(rank))
        best_to = best_from.copy()
        np.minimum.at(best_from, earlier, rank)
        np.minimum.at(best_to, later, rank)
        best = (best_from[earlier] == rank) & (best_to[later] == rank)
        chosen.append(np.stack([earlier[best], later[best]], axis=1))
        used_from, used_to = np.isin(earlier, earlier[best]), np.isin(later, later[best])
        left = ~used_from & ~used_to
        earlier, later, cost = earlier[left], later[left], cost[left]
    return np.concatenate([np.zeros((0, 2), dtype=np.int64), *chosen])


def lay_out(seen: Observations, track: Int64) -> Slots:
    """Return the slots of tracks numbered from 0 without holes; (N,) `track`, -1 for none."""
    index = np.flatnonzero(track >= 0)
    index = index[np.lexsort((seen.frame[index], track[index]))]
    first = np.flatnonzero(np.diff(track[index], prepend=-1))
    last = np.append(first[1:], len(index))[: len(first)] - 1
    begin = seen.frame[index[first]]
    length = seen.frame[index[last]] - begin + 1
    start = np.concatenate([[0], np.cumsum(length)]).astype(np.int64)
    slot_track = np.repeat(np.arange(len(first)), length)
    frame = np.arange(start[-1]) - start[slot_track] + begin[slot_track]
    place = start[track[index]] + seen.frame[index] - begin[track[index]]
    observed = np.zeros(start[-1], dtype=np.bool_)
    observed[place] = True
    return Slots(start, slot_track, frame, index[np.cumsum(observed) - 1], observed)


def smooth_centers(seen: Observations, slots: Slots) -> tuple[Float64, Float64]:
    """Return (M, 3) smoothed centres and (M, 3) velocities, map frame."""
    detection = slots.seen[slots.start[:-1]]
    kind = seen.kind[detection]
    std = column(kind, "position_std_m")[slots.track][:, None] * np.ones(3)
    noise = column(kind, "acceleration_mps2")[:, None] ** 2 * np.array([1.0, 1.0, 0.05])
    speed = column(kind, "speed_std_mps")[:, None] * np.array([1.0, 1.0, 0.05])
    return smooth(
        seen.boxes.center_xyz_m[slots.seen],
        np.where(slots.observed[:, None], std**2, np.inf),
        seen.seconds[slots.frame],
        slots.start,
        noise,
        speed,
    )


def join_across_gaps(seen: Observations, track: Int64) -> Int64:
    """Return (N,) tracks after joining pieces that continue one another.

    A piece is extrapolated over the gap from both sides. What stands may be gone for long, what
    moves not: the allowed mismatch grows with the gap, up to a few seconds.
    """
    from scipy.optimize import linear_sum_assignment

    slots = lay_out(seen, track)
    if len(slots.start) < 3:
        return track
    cost = _gap_cost(seen, slots, *smooth_centers(seen, slots))
    rows, columns = linear_sum_assignment(cost)
    good = cost[rows, columns] < _NEVER
    follows = np.arange(len(slots.start) - 1)
    for row, later in sorted(
        zip(rows[good].tolist(), columns[good].tolist(), strict=True),
        key=lambda pair: int(slots.frame[slots.start[pair[1]]]),
    ):
        follows[later] = follows[row]  # by time, so that the earlier one knows its name already
    return np.unique(follows[track], return_inverse=True)[1].astype(np.int64)


def _gap_cost(seen: Observations, slots: Slots, center: Float64, velocity: Float64) -> Float64:
    """Return (K, K) cost of joining the end of a row's piece to the start of a column's."""
    first, last = slots.start[:-1], slots.start[1:] - 1
    kind = seen.kind[slots.seen[first]]
    time = seen.seconds[slots.frame]
    gap = time[first] - time[last][:, None]
    apart = center[first, :2] - center[last, :2][:, None]
    # A piece of one detection has no velocity of its own and takes that of the other.
    single = first == last
    turn_end, turn_start = _turn_rates(velocity, time, slots, _TURN_S)
    ahead = _travelled(velocity[last, None, :2], turn_end[:, None], gap)
    behind = -_travelled(velocity[None, first, :2], turn_start[None], -gap)
    ahead, behind = (
        np.where(single[:, None, None], behind, ahead),
        np.where(single[None, :, None], ahead, behind),
    )
    miss, miss_back = (np.linalg.norm(apart - moved, axis=2) for moved in (ahead, behind))
    mismatch = (miss + miss_back) / 2
    reach = 4 * column(kind, "position_std_m")[:, None]
    reach = reach + 0.35 * column(kind, "acceleration_mps2")[:, None] * np.maximum(gap, 0) ** 2
    # What was hardly seen may be false, and must not stretch a track over a long gap.
    seen_in = np.add.reduceat(slots.observed.astype(np.int64), first)
    known = np.minimum(seen_in[:, None], seen_in)
    moving = (mismatch < reach) & (gap <= np.minimum(_MOVING_GAP_S, _MOVING_GAP_A_HIT_S * known))
    slow = _slow(seen, slots, kind, velocity)
    distance = np.linalg.norm(apart, axis=2)
    standing = slow[0][:, None] & slow[1] & (distance < _STANDING_REACH_M)
    standing &= gap <= np.minimum(
        column(kind, "standing_gap_s")[:, None], _STANDING_GAP_A_HIT_S * known
    )
    possible = (moving | standing) & (gap > 0) & (kind[:, None] == kind)
    badness = np.where(standing, np.minimum(distance, mismatch), mismatch) / reach
    return np.where(possible, badness + 0.5 * gap / _MOVING_GAP_S, _NEVER)


def _slow(seen: Observations, slots: Slots, kind: Int64, velocity: Float64) -> tuple[Mask, Mask]:
    """Return (K,) whether each piece may stand at its end, and at its start.

    A speed that so short a piece cannot tell from standing counts as standing.
    """
    first, last = slots.start[:-1], slots.start[1:] - 1
    seconds = seen.seconds[slots.frame[last]] - seen.seconds[slots.frame[first]]
    std = column(kind, "position_std_m") * np.sqrt(12 / (last - first + 1))
    doubt = np.minimum(std / np.maximum(seconds, 1e-3), column(kind, "max_speed_mps") / 20)
    speed = np.hypot(velocity[:, 0], velocity[:, 1])
    bound = np.maximum(_STANDING_MPS, 2 * doubt)
    return speed[last] < bound, speed[first] < bound


def _turn_rates(
    velocity: Float64, time: Float64, slots: Slots, span_s: float
) -> tuple[Float64, Float64]:
    """Return (K,) turn rates at the end and at the start of each piece; 0 where it is slow."""
    first, last = slots.start[:-1], slots.start[1:] - 1
    usual = np.median(np.diff(time)[np.diff(slots.track) == 0]) if len(first) < len(time) else 1.0
    steps = max(1, round(span_s / float(usual)))
    result = []
    for low, high in (
        (np.maximum(first, last - steps), last),
        (first, np.minimum(last, first + steps)),
    ):
        a, b = velocity[low, :2], velocity[high, :2]
        angle = np.arctan2(a[:, 0] * b[:, 1] - a[:, 1] * b[:, 0], (a * b).sum(axis=1))
        seconds = time[high] - time[low]
        usable = (np.hypot(*a.T) > _TURN_MPS) & (np.hypot(*b.T) > _TURN_MPS)
        usable &= seconds > 0.6 * span_s
        rate = angle / np.where(usable, seconds, 1.0)
        result.append(np.where(usable, np.clip(rate, -_MAX_TURN_RPS, _MAX_TURN_RPS), 0.0))
    return result[0], result[1]


def _travelled(velocity: Float64, turn_rps: Float64, seconds: Float64) -> Float64:
    """Return (K, K, 2) displacement at constant speed and turn rate: a chord of a circle."""
    half = turn_rps * seconds / 2
    length = np.sinc(half / np.pi) * seconds
    cos, sin = np.cos(half) * length, np.sin(half) * length
    x, y = velocity[..., 0], velocity[..., 1]
    return np.stack([x * cos - y * sin, x * sin + y * cos], axis=-1)
