"""Detection metrics of the Waymo Open Dataset: AP and APH at two levels of difficulty.

A prediction matches truth of its category and frame by 3D IoU, the assignment with the largest sum
of IoU (Hungarian), anew at each of 101 score cutoffs. APH weighs every match in the precision by
how well its heading fits. Level 2 asks for all truth with points, level 1 for truth with more than
five of them; a match counts at both levels, whatever the truth, as in the official library.

The official library has no wheel for this Python: tests compare with a slow transcription of its
rules, see `docs/metrics.md`. It rounds IoU before assigning; we do not.

Sources: Sun et al., "Scalability in perception for autonomous driving: Waymo Open Dataset", CVPR
2020, section 4; `waymo_open_dataset/metrics` (`detection_metrics.cc`, `metrics_utils.cc`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final, NamedTuple

import numpy as np

from scene.box import Boxes
from scene.errors import ConfigError, DataError
from scene.overlap import iou_3d_of_pairs
from scene.types import Float64, Int64, Mask
from training.evaluation.matching import EvalFrame, concatenate_frames

MIN_IOU: Final[Mapping[str, float]] = {"car": 0.7, "pedestrian": 0.5, "bicycle": 0.5}
LEVELS: Final = (1, 2)
_CUTOFFS: Final[Float64] = np.arange(101, dtype=np.float64) * 0.01
_HARD_POINTS: Final = 5
_RECALL_STEP: Final = 0.05


class WaymoScore(NamedTuple):
    """Average precision, and average precision weighted by heading; NaN without truth."""

    ap: float
    aph: float


class _Pairs(NamedTuple):
    """Pairs of one frame that overlap enough: truth, prediction and IoU of each."""

    truth: Int64
    prediction: Int64
    iou: Float64


def evaluate_waymo(
    frames: Sequence[EvalFrame],
    min_iou: Mapping[str, float] = MIN_IOU,
) -> dict[tuple[str, int], WaymoScore]:
    """Return AP and APH by category and level.

    Args:
        frames: every frame once; boxes in the ego frame. Truth whose points nobody counted (-1) is
            of level 1; truth without points is left out.
        min_iou: least 3D IoU of a match, inclusive, by category.

    Raises:
        ConfigError: if no category is named.
        DataError: if a prediction has no score.
    """
    if not min_iou:
        raise ConfigError("Waymo metrics: name at least one category with its least IoU")
    truth, truth_frame = concatenate_frames([frame.truth for frame in frames])
    found, frame = concatenate_frames([frame.predictions for frame in frames])
    if np.isnan(found.score).any():
        raise DataError("Waymo metrics: a prediction has no score")
    seen = truth.num_points != 0
    result = {}
    for name, least in min_iou.items():
        mine, ours = seen & (truth.category == name), found.category == name
        result |= {
            (name, level): score
            for level, score in _category(
                truth.take(mine), truth_frame[mine], found.take(ours), frame[ours], least
            ).items()
        }
    return result


def _category(
    truth: Boxes, truth_frame: Int64, found: Boxes, frame: Int64, least: float
) -> dict[int, WaymoScore]:
    pairs = _overlapping(truth, truth_frame, found, frame, least)
    easy = (truth.num_points < 0) | (truth.num_points > _HARD_POINTS)
    turn = np.abs(truth.yaw_rad[pairs.truth] - found.yaw_rad[pairs.prediction])
    turn = np.minimum(turn, 2 * np.pi - turn)
    rows = [_at_cutoff(cutoff, pairs, turn, found, easy) for cutoff in _CUTOFFS]
    hits, headed, false, missed, missed_easy = np.array(rows).T
    if not len(truth):
        nothing = WaymoScore(float("nan"), float("nan"))
        return dict.fromkeys(LEVELS, nothing)
    result = {}
    for level, fewer in ((1, missed_easy), (2, missed)):
        both, wanted = hits + false, hits + fewer
        scale = np.divide(1.0, both, out=np.zeros(len(both)), where=both > 0)
        recall = np.divide(hits, wanted, out=np.zeros(len(hits)), where=wanted > 0)
        curves = (np.where(recall > 0, value * scale, 1.0) for value in (hits, headed))
        result[level] = WaymoScore(*(area_under(recall, curve) for curve in curves))
    return result


def _overlapping(
    truth: Boxes, truth_frame: Int64, found: Boxes, frame: Int64, least: float
) -> _Pairs:
    """Return all pairs of one frame that overlap by the least IoU."""
    first = np.searchsorted(frame, truth_frame, side="left")
    count = np.searchsorted(frame, truth_frame, side="right") - first
    i = np.repeat(np.arange(len(truth)), count)
    j = np.arange(count.sum()) - np.repeat(np.cumsum(count) - count, count)
    j = j + np.repeat(first, count)
    apart = np.linalg.norm(truth.center_xyz_m[i] - found.center_xyz_m[j], axis=1)
    reach = np.linalg.norm(truth.size_lwh_m[i], axis=1) + np.linalg.norm(
        found.size_lwh_m[j], axis=1
    )
    near = apart < reach / 2
    i, j = i[near], j[near]
    iou = iou_3d_of_pairs(truth, found, i, j)
    good = iou >= least
    return _Pairs(i[good], j[good], iou[good])


def _at_cutoff(
    cutoff: float, pairs: _Pairs, turn: Float64, found: Boxes, easy: Mask
) -> tuple[float, float, float, float, float]:
    """Return hits, hits weighted by heading, false ones, missed truth, missed truth of level 1."""
    kept = found.score >= cutoff
    usable = np.flatnonzero(kept[pairs.prediction])
    chosen = usable[_assign(pairs.truth[usable], pairs.prediction[usable], pairs.iou[usable])]
    headed = float((1.0 - turn[chosen] / np.pi).sum())
    missed = np.ones(len(easy), dtype=np.bool_)
    missed[pairs.truth[chosen]] = False
    false = float(kept.sum() - len(chosen))
    return float(len(chosen)), headed, false, float(missed.sum()), float((missed & easy).sum())


def _assign(truth: Int64, prediction: Int64, iou: Float64) -> Int64:
    """Return which pairs make the assignment with the largest sum of IoU."""
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    if not len(iou):
        return np.zeros(0, dtype=np.int64)
    rows, row = np.unique(truth, return_inverse=True)
    columns, column = np.unique(prediction, return_inverse=True)
    size = len(rows) + len(columns)
    graph = coo_array((np.ones(len(row)), (row, len(rows) + column)), shape=(size, size))
    part = connected_components(graph, directed=False)[1][row]
    alone = np.bincount(part)[part] == 1
    contested = np.flatnonzero(~alone)
    groups = np.split(
        contested[np.argsort(part[contested], kind="stable")],
        np.flatnonzero(np.diff(np.sort(part[contested]))) + 1,
    )
    solved = [_solve(row, column, iou, group) for group in groups if len(group)]
    return np.concatenate([np.flatnonzero(alone), *solved])


def _solve(row: Int64, column: Int64, iou: Float64, group: Int64) -> Int64:
    """Return the pairs of one group of rivals that belong to the best assignment."""
    from scipy.optimize import linear_sum_assignment

    r, c = (np.unique(side[group], return_inverse=True)[1] for side in (row, column))
    value = np.zeros((r.max() + 1, c.max() + 1))
    place = np.full(value.shape, -1)
    value[r, c], place[r, c] = iou[group], group
    chosen = place[linear_sum_assignment(value, maximize=True)]
    return chosen[chosen >= 0]


def area_under(recall: Float64, precision: Float64) -> float:
    """Return the area under a curve whose precision is made monotone.

    Where two recalls are further apart than 0.05 the precision of the higher one holds over the
    gap but for its last step, as the curve is not known there.

    Args:
        recall: (C,) in any order.
        precision: (C,) at the same cutoffs.

    Source: `ComputeMeanAveragePrecision` of the official library.
    """
    steps, index = np.unique(np.append(recall, 0.0), return_inverse=True)
    best = np.zeros(len(steps))
    np.maximum.at(best, index, np.append(precision, 1.0))
    best = np.maximum.accumulate(best[::-1])  # from the highest recall down
    high, low = steps[::-1][:-1], steps[::-1][1:]
    left = best[1:].copy()
    left[-1:] = best[-2:-1]  # at recall 0 the precision is that of the next recall
    inner = np.maximum(np.ceil((high - low - 1e-6) / _RECALL_STEP) - 1, 0) * _RECALL_STEP
    area = inner * best[:-1] + 0.5 * (high - low - inner) * (best[:-1] + left)
    return float(area.sum())
