"""The Argoverse 2 detection metrics: AP, true-positive errors and the composite detection score.

Differs from the nuScenes metrics in what counts as a hit: distances are measured in space, every
prediction asks for the truth nearest to it, taken or not, and of those that ask for one truth only
the best scored can be right. Equal to `av2.evaluation.detection` 0.2.1 without its pruning by map.

Source: Wilson et al., "Argoverse 2", NeurIPS Datasets and Benchmarks 2021, section 4.1.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Final

import numpy as np

from scene.box import Boxes
from scene.types import Float64, Int64, Mask
from training.evaluation.matching import EvalFrame, concatenate_frames

MAX_RANGE_M: Final = 150.0
MAX_PREDICTIONS: Final = 100  # of one category in one frame
THRESHOLDS_M: Final[Float64] = np.array([0.5, 1.0, 2.0, 4.0])
_ERROR_THRESHOLD: Final = 2
_RECALLS: Final[Float64] = np.linspace(0.0, 1.0, 100, dtype=np.float64)
_WORST: Final = (float(THRESHOLDS_M[_ERROR_THRESHOLD]), 1.0, float(np.pi))


@dataclass(frozen=True, slots=True)
class ArgoverseScore:
    """Metrics of one category, or their means.

    Attributes:
        ap: mean over the distance thresholds 0.5, 1, 2 and 4 m.
        ate_m: mean distance of true positives at 2 m from their truth.
        ase: mean of 1 - IoU of the boxes laid over each other.
        aoe_rad: mean difference of the headings.
        cds: `ap` times the mean of the three errors turned into scores.
    """

    ap: float
    ate_m: float
    ase: float
    aoe_rad: float
    cds: float


@dataclass(frozen=True, slots=True)
class ArgoverseEvaluation:
    """Metrics of one model on one set of frames.

    Attributes:
        classes: by category. Without truth, AP and CDS are 0 and errors are the worst possible.
        mean: over all categories asked for, as the devkit has it.
    """

    classes: dict[str, ArgoverseScore]
    mean: ArgoverseScore


def evaluate_argoverse(
    frames: Sequence[EvalFrame], categories: Sequence[str]
) -> ArgoverseEvaluation:
    """Evaluate predictions against truth.

    Args:
        frames: every frame once, also those without boxes; boxes in the ego frame.
        categories: names of the boxes' categories that are evaluated.
    """
    truth, truth_frame = concatenate_frames([frame.truth for frame in frames])
    predictions, frame = concatenate_frames([frame.predictions for frame in frames])
    # Truth whose points nobody counted (-1) is kept; the devkit's tables always have a count.
    seen = _in_range(truth) & (truth.num_points != 0)
    truth, truth_frame = truth.take(seen), truth_frame[seen]
    classes = {}
    for name in categories:
        of_truth, mine = truth.category == name, predictions.category == name
        classes[name] = _score(
            predictions.take(mine), frame[mine], truth.take(of_truth), truth_frame[of_truth]
        )
    means = [
        float(np.mean([getattr(score, field.name) for score in classes.values()]))
        for field in fields(ArgoverseScore)
    ]
    return ArgoverseEvaluation(classes, ArgoverseScore(*means))


def _score(predictions: Boxes, frame: Int64, truth: Boxes, truth_frame: Int64) -> ArgoverseScore:
    """Return the metrics of one category; frames ascend."""
    if not len(truth):
        return ArgoverseScore(0.0, *_WORST, 0.0)
    best_first = np.lexsort((-predictions.score, frame))
    predictions, frame = predictions.take(best_first), frame[best_first]
    kept = _evaluated(predictions, frame)
    predictions, frame = predictions.take(kept), frame[kept]
    nearest, distance_m = _claims(predictions, frame, truth, truth_frame)
    order = np.argsort(-predictions.score, kind="stable")
    hits = distance_m[order] < THRESHOLDS_M[:, None]
    ap = float(np.mean([_average_precision(hit, len(truth)) for hit in hits]))
    right = order[hits[_ERROR_THRESHOLD]]
    errors = _errors(predictions.take(right), truth.take(nearest[right]))
    scores = 1.0 - np.array(errors) / np.array(_WORST)
    return ArgoverseScore(ap, *errors, ap * float(scores.mean()))


def _in_range(boxes: Boxes) -> Mask:
    return np.linalg.norm(boxes.center_xyz_m, axis=1) < MAX_RANGE_M


def _evaluated(predictions: Boxes, frame: Int64) -> Mask:
    """Return which predictions count: in range, and at most 100 a frame, best first."""
    near = _in_range(predictions)
    total = np.cumsum(near)
    first = np.searchsorted(frame, frame)  # where the frame of each prediction begins
    before = np.concatenate([[0], total])[first]
    return near & (total - before <= MAX_PREDICTIONS)


def _claims(
    predictions: Boxes, frame: Int64, truth: Boxes, truth_frame: Int64
) -> tuple[Int64, Float64]:
    """Return the (P,) truth nearest to each prediction and how far it is.

    The distance is infinite for all but the first prediction that asks for a truth, and where a
    frame has none.
    """
    from training.evaluation import kernels  # numba costs half a second to import

    start = np.searchsorted(truth_frame, np.arange(int(frame.max(initial=-1)) + 2))
    nearest, distance_m = kernels.nearest_truth(
        predictions.center_xyz_m, frame, truth.center_xyz_m, start.astype(np.int64)
    )
    asking = np.flatnonzero(nearest >= 0)
    first = asking[np.unique(nearest[asking], return_index=True)[1]]
    claimed = np.full(len(nearest), np.inf)
    claimed[first] = distance_m[first]
    return nearest, claimed


def _average_precision(hit: Mask, num_truth: int) -> float:
    """Return the mean of the precision, made monotone, at 100 recalls."""
    if not len(hit):
        return 0.0
    right = np.cumsum(hit)
    precision = right / (np.arange(1, len(hit) + 1) + np.finfo(np.float64).eps)
    precision = np.maximum.accumulate(precision[::-1])[::-1]
    return float(np.interp(_RECALLS, right / num_truth, precision, right=0.0).mean())


def _errors(ours: Boxes, theirs: Boxes) -> tuple[float, float, float]:
    """Return mean distance, mean 1 - IoU of aligned boxes, mean heading difference."""
    if not len(ours):
        return _WORST
    distance_m = np.linalg.norm(ours.center_xyz_m - theirs.center_xyz_m, axis=1)
    shared = np.minimum(ours.size_lwh_m, theirs.size_lwh_m).prod(axis=1)
    union = np.maximum(ours.size_lwh_m, theirs.size_lwh_m).prod(axis=1)
    turn = np.abs(ours.yaw_rad - theirs.yaw_rad)
    turn = np.minimum(turn, 2 * np.pi - turn)
    return float(distance_m.mean()), float((1.0 - shared / union).mean()), float(turn.mean())
