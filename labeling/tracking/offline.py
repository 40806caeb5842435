"""Tracks from detections when the whole recording is known.

Two passes of Kalman filters with the Hungarian assignment, one from each end; links on which they
agree; pieces joined over gaps ("once detected, never lost"); one size and category a track; centres
and headings smoothed with the future known; objects that stand placed by all their detections.

Sources: Wang et al., "Immortal tracker", arXiv 2111.13672; Fan et al., "Once detected, never
lost", ICCV 2023 (CTRL); Qi et al., "Offboard 3D object detection", CVPR 2021.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from labeling.tracking import refine
from labeling.tracking.associate import link
from labeling.tracking.merge import Slots, join_across_gaps, lay_out, number_tracks, smooth_centers
from labeling.tracking.observations import Observations, observe
from scene.box import Boxes
from scene.pose import SE3
from scene.types import Int64, Mask

_MISS: Final = 0.25  # what a frame without a detection takes from the evidence


@dataclass(frozen=True, slots=True)
class TrackedFrames:
    """Boxes of every frame after tracking.

    Attributes:
        boxes: a frame each, in its ego frame, with `track_id`, velocity over ground and the score
            of the track: the mean of its detections.
        interpolated: (N,) a frame each, whether nothing was detected there and the box was filled
            in from the frames around it.
        num_tracks: over all frames.
    """

    boxes: tuple[Boxes, ...]
    interpolated: tuple[Mask, ...]
    num_tracks: int


def track_offline(
    detections: Sequence[Boxes],
    timestamps_ns: Int64,
    map_SE3_ego: Sequence[SE3],
    *,
    min_score: float = 0.1,
    min_evidence: float = 1.5,
    fill_gaps: bool = True,
) -> TrackedFrames:
    """Find the objects behind the detections of a recording.

    Args:
        detections: boxes of each frame, in its ego frame; scores of NaN count as certain.
        timestamps_ns: (T,) of the frames, ascending.
        map_SE3_ego: pose of each frame.
        min_score: weaker detections are ignored.
        min_evidence: a track needs a piece whose detections have so much score in sum, less a
            quarter for every frame in which it was not detected.
        fill_gaps: put boxes where a track was not detected between two detections.

    Returns:
        The same frames. Track ids are numbered by first appearance.

    Raises:
        ShapeError: if there are not as many times and poses as frames.
        DataError: if times do not increase or a box is not finite.
    """
    seen = observe(detections, timestamps_ns, map_SE3_ego, min_score)
    if not len(seen.boxes):
        return _to_frames(Boxes.empty(), np.zeros(0, np.int64), np.zeros(0, np.bool_), map_SE3_ego)
    piece = number_tracks(len(seen.boxes), link(seen), link(seen, backwards=True))
    piece = _by_appearance(piece)
    track = _by_appearance(join_across_gaps(seen, piece))
    track = _believable(seen, piece, track, min_evidence)
    slots = lay_out(seen, track)
    boxes = _refined(seen, slots)
    kept = slots.observed | fill_gaps
    return _to_frames(boxes.take(kept), slots.frame[kept], ~slots.observed[kept], map_SE3_ego)


def _by_appearance(track: Int64) -> Int64:
    """Return tracks numbered from 0 in the order of their first detection; -1 stays."""
    names, first, index = np.unique(track, return_index=True, return_inverse=True)
    first = np.where(names < 0, -1, first)
    rank = np.empty(len(names), dtype=np.int64)
    rank[np.argsort(first, kind="stable")] = np.arange(len(names))
    return rank[index] - int((names < 0).any())


def _believable(seen: Observations, piece: Int64, track: Int64, min_evidence: float) -> Int64:
    """Return tracks without those of which no piece has enough evidence; these become -1."""
    first, last = np.full(piece.max() + 1, len(seen.seconds)), np.zeros(piece.max() + 1, np.int64)
    np.minimum.at(first, piece, seen.frame)
    np.maximum.at(last, piece, seen.frame)
    misses = last - first + 1 - np.bincount(piece)
    evidence = np.bincount(piece, weights=seen.boxes.score) - _MISS * misses
    good = np.zeros(track.max() + 1, dtype=np.bool_)
    good[track[evidence[piece] >= min_evidence]] = True
    return _by_appearance(np.where(good[track], track, -1))


def _refined(seen: Observations, slots: Slots) -> Boxes:
    """Return the (M,) boxes of all slots, map frame."""
    center, velocity = smooth_centers(seen, slots)
    still = refine.standing(seen, slots)
    if still.any():
        center = np.where(
            still[slots.track, None], refine.standing_centers(seen, slots)[slots.track], center
        )
        velocity = np.where(still[slots.track, None], 0.0, velocity)
    names = np.array([f"{number:04d}" for number in range(len(slots.start) - 1)])
    return Boxes.make(
        center,
        refine.track_sizes(seen, slots)[slots.track],
        refine.headings(seen, slots, velocity, still),
        refine.track_categories(seen, slots)[slots.track],
        velocity[:, :2],
        track_id=names[slots.track] if len(names) else None,
        score=refine.track_scores(seen, slots)[0][slots.track],
        num_points=np.where(slots.observed, seen.boxes.num_points[slots.seen], -1),
    )


def _to_frames(
    boxes: Boxes, frame: Int64, interpolated: Mask, map_SE3_ego: Sequence[SE3]
) -> TrackedFrames:
    """Return boxes of the map frame by frame, in the ego frame of each."""
    order = np.argsort(frame, kind="stable")
    bounds = np.searchsorted(frame[order], np.arange(len(map_SE3_ego) + 1))
    parts = [order[low:high] for low, high in itertools.pairwise(bounds)]
    return TrackedFrames(
        tuple(
            boxes.take(part).transform(pose.inverse())
            for part, pose in zip(parts, map_SE3_ego, strict=True)
        ),
        tuple(interpolated[part] for part in parts),
        len(np.unique(boxes.track_id)),
    )
