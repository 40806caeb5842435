"""Numba loops of the tracking metrics: assignment, and matching carried on over frames."""

from __future__ import annotations

import numpy as np
from numba import njit

from scene.types import Float64, Int64, Mask

_IMPOSSIBLE = 1e6


@njit(cache=True, nogil=True)
def assign(cost: Float64) -> Int64:
    """Return (N,) the column of each row, all different, of least total cost; needs N <= M.

    Source: Kuhn, "The Hungarian method for the assignment problem", 1955, as shortest augmenting
    paths with potentials.
    """
    rows, columns = cost.shape
    of_row, of_column = np.zeros(rows + 1), np.zeros(columns + 1)
    owner = np.zeros(columns + 1, dtype=np.int64)  # row of each column, counted from 1; 0 is free
    came_from = np.zeros(columns + 1, dtype=np.int64)
    for row in range(1, rows + 1):
        owner[0], here = row, 0
        slack = np.full(columns + 1, np.inf)
        used = np.zeros(columns + 1, dtype=np.bool_)
        while owner[here] != 0:
            used[here] = True
            here = _widen(cost, here, owner, of_row, of_column, came_from, slack, used)
        while here:
            owner[here] = owner[came_from[here]]
            here = came_from[here]
    result = np.full(rows, -1, dtype=np.int64)
    for column in range(1, columns + 1):
        if owner[column]:
            result[owner[column] - 1] = column - 1
    return result


@njit(cache=True, nogil=True)
def _widen(
    cost: Float64,
    here: int,
    owner: Int64,
    of_row: Float64,
    of_column: Float64,
    came_from: Int64,
    slack: Float64,
    used: Mask,
) -> int:
    """Grow the tree of alternating paths by one column and return it."""
    least, following = np.inf, 0
    for column in range(1, len(owner)):
        if used[column]:
            continue
        reduced = cost[owner[here] - 1, column - 1] - of_row[owner[here]] - of_column[column]
        if reduced < slack[column]:
            slack[column], came_from[column] = reduced, here
        if slack[column] < least:
            least, following = slack[column], column
    for column in range(len(owner)):
        if used[column]:
            of_row[owner[column]] += least
            of_column[column] -= least
        else:
            slack[column] -= least
    return following


@njit(cache=True, nogil=True)
def _distances(ours: Float64, theirs: Float64, limit_m: float) -> Float64:
    """Return (N, M) distances, impossible ones where they are not below the limit."""
    cost = np.empty((len(ours), len(theirs)))
    for i in range(len(ours)):
        for j in range(len(theirs)):
            dx, dy = ours[i, 0] - theirs[j, 0], ours[i, 1] - theirs[j, 1]
            distance = np.sqrt(dx * dx + dy * dy)
            cost[i, j] = distance if distance < limit_m else _IMPOSSIBLE
    return cost


@njit(cache=True, nogil=True)
def _pair(cost: Float64) -> Int64:
    """Return (N,) column of each row, -1 for none: as many pairs as can be, then the nearest."""
    result = np.full(cost.shape[0], -1, dtype=np.int64)
    if cost.shape[0] <= cost.shape[1]:
        columns = assign(cost)
        for row in range(len(columns)):
            if cost[row, columns[row]] < _IMPOSSIBLE:
                result[row] = columns[row]
    else:
        rows = assign(np.ascontiguousarray(cost.T))
        for column in range(len(rows)):
            if cost[rows[column], column] < _IMPOSSIBLE:
                result[rows[column]] = column
    return result


@njit(cache=True, nogil=True)
def follow(
    truth_xy: Float64,
    truth_track: Int64,
    truth_start: Int64,
    pred_xy: Float64,
    pred_track: Int64,
    pred_start: Int64,
    kept: Mask,
    limit_m: float,
) -> tuple[Int64, Mask]:
    """Return (G,) the prediction of each truth box, -1 for none, and (G,) which are switches.

    A truth keeps the track it had as long as that is near enough; the rest is assigned anew in each
    frame. A switch is a truth that gets another track than the one it had last.

    Args:
        truth_xy: (G, 2) centres of one category, by frame.
        truth_track: (G,) numbers of the tracks from 0, never shared by two scenes.
        truth_start: (F + 1,) where each frame begins.
        pred_xy: (P, 2) as `truth_xy`.
        pred_track: (P,) as `truth_track`.
        pred_start: (F + 1,) as `truth_start`.
        kept: (P,) predictions that take part.
        limit_m: largest centre distance, exclusive.

    Source: Bernardin and Stiefelhagen, "Evaluating multiple object tracking performance: the CLEAR
    MOT metrics", 2008, section 2.1.2; py-motmetrics 1.4 `MOTAccumulator.update`.
    """
    had = np.full(truth_track.max() + 1 if len(truth_track) else 0, -1, dtype=np.int64)
    match = np.full(len(truth_track), -1, dtype=np.int64)
    switch = np.zeros(len(truth_track), dtype=np.bool_)
    for frame in range(len(truth_start) - 1):
        first, last = truth_start[frame], truth_start[frame + 1]
        here = np.arange(pred_start[frame], pred_start[frame + 1])
        here = here[kept[pred_start[frame] : pred_start[frame + 1]]]
        if last == first or len(here) == 0:
            continue
        cost = _distances(truth_xy[first:last], pred_xy[here], limit_m)
        columns = _keep(cost, had[truth_track[first:last]], pred_track[here])
        kept_rows = columns >= 0
        for i in range(last - first):
            if not kept_rows[i]:
                continue
            cost[i, :] = _IMPOSSIBLE
            cost[:, columns[i]] = _IMPOSSIBLE
        anew = _pair(cost)
        for i in range(last - first):
            column = columns[i] if kept_rows[i] else anew[i]
            if column < 0:
                continue
            truth, track = first + i, pred_track[here[column]]
            known = had[truth_track[truth]]
            switch[truth] = known >= 0 and known != track
            match[truth], had[truth_track[truth]] = here[column], track
    return match, switch


@njit(cache=True, nogil=True)
def _keep(cost: Float64, had: Int64, track: Int64) -> Int64:
    """Return (N,) column of the track that each row had before, -1 where it is gone or too far."""
    result = np.full(len(had), -1, dtype=np.int64)
    taken = np.zeros(len(track), dtype=np.bool_)
    for i in range(len(had)):
        for j in range(len(track)):
            if track[j] == had[i] and not taken[j]:
                if cost[i, j] < _IMPOSSIBLE:
                    result[i], taken[j] = j, True
                break
    return result


@njit(cache=True, nogil=True)
def count_together(
    truth_xy: Float64,
    truth_track: Int64,
    truth_start: Int64,
    pred_xy: Float64,
    pred_track: Int64,
    pred_start: Int64,
    limit_m: float,
) -> Int64:
    """Return (truth tracks, predicted tracks) in how many frames two tracks are near each other."""
    rows = truth_track.max() + 1 if len(truth_track) else 0
    columns = pred_track.max() + 1 if len(pred_track) else 0
    result = np.zeros((rows, columns), dtype=np.int64)
    for frame in range(len(truth_start) - 1):
        for i in range(truth_start[frame], truth_start[frame + 1]):
            for j in range(pred_start[frame], pred_start[frame + 1]):
                dx, dy = truth_xy[i, 0] - pred_xy[j, 0], truth_xy[i, 1] - pred_xy[j, 1]
                if np.sqrt(dx * dx + dy * dy) < limit_m:
                    result[truth_track[i], pred_track[j]] += 1
    return result
