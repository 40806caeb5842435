"""Agreement beyond chance, in one number."""

from __future__ import annotations

import numpy as np

from scene.types import Float64, Int, Int64


def krippendorff_alpha(codes: Int) -> float:
    """Return Krippendorff's alpha of nominal data.

    Args:
        codes: (A, U) what each of A people said of each of U units, a number from 0 on; -1 where
            they said nothing.

    Returns:
        1 for perfect agreement, 0 for chance, below 0 for less; 1 if only one value was ever
        given, NaN if no unit has two answers.

    Source: Krippendorff, "Computing Krippendorff's alpha-reliability", 2011, section C.
    """
    counts = _counts(np.asarray(codes, dtype=np.int64))
    said = counts.sum(axis=1)
    counts, said = counts[said >= 2], said[said >= 2]
    if not len(counts):
        return float("nan")
    total = said.sum()
    values = counts.sum(axis=0)
    pairs = (counts * (said[:, None] - counts)).sum(axis=1)
    observed = float((pairs / (said - 1)).sum())
    expected = float((values * (total - values)).sum()) / (total - 1)
    return 1.0 if expected == 0 else 1.0 - observed / expected


def gwet_ac1(codes: Int) -> float:
    """Return Gwet's AC1 of nominal data given as for `krippendorff_alpha`.

    Where one answer is far more frequent than the others (an object is seen by everybody), alpha
    falls towards 0 although nearly all answers agree; AC1 does not.

    Source: Gwet, "Computing inter-rater reliability and its variance in the presence of high
    agreement", Br. J. Math. Stat. Psychol. 61, 2008.
    """
    counts = _counts(np.asarray(codes, dtype=np.int64))
    said = counts.sum(axis=1)
    twice = said >= 2
    if not twice.any():
        return float("nan")
    num_values = max(2, counts.shape[1])
    paired, people = counts[twice], said[twice]
    agreed = float(((paired * (paired - 1)).sum(axis=1) / (people * (people - 1))).mean())
    answered = said > 0
    share = (counts[answered] / said[answered, None]).mean(axis=0)
    chance = float((share * (1 - share)).sum()) / (num_values - 1)
    return (agreed - chance) / (1 - chance)


def _counts(codes: Int64) -> Float64:
    """Return (U, V) how many people gave each value to each unit."""
    num_units = codes.shape[1]
    num_values = int(codes.max(initial=-1)) + 1
    said = codes >= 0
    unit = np.broadcast_to(np.arange(num_units), codes.shape)
    flat = unit[said] * max(num_values, 1) + codes[said]
    counts = np.bincount(flat, minlength=num_units * max(num_values, 1))
    return counts.reshape(num_units, max(num_values, 1)).astype(np.float64)
