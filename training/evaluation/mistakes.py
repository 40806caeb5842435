"""What kind of mistakes a model makes, and what each kind costs: dAP, in the manner of TIDE.

Matching is that of nuScenes at 2 m. A prediction that matched nothing is

* duplicate: a truth of its category is within 2 m, but taken;
* class: a truth of another category is within 2 m;
* localisation: a truth of its category is within 4 m;
* both: a truth of another category is within 4 m;
* background: none of these.

A truth that no prediction matched is missed, unless a class or localisation mistake lies on it. The
cost of a kind is how much mAP at 2 m rises when exactly these mistakes are put right: moved or
renamed predictions become hits of their truth if that is free and are removed otherwise, the
others are removed, missed truth is no longer asked for.

Source: Bolya et al., "TIDE: a general toolbox for identifying object detection errors", ECCV 2020,
with centre distances in place of IoU.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

import numpy as np

from scene.types import Float64, Int64, Mask, Text
from training.evaluation.matching import (
    ERROR_THRESHOLD,
    THRESHOLDS_M,
    EvalFrame,
    Pool,
    Region,
    match_category,
    pool_frames,
)
from training.evaluation.resampling import mean_known

KINDS: Final = ("class", "localisation", "both", "duplicate", "background", "missed")
_NEAR_M: Final = float(THRESHOLDS_M[ERROR_THRESHOLD])
_FAR_M: Final = 4.0
_RECALLS: Final[Float64] = np.linspace(0.0, 1.0, 101, dtype=np.float64)
_HIT: Final = "hit"


@dataclass(frozen=True, slots=True)
class Mistakes:
    """Mistakes of a model on some frames.

    Attributes:
        cost: dAP by kind: mAP at 2 m with these mistakes put right, less mAP as it is.
        count: by kind, of predictions with at least `min_score`; of all missed truth.
        by_category: count by category and kind.
        mean_ap: mAP at 2 m as it is.
        min_score: of the predictions counted.
        kind: (P,) kind of each prediction of the pool, "hit" for those that matched.
        missed: (G,) whether each truth of the pool is missed.
        pool: the boxes that were evaluated.
    """

    cost: dict[str, float]
    count: dict[str, int]
    by_category: dict[str, dict[str, int]]
    mean_ap: float
    min_score: float
    kind: Text
    missed: Mask
    pool: Pool


class _Predictions(NamedTuple):
    """All predictions: which truth they are about (-1 for none) and whether they are hits."""

    kind: Text
    truth: Int64


def find_mistakes(
    frames: Sequence[EvalFrame],
    categories: Sequence[str],
    *,
    region: Region | None = None,
    min_score: float = 0.3,
) -> Mistakes:
    """Sort out what went wrong.

    Args:
        frames: every frame once.
        categories: names of the taxonomy; boxes of others are ignored.
        region: what the model can see.
        min_score: predictions below it are not counted; costs are over all.

    Raises:
        ConfigError, DataError: as `evaluate`.
    """
    pool = pool_frames(frames, categories, region)
    found, taken = _sort_out(pool, categories)
    wrong = np.isin(found.kind, ("class", "localisation"))
    missed = ~taken
    missed[found.truth[wrong]] = False
    category = pool.predictions.category.copy()
    now = _mean_ap(pool, categories, category, found.kind == _HIT, np.ones(len(taken), np.bool_))
    cost = {kind: _put_right(pool, categories, found, taken, missed, kind) - now for kind in KINDS}
    shown = pool.predictions.score >= min_score
    by_category = {
        name: {
            kind: int((shown & (found.kind == kind) & (category == name)).sum())
            for kind in KINDS[:-1]
        }
        | {"missed": int((missed & (pool.truth.category == name)).sum())}
        for name in categories
    }
    count = {kind: sum(row[kind] for row in by_category.values()) for kind in KINDS}
    return Mistakes(cost, count, by_category, now, min_score, found.kind, missed, pool)


def _sort_out(pool: Pool, categories: Sequence[str]) -> tuple[_Predictions, Mask]:
    """Return the kind of every prediction, and which truth is matched."""
    count = len(pool.predictions)
    hit, taken = np.full(count, -1, dtype=np.int64), np.zeros(len(pool.truth), dtype=np.bool_)
    own_truth, own_m = np.full(count, -1, dtype=np.int64), np.full(count, np.inf)
    other_truth, other_m = own_truth.copy(), own_m.copy()
    for name in categories:
        mine = np.flatnonzero(pool.predictions.category == name)
        order = mine[np.argsort(pool.predictions.score[mine], kind="stable")[::-1]]
        same = np.flatnonzero(pool.truth.category == name)
        match = match_category(pool, name).match[ERROR_THRESHOLD]
        hit[order[match >= 0]] = same[match[match >= 0]]
        own_truth[mine], own_m[mine] = _nearest(pool, mine, same)
        rest = np.flatnonzero(pool.truth.category != name)
        other_truth[mine], other_m[mine] = _nearest(pool, mine, rest)
    taken[hit[hit >= 0]] = True
    conditions = [
        hit >= 0, own_m < _NEAR_M, other_m < _NEAR_M, own_m < _FAR_M, other_m < _FAR_M
    ]  # fmt: skip
    kind = np.select(conditions, [_HIT, "duplicate", "class", "localisation", "both"], "background")
    about = [hit >= 0, kind == "localisation", kind == "class"]
    truth = np.select(about, [hit, own_truth, other_truth], -1)
    return _Predictions(kind, truth.astype(np.int64)), taken


def _nearest(pool: Pool, mine: Int64, truth: Int64) -> tuple[Int64, Float64]:
    """Return the truth of its frame that is nearest to each prediction, in the ground plane."""
    from training.evaluation import kernels  # numba costs half a second to import

    flat = np.array([1.0, 1.0, 0.0])
    start = np.searchsorted(pool.truth_frame[truth], np.arange(len(pool.frame_ids) + 1))
    nearest, distance = kernels.nearest_truth(
        pool.predictions.center_xyz_m[mine] * flat,
        pool.frame[mine],
        pool.truth.center_xyz_m[truth] * flat,
        start.astype(np.int64),
    )
    if not len(truth):
        return nearest, distance
    return np.where(nearest >= 0, truth[nearest], -1), distance


def _put_right(
    pool: Pool,
    categories: Sequence[str],
    found: _Predictions,
    taken: Mask,
    missed: Mask,
    kind: str,
) -> float:
    """Return mAP with the mistakes of one kind put right."""
    every = np.ones(len(taken), dtype=np.bool_)
    category, right = pool.predictions.category.copy(), found.kind == _HIT
    if kind == "missed":
        return _mean_ap(pool, categories, category, right, ~missed)
    wrong = np.flatnonzero(found.kind == kind)
    kept = np.ones(len(right), dtype=np.bool_)
    kept[wrong] = False
    if kind in ("class", "localisation"):
        free = wrong[~taken[found.truth[wrong]]]
        best_first = free[np.argsort(-pool.predictions.score[free], kind="stable")]
        first = best_first[np.unique(found.truth[best_first], return_index=True)[1]]
        kept[first] = right[first] = True
        names = pool.truth.category[found.truth[first]]
        category = category.astype(np.promote_types(category.dtype, names.dtype))
        category[first] = names
    return _mean_ap(pool, categories, category, right, every, kept)


def _mean_ap(
    pool: Pool,
    categories: Sequence[str],
    category: Text,
    right: Mask,
    asked: Mask,
    kept: Mask | None = None,
) -> float:
    """Return mAP at 2 m over the categories that have truth, some predictions left out."""
    from training.evaluation import kernels  # numba costs half a second to import

    ones = np.ones((1, max(len(pool.frame_ids), 1)), dtype=np.int64)
    values = []
    for name in categories:
        wanted = int(((pool.truth.category == name) & asked).sum())
        mine = np.flatnonzero(category == name)
        order = mine[np.argsort(pool.predictions.score[mine], kind="stable")[::-1]]
        hit = right[order].astype(np.int64)
        if kept is not None:
            hit = np.where(kept[order], hit, -1)
        total = np.array([wanted], dtype=np.int64)
        ap = kernels.average_precision(hit, pool.frame[order], ones, total, _RECALLS)[0]
        # A category all of whose truth was missed and is no longer asked for has nothing wrong.
        empty = not wanted and bool((pool.truth.category == name).any())
        values.append(1.0 if empty else ap)
    return float(mean_known(np.array(values)))
