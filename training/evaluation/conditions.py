"""Under which conditions is the model weak? By points, visibility, speed, place, time and source.

Unlike the slices that issues are made of (`training.evaluation.slices`), these ask what the world
was like. What nobody knows is a slice of its own, `unknown`, so the boxes of a kind add up.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Final, NamedTuple

import numpy as np

from scene.box import Boxes
from scene.types import Float64, Int64, Mask, Text
from training.evaluation.matching import (
    ERROR_THRESHOLD,
    EvalFrame,
    Matches,
    Pool,
    Region,
    match_category,
    pool_frames,
    sort_predictions,
)
from training.evaluation.resampling import (
    Interval,
    group_weights,
    interval,
    mean_known,
    weighted_counts,
)
from training.evaluation.scoring import Chosen, ap_samples, choose_all, hits

UNKNOWN: Final = "unknown"
OTHER: Final = "others"
FRAME_KINDS: Final[tuple[str, ...]] = ("place", "time of day", "source")
_MOST_VALUES: Final = 24  # of places and sources; the rest is counted together
_POINTS: Final = ((1, "1-5"), (6, "6-20"), (21, "21-100"), (101, "over 100"))
_SPEEDS_MPS: Final = ((0.0, "under 0.5 m/s"), (0.5, "0.5-3 m/s"), (3.0, "3-10 m/s"),
                      (10.0, "over 10 m/s"))  # fmt: skip
_VISIBLE: Final = ((0.0, "under 25 %"), (0.25, "25-60 %"), (0.6, "over 60 %"))
_FREE: Final = 0.9  # quantile of the point density that stands for a box in plain view
_ENOUGH: Final = 20  # boxes of a category and source, below which that quantile says little


@dataclass(frozen=True, slots=True)
class ConditionScore:
    """How good the model is under one condition.

    Attributes:
        kind: `points`, `visible`, `speed`, or one of `FRAME_KINDS`.
        value: such as `6-20` or `unknown`.
        category: empty for all of them together.
        ap: mean over the thresholds, over the categories that have truth. NaN for `points` and
            `visible`: a false alarm has neither, so there is no precision.
        recall: share of the truth found within 2 m by predictions with at least the score at which
            the category's F1 is best on all frames.
        num_boxes, num_frames: truth of the slice, and frames that hold some.
    """

    kind: str
    value: str
    category: str
    ap: Interval
    recall: Interval
    num_boxes: int
    num_frames: int

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON values; None for NaN."""
        return asdict(self) | {"ap": self.ap.to_dict(), "recall": self.recall.to_dict()}

    @classmethod
    def from_dict(cls, row: Mapping[str, Any]) -> ConditionScore:
        """Read what `to_dict` wrote."""
        figures = {name: Interval.from_dict(row[name]) for name in ("ap", "recall")}
        return cls(**{**row, **figures})


class _Category(NamedTuple):
    """One category, matched: what is found at the working point, and what may be asked of it."""

    matches: Matches
    truth: Int64  # (G,) index in the pool
    predictions: Int64  # (P,) index in the pool
    found: Mask  # (G,) bool


class _Values(NamedTuple):
    """The values of one kind. An empty text of a prediction: it cannot have this property."""

    kind: str
    names: tuple[str, ...]  # in the order of the result
    truth: Text  # (G,) of the pool
    predictions: Text  # (P,) of the pool


def score_conditions(
    frames: Sequence[EvalFrame],
    known: Sequence[Mapping[str, str]],
    categories: Sequence[str],
    *,
    region: Region | None = None,
    resamples: int = 200,
    seed: int = 0,
) -> list[ConditionScore]:
    """Score a model under every condition that the frames and their truth tell of.

    Args:
        frames: as for `evaluate`.
        known: for each frame, what is known of it by name of `FRAME_KINDS`; a name that is missing
            is unknown.
        categories: names of the taxonomy.
        region: what the model can see.
        resamples: of the bootstrap.
        seed: of the bootstrap.

    Returns:
        For every kind and value that has truth, first all categories together, then each one.

    Raises:
        ConfigError, DataError: as `evaluate`.
    """
    pool = pool_frames(frames, categories, region)
    weights = group_weights(pool.groups, resamples, seed)
    matched = [_match(pool, category) for category in categories]
    return [
        score
        for values in _kinds(pool, known)
        for name in values.names
        for score in _score(name, values, matched, weights, pool)
    ]


def visible_share(boxes: Boxes, source: Text) -> Float64:
    """Return (N,) which share of its points a box shows, NaN where that cannot be said.

    A box in plain view gets points in proportion to the solid angle of its outline. What that is
    for a lidar and a category is read from the boxes themselves: the 90 % quantile of points by
    solid angle over the boxes of one source and category, of which there must be 20.

    Args:
        boxes: ego frame, with counted points.
        source: (N,) name of the lidar that saw each.
    """
    range_m = np.maximum(np.linalg.norm(boxes.center_xyz_m, axis=1), 1.0)
    facing = boxes.yaw_rad - np.arctan2(boxes.center_xyz_m[:, 1], boxes.center_xyz_m[:, 0])
    length, width, height = boxes.size_lwh_m.T
    outline_m2 = (length * np.abs(np.sin(facing)) + width * np.abs(np.cos(facing))) * height
    density = boxes.num_points * range_m**2 / np.maximum(outline_m2, 1e-6)
    counted = boxes.num_points >= 0
    share = np.full(len(boxes), np.nan)
    keys = np.char.add(np.char.add(source, "\n"), boxes.category)
    for key in np.unique(keys[counted]):
        mine = counted & (keys == key)
        free = float(np.quantile(density[mine], _FREE))
        if mine.sum() >= _ENOUGH and free > 0:
            share[mine] = np.minimum(density[mine] / free, 1.0)
    return share


