"""The points of one lidar revolution."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from scene.errors import ShapeError
from scene.types import Float32

# Whether the points of a sweep are in the ego frame at its start ("compensated"), each in the ego
# frame at its own time ("raw"), or nobody said.
Motion = Literal["compensated", "raw", "unknown"]


@dataclass(frozen=True, slots=True)
class Sweep:
    """One lidar revolution.

    Attributes:
        timestamp_ns: start of the revolution, int nanoseconds since the epoch.
        points_ego_m: (N, 3) float32, ego frame at `timestamp_ns`, meters.
        intensity: (N,) float32 in [0, 1].
        offset_ns: (N,) int32, time of the point after `timestamp_ns`; zeros where unknown.
        ring: (N,) uint16 beam number counted from the lowest beam; None where unknown.
    """

    timestamp_ns: int
    points_ego_m: Float32
    intensity: Float32
    offset_ns: NDArray[np.int32]
    ring: NDArray[np.uint16] | None = None

    def __post_init__(self) -> None:
        """Check shapes and types."""
        count = len(self.points_ego_m)
        expected = {
            "points_ego_m": ((count, 3), np.float32),
            "intensity": ((count,), np.float32),
            "offset_ns": ((count,), np.int32),
            "ring": ((count,), np.uint16),
        }
        for name, (shape, dtype) in expected.items():
            array = getattr(self, name)
            if array is None:
                continue
            if array.shape != shape or array.dtype != dtype:
                raise ShapeError(
                    f"sweep {self.timestamp_ns}: {name} expected {shape} {np.dtype(dtype)}, "
                    f"got {array.shape} {array.dtype}"
                )

    def __len__(self) -> int:
        """Return the number of points."""
        return len(self.points_ego_m)
