"""All detections of a recording as one array in the map frame."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from labeling.tracking.motion import kinds_of
from scene.box import Boxes
from scene.errors import DataError, ShapeError
from scene.pose import SE3
from scene.types import Float64, Int64


@dataclass(frozen=True, slots=True)
class Observations:
    """Detections of all frames.

    Attributes:
        boxes: (N,) map frame, by frame; scores are numbers.
        frame: (N,) index of the frame, ascending.
        kind: (N,) index into `motion.MOTIONS`.
        seconds: (T,) time of each frame since the first one.
    """

    boxes: Boxes
    frame: Int64
    kind: Int64
    seconds: Float64


def observe(
    detections: Sequence[Boxes], timestamps_ns: Int64, map_SE3_ego: Sequence[SE3], min_score: float
) -> Observations:
    """Bring detections of all frames into the map frame, without weak ones and duplicates.

    Raises:
        ShapeError: if there are not as many times and poses as frames.
        DataError: if times do not increase or a box is not finite.
    """
    times = np.asarray(timestamps_ns, dtype=np.int64)
    if not len(detections) == len(times) == len(map_SE3_ego):
        raise ShapeError(
            f"tracking: {len(detections)} frames of detections, {len(times)} times and "
            f"{len(map_SE3_ego)} poses; there must be one of each a frame"
        )
    late = np.flatnonzero(np.diff(times) <= 0)
    if len(late):
        raise DataError(
            f"tracking: frame {late[0] + 1} at {times[late[0] + 1]} ns is not later than the one "
            "before it; sort the frames by time"
        )
    parts = []
    for index, (boxes, pose) in enumerate(zip(detections, map_SE3_ego, strict=True)):
        _check(boxes, index)
        certain = replace(boxes, score=np.nan_to_num(boxes.score, nan=1.0))
        certain = certain.take(certain.score >= min_score)
        parts.append(_without_duplicates(certain).transform(pose))
    boxes = Boxes.concatenate(parts)
    frame = np.repeat(np.arange(len(parts), dtype=np.int64), [len(part) for part in parts])
    seconds = (times - times[0]) / 1e9 if len(times) else np.zeros(0)
    return Observations(boxes, frame, kinds_of(boxes.category), seconds)


def _check(boxes: Boxes, index: int) -> None:
    numbers = np.column_stack([boxes.center_xyz_m, boxes.size_lwh_m, boxes.yaw_rad])
    if not np.isfinite(numbers).all() or not (boxes.size_lwh_m > 0).all():
        raise DataError(
            f"tracking: frame {index} holds a box whose centre or yaw is not finite or whose size "
            "is not positive"
        )


def _without_duplicates(boxes: Boxes) -> Boxes:
    """Drop a box whose centre lies within half a width of a better one of its kind."""
    best_first = boxes.take(np.argsort(-boxes.score, kind="stable"))
    kind = kinds_of(best_first.category)
    offset = best_first.center_xyz_m[:, None, :2] - best_first.center_xyz_m[None, :, :2]
    width = np.minimum(best_first.size_lwh_m[:, 0], best_first.size_lwh_m[:, 1])
    near = np.hypot(offset[..., 0], offset[..., 1]) < 0.5 * np.minimum(width[:, None], width)
    same = np.tril(near & (kind[:, None] == kind), -1)
    return best_first.take(np.flatnonzero(~same.any(axis=1)))
