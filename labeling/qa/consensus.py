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
    members = _group(answers, None)
    members = _group(answers, _boxes_of(answers, members, weight)[0])
    boxes, rejected = _boxes_of(answers, members, weight)
    seen = (members >= 0) @ weight
    return Consensus(boxes, members, seen / max(weight.sum(), 1e-12), rejected)


def _group(answers: Sequence[Boxes], start: Boxes | None) -> Int64:
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
        known = Boxes.concatenate([known, mine.take(new)])
    return members[(members >= 0).any(axis=1)]


def _boxes_of(answers: Sequence[Boxes], members: Int64, weight: Float64) -> tuple[Boxes, Mask]:
    """Return the agreed box of every object, and which members were outliers."""
    every = Boxes.concatenate(answers)
    start = np.cumsum([0, *(len(boxes) for boxes in answers)])[:-1]
    index = np.where(members >= 0, members + start, -1)
    share = np.where(members >= 0, weight, 0.0)
    if not len(index):
        return Boxes.empty(), np.zeros(members.shape, dtype=bool)
    return _merge(every, index, share)


def merge_boxes(group: Boxes, weights: Float) -> tuple[Boxes, Mask]:
    """Return the one box that boxes of the same object agree on, and (A,) which of them counted.

    Weighted median of centre (along and across the agreed heading, and up) and size, weighted
    circular median of the axis and a vote about its direction, vote about the class. Of three or
    more, boxes far from the median are left out.
    """
    index = np.arange(len(group), dtype=np.int64)[None]
    box, rejected = _merge(group, index, np.asarray(weights, dtype=np.float64)[None])
    return box, ~rejected[0]


def _merge(every: Boxes, index: Int64, weight: Float64) -> tuple[Boxes, Mask]:
    """Do `merge_boxes` for O objects at once: (O, A) indices of boxes, and their weights.

    An index of -1 means that a person has no box of the object; its weight is 0.
    """
    boxes = _median_boxes(every, index, weight)
    away = np.linalg.norm(every.center_xyz_m[index] - boxes.center_xyz_m[:, None], axis=2)
    there = weight > 0
    usual = weighted_median(away.T, there.T.astype(np.float64))
    limit = np.maximum(_OUTLIER_M, _OUTLIER_TIMES * usual)
    rejected = there & (away > limit[:, None]) & (there.sum(axis=1) >= 3)[:, None]
    if rejected.any():
        boxes = _median_boxes(every, index, np.where(rejected, 0.0, weight))
    return boxes, rejected


def _median_boxes(every: Boxes, index: Int64, weight: Float64) -> Boxes:
    yaw = axis_medians(every.yaw_rad[index], weight)
    cos, sin = np.cos(yaw)[:, None], np.sin(yaw)[:, None]
    x, y, z = np.moveaxis(every.center_xyz_m[index], 2, 0)
    turned = np.stack([x * cos + y * sin, y * cos - x * sin, z], axis=2)
    along, across, up = weighted_median(np.moveaxis(turned, 1, 0), _wide(weight)).T
    cos, sin = cos[:, 0], sin[:, 0]
    center = np.column_stack([along * cos - across * sin, along * sin + across * cos, up])
    size = np.log(every.size_lwh_m[index])
    size = np.exp(weighted_median(np.moveaxis(size, 1, 0), _wide(weight)))
    names, code = np.unique(every.category, return_inverse=True)
    votes = np.zeros((len(index), len(names)))
    np.add.at(votes, (np.arange(len(index))[:, None], code[index]), weight)
    far = np.linalg.norm(every.center_xyz_m[index] - center[:, None], axis=2)
    nearest = np.where(weight > 0, far, np.inf).argmin(axis=1)
    other = every.take(index[np.arange(len(index)), nearest])
    return Boxes.make(
        center, size, yaw, names[votes.argmax(axis=1)], other.velocity_xy_mps, other.track_id,
        None, other.num_points,
    )  # fmt: skip


def _wide(weight: Float64) -> Float64:
    """Return (A, O, 3) weights of (O, A) ones, for the three numbers of a place or size."""
    return np.repeat(weight.T[:, :, None], 3, axis=2)


def weighted_median(values: Float, weights: Float) -> Float64:
    """Return the weighted median of (A, ...) values along the first axis.

    Where exactly half of the weight lies on either side, the middle between the two values, so
    that two people of equal weight meet half-way. Values without weight do not count.

    Args:
        values: (A, ...).
        weights: (A,), or one for each value.
    """
    values = np.asarray(values, dtype=np.float64)
    flat = values.reshape(len(values), -1)
    weight = np.asarray(weights, dtype=np.float64).reshape(len(values), -1)
    weight = np.broadcast_to(weight, flat.shape)
    order = np.argsort(np.where(weight > 0, flat, np.inf), axis=0, kind="stable")
    ordered = np.take_along_axis(flat, order, axis=0)
    below = np.cumsum(np.take_along_axis(weight, order, axis=0), axis=0)
    half, tie = below[-1] / 2, 1e-12 * below[-1]
    last = np.maximum((weight > 0).sum(axis=0) - 1, 0)
    low = np.minimum((below < half - tie).sum(axis=0), last)
    high = np.minimum((below <= half + tie).sum(axis=0), last)
    column = np.arange(flat.shape[1])
    return ((ordered[low, column] + ordered[high, column]) / 2).reshape(values.shape[1:])


def axis_medians(yaw_rad: Float, weights: Float) -> Float64:
    """Return (O,) weighted circular medians of (O, A) axes, pointed the way most weight votes.

    The median of axes is the one among them with the least weighted sum of angles (mod pi) to the
    others; ties meet in their middle. On a tied vote about the direction the first box's counts.
    """
    yaw, weight = np.asarray(yaw_rad, dtype=np.float64), np.asarray(weights, dtype=np.float64)
    there, total = weight > 0, weight.sum(axis=1, keepdims=True)
    apart = np.abs(_axis_difference(yaw[:, None, :], yaw[:, :, None]))
    cost = np.where(there, (apart * weight[:, None, :]).sum(axis=2), np.inf)
    best = cost <= cost.min(axis=1, keepdims=True) + 1e-9 * np.maximum(1.0, total)
    base = np.take_along_axis(yaw, best.argmax(axis=1)[:, None], axis=1)
    spread = np.where(best, _axis_difference(yaw, base), 0.0).sum(axis=1) / best.sum(axis=1)
    middle = base[:, 0] + spread
    forward = np.cos(yaw - middle[:, None]) >= 0
    votes = np.where(forward, weight, -weight).sum(axis=1)
    tied = np.abs(votes) <= 1e-9 * total[:, 0]
    first = np.take_along_axis(forward, there.argmax(axis=1)[:, None], axis=1)[:, 0]
    ahead = np.where(tied, first, votes > 0)
    return wrap_angle(np.where(ahead, middle, middle + np.pi))


def _axis_difference(one: Float64, other: Float64) -> Float64:
    """Return the difference of axes in [-pi/2, pi/2)."""
    return np.mod(one - other + np.pi / 2, np.pi) - np.pi / 2
