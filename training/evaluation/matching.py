"""Matching predictions to truth, once: everything else is counting what was matched."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from scene.box import Boxes
from scene.errors import ConfigError, DataError
from scene.taxonomy import CATEGORY
from scene.types import Float64, Int64, Mask

THRESHOLDS_M: Final = np.array([0.5, 1.0, 2.0, 4.0])
ERROR_THRESHOLD: Final = 2  # index of the 2 m threshold, at which errors are measured
ERRORS: Final[tuple[str, ...]] = ("trans_err", "scale_err", "orient_err", "vel_err")
MAX_PREDICTIONS: Final = 500  # a frame, as in the nuScenes detection task


@dataclass(frozen=True, slots=True)
class Region:
    """The part of the ground that a model can see; what lies outside is not evaluated.

    Attributes:
        x_min_m, x_max_m, y_min_m, y_max_m: ego frame, lower bounds included.
    """

    x_min_m: float
    x_max_m: float
    y_min_m: float
    y_max_m: float

    def contains(self, boxes: Boxes) -> Mask:
        """Return (N,) whether the centre of each box lies in the region."""
        x, y = boxes.center_xyz_m[:, 0], boxes.center_xyz_m[:, 1]
        across = (y >= self.y_min_m) & (y < self.y_max_m)
        return (x >= self.x_min_m) & (x < self.x_max_m) & across


@dataclass(frozen=True, slots=True)
class EvalFrame:
    """Truth and predictions of one frame, both in its ego frame.

    Attributes:
        frame_id: unique name, usually `<recording>@<timestamp_ns>`.
        group: block of the bootstrap, usually the recording: frames of a group stand or fall
            together because they resemble each other.
        truth: boxes; those with 0 lidar points are left out later, as in nuScenes.
        predictions: boxes with scores.
    """

    frame_id: str
    group: str
    truth: Boxes
    predictions: Boxes


@dataclass(frozen=True, slots=True)
class Matches:
    """All that is known about one category after matching.

    Attributes:
        category: name.
        score: (P,) descending; on equal scores the later prediction comes first, as in the devkit.
        frame: (P,) index of the frame.
        range_m: (P,) distance of the prediction from the ego origin, in the ground plane.
        match: (T, P) index of the truth taken at each threshold, -1 for none.
        errors: (4, P) errors at 2 m in the order of `ERRORS`, NaN where unmatched or unknown.
        truth_frame: (G,) index of the frame.
        truth_range_m: (G,) distance of the truth from the ego origin, in the ground plane.
    """

    category: str
    score: Float64
    frame: Int64
    range_m: Float64
    match: Int64
    errors: Float64
    truth_frame: Int64
    truth_range_m: Float64


@dataclass(frozen=True, slots=True)
class Pool:
    """The boxes of all frames in one array, those left out that are not evaluated.

    Attributes:
        frame_ids: (F,) unique names of the frames, also of those without boxes.
        groups: (F,) bootstrap block of each frame.
        truth, truth_frame: boxes and the (G,) index of the frame of each, ascending.
        predictions, frame: boxes and the (P,) index of the frame of each, ascending.
    """

    frame_ids: tuple[str, ...]
    groups: tuple[str, ...]
    truth: Boxes
    truth_frame: Int64
    predictions: Boxes
    frame: Int64


def pool_frames(
    frames: Sequence[EvalFrame], categories: Sequence[str], region: Region | None
) -> Pool:
    """Return what is evaluated: known categories, in range, in the region, truth with points.

    Range limits follow the taxonomy (nuScenes): centre distance in the ground plane, exclusive.

    Raises:
        ConfigError: if a category is unknown, named twice, or none is named.
        DataError: if a frame is named twice or holds boxes that cannot be compared.
    """
    limits = limits_of(categories)
    frame_ids = tuple(f.frame_id for f in frames)
    if len(set(frame_ids)) != len(frame_ids):
        twice = next(name for name in frame_ids if frame_ids.count(name) > 1)
        raise DataError(f"frame {twice} occurs twice: every frame is evaluated once")
    truth, truth_frame = concatenate_frames([f.truth for f in frames])
    predictions, frame = concatenate_frames([f.predictions for f in frames])
    _check_boxes(truth, truth_frame, frame_ids, "truth")
    _check_boxes(predictions, frame, frame_ids, "predictions")
    _check_predictions(predictions, frame, frame_ids)
    # A box without a single lidar point cannot be found; -1 means nobody counted.
    seen = _within(truth, limits, region) & (truth.num_points != 0)
    inside = _within(predictions, limits, region)
    return Pool(
        frame_ids,
        tuple(f.group for f in frames),
        truth.take(seen),
        truth_frame[seen],
        predictions.take(inside),
        frame[inside],
    )


def limits_of(categories: Sequence[str]) -> dict[str, float]:
    """Return the evaluation range of each category, meters.

    Raises:
        ConfigError: if a category is unknown, named twice, or none is named.
    """
    unknown = sorted(set(categories) - set(CATEGORY))
    if unknown or not categories or len(set(categories)) != len(categories):
        raise ConfigError(
            f"cannot evaluate categories {list(categories)}: "
            f"name each once, out of {list(CATEGORY)}"
        )
    return {name: CATEGORY[name].max_range_m for name in categories}


def match_category(pool: Pool, category: str) -> Matches:
    """Match the predictions of one category, greedily by score over all frames.

    Each prediction takes the closest truth of its frame that is not taken yet, by centre distance
    in the ground plane, if that is below the threshold.

    Source: nuScenes detection task (Caesar et al., CVPR 2020, 3.3); devkit `accumulate`.
    """
    from training.evaluation import kernels  # numba costs half a second to import

    of_truth = pool.truth.category == category
    truth, truth_frame = pool.truth.take(of_truth), pool.truth_frame[of_truth]
    order = sort_predictions(pool, category)
    predictions, frame = pool.predictions.take(order), pool.frame[order]
    every_frame = np.arange(len(pool.frame_ids) + 1)
    match = kernels.match_greedily(
        np.ascontiguousarray(predictions.center_xyz_m[:, :2]),
        frame,
        np.ascontiguousarray(truth.center_xyz_m[:, :2]),
        np.searchsorted(truth_frame, every_frame).astype(np.int64),
        THRESHOLDS_M,
    )
    return Matches(
        category,
        predictions.score,
        frame,
        predictions.range_m(),
        match,
        _errors(predictions, truth, match[ERROR_THRESHOLD], category),
        truth_frame,
        truth.range_m(),
    )


def sort_predictions(pool: Pool, category: str) -> Int64:
    """Return (P,) the indices of a category's predictions in the order of its `Matches`."""
    mine = np.flatnonzero(pool.predictions.category == category)
    return mine[np.argsort(pool.predictions.score[mine], kind="stable")[::-1]]


