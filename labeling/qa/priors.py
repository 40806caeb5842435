"""What is usual, learned from labels that are mostly right.

A figure of a box (how far it is from where its track leads, how its size differs from its class)
is compared with the same figure of other boxes of its kind: `surprise` is how many times the 95 %
quantile it is. Errors are rarer than one in twenty, so they hardly move that quantile; and under
tails that fall exponentially, as these figures' do, surprise is minus the log of the chance of such
a figure in units of log 20.

In the spirit of learned observation assertions: Kang et al., "Finding label and model errors in
perception data with learned observation assertions" (Fixy), SIGMOD 2022.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np

from scene.taxonomy import CATEGORIES, CATEGORY_NAMES
from scene.types import Float64, Text

_QUANTILE: Final = 0.95
_MIN_GROUP: Final = 40  # smaller groups are judged by all boxes together
_SIZE_SPREAD: Final = 0.18  # of the log of a size in a class, where labels are too few to tell
_LEAST_SPREAD: Final = 0.06
_MIN_TRACKS: Final = 6


def surprise(values: Float64, group: Text, floor: float) -> Float64:
    """Return (N,) how many times the usual (95 % quantile of its group) each value is.

    Args:
        values: (N,) at least 0; NaN where unknown, which is no surprise.
        group: (N,) kind of box; small groups share the quantile of all.
        floor: least value that may count as the quantile: smaller figures are no errors.
    """
    known = np.isfinite(values)
    result = np.zeros(len(values))
    if not known.any():
        return result
    usual = max(floor, float(np.quantile(values[known], _QUANTILE)))
    scale = np.full(len(values), usual)
    for name in np.unique(group[known]):
        mine = known & (group == name)
        if mine.sum() >= _MIN_GROUP:
            scale[mine] = max(floor, float(np.quantile(values[mine], _QUANTILE)))
    result[known] = values[known] / scale[known]
    return result


@dataclass(frozen=True, slots=True, eq=False)
class SizePriors:
    """Usual sizes of every category of the taxonomy.

    Attributes:
        log_size: (C, 3) median of the log of length, width and height.
        spread: (C, 3) robust deviation of it.
    """

    log_size: Float64
    spread: Float64

    @classmethod
    def learn(cls, size_lwh_m: Float64, category: Text, track: Text) -> SizePriors:
        """Learn from labels, one vote a track; categories with few tracks keep usual sizes."""
        log_size = np.log([category.size_lwh_m for category in CATEGORIES])
        spread = np.full_like(log_size, _SIZE_SPREAD)
        key = np.char.add(np.char.add(category, "|"), track)
        _, first = np.unique(key, return_index=True)
        size, names = np.log(size_lwh_m[first]), category[first]
        for index, name in enumerate(CATEGORY_NAMES):
            mine = size[names == name]
            if len(mine) >= _MIN_TRACKS:
                log_size[index] = np.median(mine, axis=0)
                mad = 1.4826 * np.median(np.abs(mine - log_size[index]), axis=0)
                spread[index] = np.maximum(mad, _LEAST_SPREAD)
        return cls(log_size, spread)

    def distance(self, size_lwh_m: Float64) -> Float64:
        """Return (N, C) how far sizes are from each category, in deviations a dimension.

        Wide classes are as far as narrow ones: the log of the spread is added, so that distances
        can be compared as likelihoods.
        """
        z = (np.log(size_lwh_m)[:, None] - self.log_size) / self.spread
        volume = np.log(self.spread / _LEAST_SPREAD).sum(axis=1)
        return np.sqrt((z**2).sum(axis=2) / 3 + 2 * volume / 3)
