"""Labels beside what a detector says of the same frames."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import numpy as np

from labeling.qa.features import Feature
from labeling.qa.labels import LabelSet
from labeling.qa.matching import box_errors, match_boxes
from labeling.qa.priors import surprise
from scene.box import Boxes
from scene.types import Float64, Mask, Text

_TAIL: Final = float(-np.log(0.05))
_OTHER_CLASS: Final = 5.0
_LEAST_SCORE: Final = 0.1
_RANGE_BIN_M: Final = 15.0
_PRIOR: Final = 2.0  # boxes that are taken to be found half the time before any is counted


def detector_features(labels: LabelSet, detections: Mapping[int, Boxes]) -> list[Feature]:
    """Return figures of labels that differ from what a detector says, or that it does not see.

    Args:
        labels: all labels.
        detections: by `timestamp_ns`, ego frame, with scores; frames that are not there were not
            looked at.
    """
    far, turn, score, other = _matched(labels, detections)
    category = labels.boxes.category
    asked = np.isin(labels.frame_times_ns, list(detections))[labels.frame]
    absent = np.where(asked & np.isnan(far), _usually_found(labels, asked, ~np.isnan(far)), 0.0)
    unlikely = -np.log(np.maximum(1.0 - absent, 1e-3)) / _TAIL
    degrees = np.degrees(turn)
    changed = _other_class(labels, np.nan_to_num(score), other)
    return [
        Feature("place", surprise(far, category, 0.3), far, "a detection lies {value:.2f} m away"),
        Feature("heading", surprise(degrees, category, 8.0), degrees,
                "a detection is turned by {value:.0f} deg"),
        Feature("class", _OTHER_CLASS * changed, changed,
                "detections of its track have another class, score {value:.2f}"),
        Feature("ghost", unlikely, 100 * absent,
                "not detected, though {value:.0f} % of such objects are"),
    ]  # fmt: skip


def _matched(
    labels: LabelSet, detections: Mapping[int, Boxes]
) -> tuple[Float64, Float64, Float64, Mask]:
    """Return distance, turn of the axis, score, and whether the class differs; NaN if unmatched."""
    far, turn, score = (np.full(len(labels), np.nan) for _ in range(3))
    other = np.zeros(len(labels), dtype=bool)
    for number, time in enumerate(labels.frame_times_ns.tolist()):
        found = detections.get(time)
        if found is None:
            continue
        found = found.take(found.score >= _LEAST_SCORE)
        mine = np.flatnonzero(labels.frame == number)
        boxes = labels.boxes.take(mine)
        pairs = match_boxes(boxes, found, same_class=False)
        index = mine[pairs.first]
        theirs, ours = found.take(pairs.second), boxes.take(pairs.first)
        far[index] = pairs.distance_m
        turn[index] = np.abs(box_errors(ours, theirs).yaw_rad)
        score[index] = theirs.score
        other[index] = theirs.category != ours.category
    return far, turn, score, other


def _other_class(labels: LabelSet, score: Float64, other: Mask) -> Float64:
    """Return (N,) by how much of their score a track's detections have another class than it.

    A detector errs in single frames: only if it mostly disagrees with a track is that a reason.
    """
    _, track = np.unique(labels.boxes.track_id, return_inverse=True)
    against, total = np.bincount(track, score * other), np.bincount(track, score)
    share = against / np.maximum(total, 1e-9)
    mean = total / np.maximum(np.bincount(track, score > 0), 1)
    return np.where(other, (share * mean)[track], 0.0)


def _usually_found(labels: LabelSet, asked: Mask, found: Mask) -> Float64:
    """Return (N,) share of labels of the same class and range that the detector finds."""
    ring = (labels.boxes.range_m() // _RANGE_BIN_M).astype(int).astype(str)
    key: Text = np.char.add(np.char.add(labels.boxes.category, "|"), ring)
    _, index = np.unique(key, return_inverse=True)
    total = np.bincount(index, asked) + _PRIOR
    hits = np.bincount(index, asked & found) + _PRIOR / 2
    return (hits / total)[index]