def truth_digest(pool: Pool) -> str:
    """Return a digest of frames, groups and truth: two evaluations compare only if it is equal."""
    digest = hashlib.sha256()
    for names in (pool.frame_ids, pool.groups, pool.truth.category.tolist()):
        digest.update("\0".join(names).encode() + b"\1")
    truth = pool.truth
    for array in (pool.truth_frame, truth.center_xyz_m, truth.size_lwh_m, truth.yaw_rad):
        digest.update(np.ascontiguousarray(array, dtype=f"<{array.dtype.kind}8").tobytes())
    return digest.hexdigest()


def concatenate_frames(parts: Sequence[Boxes]) -> tuple[Boxes, Int64]:
    """Return the boxes of all frames in one array, and the (N,) frame of each, ascending."""
    frame = np.repeat(np.arange(len(parts), dtype=np.int64), [len(p) for p in parts])
    return Boxes.concatenate(parts), frame


def _check_boxes(boxes: Boxes, frame: Int64, frame_ids: Sequence[str], what: str) -> None:
    """Refuse numbers that would silently fall out of every comparison."""
    finite = np.isfinite(boxes.center_xyz_m).all(axis=1) & np.isfinite(boxes.yaw_rad)
    solid = (np.isfinite(boxes.size_lwh_m) & (boxes.size_lwh_m > 0)).all(axis=1)
    bad = np.flatnonzero(~(finite & solid))
    if len(bad):
        raise DataError(
            f"frame {frame_ids[int(frame[bad[0]])]}: {what} hold a box whose centre or yaw is not "
            f"finite or whose size is not positive ({len(bad)} such boxes in all)"
        )


def _check_predictions(boxes: Boxes, frame: Int64, frame_ids: Sequence[str]) -> None:
    unscored = np.flatnonzero(np.isnan(boxes.score))
    if len(unscored):
        raise DataError(f"frame {frame_ids[int(frame[unscored[0]])]}: a prediction has no score")
    counts = np.bincount(frame, minlength=1)
    if counts.max() > MAX_PREDICTIONS:
        raise DataError(
            f"frame {frame_ids[int(counts.argmax())]}: {counts.max()} predictions, at most "
            f"{MAX_PREDICTIONS} a frame; raise the detector's score threshold"
        )


def _within(boxes: Boxes, limits: dict[str, float], region: Region | None) -> Mask:
    limit_m = np.zeros(len(boxes))
    for name, value in limits.items():
        limit_m[boxes.category == name] = value
    inside = boxes.range_m() < limit_m
    return inside if region is None else inside & region.contains(boxes)


def _errors(predictions: Boxes, truth: Boxes, match: Int64, category: str) -> Float64:
    """Return (4, P) errors of matched predictions in the order of `ERRORS`."""
    result = np.full((len(ERRORS), len(predictions)), np.nan)
    hit = np.flatnonzero(match >= 0)
    ours, theirs = predictions.take(hit), truth.take(match[hit])
    result[0, hit] = np.linalg.norm((ours.center_xyz_m - theirs.center_xyz_m)[:, :2], axis=1)
    shared = np.minimum(ours.size_lwh_m, theirs.size_lwh_m).prod(axis=1)
    union = ours.size_lwh_m.prod(axis=1) + theirs.size_lwh_m.prod(axis=1) - shared
    result[1, hit] = 1.0 - shared / union
    # A barrier looks the same from both sides.
    period = np.pi if category == "barrier" else 2 * np.pi
    turn = (theirs.yaw_rad - ours.yaw_rad + period / 2) % period - period / 2
    result[2, hit] = np.abs(turn)
    result[3, hit] = np.linalg.norm(ours.velocity_xy_mps - theirs.velocity_xy_mps, axis=1)
    return result
