"""Boxes of tracks, by frame and category, with gaps filled and one score a track."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from scene.box import Boxes
from scene.errors import DataError
from scene.pose import SE3
from scene.types import Float64, Int64, Mask, Text
from training.evaluation.matching import EvalFrame, pool_frames


class _Rows(NamedTuple):
    """Centres of boxes: (N, 2), frame, track, category and score of each, by frame."""

    xy_m: Float64
    frame: Int64
    track: Int64
    category: Text
    score: Float64

    def take(self, index: Mask | Int64) -> _Rows:
        """Return the rows chosen by a mask or an index array."""
        return _Rows(
            self.xy_m[index],
            self.frame[index],
            self.track[index],
            self.category[index],
            self.score[index],
        )


class TrackTable(NamedTuple):
    """All tracks of truth and predictions of some frames, gaps filled."""

    truth: _Rows
    predictions: _Rows
    num_frames: int


class Side(NamedTuple):
    """Truth or predictions of one category.

    Attributes:
        xy_m: (N, 2) centres, by frame.
        track: (N,) number of the track, never shared by two groups.
        start: (F + 1,) where each frame begins.
    """

    xy_m: Float64
    track: Int64
    start: Int64


class Tracks(NamedTuple):
    """Tracks of one category; `truth_frame` is the (G,) frame, `score` the (P,) track's score."""

    truth: Side
    predictions: Side
    truth_frame: Int64
    score: Float64


def table_of(
    frames: Sequence[EvalFrame],
    categories: Sequence[str],
    map_SE3_ego: Mapping[str, SE3] | None = None,
    *,
    mirrored_gaps: bool = True,
) -> TrackTable:
    """Return what is evaluated, as `pool_frames` chooses it, as whole tracks.

    Args:
        frames: in the order of time within each group.
        categories: names of the taxonomy.
        map_SE3_ego: pose of each frame by its id; without it the boxes stay where they are.
        mirrored_gaps: see `evaluate_tracking`.

    Raises:
        ConfigError, DataError: as `pool_frames`; also if a box has no track id or a track is twice
            in a frame.
    """
    pool = pool_frames(sorted(frames, key=lambda frame: frame.group), categories, None)
    groups = np.asarray(pool.groups, dtype=np.str_)
    poses = [(map_SE3_ego or {}).get(name, SE3.identity()) for name in pool.frame_ids]
    truth = _rows(pool.truth, pool.truth_frame, groups, pool.frame_ids)
    truth = truth._replace(xy_m=_moved(pool.truth, truth.frame, poses))
    predictions = _rows(pool.predictions, pool.frame, groups, pool.frame_ids)
    predictions = predictions._replace(xy_m=_moved(pool.predictions, predictions.frame, poses))
    predictions = predictions._replace(score=_mean_scores(predictions))
    return TrackTable(_fill(truth, mirrored_gaps), _fill(predictions, mirrored_gaps), len(frames))


def tracks_of(table: TrackTable, category: str) -> Tracks:
    """Return the tracks of one category."""
    truth, predictions = (
        rows.take(rows.category == category) for rows in (table.truth, table.predictions)
    )
    bounds = np.arange(table.num_frames + 1)
    return Tracks(
        Side(truth.xy_m, _numbered(truth.track), np.searchsorted(truth.frame, bounds)),
        Side(
            predictions.xy_m,
            _numbered(predictions.track),
            np.searchsorted(predictions.frame, bounds),
        ),
        truth.frame,
        predictions.score,
    )


def _rows(boxes: Boxes, frame: Int64, groups: Text, frame_ids: Sequence[str]) -> _Rows:
    nameless = np.flatnonzero(boxes.track_id == "")
    if len(nameless):
        raise DataError(
            f"frame {frame_ids[int(frame[nameless[0]])]}: a box has no track id; tracking metrics "
            "need one for every box of truth and predictions"
        )
    names = np.char.add(np.char.add(groups[frame], "\0"), boxes.track_id)
    track = np.unique(names, return_inverse=True)[1].astype(np.int64)
    place = frame * (int(track.max(initial=0)) + 1) + track
    order = np.argsort(place, kind="stable")
    twice = np.flatnonzero(np.diff(place[order]) == 0)
    if len(twice):
        where = order[twice[0]]
        name = str(boxes.track_id[where])
        raise DataError(f"frame {frame_ids[int(frame[where])]}: track {name!r} is there twice")
    return _Rows(boxes.center_xyz_m[:, :2], frame, track, boxes.category, boxes.score)


def _moved(boxes: Boxes, frame: Int64, poses: Sequence[SE3]) -> Float64:
    """Return (N, 2) centres in the map frame."""
    if not len(boxes):
        return np.zeros((0, 2))
    rotation = np.stack([pose.rotation for pose in poses])[frame]
    shift = np.stack([pose.translation_m for pose in poses])[frame]
    return (np.einsum("nij,nj->ni", rotation, boxes.center_xyz_m) + shift)[:, :2]


def _mean_scores(rows: _Rows) -> Float64:
    """Return (N,) mean score of each box's track.

    `np.mean` track by track as in the devkit: thresholds are compared with these very numbers, so
    the last bit decides.
    """
    order = np.lexsort((rows.frame, rows.track))
    first = np.flatnonzero(np.diff(rows.track[order], prepend=-1))
    means = np.array([part.mean() for part in np.split(rows.score[order], first[1:]) if len(part)])
    return means[np.unique(rows.track, return_inverse=True)[1]] if len(means) else rows.score


def _fill(rows: _Rows, mirrored: bool) -> _Rows:
    """Return the rows with a box on the straight line in every frame that a track leaves out.

    The frames of a group follow one another. Source: devkit `interpolate_tracks`.
    """
    order = np.lexsort((rows.frame, rows.track))
    left, right = order[:-1], order[1:]
    missing = rows.frame[right] - rows.frame[left] - 1
    missing = np.where(rows.track[left] == rows.track[right], missing, 0)
    left, right = np.repeat(left, missing), np.repeat(right, missing)
    step = np.arange(len(left)) - np.repeat(np.cumsum(missing) - missing, missing) + 1
    span = rows.frame[right] - rows.frame[left]
    ratio = (span - step if mirrored else step) / span
    xy = rows.xy_m[left] * (1 - ratio)[:, None] + rows.xy_m[right] * ratio[:, None]
    score = rows.score[left] * (1 - ratio) + rows.score[right] * ratio
    known = np.concatenate([np.arange(len(rows.frame)), right])
    joined = rows.take(known)._replace(
        xy_m=np.concatenate([rows.xy_m, xy]),
        frame=np.concatenate([rows.frame, rows.frame[left] + step]),
        score=np.concatenate([rows.score, score]),
    )
    return joined.take(np.argsort(joined.frame, kind="stable"))


def _numbered(track: Int64) -> Int64:
    return np.unique(track, return_inverse=True)[1].astype(np.int64)
