"""Numbers over time that are not points: IMU, GNSS, joints, actions."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

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
