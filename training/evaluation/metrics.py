"""AP, true-positive errors and NDS as the nuScenes detection task defines them, with intervals.

Differences from a full nuScenes run, all declared in the result:

* Categories without truth have AP NaN and are left out of every mean; the devkit counts them as 0.
* Our boxes have no attributes, so the attribute error is 1, as the devkit has it for such truth:
  NDS is at most 0.9.
* There are no bicycle racks to leave out.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

import numpy as np

from scene.errors import DataError
from scene.taxonomy import CATEGORY
from scene.types import Float64, Int64
from training.evaluation.matching import (
    ERROR_THRESHOLD,
    EvalFrame,
    Matches,
    Region,
    match_category,
    pool_frames,
    truth_digest,
)
from training.evaluation.resampling import Interval, group_weights, interval, mean_known
from training.evaluation.scoring import (
    ALL_ERRORS,
    Chosen,
    Samples,
    ap_samples,
    choose_all,
    choose_range,
    detection_score,
    error_samples,
    hits,
)

RANGE_BINS_M: Final[tuple[tuple[float, float], ...]] = ((0.0, 20.0), (20.0, 35.0), (35.0, 50.0))


@dataclass(frozen=True, slots=True)
class CategoryScore:
    """AP of one category, over all ranges or in one range bin.

    Attributes:
        category: name.
        range_min_m, range_max_m: distance from the ego origin, lower bound included.
        ap: mean over the four distance thresholds.
        ap_by_threshold: AP at 0.5, 1, 2 and 4 m.
        errors: mean true-positive errors at 2 m by devkit name; empty for range bins.
        num_boxes: truth boxes.
        num_predictions: predictions of any score (range bins: those counted in the bin at 2 m).
        num_groups: bootstrap groups that hold truth.
    """

    category: str
    range_min_m: float
    range_max_m: float
    ap: Interval
    ap_by_threshold: tuple[float, ...]
    errors: dict[str, float]
    num_boxes: int
    num_predictions: int
    num_groups: int


@dataclass(frozen=True, slots=True)
class Evaluation:
    """Metrics of one model on one set of frames.

    Attributes:
        categories: evaluated, in order.
        region: the area outside of which nothing was evaluated; None for the whole range.
        mean_ap, nds: over the categories that have truth.
        errors: mean true-positive errors over those categories, by devkit name.
        classes: one score a category.
        ranges: one score a category and range bin. A matched prediction counts in the bin of its
            truth, an unmatched one in the bin of its own distance.
        num_frames, num_groups: what was evaluated; groups are the blocks of the bootstrap.
        resamples, seed: of the bootstrap.
        truth_digest: equal for evaluations on the same frames and truth.
        frame_ids, groups: (F,) of every frame.
        matches: one a category, kept so that models can be compared without their boxes.
    """

    categories: tuple[str, ...]
    region: Region | None
    mean_ap: Interval
    nds: Interval
    errors: dict[str, float]
    classes: tuple[CategoryScore, ...]
    ranges: tuple[CategoryScore, ...]
    num_frames: int
    num_groups: int
    resamples: int
    seed: int
    truth_digest: str
    frame_ids: tuple[str, ...]
    groups: tuple[str, ...]
    matches: tuple[Matches, ...]

    def of(self, category: str) -> CategoryScore:
        """Return the score of one category over all ranges.

        Raises:
            DataError: if the category was not evaluated.
        """
        for score in self.classes:
            if score.category == category:
                return score
        raise DataError(f"{category!r} was not evaluated; evaluated: {', '.join(self.categories)}")

    def headline(self) -> dict[str, Interval]:
        """Return what a table shows: mAP, NDS and `AP/<category>`."""
        by_class = {f"AP/{score.category}": score.ap for score in self.classes}
        return {"mAP": self.mean_ap, "NDS": self.nds, **by_class}

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON values, matches included; NaN becomes None."""
        from training.evaluation import encoding

        return encoding.evaluation_to_dict(self)

    @classmethod
    def from_dict(cls, content: Mapping[str, Any]) -> Evaluation:
        """Read what `to_dict` wrote.

        Raises:
            FormatError: if the content is not an evaluation of this version.
        """
        from training.evaluation import encoding

        return encoding.evaluation_from_dict(content)


