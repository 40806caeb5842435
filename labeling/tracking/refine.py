"""What a whole track says about its object: size, category, heading, and whether it ever moved."""

from __future__ import annotations

from typing import Final

import numpy as np

from labeling.tracking.filters import smooth
from labeling.tracking.merge import Slots
from labeling.tracking.motion import column
from labeling.tracking.observations import Observations
from scene.types import Float64, Int64, Mask, Text

_STILL_M: Final = 0.6  # what moved further than this did move, however few detections say so
_HEADING_SPEED_MPS: Final = 1.0  # from here on the direction of motion tells the heading
_OUTLIERS: Final = 3.0  # median distances
_YAW_STD_RAD: Final = 0.12
_WRONG_YAW_RAD: Final = np.pi / 4  # further from the rest than this says nothing


def weighted_median(value: Float64, weight: Float64, start: Int64) -> Float64:
    """Return the (K,) weighted median of each run of values.

    Args:
        value: (N,) of all runs, one after another.
        weight: (N,) positive.
        start: (K + 1,) where each run begins; none is empty.
    """
    run = np.repeat(np.arange(len(start) - 1), np.diff(start))
    order = np.lexsort((value, run))
    total = np.concatenate([[0.0], np.cumsum(weight[order])])
    half = (total[start[:-1]] + total[start[1:]]) / 2
    middle = np.searchsorted(total[1:], half, side="left")
    return value[order[np.minimum(middle, start[1:] - 1)]]


def track_sizes(seen: Observations, slots: Slots) -> Float64:
    """Return (K, 3) length, width and height: the median of the detections, weighted by score."""
    index, start = _detections(slots)
    size, score = seen.boxes.size_lwh_m[index], seen.boxes.score[index] + 1e-6
    return np.stack([weighted_median(size[:, axis], score, start) for axis in range(3)], axis=1)


def track_categories(seen: Observations, slots: Slots) -> Text:
    """Return (K,) categories: each detection votes with its score."""
    index, start = _detections(slots)
    names, code = np.unique(seen.boxes.category, return_inverse=True)
    track = np.repeat(np.arange(len(start) - 1), np.diff(start))
    votes = np.zeros((len(start) - 1, len(names)))
    np.add.at(votes, (track, code[index]), seen.boxes.score[index] + 1e-6)
    return names[votes.argmax(axis=1)]


def track_scores(seen: Observations, slots: Slots) -> tuple[Float64, Float64]:
    """Return (K,) mean score of the detections of each track and (K,) their sum."""
    index, start = _detections(slots)
    total = np.add.reduceat(seen.boxes.score[index], start[:-1]) if len(index) else np.zeros(0)
    return total / np.diff(start), total


