"""Boxes of fast objects are where the object was at another time than its points.

A sweep takes a tenth of a second; a car at 30 m/s drives 3 m meanwhile. Its label is stamped with
the sweep's start, its points are not. Whoever draws the box around the points draws it too far on.
"""

from __future__ import annotations

from typing import Final, NamedTuple

import numpy as np

from labeling.qa.labels import LabelSet
from labeling.qa.point_stats import PointStats

_FAST_MPS: Final = 3.0
_MIN_POINTS: Final = 5
_NOTICEABLE_M: Final = 0.2


class MotionSkew(NamedTuple):
    """How far points of moving objects are from where these were at the time of their labels.

    Attributes:
        num_boxes: moving objects with points whose times are known.
        median_m, p95_m: way that objects drove from the label's time to their points' time.
        share: of boxes for which it is more than 0.2 m.
        lead: in [-1, 1], which side of the boxes points stick out of: 1 if always on the side that
            the objects drove to (labels hold for the label's time), 0 if on neither (labels were
            drawn around the points).
    """

    num_boxes: int
    median_m: float
    p95_m: float
    share: float
    lead: float


def motion_skew(labels: LabelSet, points: PointStats) -> MotionSkew:
    """Return the skew of all labels; all zero if no point has a time or nothing moves.

    Source of the effect's size: "Motion-compensated annotations", arXiv 2601.14038, boxes up to
    2.5 m off in public data sets.
    """
    velocity = labels.velocity_map_mps()
    speed = np.hypot(*velocity.T)
    asked = (speed > _FAST_MPS) & (points.num_inside >= _MIN_POINTS)
    asked &= np.nan_to_num(points.time_ns) > 0
    if not asked.any():
        return MotionSkew(0, 0.0, 0.0, 0.0, 0.0)
    course = np.arctan2(velocity[:, 1], velocity[:, 0])
    ahead = np.where(np.cos(labels.yaw_map_rad - course) >= 0, 1.0, -1.0)[asked]
    way = speed[asked] * points.time_ns[asked] / 1e9
    front, rear = points.num_beyond[asked, 0], points.num_beyond[asked, 1]
    out = ahead * (front - rear) / np.maximum(front + rear, 1)
    heavy = way > _NOTICEABLE_M
    lead = float(out[heavy].mean()) if heavy.any() else 0.0
    return MotionSkew(
        int(asked.sum()), float(np.median(way)), float(np.quantile(way, 0.95)),
        float(heavy.mean()), lead,
    )  # fmt: skip
