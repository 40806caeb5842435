"""Numba loops of the evaluation: matching, average precision and true-positive errors.

Nothing here knows of categories or files. Every function reproduces the arithmetic of the
nuScenes devkit (`nuscenes/eval/detection/algo.py`, version 1.2.0), including what `np.interp` does
with repeated abscissas, so that results agree to rounding.
"""

from __future__ import annotations

import numpy as np
from numba import njit

from scene.types import Float64, Int64

_FIRST_INDEX = 11  # recall 0.10 itself is left out, as in the devkit
_MIN_PRECISION = 0.1


@njit(cache=True, nogil=True)
def match_greedily(
    pred_xy: Float64,
    pred_frame: Int64,
    truth_xy: Float64,
    truth_start: Int64,
    thresholds_m: Float64,
) -> Int64:
    """Return (T, P) index of the truth that each prediction takes, -1 for none.

    Args:
        pred_xy: (P, 2) centres of one category, best score first.
        pred_frame: (P,) frame of each prediction.
        truth_xy: (G, 2) centres of the same category, grouped by frame.
        truth_start: (F + 1,) where the truth of each frame begins.
        thresholds_m: (T,) largest centre distance, exclusive.
    """
    result = np.full((len(thresholds_m), len(pred_xy)), -1, dtype=np.int64)
    for t in range(len(thresholds_m)):
        taken = np.zeros(len(truth_xy), dtype=np.bool_)
        for i in range(len(pred_xy)):
            nearest, least = -1, np.inf
            for g in range(truth_start[pred_frame[i]], truth_start[pred_frame[i] + 1]):
                if taken[g]:
                    continue
                dx = pred_xy[i, 0] - truth_xy[g, 0]
                dy = pred_xy[i, 1] - truth_xy[g, 1]
                distance = np.sqrt(dx * dx + dy * dy)
                if distance < least:
                    nearest, least = g, distance
            if least < thresholds_m[t]:
                taken[nearest] = True
                result[t, i] = nearest
    return result


@njit(cache=True, nogil=True)
def nearest_truth(
    pred_xyz: Float64, pred_frame: Int64, truth_xyz: Float64, truth_start: Int64
) -> tuple[Int64, Float64]:
    """Return (P,) index of the truth nearest to each prediction, -1 for none, and its distance.

    Args:
        pred_xyz: (P, 3) centres of one category.
        pred_frame: (P,) frame of each prediction.
        truth_xyz: (G, 3) centres of the same category, grouped by frame.
        truth_start: (F + 1,) where the truth of each frame begins.
    """
    nearest = np.full(len(pred_xyz), -1, dtype=np.int64)
    distance = np.full(len(pred_xyz), np.inf)
    for i in range(len(pred_xyz)):
        for g in range(truth_start[pred_frame[i]], truth_start[pred_frame[i] + 1]):
            square = 0.0
            for axis in range(3):
                step = pred_xyz[i, axis] - truth_xyz[g, axis]
                square += step * step
            if np.sqrt(square) < distance[i]:
                nearest[i], distance[i] = g, np.sqrt(square)
    return nearest, distance


@njit(cache=True, nogil=True)
def _fill(
    out: Float64,
    k: int,
    grid: Float64,
    last_recall: float,
    last_value: float,
    recall: float,
    current: float,
) -> int:
    """Interpolate from one point of the curve to the next; return the first recall left."""
    while k < len(grid) and grid[k] < recall:
        if last_recall < 0.0:
            out[k] = current
        elif grid[k] == last_recall:
            out[k] = last_value
        else:
            slope = (current - last_value) / (recall - last_recall)
            out[k] = slope * (grid[k] - last_recall) + last_value
        k += 1
    return k


@njit(cache=True, nogil=True)
def _resample(
    hit: Int64,
    value: Float64,
    use_precision: bool,
    frame: Int64,
    weight: Int64,
    num_truth: float,
    grid: Float64,
    out: Float64,
) -> int:
    """Interpolate precision, or `value`, at the recalls of `grid`; return the true positives.

    A prediction of a frame with weight w counts w times in a row, which is what evaluating the
    frame w times would do. `hit` is 1 for a true positive, 0 for a false one, -1 for left out.
    """
    k, true_positives, seen, last = 0, 0, 0, -1
    last_recall, last_value = -1.0, 0.0
    pending = False  # false positives came since last_value was set; they move nothing but it
    for i in range(len(hit)):
        if hit[i] < 0 or weight[frame[i]] == 0:
            continue
        if hit[i] == 0:
            seen, last, pending = seen + weight[frame[i]], i, True
            continue
        for _ in range(weight[frame[i]]):
            if pending:
                last_recall = max(last_recall, 0.0)
                last_value = true_positives / seen if use_precision else value[last]
                pending = False
            seen, true_positives = seen + 1, true_positives + 1
            recall = true_positives / num_truth
            current = true_positives / seen if use_precision else value[i]
            k = _fill(out, k, grid, last_recall, float(last_value), recall, float(current))
            last_recall, last_value = recall, current
    if pending:
        last_recall = max(last_recall, 0.0)
        last_value = true_positives / seen if use_precision else value[last]
    while k < len(grid):
        out[k] = last_value if grid[k] == last_recall else 0.0
        k += 1
    return true_positives