def evaluate(
    frames: Sequence[EvalFrame],
    categories: Sequence[str],
    *,
    region: Region | None = None,
    resamples: int = 400,
    seed: int = 0,
) -> Evaluation:
    """Evaluate predictions against truth.

    Args:
        frames: every frame once, also those without boxes.
        categories: names of the taxonomy; boxes of other categories are ignored.
        region: what the model can see; None for the ranges of the taxonomy alone.
        resamples: of the bootstrap; 0 gives no intervals.
        seed: of the bootstrap.

    Raises:
        ConfigError: if a category is unknown or none is named.
        DataError: if a frame occurs twice or a box cannot be compared.
    """
    pool = pool_frames(frames, categories, region)
    matches = tuple(match_category(pool, name) for name in categories)
    weights = group_weights(pool.groups, resamples, seed)
    scored = [_score(m, choose_all(m), weights, pool.groups) for m in matches]
    errors = np.stack([error_samples(m, weights) for m in matches])
    samples = Samples(np.stack([ap for _, ap in scored]), errors)
    most_groups = max((score.num_groups for score, _ in scored), default=0)
    return Evaluation(
        categories=tuple(categories),
        region=region,
        mean_ap=interval(mean_known(samples.ap), most_groups),
        nds=interval(detection_score(samples), most_groups),
        errors=_named(mean_known(errors[:, :, 0])),
        classes=tuple(
            replace(score, errors=_named(error[:, 0]))
            for (score, _), error in zip(scored, errors, strict=True)
        ),
        ranges=_range_scores(matches, weights, pool.groups),
        num_frames=len(pool.frame_ids),
        num_groups=len(set(pool.groups)),
        resamples=resamples,
        seed=seed,
        truth_digest=truth_digest(pool),
        frame_ids=pool.frame_ids,
        groups=pool.groups,
        matches=matches,
    )


def _named(errors: Float64) -> dict[str, float]:
    return {name: float(value) for name, value in zip(ALL_ERRORS, errors, strict=True)}


def _range_scores(
    matches: Sequence[Matches], weights: Int64, groups: Sequence[str]
) -> tuple[CategoryScore, ...]:
    """Score every category in every range bin that its evaluation range reaches into."""
    result = []
    for match in matches:
        limit_m = CATEGORY[match.category].max_range_m
        for low, high in RANGE_BINS_M:
            if low < limit_m:
                bounds = (low, min(high, limit_m))
                chosen = choose_range(match, *bounds)
                result.append(_score(match, chosen, weights, groups, bounds)[0])
    return tuple(result)


def _score(
    matches: Matches,
    chosen: Chosen,
    weights: Int64,
    groups: Sequence[str],
    bounds_m: tuple[float, float] | None = None,
) -> tuple[CategoryScore, Float64]:
    """Return the score of a slice of one category and its (R,) AP in every resample."""
    by_threshold = ap_samples(matches, chosen, weights)
    ap = by_threshold.mean(axis=0)
    holding = np.unique(np.asarray(groups, dtype=np.str_)[matches.truth_frame[chosen.truth]])
    low, high = bounds_m or (0.0, CATEGORY[matches.category].max_range_m)
    score = CategoryScore(
        category=matches.category,
        range_min_m=low,
        range_max_m=high,
        ap=interval(ap, len(holding)),
        ap_by_threshold=tuple(by_threshold[:, 0].tolist()),
        errors={},
        num_boxes=int(chosen.truth.sum()),
        num_predictions=int((hits(matches, chosen)[ERROR_THRESHOLD] >= 0).sum()),
        num_groups=len(holding),
    )
    return score, ap
