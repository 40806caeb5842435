"""Boxes of fast objects are where the object was at another time than its points.

A sweep takes a tenth of a second; a car at 30 m/s drives 3 m meanwhile. Its label is stamped with
the sweep's start, its points are not. Whoever draws the box around the points draws it too far on.
"""

from __future__ import annotations

from typing import Final, NamedTuple

import numpy as np

from labeling.qa.labels import LabelSet
from labeling.qa.point_stats import PointStats
from labeling.qa.suspicion import LOOK_SCORE, Suspicion

_FAST_MPS: Final = 3.0
_MIN_POINTS: Final = 5
_NOTICEABLE_M: Final = 0.2
_NOTICEABLE_SHARE: Final = 0.1  # of the moving boxes
_MANY: Final = 20  # moving boxes: fewer show no habit
_HELD: Final = 0.5  # of `lead`: more says that the boxes are where the objects were


class MotionSkew(NamedTuple):
    """How far points of moving objects are from where these were at the time of their labels.

    Attributes:
        num_boxes: moving objects with points whose times are known.
        median_m, p95_m: way that objects drove from the label's time to their points' time.
        share: of boxes for which it is more than 0.2 m.
        lead: in [-1, 1], which side of the boxes points stick out of: 1 if always on the side that
            the objects drove to (labels hold for the label's time), 0 if on neither (labels were
            drawn around the points).
        worst: index of the box with the longest way, -1 without any.
    """

    num_boxes: int
    median_m: float
    p95_m: float
    share: float
    lead: float
    worst: int


def motion_skew(labels: LabelSet, points: PointStats) -> MotionSkew:
    """Return the skew of all labels; all zero if no point has a time or nothing moves.

    Source of the effect's size: "Motion-compensated annotations", arXiv 2601.14038, boxes up to
    2.5 m off in public data sets.
    """
    velocity = labels.velocity_map_mps()
    speed = np.hypot(*velocity.T)
    fast = (speed > _FAST_MPS) & (points.num_inside >= _MIN_POINTS)
    asked = np.flatnonzero(fast & (np.nan_to_num(points.time_ns) > 0))
    if not len(asked):
        return MotionSkew(0, 0.0, 0.0, 0.0, 0.0, -1)
    course = np.arctan2(velocity[:, 1], velocity[:, 0])
    ahead = np.where(np.cos(labels.yaw_map_rad - course) >= 0, 1.0, -1.0)[asked]
    way = speed[asked] * points.time_ns[asked] / 1e9
    front, rear = points.num_beyond[asked, 0], points.num_beyond[asked, 1]
    out = ahead * (front - rear) / np.maximum(front + rear, 1)
    heavy = way > _NOTICEABLE_M
    lead = float(out[heavy].mean()) if heavy.any() else 0.0
    return MotionSkew(
        len(asked), float(np.median(way)), float(np.quantile(way, 0.95)), float(heavy.mean()),
        lead, int(asked[way.argmax()]),
    )  # fmt: skip


def skewed_labels(labels: LabelSet, points: PointStats) -> list[Suspicion]:
    """Return one thing to look at if the moving boxes of a recording hold for no one instant.

    It is about how the whole recording was labelled, not about single boxes: none is named.
    """
    skew = motion_skew(labels, points)
    if skew.num_boxes < _MANY or skew.share < _NOTICEABLE_SHARE or skew.lead > _HELD:
        return []
    worst = skew.worst
    return [
        Suspicion(
            "skew",
            LOOK_SCORE,
            int(labels.frame_times_ns[labels.frame[worst]]),
            labels.boxes.center_xyz_m[worst],
            str(labels.boxes.category[worst]),
            str(labels.boxes.track_id[worst]),
            f"{skew.num_boxes} moving boxes seem drawn around their points, which are of a later "
            f"time than the label: {skew.median_m:.2f} m on, {skew.p95_m:.2f} m if fast",
        )
    ]
