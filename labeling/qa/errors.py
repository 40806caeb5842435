"""Which labels of a recording are probably wrong, worst first, each with the reason.

Looks at labels, their tracks and the points; a detector's boxes help if there are any. Nothing is
said about frames one by one: what a track does before and after tells more than any single box.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Final

import numpy as np

from labeling.qa.against_detector import detector_features
from labeling.qa.features import Feature, all_features
from labeling.qa.labels import LabelSet
from labeling.qa.missing import (
    missing_by_clusters,
    missing_by_detector,
    missing_in_tracks,
    points_at,
    track_places,
)
from labeling.qa.point_stats import PointStats
from labeling.qa.priors import SizePriors
from labeling.qa.skew import skewed_labels
from labeling.qa.suspicion import Suspicion, rank
from labeling.qa.swaps import find_swaps
from scene.box import Boxes
from scene.sweep import Sweep
from scene.types import Float64, Int64, Mask

_LEAST: Final = 1.0  # no more than the usual is no reason to look
_FURTHER: Final = 1 / 3  # weight of the second figure, the third a ninth, and so on
_NEXT_TO: Final = 2  # frames between suspicious boxes of a track that are one thing to look at


def find_errors(
    labels: LabelSet,
    sweeps: Iterable[Sweep] = (),
    detections: Mapping[int, Boxes] | None = None,
    clusters: Mapping[int, Boxes] | None = None,
    priors: SizePriors | None = None,
) -> list[Suspicion]:
    """Return what is suspicious about the labels of one recording, worst first.

    Args:
        labels: all labels of the recording.
        sweeps: its sweeps; each is read once. Without them nothing is said about points.
        detections: a detector's boxes by `timestamp_ns`, ego frame.
        clusters: dense clusters of points by `timestamp_ns`, ego frame, scored by their look.
        priors: usual sizes; learned from these labels if not given.
    """
    if not len(labels):
        return rank(_unlabelled(labels, detections, clusters, []))
    boxes = labels.boxes
    priors = priors or SizePriors.learn(boxes.size_lwh_m, boxes.category, boxes.track_id)
    places = track_places(labels)
    points, num_there = PointStats.unknown(len(labels)), np.full(len(places.frame), -1)
    for sweep in sweeps:
        points.take_in(labels, sweep)
        mine, count = points_at(places, labels, sweep)
        num_there[mine] = count
    features = all_features(labels, points, priors)
    if detections:
        features += detector_features(labels, detections)
    swaps = find_swaps(labels)
    found = [*swaps, *_box_suspicions(labels, features, _near_swaps(labels, swaps))]
    missing = missing_in_tracks(labels, points, places, num_there)
    found += skewed_labels(labels, points)
    return rank([*found, *missing, *_unlabelled(labels, detections, clusters, missing)])


def _unlabelled(
    labels: LabelSet,
    detections: Mapping[int, Boxes] | None,
    clusters: Mapping[int, Boxes] | None,
    known: list[Suspicion],
) -> list[Suspicion]:
    """Return what a detector or the bare points show and no label names."""
    found = missing_by_detector(labels, detections, known) if detections else []
    if clusters:
        found = found + missing_by_clusters(labels, clusters, [*known, *found])
    return found


def _near_swaps(labels: LabelSet, swaps: Sequence[Suspicion]) -> Mask:
    """Return (N,) which boxes are near a swap of their track: its jump is explained by it."""
    explained = np.zeros(len(labels), dtype=bool)
    frame_of = {int(time): i for i, time in enumerate(labels.frame_times_ns)}
    key = {
        (int(labels.frame[i]), int(labels.row[i])): str(labels.boxes.track_id[i])
        for i in range(len(labels))
    }
    for swap in swaps:
        for time, row in swap.members:
            track = key[frame_of[time], row]
            mine = labels.boxes.track_id == track
            explained |= mine & (np.abs(labels.frame - frame_of[time]) <= _NEXT_TO)
    return explained


def _box_suspicions(
    labels: LabelSet, features: Sequence[Feature], explained: Mask
) -> list[Suspicion]:
    """Join the figures of every box to a score, and neighbouring boxes of a track to one thing."""
    surprise = np.stack([feature.surprise for feature in features])
    moves = np.array([feature.kind in {"place", "heading"} for feature in features])
    surprise[np.ix_(moves, explained)] = 0.0
    ordered = -np.sort(-surprise, axis=0)
    weight = _FURTHER ** np.arange(len(features))
    score = weight @ np.maximum(ordered - _LEAST, 0.0) + np.minimum(ordered[0], _LEAST)
    score[ordered[0] <= _LEAST] = 0.0
    groups = _groups(labels, score)
    return [_suspicion(labels, features, surprise, score, group) for group in groups]


def _groups(labels: LabelSet, score: Float64) -> list[Int64]:
    """Return runs of suspicious boxes of one track, at most two frames apart."""
    index = np.flatnonzero(score > 0)
    if not len(index):
        return []
    track, frame = labels.boxes.track_id[index], labels.frame[index]
    same = (track[1:] == track[:-1]) & (np.diff(frame) <= _NEXT_TO)
    return np.split(index, np.flatnonzero(~same) + 1)


def _suspicion(
    labels: LabelSet,
    features: Sequence[Feature],
    surprise: Float64,
    score: Float64,
    group: Int64,
) -> Suspicion:
    worst = int(group[score[group].argmax()])
    by = np.argsort(-surprise[:, worst], kind="stable")
    told = [i for i in by.tolist() if surprise[i, worst] > _LEAST][:3]
    reasons = [features[i].text.format(value=features[i].value[worst]) for i in told]
    members = tuple(
        (int(labels.frame_times_ns[labels.frame[i]]), int(labels.row[i])) for i in group
    )
    return Suspicion(
        features[told[0]].kind,
        float(score[worst]),
        int(labels.frame_times_ns[labels.frame[worst]]),
        labels.boxes.center_xyz_m[worst],
        str(labels.boxes.category[worst]),
        str(labels.boxes.track_id[worst]),
        "; ".join(reasons),
        members,
    )
