"""What the points say about every label: how many are inside, and how many are just outside."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Final

import numpy as np

from labeling.qa import point_kernels
from labeling.qa.labels import LabelSet
from scene.box import Boxes
from scene.sweep import Sweep
from scene.types import Float64, Int64

_GROUND_M: Final = 0.3  # lower points may be road
_GROUND_SHARE: Final = 0.25  # of the height of low objects


@dataclass(frozen=True, slots=True, eq=False)
class PointStats:
    """Points in and around N boxes.

    Attributes:
        num_inside: (N,) above the ground; -1 where the sweep was not looked at.
        num_beyond: (N, 4) within 0.4 m beyond the front, rear, left and right face.
        time_ns: (N,) mean time of the points inside after the sweep's start, NaN if none.
    """

    num_inside: Int64
    num_beyond: Int64
    time_ns: Float64

    @classmethod
    def unknown(cls, count: int) -> PointStats:
        """Return the figures of boxes whose points nobody looked at."""
        none, faces = np.full(count, -1, dtype=np.int64), np.zeros((count, 4), dtype=np.int64)
        return cls(none, faces, np.full(count, np.nan))

    def take_in(self, labels: LabelSet, sweep: Sweep) -> None:
        """Fill in the figures of the labels of one sweep; a sweep without labels is passed over."""
        at = labels.frame_times_ns[labels.frame] == sweep.timestamp_ns
        mine = np.flatnonzero(at)
        if not len(mine):
            return
        part = stats_of_boxes(sweep, labels.boxes.take(mine))
        for column in fields(self):
            getattr(self, column.name)[mine] = getattr(part, column.name)


def stats_of_boxes(sweep: Sweep, boxes: Boxes) -> PointStats:
    """Return the figures of the boxes of one frame."""
    count = len(boxes)
    inside = np.zeros(count, dtype=np.int64)
    shell, time_sum = np.zeros((count, 4), dtype=np.int64), np.zeros(count)
    height = boxes.size_lwh_m[:, 2]
    point_kernels.look_at_boxes(
        sweep.points_ego_m, sweep.offset_ns, boxes.center_xyz_m, boxes.size_lwh_m / 2,
        np.cos(boxes.yaw_rad), np.sin(boxes.yaw_rad), np.minimum(_GROUND_M, _GROUND_SHARE * height),
        inside, shell, time_sum,
    )  # fmt: skip
    return PointStats(inside, shell, time_sum / np.where(inside > 0, inside, np.nan))