@njit(cache=True, nogil=True)
def average_precision(
    hit: Int64, frame: Int64, weights: Int64, num_truth: Int64, grid: Float64
) -> Float64:
    """Return (R,) average precision for every row of frame weights; NaN without truth.

    Args:
        hit: (P,) 1 true positive, 0 false positive, -1 left out; best score first.
        frame: (P,) frame of each prediction.
        weights: (R, F) how often each frame counts.
        num_truth: (R,) number of truth boxes, weights applied.
        grid: (101,) recalls.
    """
    result = np.full(len(weights), np.nan)
    curve = np.empty(len(grid))
    unused = np.empty(0)
    for r in range(len(weights)):
        if num_truth[r] == 0:
            continue
        _resample(hit, unused, True, frame, weights[r], float(num_truth[r]), grid, curve)
        total = 0.0
        for k in range(_FIRST_INDEX, len(grid)):
            total += max(curve[k] - _MIN_PRECISION, 0.0)
        result[r] = total / (len(grid) - _FIRST_INDEX) / (1.0 - _MIN_PRECISION)
    return result


@njit(cache=True, nogil=True)
def _at_confidence(confidence: float, descending: Float64, value: Float64) -> float:
    """Return `np.interp(confidence, descending[::-1], value[::-1])`."""
    count = len(descending)
    if confidence > descending[0]:
        return value[0]
    if confidence < descending[count - 1]:
        return value[count - 1]
    low, high = 0, count - 1  # first index whose confidence is not above the one asked for
    while low < high:
        middle = (low + high) // 2
        if descending[middle] <= confidence:
            high = middle
        else:
            low = middle + 1
    if low == 0 or descending[low] == confidence:
        return value[low]
    slope = (value[low - 1] - value[low]) / (descending[low - 1] - descending[low])
    return slope * (confidence - descending[low]) + value[low]


@njit(cache=True, nogil=True)
def _running_means(error: Float64, hit: Int64, frame: Int64, weight: Int64, count: int) -> Float64:
    """Return (count,) mean error of the true positives so far; NaN errors are skipped.

    All ones if no error is known and zero before the first known one, as in the devkit.
    """
    result = np.zeros(count)
    total, known, m = 0.0, 0, 0
    for i in range(len(hit)):
        if hit[i] != 1:
            continue
        for _ in range(weight[frame[i]]):
            if not np.isnan(error[i]):
                total += error[i]
                known += 1
            if known:
                result[m] = total / known
            m += 1
    if known == 0:
        result[:] = 1.0
    return result


@njit(cache=True, nogil=True)
def _scores_of_hits(score: Float64, hit: Int64, frame: Int64, weight: Int64, count: int) -> Float64:
    """Return (count,) scores of the true positives, repeated by the weight of their frame."""
    result = np.empty(count)
    m = 0
    for i in range(len(hit)):
        if hit[i] == 1:
            for _ in range(weight[frame[i]]):
                result[m] = score[i]
                m += 1
    return result


@njit(cache=True, nogil=True)
def true_positive_errors(
    hit: Int64,
    score: Float64,
    errors: Float64,
    frame: Int64,
    weights: Int64,
    num_truth: Int64,
    grid: Float64,
) -> Float64:
    """Return (R, E) mean errors of true positives over recalls; 1 if recall 0.1 is never passed.

    Args:
        hit: (P,) 1 true positive, 0 false positive, -1 left out; best score first.
        score: (P,) descending.
        errors: (E, P) error of each true positive, NaN where unknown.
        frame: (P,) frame of each prediction.
        weights: (R, F) how often each frame counts.
        num_truth: (R,) number of truth boxes, weights applied.
        grid: (101,) recalls.
    """
    result = np.full((len(weights), len(errors)), np.nan)
    confidence = np.empty(len(grid))
    for r in range(len(weights)):
        if num_truth[r] == 0:
            continue
        result[r] = 1.0
        count = _resample(
            hit, score, False, frame, weights[r], float(num_truth[r]), grid, confidence
        )
        last = 0
        for k in range(len(grid)):
            if confidence[k] != 0.0:
                last = k
        if count == 0 or last < _FIRST_INDEX:
            continue
        matched = _scores_of_hits(score, hit, frame, weights[r], count)
        for e in range(len(errors)):
            means = _running_means(errors[e], hit, frame, weights[r], count)
            total = 0.0
            for k in range(_FIRST_INDEX, last + 1):
                total += _at_confidence(confidence[k], matched, means)
            result[r, e] = total / (last + 1 - _FIRST_INDEX)
    return result
