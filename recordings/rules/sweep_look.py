"""What the sanity rules see of a sweep: counted once, for all of them."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Final

import numpy as np

from recordings.rules import sweep_kernels
from scene.box import Boxes
from scene.errors import FrameError
from scene.pose import SE3, Trajectory
from scene.sweep import Sweep
from scene.types import Float64, Int64

FAR_M: Final = 1000.0  # no lidar on a vehicle sees that far
# Points that stand on the ground and are near enough to be dense.
_STANDING_M: Final = (0.4, 4.0)
_MAX_STANDING_M: Final = 50.0


@dataclass(frozen=True, slots=True)
class Profile:
    """A sweep seen from its lidar, by azimuth.

    Attributes:
        count: (S,) points in each sector.
        standing: (S,) points above the ground in each.
        range_m: (S,) mean horizontal distance of these; NaN where there are fewer than 5.
    """

    count: Int64
    standing: Int64
    range_m: Float64


class SweepLook:
    """One sweep with what is cheap to know about it.

    Attributes:
        sweep: the points, ego frame.
        boxes: its annotations with points counted; None if there are none.
        sampled: whether it is one of the two in a second that dearer rules look at.
        timestamp_ns: its time.
        num_points: how many points.
        num_not_finite, num_far: points that are NaN or infinite, or beyond a kilometre.
        intensity_min, intensity_max: lowest and highest.
        saturated: share of the points that have the highest possible intensity, 1.
        first_offset_ns, last_offset_ns: least and greatest time of a point in the sweep.
    """

    def __init__(
        self,
        sweep: Sweep,
        boxes: Boxes | None,
        trajectory: Trajectory,
        origin_m: Float64,
        *,
        sampled: bool,
    ) -> None:
        self.sweep = sweep
        self.sampled = sampled
        self.boxes = boxes
        self.timestamp_ns = sweep.timestamp_ns
        self.num_points = len(sweep)
        self._trajectory = trajectory
        self._origin_m = origin_m
        self.num_far = self.num_not_finite = 0
        self.intensity_min, self.intensity_max, self.saturated = np.inf, -np.inf, 0.0
        self.first_offset_ns = self.last_offset_ns = 0
        if self.num_points:
            self._measure(sweep)

    def _measure(self, sweep: Sweep) -> None:
        points = np.ascontiguousarray(sweep.points_ego_m)
        # A point beyond FAR_M has a coordinate beyond FAR_M / sqrt(3): almost never.
        if sweep_kernels.any_beyond(points, FAR_M / 2):
            beyond = sweep_kernels.count_beyond(points, FAR_M)
            self.num_not_finite = int((~np.isfinite(sweep.points_ego_m)).any(axis=1).sum())
            self.num_far = beyond - self.num_not_finite
        low, high, saturated, first, last = sweep_kernels.extremes(sweep.intensity, sweep.offset_ns)
        self.intensity_min, self.intensity_max = float(low), float(high)
        self.saturated = float(saturated)
        self.first_offset_ns, self.last_offset_ns = int(first), int(last)

    @cached_property
    def digest(self) -> int:
        """A number that sweeps with exactly equal points share."""
        return int(sweep_kernels.digest(self.sweep.points_ego_m))

    @cached_property
    def map_SE3_ego(self) -> SE3 | None:
        """The ego pose at the sweep's time, None where there is none."""
        try:
            return self._trajectory.at(self.timestamp_ns)
        except FrameError:
            return None

    @cached_property
    def profile(self) -> Profile:
        """The sweep by azimuth."""
        size = sweep_kernels.NUM_SECTORS
        count, standing = np.zeros(size, np.int64), np.zeros(size, np.int64)
        total_m = np.zeros(size)
        sweep_kernels.profile(
            self.sweep.points_ego_m, self._origin_m, *_STANDING_M, _MAX_STANDING_M,
            count, standing, total_m,
        )  # fmt: skip
        with np.errstate(invalid="ignore", divide="ignore"):
            range_m = np.where(standing >= 5, total_m / standing, np.nan)
        return Profile(count, standing, range_m)
