"""Figures of every label that are large when it is wrong. All vectorised over the boxes."""

from __future__ import annotations

from typing import Final, NamedTuple

import numpy as np

from labeling.qa.labels import LabelSet
from labeling.qa.point_stats import PointStats
from labeling.qa.priors import SizePriors, surprise
from scene.pose import wrap_angle
from scene.taxonomy import CATEGORY_NAMES
from scene.types import Float64, Int64, Text

_MOVING_MPS: Final = 1.0
_HEADED_MPS: Final = 3.0  # slower, the direction of motion is noise
_MAX_GAP_S: Final = 1.0
_FEW_POINTS: Final = 5
# A track has one class: a change is as surprising as this many times the usual of other figures.
_CLASS_CHANGE: Final = 6.0


class Feature(NamedTuple):
    """One figure of all labels.

    Attributes:
        kind: what would be wrong: place, heading, class, size.
        surprise: (N,) how many times the usual; 0 where it cannot be told.
        value: (N,) in its unit, for the reason.
        text: the reason with a `{value}` in it.
    """

    kind: str
    surprise: Float64
    value: Float64
    text: str


def all_features(labels: LabelSet, points: PointStats, priors: SizePriors) -> list[Feature]:
    """Return every figure of labels, their tracks and their points."""
    # One wrong box makes its track fast for a moment: what counts is how fast it is as a rule.
    _, track = np.unique(labels.boxes.track_id, return_inverse=True)
    usual = _track_median(np.nan_to_num(labels.speed_mps())[:, None], track)[:, 0]
    moving = usual > _MOVING_MPS
    group = np.char.add(labels.boxes.category, np.where(moving, "|moving", "|still"))
    return [
        *_motion(labels, group),
        *_heading(labels, group),
        *_class_and_size(labels, priors),
        *_points(labels, points),
    ]


def _motion(labels: LabelSet, group: Text) -> list[Feature]:
    jump, step = _jump_and_step(labels)
    return [
        Feature("place", surprise(jump, group, 0.10), jump, "{value:.2f} m off its track"),
        Feature("place", surprise(step, group, 0.12), step, "its track steps by {value:.2f} m"),
    ]


def _jump_and_step(labels: LabelSet) -> tuple[Float64, Float64]:
    """Return (N,) distance from where the track leads, and (N,) size of a lasting step, meters.

    A jump counts only if no pair of neighbours leads to the box: so a good box beside a bad one
    does not jump. A step is where boxes before and boxes after do not lead to each other.
    """
    pairs = ((-1, 1), (-2, -1), (1, 2), (-2, 2))
    far = np.stack([_miss(labels, labels.neighbour(i), labels.neighbour(j)) for i, j in pairs])
    known = np.isfinite(far).any(axis=0)
    jump = np.where(known, np.nanmin(np.where(known, far, 0.0), axis=0), np.nan)
    before = labels.neighbour(-1)
    backwards = np.where(before >= 0, far[2][before], np.nan)
    return jump, np.fmin(far[1], backwards)


def _miss(labels: LabelSet, one: Int64, two: Int64) -> Float64:
    """Return (N,) distance to the place that two boxes of the track lead to, NaN without them.

    Outside the two, the error of the place grows with the way; it is taken back by that.
    """
    time, center = labels.time_s, labels.center_map_m
    known = (one >= 0) & (two >= 0)
    i, j = np.where(known, one, 0), np.where(known, two, 0)
    span = np.where(time[j] > time[i], time[j] - time[i], np.nan)
    ratio = (time - time[i]) / span
    near = known & (np.maximum(np.abs(time - time[i]), np.abs(time - time[j])) <= _MAX_GAP_S)
    ahead = center[i] + (center[j] - center[i]) * ratio[:, None]
    spread = np.sqrt(1.0 + ratio**2 + (1 - ratio) ** 2)
    miss = np.linalg.norm(center - ahead, axis=1) * np.sqrt(1.5) / spread
    return np.where(near, miss, np.nan)


def _heading(labels: LabelSet, group: Text) -> list[Feature]:
    yaw = labels.yaw_map_rad
    before, after = labels.neighbour(-1), labels.neighbour(1)
    turns = np.stack([_turn(yaw, before), _turn(yaw, after)])
    alone = np.isnan(turns).all(axis=0)
    single = np.where(alone, np.nan, np.nanmin(np.where(alone, 0.0, turns), axis=0))
    velocity = labels.velocity_map_mps()
    fast = np.hypot(*velocity.T) >= _HEADED_MPS
    course = np.arctan2(velocity[:, 1], velocity[:, 0])
    drift = np.where(fast, np.abs(wrap_angle(yaw - course)), np.nan)
    degrees = (np.degrees(single), np.degrees(turns[0]), np.degrees(drift))
    return [
        Feature("heading", surprise(degrees[0], group, 4.0), degrees[0],
                "turned by {value:.0f} deg against its track"),
        Feature("heading", surprise(degrees[1], group, 5.0), degrees[1],
                "its track turns by {value:.0f} deg at once"),
        Feature("heading", surprise(degrees[2], labels.boxes.category, 6.0), degrees[2],
                "points {value:.0f} deg away from its motion"),
    ]  # fmt: skip


