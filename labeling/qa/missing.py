"""Objects that should have a box and have none: where tracks pause, end, or were never begun."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, NamedTuple

import numpy as np

from labeling.qa.labels import LabelSet, to_map
from labeling.qa.point_stats import PointStats, stats_of_boxes
from labeling.qa.suspicion import Suspicion
from scene.box import Boxes
from scene.pose import wrap_angle
from scene.sweep import Sweep
from scene.types import Float64, Int64, Mask

_MAX_GAP: Final = 5  # frames of a pause in a track that its motion bridges
# Scores beside those of other figures: a pause with points is as sure as anything; a track may
# well begin or end for a reason.
_GAP: Final = 6.0
_END: Final = 1.6
_UNSEEN: Final = 0.3  # share of the score of a place where no point lies
_NEAR_M: Final = 2.5
_DETECTED: Final = 5.0
_CLUSTERED: Final = 1.5  # poles and bushes cluster too
_LEAST_SCORE: Final = 0.3


class Places(NamedTuple):
    """Where boxes may be missing.

    Attributes:
        frame: (K,) index of the frame.
        boxes: (K,) as they would be there, ego frame; `track_id` of the track that leads there.
        source: (K,) index of the label that was moved there.
        is_gap: (K,) whether the track goes on afterwards.
    """

    frame: Int64
    boxes: Boxes
    source: Int64
    is_gap: Mask


def track_places(labels: LabelSet) -> Places:
    """Return where tracks pause, and one frame before their first and after their last box."""
    frames = [_gaps(labels), _ends(labels, 1), _ends(labels, -1)]
    frame, source, center, yaw, is_gap = (np.concatenate(c) for c in zip(*frames, strict=True))
    boxes = labels.boxes.take(source)
    ego = np.zeros_like(center)
    turn = np.zeros(len(frame))
    for number in np.unique(frame).tolist():
        mine = frame == number
        ego[mine] = labels.to_ego(number, center[mine])
        turn[mine] = labels.ego_yaw_rad(number)
    moved = Boxes.make(
        ego, boxes.size_lwh_m, wrap_angle(yaw - turn), boxes.category, None, boxes.track_id
    )
    return Places(frame, moved, source, is_gap.astype(bool))


def _gaps(labels: LabelSet) -> tuple[np.ndarray, ...]:
    """Return frame, source, map centre and heading of every frame that a track skips."""
    before = labels.neighbour(-1)
    skipped = np.where(before >= 0, labels.frame - labels.frame[np.maximum(before, 0)] - 1, 0)
    later = np.flatnonzero((skipped > 0) & (skipped <= _MAX_GAP))
    later = np.repeat(later, skipped[later])
    first = before[later]
    number = np.arange(len(later)) - np.searchsorted(later, later) + 1
    frame = labels.frame[first] + number
    times = labels.frame_times_ns
    span = (times[labels.frame[later]] - times[labels.frame[first]]).astype(np.float64)
    ratio = (times[frame] - times[labels.frame[first]]) / np.where(span > 0, span, 1.0)
    center = labels.center_map_m
    place = center[first] + (center[later] - center[first]) * ratio[:, None]
    turn = wrap_angle(labels.yaw_map_rad[later] - labels.yaw_map_rad[first])
    return frame, first, place, labels.yaw_map_rad[first] + turn * ratio, np.ones(len(frame))


def _ends(labels: LabelSet, step: int) -> tuple[np.ndarray, ...]:
    """Return the same, one frame beyond the ends of tracks of two boxes or more."""
    last, other = labels.neighbour(step), labels.neighbour(-step)
    frame = labels.frame + step
    inside = (frame >= 0) & (frame < len(labels.frame_times_ns))
    source = np.flatnonzero((last < 0) & (other >= 0) & inside)
    inner = other[source]
    times = labels.frame_times_ns / 1e9
    span = times[labels.frame[source]] - times[labels.frame[inner]]
    wait = times[frame[source]] - times[labels.frame[source]]
    center = labels.center_map_m
    velocity = (center[source] - center[inner]) / np.where(span != 0, span, np.inf)[:, None]
    place = center[source] + velocity * wait[:, None]
    return frame[source], source, place, labels.yaw_map_rad[source], np.zeros(len(source))


def points_at(places: Places, labels: LabelSet, sweep: Sweep) -> tuple[Int64, Int64]:
    """Return which places lie in the frame of a sweep, and how many points are in each of them."""
    at = labels.frame_times_ns[places.frame] == sweep.timestamp_ns
    mine = np.flatnonzero(at).astype(np.int64)
    return mine, stats_of_boxes(sweep, places.boxes.take(mine)).num_inside


def missing_in_tracks(
    labels: LabelSet, points: PointStats, places: Places, num_points: Int64
) -> list[Suspicion]:
    """Return boxes that are missing where tracks lead.

    Args:
        labels: all labels.
        points: of the labels.
        places: from `track_places`.
        num_points: (K,) points found there, -1 where nobody looked.
    """
    taken = _is_taken(labels, places)
    range_m, category = labels.boxes.range_m(), labels.boxes.category
    reach_m = {name: np.quantile(range_m[category == name], 0.9) for name in np.unique(category)}
    place_m = places.boxes.range_m()
    found: dict[tuple[str, int], list[int]] = {}
    score = np.zeros(len(places.frame))
    for i in np.flatnonzero(~taken).tolist():
        source = places.source[i]
        usual = points.num_inside[source]
        share = 1.0 if usual < 0 else min(1.0, (num_points[i] + 0.5) / (0.5 * usual + 0.5))
        if num_points[i] == 0:
            share = min(share, _UNSEEN)
        inside = place_m[i] < reach_m[category[source]]
        score[i] = share * (_GAP if places.is_gap[i] else _END * inside)
        if score[i] > 0:
            # All frames of one pause are one thing to look at.
            pause = int(source) if places.is_gap[i] else -1 - i
            found.setdefault((str(places.boxes.track_id[i]), pause), []).append(i)
    return [_suspicion(labels, places, score, group) for group in found.values()]


def _is_taken(labels: LabelSet, places: Places) -> Mask:
    """Return (K,) whether another label stands where a box would be missing: its id changed."""
    taken = np.zeros(len(places.frame), dtype=bool)
    for number in np.unique(places.frame).tolist():
        mine = np.flatnonzero(places.frame == number)
        there = labels.boxes.center_xyz_m[labels.frame == number, :2]
        if len(there):
            far = np.linalg.norm(
                places.boxes.center_xyz_m[mine, None, :2] - there[None], axis=2
            ).min(axis=1)
            half = places.boxes.size_lwh_m[mine, 1] / 2
            taken[mine] = far < np.maximum(half, 0.4)
    return taken


def _suspicion(labels: LabelSet, places: Places, score: Float64, group: list[int]) -> Suspicion:
    best = max(group, key=lambda i: (score[i], -i))
    source = places.source[best]
    times = tuple(int(labels.frame_times_ns[places.frame[i]]) for i in group)
    gap = bool(places.is_gap[best])
    text = f"its track pauses for {len(group)} frames" if gap else "its track stops short"
    return Suspicion(
        "missing",
        float(score[best]),
        int(labels.frame_times_ns[places.frame[best]]),
        places.boxes.center_xyz_m[best],
        str(labels.boxes.category[source]),
        str(labels.boxes.track_id[source]),
        text,
        absent_ns=times,
    )


def missing_by_detector(
    labels: LabelSet, detections: Mapping[int, Boxes], covered: list[Suspicion]
) -> list[Suspicion]:
    """Return confident detections without a label that last over several frames.

    Args:
        labels: all labels.
        detections: by `timestamp_ns`, ego frame, with scores.
        covered: places that are suspected already; they are not named twice.
    """
    text = "detected in {frames} frames with score {score:.2f}, no label"
    return _unlabelled(labels, detections, covered, _DETECTED, text)


def missing_by_clusters(
    labels: LabelSet, clusters: Mapping[int, Boxes], covered: list[Suspicion]
) -> list[Suspicion]:
    """Return dense clusters of points on the ground without a label that last over several frames.

    Args:
        labels: all labels.
        clusters: by `timestamp_ns`, ego frame; the score says how much it looks like an object.
        covered: places that are suspected already; they are not named twice.
    """
    text = "a cluster of points in {frames} frames, like an object by {score:.2f}, no label"
    return _unlabelled(labels, clusters, covered, _CLUSTERED, text)


def _unlabelled(
    labels: LabelSet,
    detections: Mapping[int, Boxes],
    covered: list[Suspicion],
    weight: float,
    text: str,
) -> list[Suspicion]:
    """Return what lasts over several frames and has no label, one suspicion an object."""
    parts = [detections.get(int(t), Boxes.empty()) for t in labels.frame_times_ns]
    boxes = Boxes.concatenate(parts)
    frame = np.repeat(np.arange(len(parts), dtype=np.int64), [len(p) for p in parts])
    kept = boxes.score >= _LEAST_SCORE
    boxes, frame = boxes.take(kept), frame[kept]
    center, _ = to_map(labels.poses, frame, boxes)
    free = ~_near(center, frame, labels.center_map_m, labels.frame)
    lasting = np.zeros(len(boxes))
    for step in (-1, 1):
        again = _near(center, frame + step, center, frame)
        labelled = _near(center, frame + step, labels.center_map_m, labels.frame)
        lasting += 0.5 * (again | labelled)
    score = np.where(free, weight * boxes.score * lasting, 0.0)
    chains = _chains(labels, boxes, frame, center, score, covered)
    return [_chain(labels, boxes, frame, score, chain, text) for chain in chains]


def _near(center: Float64, frame: Int64, others: Float64, other_frame: Int64) -> Mask:
    """Return (K,) whether another centre lies near in the frame asked for."""
    found = np.zeros(len(center), dtype=bool)
    for number in np.unique(frame).tolist():
        mine, theirs = np.flatnonzero(frame == number), others[other_frame == number, :2]
        if len(theirs):
            far = np.linalg.norm(center[mine, None, :2] - theirs[None], axis=2)
            found[mine] = far.min(axis=1) < _NEAR_M
    return found


def _chains(
    labels: LabelSet,
    boxes: Boxes,
    frame: Int64,
    center: Float64,
    score: Float64,
    covered: list[Suspicion],
) -> list[list[int]]:
    """Join detections of neighbouring frames to chains, one for each object."""
    known = {(time, _cell(s.center_ego_m)) for s in covered for time in s.absent_ns}
    chains: list[list[int]] = []
    for i in np.lexsort((-score, frame)).tolist():
        time = int(labels.frame_times_ns[frame[i]])
        if score[i] <= 0 or (time, _cell(boxes.center_xyz_m[i])) in known:
            continue
        for chain in chains:
            last = chain[-1]
            near = np.linalg.norm(center[i] - center[last]) < _NEAR_M
            if near and 0 < frame[i] - frame[last] <= 2:
                chain.append(i)
                break
        else:
            chains.append([i])
    return chains


def _cell(center_m: Float64) -> tuple[int, int]:
    """Return the square of 4 m that a place is nearest to."""
    return round(float(center_m[0]) / 4), round(float(center_m[1]) / 4)


def _chain(
    labels: LabelSet, boxes: Boxes, frame: Int64, score: Float64, chain: list[int], text: str
) -> Suspicion:
    best = max(chain, key=lambda i: (score[i], -i))
    return Suspicion(
        "missing",
        float(score[best]),
        int(labels.frame_times_ns[frame[best]]),
        boxes.center_xyz_m[best],
        str(boxes.category[best]),
        "",
        text.format(frames=len(chain), score=boxes.score[best]),
        absent_ns=tuple(int(labels.frame_times_ns[frame[i]]) for i in chain),
    )
