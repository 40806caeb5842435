"""Rotated rectangles of Label Studio, in percent of a picture, to and from bird's-eye boxes.

A rectangle is stored as `x, y, width, height` in percent of the picture's width and height and
`rotation` in degrees, clockwise. `(x, y)` is the corner that was top left before the rotation, at
its place after the rotation: it is the pivot. Our convention: the side called `height` is the
box's length, its "top" edge is the front. Picture up is ego +x and picture right is ego -y
(`scene.bev.BevView`), hence `yaw = -rotation`.

With the centre `(cu, cv)`, width `w` and height `h` in pixels and rotation `r`:

    x * W / 100 = cu - cos(r) * w / 2 + sin(r) * h / 2
    y * H / 100 = cv - sin(r) * w / 2 - cos(r) * h / 2

Source: measured on Label Studio 1.23.2 by prediction, mouse edit and its own YOLO_OBB export.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from scene.bev import BevView
from scene.box import Boxes
from scene.errors import LabelError
from scene.pose import wrap_angle
from scene.types import Float64, Mask

COLUMNS = ("x", "y", "width", "height", "rotation")


@dataclass(frozen=True, slots=True, eq=False)
class Rectangles:
    """Rotated rectangles of one picture.

    Attributes:
        values: (N, 5) float64: x, y, width, height in percent, rotation in degrees [0, 360).
    """

    values: Float64

    def __len__(self) -> int:
        """Return the number of rectangles."""
        return len(self.values)


class Footprints(NamedTuple):
    """Boxes seen from above.

    Attributes:
        center_xy_m: (N, 2) ego frame.
        size_lw_m: (N, 2) length and width.
        yaw_rad: (N,) in (-pi, pi].
    """

    center_xy_m: Float64
    size_lw_m: Float64
    yaw_rad: Float64


def from_boxes(boxes: Boxes, view: BevView) -> Rectangles:
    """Return the rectangle of every box, also of boxes outside the picture."""
    rows, columns = view.shape
    center = view.to_pixels(boxes.center_xyz_m[:, :2])
    height_px, width_px = (boxes.size_lwh_m[:, :2] / view.meters_per_pixel).T
    rotation = -boxes.yaw_rad
    corner = center - _half_diagonal(width_px, height_px, rotation)
    degrees = np.mod(np.degrees(rotation), 360.0)
    values = np.stack(
        [
            100.0 * corner[:, 0] / columns,
            100.0 * corner[:, 1] / rows,
            100.0 * width_px / columns,
            100.0 * height_px / rows,
            np.where(degrees >= 360.0, 0.0, degrees),  # mod(-tiny, 360) rounds to 360
        ],
        axis=1,
    )
    return Rectangles(values)


def to_footprints(rectangles: Rectangles, view: BevView) -> Footprints:
    """Return what the rectangles are on the ground.

    Raises:
        LabelError: if a value is not finite or a side has no length.
    """
    values = rectangles.values
    bad = ~np.isfinite(values).all(axis=1) | (values[:, 2:4] <= 0).any(axis=1)
    if bad.any():
        index = int(np.flatnonzero(bad)[0])
        raise LabelError(f"rectangle {index} has no area or no finite place: {values[index]}")
    rows, columns = view.shape
    width_px = values[:, 2] * columns / 100.0
    height_px = values[:, 3] * rows / 100.0
    rotation = np.radians(values[:, 4])
    corner = np.stack([values[:, 0] * columns, values[:, 1] * rows], axis=1) / 100.0
    center = corner + _half_diagonal(width_px, height_px, rotation)
    size = np.stack([height_px, width_px], axis=1) * view.meters_per_pixel
    center_m = np.asarray(view.to_meters(center), dtype=np.float64)
    return Footprints(center_m, size, wrap_angle(-rotation))


def inside_view(boxes: Boxes, view: BevView) -> Mask:
    """Return (N,) whether the centre of each box lies in the picture."""
    x, y = boxes.center_xyz_m[:, 0], boxes.center_xyz_m[:, 1]
    return (view.x_min_m <= x) & (x < view.x_max_m) & (view.y_min_m < y) & (y <= view.y_max_m)


def _half_diagonal(width_px: Float64, height_px: Float64, rotation_rad: Float64) -> Float64:
    """Return (N, 2) from the pivot corner to the centre, in pixels."""
    cos, sin = np.cos(rotation_rad), np.sin(rotation_rad)
    across = cos * width_px / 2 - sin * height_px / 2
    down = sin * width_px / 2 + cos * height_px / 2
    return np.stack([across, down], axis=1)
