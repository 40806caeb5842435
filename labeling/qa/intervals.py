"""Means with intervals: frames are drawn again, because boxes of one frame resemble each other."""

from __future__ import annotations

from typing import Final, NamedTuple

import numpy as np
from scipy import special, stats

from scene.types import Float, Float64, Int64

RESAMPLES: Final = 2000
_SEED: Final = 20111


class Estimate(NamedTuple):
    """A figure and the interval that covers it 19 times out of 20.

    Attributes:
        value, low, high: NaN where there is nothing to estimate from.
        num: what it was counted from.
    """

    value: float
    low: float
    high: float
    num: int

    def __format__(self, spec: str) -> str:
        """Return `value [low, high]`, each formatted by `spec`."""
        if not np.isfinite(self.value):
            return "-"
        return f"{self.value:{spec}} [{self.low:{spec}}, {self.high:{spec}}]"


NOTHING: Final = Estimate(float("nan"), float("nan"), float("nan"), 0)


def ratio_by_block(
    numerator: Float, denominator: Float, block: Int64, num: int | None = None
) -> Estimate:
    """Return sum(numerator) / sum(denominator) with a bootstrap interval over blocks.

    Expanded percentile interval: with few blocks the plain one is too narrow.

    Args:
        numerator: (N,) for example the errors of boxes.
        denominator: (N,) for example ones.
        block: (N,) which frame or task each belongs to.
        num: what to report as the count; N if not given.

    Source: Hesterberg, "What teachers should know about the bootstrap", Am. Stat. 69, 2015, 3.3.
    """
    if not len(block) or not np.sum(denominator) > 0:
        return NOTHING
    _, index = np.unique(block, return_inverse=True)
    top = np.bincount(index, np.asarray(numerator, dtype=np.float64)).astype(np.float64)
    bottom = np.bincount(index, np.asarray(denominator, dtype=np.float64)).astype(np.float64)
    value = float(top.sum() / bottom.sum())
    count = len(block) if num is None else num
    if len(top) < 2:
        return Estimate(value, -np.inf, np.inf, count)
    low, high = _interval(top, bottom)
    return Estimate(value, low, high, count)


def mean_by_block(values: Float, block: Int64) -> Estimate:
    """Return the mean of (N,) values with an interval over blocks; NaN values are left out."""
    known = np.isfinite(values)
    return ratio_by_block(np.asarray(values)[known], np.ones(int(known.sum())), block[known])


def _interval(top: Float64, bottom: Float64) -> tuple[float, float]:
    count = len(top)
    rng = np.random.default_rng(_SEED)
    drawn = rng.multinomial(count, np.full(count, 1 / count), size=RESAMPLES)
    below = drawn @ bottom
    ratio = (drawn @ top)[below > 0] / below[below > 0]
    wide = np.sqrt(count / (count - 1)) * stats.t.ppf(0.975, count - 1)
    tail = float(special.ndtr(-wide))
    low, high = np.quantile(ratio, [tail, 1 - tail])
    return float(low), float(high)
