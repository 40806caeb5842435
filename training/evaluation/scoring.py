"""From matches to numbers: average precision, errors and NDS, for every resample at once."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, NamedTuple

import numpy as np

from scene.types import Float64, Int64, Mask
from training.evaluation.matching import ERROR_THRESHOLD, ERRORS, Matches
from training.evaluation.resampling import mean_known, weighted_counts

ALL_ERRORS: Final[tuple[str, ...]] = (*ERRORS, "attr_err")
_IGNORED_ERRORS: Final = {
    "traffic_cone": ("orient_err", "vel_err", "attr_err"),
    "barrier": ("vel_err", "attr_err"),
}
_RECALLS: Final[Float64] = np.linspace(0.0, 1.0, 101, dtype=np.float64)
_MEAN_AP_WEIGHT: Final = 5.0


class Chosen(NamedTuple):
    """Which truth and which unmatched predictions a slice is about.

    Attributes:
        truth: (G,) bool. A matched prediction belongs to the slice of its truth.
        predictions: (P,) bool, asked only of predictions that matched nothing.
    """

    truth: Mask
    predictions: Mask


class Samples(NamedTuple):
    """Metrics of several categories in every resample; NaN where a resample holds no truth.

    Attributes:
        ap: (C, R) mean over thresholds.
        errors: (C, 5, R) in the order of `ALL_ERRORS`, NaN where nuScenes defines none.
    """

    ap: Float64
    errors: Float64


def choose_all(matches: Matches) -> Chosen:
    """Choose everything."""
    return Chosen(
        np.ones(len(matches.truth_frame), dtype=np.bool_),
        np.ones(len(matches.score), dtype=np.bool_),
    )


def choose_range(matches: Matches, min_m: float, max_m: float) -> Chosen:
    """Choose by distance from the ego origin, lower bound included."""
    return Chosen(
        (matches.truth_range_m >= min_m) & (matches.truth_range_m < max_m),
        (matches.range_m >= min_m) & (matches.range_m < max_m),
    )


def choose_frames(matches: Matches, frames: Mask) -> Chosen:
    """Choose everything in the frames of an (F,) mask."""
    return Chosen(frames[matches.truth_frame], frames[matches.frame])


def hits(matches: Matches, chosen: Chosen) -> Int64:
    """Return (T, P): 1 true positive, 0 false positive, -1 not in the slice."""
    matched = matches.match >= 0
    result = np.where(matched | ~chosen.predictions, -1, 0)
    result[matched] = np.where(chosen.truth[matches.match[matched]], 1, -1)
    return np.ascontiguousarray(result.astype(np.int64))


def ap_samples(matches: Matches, chosen: Chosen, weights: Int64) -> Float64:
    """Return (T, R) average precision of a slice at each threshold, in each resample."""
    from training.evaluation import kernels  # numba costs half a second to import

    num_truth = weighted_counts(weights, matches.truth_frame[chosen.truth])
    samples = []
    for hit in hits(matches, chosen):
        inside = hit >= 0  # what the slice leaves out is not looked at in every resample
        samples.append(
            kernels.average_precision(
                hit[inside], matches.frame[inside], weights, num_truth, _RECALLS
            )
        )
    return np.stack(samples)


def error_samples(matches: Matches, weights: Int64) -> Float64:
    """Return (5, R) mean true-positive errors at 2 m in the order of `ALL_ERRORS`."""
    from training.evaluation import kernels  # numba costs half a second to import

    num_truth = weighted_counts(weights, matches.truth_frame)
    hit = hits(matches, choose_all(matches))[ERROR_THRESHOLD]
    errors = kernels.true_positive_errors(
        hit, matches.score, matches.errors, matches.frame, weights, num_truth, _RECALLS
    ).T
    # Without attributes in the truth the devkit calls every attribute wrong.
    attribute = np.where(num_truth > 0, 1.0, np.nan)
    result = np.concatenate([errors, attribute[None]])
    ignored = [ALL_ERRORS.index(name) for name in _IGNORED_ERRORS.get(matches.category, ())]
    result[ignored] = np.nan
    return result


def sample_categories(matches: Sequence[Matches], weights: Int64) -> Samples:
    """Return AP and errors of every category in every resample."""
    return Samples(
        np.stack([ap_samples(m, choose_all(m), weights).mean(axis=0) for m in matches]),
        np.stack([error_samples(m, weights) for m in matches]),
    )


def detection_score(samples: Samples) -> Float64:
    """Return (R,) NDS: (5 mAP + sum over errors of max(0, 1 - error)) / 10; NaN without truth.

    Source: nuScenes detection task (Caesar et al., CVPR 2020, equation 3).
    """
    mean_ap = mean_known(samples.ap)
    good = np.maximum(0.0, 1.0 - mean_known(samples.errors))
    total = _MEAN_AP_WEIGHT * mean_ap + np.nan_to_num(good).sum(axis=0)
    return total / (_MEAN_AP_WEIGHT + len(ALL_ERRORS))
