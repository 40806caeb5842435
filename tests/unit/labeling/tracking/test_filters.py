from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from labeling.tracking.filters import smooth
from labeling.tracking.refine import weighted_median


def least_squares(measured, variance, seconds, noise, rate_std):
    """Return the smoothed track as the minimum of all its penalties at once, solved densely."""
    count = len(measured)
    rows, right = [], []
    for i in range(count):
        if np.isfinite(variance[i]):
            row = np.zeros(2 * count)
            row[2 * i] = 1 / np.sqrt(variance[i])
            rows.append(row)
            right.append(measured[i] / np.sqrt(variance[i]))
    row = np.zeros(2 * count)
    row[1] = 1 / rate_std
    rows.append(row)
    right.append(0.0)
    for i in range(count - 1):
        t = seconds[i + 1] - seconds[i]
        covariance = noise * np.array([[t**3 / 3, t**2 / 2], [t**2 / 2, t]])
        root = np.linalg.inv(np.linalg.cholesky(covariance))
        block = np.zeros((2, 2 * count))
        block[:, 2 * i : 2 * i + 2] = root @ np.array([[1, t], [0, 1]])
        block[:, 2 * i + 2 : 2 * i + 4] = -root
        rows.extend(block)
        right.extend([0.0, 0.0])
    solved = np.linalg.lstsq(np.array(rows), np.array(right), rcond=None)[0]
    return solved[::2], solved[1::2]


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 2**32 - 1))
def test_smoothing_is_the_least_squares_answer_for_every_track(seed):
    rng = np.random.default_rng(seed)
    lengths = rng.integers(1, 9, rng.integers(1, 6))
    start = np.concatenate([[0], np.cumsum(lengths)])
    total = start[-1]
    measured = rng.normal(0, 5, (total, 2))
    variance = np.where(rng.random((total, 2)) < 0.3, np.inf, rng.uniform(0.1, 2, (total, 2)))
    variance[start[:-1]] = 0.5
    seconds = np.cumsum(rng.uniform(0.05, 0.6, total))
    noise = rng.uniform(0.2, 4, (len(lengths), 2))
    rate_std = rng.uniform(1, 9, (len(lengths), 2))
    value, rate = smooth(measured, variance, seconds, start, noise, rate_std)
    for k in range(len(lengths)):
        part = slice(start[k], start[k + 1])
        for c in range(2):
            expected = least_squares(
                measured[part, c], variance[part, c], seconds[part], noise[k, c], rate_std[k, c]
            )
            np.testing.assert_allclose(value[part, c], expected[0], rtol=1e-6, atol=1e-6)
            np.testing.assert_allclose(rate[part, c], expected[1], rtol=1e-6, atol=1e-6)


@settings(max_examples=50, deadline=None)
@given(st.integers(0, 2**32 - 1))
def test_no_value_has_a_smaller_weighted_distance_than_the_weighted_median(seed):
    rng = np.random.default_rng(seed)
    lengths = rng.integers(1, 12, rng.integers(1, 6))
    start = np.concatenate([[0], np.cumsum(lengths)])
    value, weight = rng.integers(0, 9, start[-1]).astype(float), rng.uniform(0.1, 1, start[-1])
    found = weighted_median(value, weight, start)
    for k in range(len(lengths)):
        part = slice(start[k], start[k + 1])
        away = (weight[part] * np.abs(value[part] - value[part][:, None])).sum(axis=1)
        mine = (weight[part] * np.abs(value[part] - found[k])).sum()
        assert mine <= away.min() + 1e-9
