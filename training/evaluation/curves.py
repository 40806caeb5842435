"""Curves behind the numbers: precision over recall, and how far scores can be believed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from scene.types import Float64
from training.evaluation.matching import ERROR_THRESHOLD, Matches

RECALLS: Final[Float64] = np.linspace(0.0, 1.0, 101, dtype=np.float64)


@dataclass(frozen=True, slots=True)
class Curve:
    """Precision over recall of one category at 2 m.

    Attributes:
        category: name.
        precision: (101,) at recalls 0, 0.01, ..., 1, as nuScenes interpolates it; 0 beyond the
            highest recall.
        max_recall: highest recall.
    """

    category: str
    precision: Float64
    max_recall: float


@dataclass(frozen=True, slots=True)
class Calibration:
    """How often predictions are right, by what their scores promise.

    Attributes:
        edge: (B + 1,) of the bins of scores.
        promised: (B,) mean score in each bin; NaN where it is empty.
        right: (B,) share of predictions that match truth at 2 m; NaN where it is empty.
        count: (B,) predictions.
        error: expected calibration error: mean gap of promised and right, by predictions.
    """

    edge: Float64
    promised: Float64
    right: Float64
    count: np.ndarray
    error: float


def precision_curve(matches: Matches) -> Curve | None:
    """Return precision over recall of a category; None without truth.

    Source: nuScenes devkit `accumulate`.
    """
    num_truth = len(matches.truth_frame)
    if not num_truth:
        return None
    hit = matches.match[ERROR_THRESHOLD] >= 0
    if not hit.any():
        return Curve(matches.category, np.zeros(len(RECALLS)), 0.0)
    right = np.cumsum(hit)
    recall = right / num_truth
    precision = right / np.arange(1, len(hit) + 1)
    curve = np.interp(RECALLS, recall, precision, right=0.0)
    return Curve(matches.category, curve, float(recall[-1]))


def calibrate(matches: Sequence[Matches], num_bins: int = 10) -> Calibration:
    """Compare scores with how often they are right, over all categories given.

    Source: Guo et al., "On calibration of modern neural networks", ICML 2017, section 3.
    """
    score = np.concatenate([np.zeros(0), *(m.score for m in matches)])
    hit = np.concatenate([np.zeros(0, np.bool_), *(m.match[ERROR_THRESHOLD] >= 0 for m in matches)])
    edge = np.linspace(0.0, 1.0, num_bins + 1, dtype=np.float64)
    place = np.clip(np.searchsorted(edge, score, side="right") - 1, 0, num_bins - 1)
    count = np.bincount(place, minlength=num_bins)
    empty = np.where(count > 0, count, np.nan)
    promised = np.bincount(place, score, num_bins) / empty
    right = np.bincount(place, hit.astype(np.float64), num_bins) / empty
    gap = np.nansum(np.abs(promised - right) * count)
    error = float(gap / count.sum()) if count.sum() else float("nan")
    return Calibration(edge, promised, right, count, error)
