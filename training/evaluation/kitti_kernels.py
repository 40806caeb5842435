"""Numba loops of the KITTI metrics: matching by overlap as `evaluate_object.cpp` does it."""

from __future__ import annotations

import numpy as np
from numba import njit

from scene.types import Float64, Int64

_LEFT_OUT = -1
_COUNTS = 0
_IGNORED = 1
_NO_DETECTION = -1e7


@njit(cache=True, nogil=True)
def _takes_part(state: int, taken: int, score: float, threshold: float, asks_score: bool) -> bool:
    """Return whether a detection can still be given to a truth."""
    return state != _LEFT_OUT and not taken and not (asks_score and score < threshold)


@njit(cache=True, nogil=True)
def _match(
    overlap: Float64,
    truth_state: Int64,
    state: Int64,
    score: Float64,
    min_overlap: float,
    threshold: float,
    by_overlap: bool,
    match: Int64,
    taken: Int64,
) -> None:
    """Fill (G,) `match` with the detection of each truth and (D,) `taken` in one image.

    Args:
        overlap: (G, D).
        truth_state: (G,) 0 counts, 1 ignored, -1 left out.
        state: (D,) as `truth_state`.
        score: (D,).
        min_overlap: exclusive.
        threshold: detections below it do not take part.
        by_overlap: take the detection that overlaps most, ignored ones last; else the best scored.
        match: written; -1 for none.
        taken: written; 1 where a truth has the detection.
    """
    taken[:] = 0
    match[:] = -1
    for i in range(len(truth_state)):
        if truth_state[i] == _LEFT_OUT:
            continue
        best, chosen_ignored = _NO_DETECTION if not by_overlap else 0.0, False
        for j in range(len(state)):
            there = _takes_part(state[j], taken[j], score[j], threshold, by_overlap)
            if not (there and overlap[i, j] > min_overlap):
                continue
            if not by_overlap:
                if score[j] > best:
                    match[i], best = j, score[j]
            elif state[j] == _COUNTS and (overlap[i, j] > best or chosen_ignored):
                match[i], best, chosen_ignored = j, overlap[i, j], False
            elif state[j] == _IGNORED and match[i] < 0:
                match[i], chosen_ignored = j, True
        if match[i] >= 0:
            taken[match[i]] = 1


@njit(cache=True, nogil=True)
def scores_of_hits(
    overlaps: Float64,
    place: Int64,
    truth_start: Int64,
    start: Int64,
    truth_state: Int64,
    state: Int64,
    score: Float64,
    min_overlap: float,
) -> Float64:
    """Return the scores of all true positives when the best scored detection is taken.

    Args:
        overlaps: of all images, each (G, D), one after another.
        place: (F + 1,) where the overlaps of each image begin.
        truth_start: (F + 1,) where the truth of each image begins.
        start: (F + 1,) where the detections of each image begin.
        truth_state: see `_match`.
        state: see `_match`.
        score: of every detection.
        min_overlap: exclusive.
    """
    found = np.empty(len(truth_state))
    count = 0
    match = np.empty(len(truth_state), dtype=np.int64)
    taken = np.empty(len(state), dtype=np.int64)
    for f in range(len(start) - 1):
        g, g2, d, d2 = truth_start[f], truth_start[f + 1], start[f], start[f + 1]
        overlap = overlaps[place[f] : place[f + 1]].reshape(g2 - g, d2 - d)
        _match(
            overlap, truth_state[g:g2], state[d:d2], score[d:d2], min_overlap, 0.0, False,
            match[g:g2], taken[d:d2],
        )  # fmt: skip
        for i in range(g, g2):
            if match[i] >= 0 and truth_state[i] == _COUNTS and state[d + match[i]] == _COUNTS:
                found[count] = score[d + match[i]]
                count += 1
    return found[:count]


@njit(cache=True, nogil=True)
def _count_stuff(
    covered: Float64,
    taken: Int64,
    state: Int64,
    score: Float64,
    min_overlap: float,
    threshold: float,
) -> int:
    """Return how many unmatched detections lie in regions that nobody labelled; they are taken.

    Args:
        covered: (R, D) share of each detection inside each region.
        taken: (D,) changed.
        state: (D,) see `_match`.
        score: (D,).
        min_overlap: exclusive.
        threshold: least score.
    """
    count = 0
    for i in range(covered.shape[0]):
        for j in range(len(state)):
            free = not taken[j] and state[j] == _COUNTS and score[j] >= threshold
            if free and covered[i, j] > min_overlap:
                taken[j] = 1
                count += 1
    return count


@njit(cache=True, nogil=True)
def count(
    overlaps: Float64,
    place: Int64,
    truth_start: Int64,
    start: Int64,
    truth_state: Int64,
    state: Int64,
    score: Float64,
    min_overlap: float,
    thresholds: Float64,
    truth_angle: Float64,
    angle: Float64,
    covered: Float64,
    stuff_place: Int64,
    stuff_start: Int64,
) -> Float64:
    """Return (T, 3) true positives, false positives and summed similarity of directions.

    Args:
        overlaps: see `scores_of_hits`.
        place: see there.
        truth_start: see there.
        start: see there.
        truth_state: see `_match`.
        state: see `_match`.
        score: of every detection.
        min_overlap: exclusive.
        thresholds: (T,) least scores.
        truth_angle: (G,) `alpha` of each truth.
        angle: (D,) `alpha` of each detection.
        covered: of all images, each (R, D): see `_count_stuff`.
        stuff_place: (F + 1,) where `covered` of each image begins.
        stuff_start: (F + 1,) where the regions of each image begin.
    """
    result = np.zeros((len(thresholds), 3))
    match = np.empty(len(truth_state), dtype=np.int64)
    taken = np.empty(len(state), dtype=np.int64)
    for f in range(len(start) - 1):
        g, g2, d, d2 = truth_start[f], truth_start[f + 1], start[f], start[f + 1]
        overlap = overlaps[place[f] : place[f + 1]].reshape(g2 - g, d2 - d)
        regions = covered[stuff_place[f] : stuff_place[f + 1]]
        regions = regions.reshape(stuff_start[f + 1] - stuff_start[f], d2 - d)
        for t in range(len(thresholds)):
            _match(
                overlap, truth_state[g:g2], state[d:d2], score[d:d2], min_overlap, thresholds[t],
                True, match[g:g2], taken[d:d2],
            )  # fmt: skip
            for i in range(g, g2):
                j = match[i] + d
                if match[i] >= 0 and truth_state[i] == _COUNTS and state[j] == _COUNTS:
                    result[t, 0] += 1
                    result[t, 2] += (1.0 + np.cos(truth_angle[i] - angle[j])) / 2.0
            for j in range(d, d2):
                if not taken[j] and state[j] == _COUNTS and score[j] >= thresholds[t]:
                    result[t, 1] += 1
            result[t, 1] -= _count_stuff(
                regions, taken[d:d2], state[d:d2], score[d:d2], min_overlap, thresholds[t]
            )
    return result