def _turn(yaw: Float64, other: np.ndarray) -> Float64:
    return np.where(other >= 0, np.abs(wrap_angle(yaw - yaw[np.maximum(other, 0)])), np.nan)


def _class_and_size(labels: LabelSet, priors: SizePriors) -> list[Feature]:
    boxes = labels.boxes
    track, index = np.unique(boxes.track_id, return_inverse=True)
    distance = priors.distance(boxes.size_lwh_m)
    code = {name: i for i, name in enumerate(CATEGORY_NAMES)}
    own = np.array([code[str(name)] for name in boxes.category], dtype=np.int64)
    mine = distance[np.arange(len(boxes)), own]
    best = distance.min(axis=1)
    better = np.sqrt(np.maximum(mine**2 - best**2, 0.0))
    votes = np.zeros((len(track), len(CATEGORY_NAMES)))
    np.add.at(votes, (index, own), 1.0)
    share = votes[index, own] / votes[index].sum(axis=1)
    changed = np.where(share < 0.5, 1.0 - share, 0.0)
    deviation = np.abs(np.log(boxes.size_lwh_m) - _track_median(np.log(boxes.size_lwh_m), index))
    growth = np.where(np.bincount(index)[index] >= 3, deviation.max(axis=1), np.nan)
    return [
        Feature("class", _CLASS_CHANGE * changed, 100 * changed,
                "{value:.0f} % of its track have another class"),
        Feature("class", surprise(better, boxes.category, 2.5), better,
                "its size fits another class better by {value:.1f} deviations"),
        Feature("size", surprise(mine, boxes.category, 3.0), mine,
                "its size is {value:.1f} deviations from its class"),
        Feature("size", surprise(growth, boxes.category, 0.08), 100 * np.expm1(growth),
                "its size differs by {value:.0f} % from its track"),
    ]  # fmt: skip


def _track_median(values: Float64, index: np.ndarray) -> Float64:
    """Return (N, D) median of each value over its track; boxes are sorted by track."""
    result = np.empty_like(values)
    starts = np.flatnonzero(np.diff(index, prepend=-1))
    for start, end in zip(starts, np.append(starts[1:], len(index)), strict=True):
        result[start:end] = np.median(values[start:end], axis=0)
    return result


def _points(labels: LabelSet, points: PointStats) -> list[Feature]:
    """Compare points in and around a box with those of the same track in other frames."""
    boxes = labels.boxes
    _, index = np.unique(boxes.track_id, return_inverse=True)
    seen = points.num_inside >= 0
    expected = _expected_points(labels, points, index)
    few = np.where(seen & (expected >= _FEW_POINTS), _deficit(points, expected), np.nan)
    beyond = points.num_beyond.max(axis=1, initial=0)
    share = beyond / (points.num_inside + beyond + 3.0)
    usual = _track_median(share[:, None], index)[:, 0]
    long = np.bincount(index)[index] >= 3
    outside = np.where(seen & (beyond >= _FEW_POINTS), share - np.where(long, usual, 0.0), np.nan)
    outside = np.maximum(outside, 0.0)
    text = "{value:.0f} % of its points lie just outside one side"
    fewer = "{value:.1f} times fewer points than its track leads to expect"
    return [
        Feature("place", surprise(few, boxes.category, 1.0), np.exp(np.nan_to_num(few)), fewer),
        Feature("place", surprise(outside, boxes.category, 0.15), 100 * outside, text),
    ]


def _expected_points(labels: LabelSet, points: PointStats, index: np.ndarray) -> Float64:
    """Return (N,) points that the track's other boxes lead to expect: they thin out with range²."""
    range_m = np.maximum(labels.boxes.range_m(), 2.0)
    flux = np.where(points.num_inside >= 0, points.num_inside, 0) * range_m**2
    return _track_median(flux[:, None], index)[:, 0] / range_m**2


def _deficit(points: PointStats, expected: Float64) -> Float64:
    """Return (N,) log of expected over found points, at least 0."""
    return np.maximum(np.log((expected + 2.0) / (points.num_inside + 2.0)), 0.0)
