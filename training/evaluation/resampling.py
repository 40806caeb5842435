"""Uncertainty by resampling whole groups of frames.

Frames of one recording resemble each other, so single frames must not be resampled: the interval
would be far too narrow. Matching is done once; a resample only changes how often a frame counts.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Final

import numpy as np

from scene.types import Float64, Int64

_TAIL: Final = 0.025


@dataclass(frozen=True, slots=True)
class Interval:
    """A number with its 95 % bootstrap interval.

    Attributes:
        value: the estimate from all frames; NaN if there is no truth to measure on.
        low, high: NaN if fewer than two groups hold truth: one group says nothing about others.
    """

    value: float
    low: float
    high: float

    def to_dict(self) -> dict[str, float | None]:
        """Return plain values, None for NaN (JSON has no NaN)."""
        return {name: _or_none(value) for name, value in asdict(self).items()}

    @classmethod
    def from_dict(cls, content: Mapping[str, float | None]) -> Interval:
        """Read what `to_dict` wrote."""
        return cls(*(_or_nan(content[name]) for name in ("value", "low", "high")))


def group_weights(groups: Sequence[str], resamples: int, seed: int) -> Int64:
    """Return (1 + resamples, F) how often each frame counts; the first row counts each once.

    A resample draws as many groups as there are, with replacement. The draw depends only on the
    sorted names of the groups and the seed, so two models are resampled alike.
    """
    names, group = np.unique(np.asarray(groups, dtype=np.str_), return_inverse=True)
    count = max(len(names), 1)
    drawn = np.random.default_rng(seed).multinomial(count, np.full(count, 1 / count), resamples)
    every = np.ones((1, count), dtype=np.int64)
    return np.ascontiguousarray(np.concatenate([every, drawn.astype(np.int64)])[:, group])


def weighted_counts(weights: Int64, frame: Int64) -> Int64:
    """Return (R,) number of boxes of every resample for boxes in the frames `frame`."""
    per_frame = np.bincount(frame, minlength=weights.shape[1]).astype(np.int64)
    return weights @ per_frame


def interval(samples: Float64, num_groups: int) -> Interval:
    """Return the 95 % interval of (1 + R,) samples, of which the first is the estimate.

    Percentiles of the resamples alone are too narrow for few groups, so the tails are widened as
    Student's t is wider than the normal. Measured on random detections of one category, the
    interval then held the long-run value in 87 % (4 groups of 10 frames), 90 % (8 groups of 5) and
    93 % (100 groups) of 200 draws: still a little narrow.

    Args:
        samples: NaN where a resample holds no truth; those are left out.
        num_groups: groups that hold truth; below two no interval is given.

    Source: Hesterberg, "What teachers should know about the bootstrap", 2015, "expanded
    percentile interval".
    """
    from scipy.special import ndtr, stdtrit

    value = float(samples[0])
    known = samples[1:][np.isfinite(samples[1:])]
    if num_groups < 2 or len(known) == 0 or not np.isfinite(value):
        return Interval(value, np.nan, np.nan)
    student = stdtrit(num_groups - 1, _TAIL) * np.sqrt(num_groups / (num_groups - 1))
    tail = float(ndtr(student))
    low, high = np.quantile(known, [tail, 1.0 - tail])
    return Interval(value, float(low), float(high))


def share_not_better(changes: Float64, num_groups: int) -> float:
    """Return the share of resamples in which a candidate is not better: its change is at most 0.

    A small share says that the candidate is better whichever recordings one happens to have: it
    reads like a one-sided p-value, without the claim of one, and with few groups it is too small.

    Args:
        changes: (1 + R,) candidate minus champion, larger is better; the first is the estimate.
            NaN where a resample holds no truth; those are left out.
        num_groups: groups that hold truth; below two the share is NaN.
    """
    known = changes[1:][np.isfinite(changes[1:])]
    if num_groups < 2 or len(known) == 0:
        return float("nan")
    return float(np.mean(known <= 0.0))


def mean_known(values: Float64, axis: int = 0) -> Float64:
    """Return the mean over an axis without NaN; NaN where all are NaN."""
    known = np.isfinite(values)
    count = known.sum(axis=axis)
    total = np.where(known, values, 0.0).sum(axis=axis)
    return np.where(count > 0, total / np.maximum(count, 1), np.nan)


def _or_none(value: float) -> float | None:
    return None if np.isnan(value) else float(value)


def _or_nan(value: float | None) -> float:
    return float("nan") if value is None else float(value)
