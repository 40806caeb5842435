"""Constant-velocity Kalman filters, one a track and coordinate, all stepped at once.

A coordinate and its rate of change have a covariance of their own: two by two, written out, so
that a step is a handful of array operations whatever the number of tracks.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from scene.types import Float64, Int64, Mask

_MAX_BLOCK = 2_000_000  # track steps that are padded to one length together


class State(NamedTuple):
    """Gaussian beliefs about coordinates and their rates; all arrays broadcast together.

    Attributes:
        value, rate: means.
        vv, vr, rr: covariance: of the value, of value with rate, of the rate.
    """

    value: Float64
    rate: Float64
    vv: Float64
    vr: Float64
    rr: Float64

    def take(self, index: Mask | Int64) -> State:
        """Return the states chosen along the first axis."""
        return State(*(array[index] for array in self))


def predict(state: State, seconds: Float64, noise: Float64) -> State:
    """Return the beliefs some time later.

    Args:
        state: now.
        seconds: how much later.
        noise: spectral density of white noise in the second derivative, units squared over s^3.

    Source: Bar-Shalom et al., "Estimation with applications to tracking and navigation", 6.2.2.
    """
    drift = state.vr + seconds * state.rr
    return State(
        state.value + seconds * state.rate,
        state.rate + np.zeros_like(state.value),
        state.vv + seconds * (state.vr + drift) + noise * seconds**3 / 3,
        drift + noise * seconds**2 / 2,
        state.rr + noise * seconds,
    )


def correct(state: State, measured: Float64, variance: Float64) -> State:
    """Return the beliefs after measuring the values; an infinite variance changes nothing."""
    scale = 1.0 / (state.vv + variance)
    gain, rate_gain = state.vv * scale, state.vr * scale
    surprise = measured - state.value
    return State(
        state.value + gain * surprise,
        state.rate + rate_gain * surprise,
        (1.0 - gain) * state.vv,
        (1.0 - gain) * state.vr,
        state.rr - rate_gain * state.vr,
    )


def smooth(
    measured: Float64,
    variance: Float64,
    seconds: Float64,
    start: Int64,
    noise: Float64,
    rate_std: Float64,
) -> tuple[Float64, Float64]:
    """Return values and rates of many tracks, each step knowing the whole of its track.

    Args:
        measured: (M, C) steps of all tracks one after another; anything finite where nothing was
            measured.
        variance: (M, C) of the measurement; infinite where there is none. The first step of a
            track is measured.
        seconds: (M,) time of each step, ascending within a track.
        start: (K + 1,) where the steps of each track begin.
        noise: (K, C) see `predict`.
        rate_std: (K, C) how much the rate may be before anything is known.

    Returns:
        (M, C) values and (M, C) rates.

    Source: Rauch, Tung and Striebel, "Maximum likelihood estimates of linear dynamic systems",
    AIAA Journal 1965.
    """
    value, rate = np.empty_like(measured), np.empty_like(measured)
    length = np.diff(start)
    order = np.argsort(length, kind="stable")
    first = 0
    while first < len(order):  # tracks of similar length together, so that little is padded
        last = first + 1
        while last < len(order) and length[order[last]] * (last + 1 - first) <= min(
            _MAX_BLOCK, 2 * length[order[first]] * (last + 1 - first)
        ):
            last += 1
        chosen = order[first:last]
        steps = np.arange(int(length[chosen[-1]]))
        used = steps < length[chosen][:, None]
        at = np.minimum(start[chosen][:, None] + steps, start[chosen + 1][:, None] - 1)
        found = _smooth_block(
            measured[at],
            np.where(used[..., None], variance[at], np.inf),
            seconds[at],
            noise[chosen],
            rate_std[chosen],
        )
        value[at[used]], rate[at[used]] = found[0][used], found[1][used]
        first = last
    return value, rate


def _smooth_block(
    measured: Float64, variance: Float64, seconds: Float64, noise: Float64, rate_std: Float64
) -> tuple[Float64, Float64]:
    """Filter forwards, then smooth backwards; arrays are (tracks, steps, coordinates)."""
    gaps = np.diff(seconds, axis=1)[..., None]
    zero = np.zeros_like(rate_std)
    state = State(measured[:, 0], zero, variance[:, 0], zero, rate_std**2)
    known, foreseen = [state], [state]
    for step in range(1, measured.shape[1]):
        state = predict(state, gaps[:, step - 1], noise)
        foreseen.append(state)
        state = correct(state, measured[:, step], variance[:, step])
        known.append(state)
    value, rate = np.empty_like(measured), np.empty_like(measured)
    value[:, -1], rate[:, -1] = state.value, state.rate
    for step in range(measured.shape[1] - 2, -1, -1):
        value[:, step], rate[:, step] = _look_back(
            known[step], foreseen[step + 1], gaps[:, step], value[:, step + 1], rate[:, step + 1]
        )
    return value, rate


def _look_back(
    known: State, foreseen: State, seconds: Float64, value: Float64, rate: Float64
) -> tuple[Float64, Float64]:
    """Return the smoothed mean of a step from the smoothed one after it."""
    surprise, rate_surprise = value - foreseen.value, rate - foreseen.rate
    size = foreseen.vv * foreseen.rr - foreseen.vr**2
    size = np.where(size > 1e-18, size, np.inf)  # no time passed: nothing to learn from
    left = (foreseen.rr * surprise - foreseen.vr * rate_surprise) / size
    right = (foreseen.vv * rate_surprise - foreseen.vr * surprise) / size
    drift = known.vv + seconds * known.vr, known.vr + seconds * known.rr
    return (
        known.value + drift[0] * left + known.vr * right,
        known.rate + drift[1] * left + known.rr * right,
    )