def standing(seen: Observations, slots: Slots) -> Mask:
    """Return (K,) which tracks never moved.

    The first and the last third of the detections lie in one place, as well as their number can
    tell, and all of them scatter no wider than detections do.
    """
    index, start = _detections(slots)
    count = np.diff(start)
    track = np.repeat(np.arange(len(count)), count)
    xy, rank = seen.boxes.center_xyz_m[index, :2], np.arange(len(index)) - start[track]
    third = np.maximum(count // 3, 1)
    begin = _means(xy, track, rank < third[track], len(count))
    end = _means(xy, track, rank >= (count - third)[track], len(count))
    middle = _means(xy, track, rank >= 0, len(count))
    away = ((xy - middle[track]) ** 2).sum(axis=1)
    scatter = np.sqrt(np.bincount(track, away, len(count)) / count)
    kind = seen.kind[index[start[:-1]]]
    std = column(kind, "position_std_m")
    bound = np.minimum(3.0 * std * np.sqrt(2.0 / third), _STILL_M)
    still = (np.linalg.norm(end - begin, axis=1) < bound) & (scatter < 2.0 * std)
    return still | (column(kind, "max_speed_mps") < 1.0)


def _means(xy: Float64, track: Int64, chosen: Mask, count: int) -> Float64:
    """Return (K, 2) means of the chosen rows of each track."""
    number = np.bincount(track[chosen], minlength=count)
    sums = [np.bincount(track[chosen], xy[chosen, axis], count) for axis in range(2)]
    return np.stack(sums, axis=1) / number[:, None]


def standing_centers(seen: Observations, slots: Slots) -> Float64:
    """Return (K, 3) centres of objects that stand, from all detections without outliers.

    The mean over the detections within three median distances of the median, weighted by score.
    """
    index, start = _detections(slots)
    track = np.repeat(np.arange(len(start) - 1), np.diff(start))
    center, weight = seen.boxes.center_xyz_m[index], seen.boxes.score[index] + 1e-6
    middle = np.stack([weighted_median(center[:, i], weight, start) for i in range(3)], axis=1)
    away = np.linalg.norm(center - middle[track], axis=1)
    usual = weighted_median(away, weight, start)
    weight = weight * (away <= _OUTLIERS * usual[track] + 1e-9)
    total = np.add.reduceat(weight[:, None] * center, start[:-1], axis=0)
    return total / np.add.reduceat(weight, start[:-1])[:, None]


def headings(seen: Observations, slots: Slots, velocity: Float64, still: Mask) -> Float64:
    """Return (M,) smoothed headings, map frame.

    Detectors take the front of an object for its rear. So each heading is taken modulo half a
    turn, near to the direction of motion (near to each other for what stands), and the whole track
    then votes which end is the front.

    Args:
        seen: detections.
        slots: where in their tracks they are.
        velocity: (M, 3) smoothed.
        still: (K,) which tracks never moved.
    """
    yaw, score = seen.boxes.yaw_rad[slots.seen], seen.boxes.score[slots.seen] * slots.observed
    reference = _axis(yaw, score, slots)[slots.track]
    fast = (np.hypot(velocity[:, 0], velocity[:, 1]) > _HEADING_SPEED_MPS) & ~still[slots.track]
    reference = _nearest_known(np.arctan2(velocity[:, 1], velocity[:, 0]), fast, reference, slots)
    off = np.mod(yaw - reference + np.pi / 2, np.pi) - np.pi / 2
    votes = np.zeros(len(slots.start) - 1)
    np.add.at(votes, slots.track, score * np.cos(yaw - reference))
    reference = reference + np.where(votes < 0, np.pi, 0.0)[slots.track]
    wrong = (np.abs(off) > _WRONG_YAW_RAD) & fast
    smoothed = _smooth_yaw(seen, slots, _unwrapped(reference + off, slots), wrong)
    return np.where(still[slots.track], reference, smoothed)


def _axis(yaw: Float64, score: Float64, slots: Slots) -> Float64:
    """Return (K,) mean direction of a track's detections modulo half a turn."""
    count = len(slots.start) - 1
    sums = np.zeros((count, 2))
    np.add.at(sums, slots.track, score[:, None] * np.stack([np.cos(2 * yaw), np.sin(2 * yaw)], 1))
    return np.arctan2(sums[:, 1], sums[:, 0]) / 2


def _nearest_known(value: Float64, known: Mask, otherwise: Float64, slots: Slots) -> Float64:
    """Return the value of the slot known last in the track, else of the first one known."""
    place = np.arange(len(value))
    before = np.maximum.accumulate(np.where(known, place, -1))
    after = np.minimum.accumulate(np.where(known, place, len(value))[::-1])[::-1]
    has_before = before >= slots.start[slots.track]
    has_after = after < slots.start[slots.track + 1]
    chosen = np.where(has_before, before, np.where(has_after, after, 0))
    return np.where(has_before | has_after, value[chosen], otherwise)


def _unwrapped(yaw: Float64, slots: Slots) -> Float64:
    """Return headings that never jump by a turn within a track."""
    step = np.diff(yaw, prepend=yaw[:1])
    step[slots.start[:-1]] = 0.0
    path = np.cumsum(np.mod(step + np.pi, 2 * np.pi) - np.pi)
    first = slots.start[:-1]
    return path + (yaw[first] - path[first])[slots.track]


def _smooth_yaw(seen: Observations, slots: Slots, yaw: Float64, wrong: Mask) -> Float64:
    kind = seen.kind[slots.seen[slots.start[:-1]]]
    usable = slots.observed & ~wrong
    usable[slots.start[:-1]] = True
    variance = np.where(usable, np.where(wrong, 1.0, _YAW_STD_RAD**2), np.inf)
    return smooth(
        yaw[:, None],
        variance[:, None],
        seen.seconds[slots.frame],
        slots.start,
        column(kind, "turn_rps2")[:, None] ** 2,
        np.full((len(kind), 1), 0.3),
    )[0][:, 0]


def _detections(slots: Slots) -> tuple[Int64, Int64]:
    """Return (N,) the detections of all tracks, one after another, and (K + 1,) their starts."""
    total = np.concatenate([[0], np.cumsum(slots.observed)])
    return slots.seen[slots.observed], total[slots.start]
