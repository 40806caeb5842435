"""A road of constant curvature: positions along it (s) and beside it (d, left positive)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from scene.types import Float64


@dataclass(frozen=True, slots=True)
class Road:
    """A circular arc or a straight line, right-hand traffic, with equal lanes both ways.

    Attributes:
        x_m, y_m, yaw_rad: where the centre line is at s = 0, map frame, and where it heads.
        curvature_1pm: 1 / radius, positive to the left, 0 for a straight road.
        lane_width_m: width of a lane.
        num_lanes: lanes in each direction.
    """

    x_m: float = 0.0
    y_m: float = 0.0
    yaw_rad: float = 0.0
    curvature_1pm: float = 0.0
    lane_width_m: float = 3.5
    num_lanes: int = 1

    @property
    def half_width_m(self) -> float:
        """Distance from the centre line to the outer edge of the last lane."""
        return self.lane_width_m * self.num_lanes

    def lane_d_m(self, lane: int) -> float:
        """Centre of a lane: 1 is the rightmost of ours, -1 the outermost of the oncoming ones."""
        middle = self.half_width_m - (abs(lane) - 0.5) * self.lane_width_m
        return -middle if lane > 0 else middle

    def to_map(self, s_m: Float64, d_m: Float64) -> tuple[Float64, Float64]:
        """Return (N, 2) map positions and (N,) headings of the road at (N,) s and d."""
        s, d = np.broadcast_arrays(np.asarray(s_m, float), np.asarray(d_m, float))
        turned = self.curvature_1pm * s
        heading = self.yaw_rad + turned
        # chord of the arc; sinc keeps the straight road exact
        chord = s * np.sinc(turned / (2 * np.pi)).astype(np.float64)
        middle = self.yaw_rad + turned / 2
        x = self.x_m + chord * np.cos(middle) - d * np.sin(heading)
        y = self.y_m + chord * np.sin(middle) + d * np.cos(heading)
        return np.stack([x, y], axis=-1).astype(np.float64), heading

    def to_road(self, xy_m: Float64) -> tuple[Float64, Float64]:
        """Return (N,) s and (N,) d of (N, 2) map positions."""
        offset = np.asarray(xy_m, float) - (self.x_m, self.y_m)
        cos, sin = np.cos(self.yaw_rad), np.sin(self.yaw_rad)
        along = offset[..., 0] * cos + offset[..., 1] * sin
        aside = -offset[..., 0] * sin + offset[..., 1] * cos
        k = self.curvature_1pm
        if abs(k) < 1e-9:
            return along, aside
        s = np.arctan2(k * along, 1.0 - k * aside) / k
        d = (1.0 - np.hypot(k * along, 1.0 - k * aside)) / k
        return s, d

    def heading_at(self, s_m: float) -> float:
        """Return the heading of the road at s."""
        return self.yaw_rad + self.curvature_1pm * s_m