def _match(pool: Pool, category: str) -> _Category:
    """Match one category and choose its working point."""
    matches = match_category(pool, category)
    hit = hits(matches, choose_all(matches))[ERROR_THRESHOLD]
    right = np.cumsum(hit == 1)
    # F1 = 2 TP / (predictions + truth)
    f1 = 2 * right / (np.arange(1, len(hit) + 1) + len(matches.truth_frame))
    taken = matches.match[ERROR_THRESHOLD, : int(f1.argmax()) + 1 if len(f1) else 0]
    found = np.zeros(len(matches.truth_frame), dtype=np.bool_)
    found[taken[taken >= 0]] = True
    truth = np.flatnonzero(pool.truth.category == category)
    return _Category(matches, truth, sort_predictions(pool, category), found)


def _kinds(pool: Pool, known: Sequence[Mapping[str, str]]) -> Iterator[_Values]:
    """Yield the values of every kind."""
    truth, predictions = pool.truth, pool.predictions
    none = np.full(len(predictions), "", dtype="<U1")
    points = _binned(np.where(truth.num_points > 0, truth.num_points, np.nan), _POINTS)
    yield _Values("points", _names(_POINTS), points, none)
    facts = {name: np.array([f.get(name) or UNKNOWN for f in known] or [""])
             for name in FRAME_KINDS}  # fmt: skip
    share = visible_share(truth, facts["source"][pool.truth_frame])
    yield _Values("visible", _names(_VISIBLE), _binned(share, _VISIBLE), none)
    speeds = [
        _binned(np.hypot(*boxes.velocity_xy_mps.T), _SPEEDS_MPS) for boxes in (truth, predictions)
    ]
    yield _Values("speed", _names(_SPEEDS_MPS), speeds[0], speeds[1])
    for name, of_frame in facts.items():
        counts = Counter(of_frame[pool.truth_frame].tolist())
        often = sorted({value for value, _ in counts.most_common(_MOST_VALUES)} - {UNKNOWN, OTHER})
        told = np.where(np.isin(of_frame, [*often, UNKNOWN]), of_frame, OTHER)
        names = (*often, OTHER, UNKNOWN)
        yield _Values(name, names, told[pool.truth_frame], told[pool.frame])


def _names(bins: Sequence[tuple[float, str]]) -> tuple[str, ...]:
    return (*(name for _, name in bins), UNKNOWN)


def _binned(values: Float64, bins: Sequence[tuple[float, str]]) -> Text:
    """Return the name of each value's bin, of which the lower bound is given; unknown for NaN."""
    bounds, names = np.array([low for low, _ in bins]), np.array(_names(bins))
    index = np.maximum(np.searchsorted(bounds, values, side="right") - 1, 0)
    return names[np.where(np.isnan(values), len(bins), index)]


def _score(
    name: str, values: _Values, matched: Sequence[_Category], weights: Int64, pool: Pool
) -> Iterator[ConditionScore]:
    """Yield the scores of one value: of all categories, then of each; none without truth."""
    chosen = [
        Chosen(values.truth[c.truth] == name, values.predictions[c.predictions] == name)
        for c in matched
    ]
    has_precision = values.kind not in ("points", "visible")
    parts = [
        _part(category, choice, weights, has_precision=has_precision)
        for category, choice in zip(matched, chosen, strict=True)
    ]
    together = _Part(
        "",
        mean_known(np.stack([part.ap for part in parts])),
        np.sum([part.found for part in parts], axis=0),
        np.sum([part.total for part in parts], axis=0),
        np.concatenate([part.frame for part in parts]),
    )
    for part in (together, *parts):
        holding = np.unique(part.frame)
        if not len(holding):
            continue
        groups = len({pool.groups[i] for i in holding})
        recall = np.where(part.total > 0, part.found / np.maximum(part.total, 1), np.nan)
        yield ConditionScore(
            values.kind, name, part.category, interval(part.ap, groups), interval(recall, groups),
            len(part.frame), len(holding),
        )  # fmt: skip


class _Part(NamedTuple):
    """One category, or all, under one condition, in every resample."""

    category: str
    ap: Float64  # (R,)
    found: Int64  # (R,) truth found
    total: Int64  # (R,) truth
    frame: Int64  # (G,) of the truth


def _part(category: _Category, chosen: Chosen, weights: Int64, *, has_precision: bool) -> _Part:
    m = category.matches
    frame = m.truth_frame[chosen.truth]
    ap = np.full(len(weights), np.nan)
    if has_precision and len(frame):
        ap = ap_samples(m, chosen, weights).mean(axis=0)
    found = weighted_counts(weights, m.truth_frame[chosen.truth & category.found])
    return _Part(m.category, ap, found, weighted_counts(weights, frame), frame)
