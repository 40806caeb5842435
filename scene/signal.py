"""Numbers over time that are not points: IMU, GNSS, joints, actions."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from scene.errors import ShapeError
from scene.types import Float64, Int64

SignalKind = Literal["imu", "gnss", "state", "action", "other"]


@dataclass(frozen=True, slots=True)
class Signal:
    """A series of numbers over time: IMU, GNSS, joint states, actions.

    Attributes:
        name: topic or feature, as the source calls it.
        kind: "imu", "gnss", "state", "action" or "other".
        frame: coordinate frame of the values, empty where it has no meaning.
        fields: (C,) column names with unit suffixes, such as "angular_velocity_x_radps".
        timestamps_ns: (T,) int64, not decreasing.
        values: (T, C) float64; NaN where the source has no value.
    """

    name: str
    kind: SignalKind
    frame: str
    fields: tuple[str, ...]
    timestamps_ns: Int64
    values: Float64

    def __post_init__(self) -> None:
        """Check the shape."""
        expected = (len(self.timestamps_ns), len(self.fields))
        if self.values.shape != expected:
            raise ShapeError(f"signal {self.name}: expected {expected}, got {self.values.shape}")

    def span(self) -> Float64:
        """Return (C,) the distance from the 2nd to the 98th percentile of each field, 0 if empty.

        Joints come in radians, degrees and made-up units; compared with their span, all are alike.
        """
        width = np.zeros(len(self.fields))
        known = np.isfinite(self.values).any(axis=0)
        if known.any():
            low, high = np.nanpercentile(self.finite().values[:, known], [2, 98], axis=0)
            width[known] = high - low
        return width

    def mean(self) -> Float64:
        """Return (C,) the mean of each field's values; NaN where it has none."""
        known = np.isfinite(self.values)
        count = known.sum(axis=0)
        total = np.where(known, self.values, 0.0).sum(axis=0)
        return np.where(count > 0, total / np.maximum(count, 1), np.nan)

    def finite(self) -> Signal:
        """Return the signal with NaN for what is infinite."""
        values = np.where(np.isfinite(self.values), self.values, np.nan)
        return replace(self, values=values)


def state_action_pairs(signals: Iterable[Signal]) -> Iterator[tuple[Signal, Signal]]:
    """Yield each state with the action that has the same fields at the same times."""
    filled = [signal for signal in signals if len(signal.timestamps_ns) and signal.fields]
    for state in filled:
        for action in filled:
            kinds = (state.kind, action.kind) == ("state", "action")
            same = kinds and action.fields == state.fields
            if same and np.array_equal(action.timestamps_ns, state.timestamps_ns):
                yield state, action
