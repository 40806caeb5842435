"""One box out of what several people drew around the same object."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from labeling.qa.matching import match_boxes
from scene.box import Boxes
from scene.pose import wrap_angle
from scene.types import Float, Float64, Int64, Mask

# A box this far from the median of three or more, in meters and times the usual distance from
# it, is somebody's slip and does not count.
_OUTLIER_M: Final = 0.5
_OUTLIER_TIMES: Final = 4.0


@dataclass(frozen=True, slots=True, eq=False)
class Consensus:
    """The objects of one frame as several people saw them.

    Attributes:
        boxes: (O,) one box an object; velocity, track and points of the box nearest to it.
        members: (O, A) index of each person's box of the object, -1 where they have none.
        weight_share: (O,) share of the people's weight that saw the object.
        rejected: (O, A) boxes that were left out of the medians.
    """

    boxes: Boxes
    members: Int64
    weight_share: Float64
    rejected: Mask


def find_consensus(answers: Sequence[Boxes], weights: Float | None = None) -> Consensus:
    """Return what people agree on in one frame.

    Objects are found by matching one person after the other to the boxes agreed on so far, once
    more when all are in, so that the order of the people hardly matters.

    Args:
        answers: boxes of A people, ego frame.
        weights: (A,) how much each counts, above 0; all alike if not given.
    """
    weight = np.ones(len(answers)) if weights is None else np.asarray(weights, dtype=np.float64)
    members = _group(answers, weight, None)
    members = _group(answers, weight, _boxes_of(answers, members, weight)[0])
    boxes, rejected = _boxes_of(answers, members, weight)
    seen = (members >= 0) @ weight
    return Consensus(boxes, members, seen / max(weight.sum(), 1e-12), rejected)


def _group(answers: Sequence[Boxes], weight: Float64, start: Boxes | None) -> Int64:
    """Return (O, A) members of objects, first those of `start`, then new ones."""
    known = start if start is not None else Boxes.empty()
    members = np.full((len(known), len(answers)), -1, dtype=np.int64)
    for person, mine in enumerate(answers):
        found = match_boxes(known, mine, same_class=False)
        members[found.first, person] = found.second
        new = np.setdiff1d(np.arange(len(mine)), found.second)
        rows = np.full((len(new), len(answers)), -1, dtype=np.int64)
        rows[:, person] = new
        members = np.concatenate([members, rows])
        if start is None:
            known = _boxes_of(answers, members, weight)[0]
        else:
            known = Boxes.concatenate([known, mine.take(new)])
    return members[(members >= 0).any(axis=1)]


def _boxes_of(answers: Sequence[Boxes], members: Int64, weight: Float64) -> tuple[Boxes, Mask]:
    """Return the agreed box of every object, and which members were outliers."""
    rejected = np.zeros(members.shape, dtype=bool)
    parts = []
    for row in range(len(members)):  # objects, not points: a few dozen a frame
        people = np.flatnonzero(members[row] >= 0)
        mine = [answers[p].take(members[row, p : p + 1]) for p in people]
        group = Boxes.concatenate(mine)
        box, kept = merge_boxes(group, weight[people])
        rejected[row, people] = ~kept
        parts.append(box)
    return Boxes.concatenate(parts), rejected


def merge_boxes(group: Boxes, weights: Float) -> tuple[Boxes, Mask]:
    """Return the one box that boxes of the same object agree on, and (A,) which of them counted.

    Weighted median of centre (along and across the agreed heading, and up) and size, weighted
    circular median of the axis and a vote about its direction, vote about the class. Of three or
    more, boxes far from the median are left out.
    """
    weight = np.asarray(weights, dtype=np.float64)
    kept = np.ones(len(group), dtype=bool)
    box = _median_box(group, weight)
    if len(group) >= 3:
        away = np.linalg.norm(group.center_xyz_m - box.center_xyz_m, axis=1)
        kept = away <= max(_OUTLIER_M, _OUTLIER_TIMES * float(np.median(away)))
        if not kept.all():
            box = _median_box(group.take(kept), weight[kept])
    return box, kept


def _median_box(group: Boxes, weight: Float64) -> Boxes:
    yaw = axis_median(group.yaw_rad, weight)
    cos, sin = np.cos(yaw), np.sin(yaw)
    turn = np.array([[cos, sin, 0.0], [-sin, cos, 0.0], [0.0, 0.0, 1.0]])
    center = turn.T @ weighted_median(group.center_xyz_m @ turn.T, weight)
    size = np.exp(weighted_median(np.log(group.size_lwh_m), weight))
    names, index = np.unique(group.category, return_inverse=True)
    category = names[np.bincount(index, weight).argmax()]
    nearest = int(np.linalg.norm(group.center_xyz_m - center, axis=1).argmin())
    other = group.take(np.array([nearest]))
    return Boxes.make(
        center[None], size[None], np.array([yaw]), [str(category)], other.velocity_xy_mps,
        other.track_id, None, other.num_points,
    )  # fmt: skip


def weighted_median(values: Float, weights: Float) -> Float64:
    """Return the weighted median of (A, ...) values along the first axis.

    Where exactly half of the weight lies on either side, the middle between the two values, so
    that two people of equal weight meet half-way.
    """
    values = np.asarray(values, dtype=np.float64)
    flat = values.reshape(len(values), -1)
    order = np.argsort(flat, axis=0, kind="stable")
    ordered = np.take_along_axis(flat, order, axis=0)
    below = np.cumsum(np.asarray(weights, dtype=np.float64)[order], axis=0)
    half = below[-1] / 2
    tie = 1e-12 * below[-1]
    low = (below < half - tie).sum(axis=0)
    high = (below <= half + tie).sum(axis=0)
    column = np.arange(flat.shape[1])
    last = len(flat) - 1
    middle = (ordered[np.minimum(low, last), column] + ordered[np.minimum(high, last), column]) / 2
    return middle.reshape(values.shape[1:])


def axis_median(yaw_rad: Float, weights: Float) -> float:
    """Return the weighted circular median of axes (mod pi), pointed the way that most weight votes.

    The median of axes is the one among them with the least weighted sum of angles to the others;
    ties meet in their middle. On a tied vote about the direction the first box's counts.
    """
    yaw, weight = np.asarray(yaw_rad, dtype=np.float64), np.asarray(weights, dtype=np.float64)
    apart = _axis_difference(yaw[None], yaw[:, None])
    cost = np.abs(apart) @ weight
    best = np.flatnonzero(cost <= cost.min() + 1e-9 * max(1.0, weight.sum()))
    middle = yaw[best[0]] + float(_axis_difference(yaw[best], yaw[best[0]]).mean())
    forward = np.cos(yaw - middle) >= 0
    votes = weight[forward].sum() - weight[~forward].sum()
    tied = abs(votes) <= 1e-9 * weight.sum()
    ahead = bool(forward[0]) if tied else votes > 0
    return float(wrap_angle(np.array([middle if ahead else middle + np.pi]))[0])


def _axis_difference(one: Float64, other: Float | np.floating) -> Float64:
    """Return the difference of axes in [-pi/2, pi/2)."""
    return np.mod(one - other + np.pi / 2, np.pi) - np.pi / 2
