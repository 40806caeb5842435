"""Bird's-eye pictures as plain arrays: points and boxes seen from above, x up, y to the left."""

from __future__ import annotations

import itertools
from dataclasses import dataclass

import numpy as np

from scene.box import Boxes
from scene.taxonomy import CATEGORY
from scene.types import Float, Image


@dataclass(frozen=True, slots=True)
class BevView:
    """The rectangle of ground that a picture shows.

    Attributes:
        x_min_m, x_max_m: forward extent, ego frame; x grows towards the top of the picture.
        y_min_m, y_max_m: sideways extent; y grows towards the left of the picture.
        meters_per_pixel: ground size of a pixel.
    """

    x_min_m: float = -20.0
    x_max_m: float = 60.0
    y_min_m: float = -30.0
    y_max_m: float = 30.0
    meters_per_pixel: float = 0.1

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns of the picture."""
        rows = round((self.x_max_m - self.x_min_m) / self.meters_per_pixel)
        columns = round((self.y_max_m - self.y_min_m) / self.meters_per_pixel)
        return rows, columns

    def to_pixels(self, points_xy_m: Float) -> Float:
        """Return (..., 2) pixel coordinates (column, row) of (..., 2) ego points, unrounded."""
        column = (self.y_max_m - points_xy_m[..., 1]) / self.meters_per_pixel
        row = (self.x_max_m - points_xy_m[..., 0]) / self.meters_per_pixel
        return np.stack([column, row], axis=-1)

    def to_meters(self, pixels: Float) -> Float:
        """Return (..., 2) ego points of (..., 2) pixel coordinates (column, row)."""
        x = self.x_max_m - pixels[..., 1] * self.meters_per_pixel
        y = self.y_max_m - pixels[..., 0] * self.meters_per_pixel
        return np.stack([x, y], axis=-1)


def rasterise(points_ego_m: Float, view: BevView, background: int = 12) -> Image:
    """Return an (H, W, 3) picture of (N, 3) points; brighter blue to yellow with height.

    Ground-level points are dim, so that what stands on the ground can be seen.
    """
    rows, columns = view.shape
    image = np.full((rows, columns, 3), background, dtype=np.uint8)
    pixels = np.floor(view.to_pixels(points_ego_m[:, :2])).astype(np.int64)
    inside = (pixels >= 0).all(1) & (pixels[:, 0] < columns) & (pixels[:, 1] < rows)
    height = points_ego_m[inside, 2]
    order = np.argsort(height, kind="stable")  # higher points are painted last
    column, row = pixels[inside][order].T
    level = np.clip((height[order] + 0.2) / 2.6, 0.0, 1.0)
    low, middle, high = (np.array(c) for c in ((58, 66, 86), (70, 160, 170), (250, 220, 110)))
    half = level[:, None] * 2
    color = np.where(half < 1, low + (middle - low) * half, middle + (high - middle) * (half - 1))
    image[row, column] = color.astype(np.uint8)
    return image


def draw_boxes(
    image: Image,
    boxes: Boxes,
    view: BevView,
    color_rgb: tuple[int, int, int] | None = None,
    thickness_px: int = 2,
    dashed: bool = False,
) -> None:
    """Draw outlines and a heading line into `image`; the colour is the category's if not given."""
    if not len(boxes):
        return
    corners = boxes.corners_bev_m()
    front = corners[:, :2].mean(axis=1)
    segments = [(corners[:, i], corners[:, (i + 1) % 4]) for i in range(4)]
    segments.append((boxes.center_xyz_m[:, :2], front))
    for i in range(len(boxes)):
        color = color_rgb or CATEGORY[str(boxes.category[i])].color_rgb
        for start, end in segments:
            _draw_line(
                image, view.to_pixels(start[i]), view.to_pixels(end[i]), color, thickness_px, dashed
            )


def draw_path(
    image: Image, points_xy_m: Float, view: BevView, color_rgb: tuple[int, int, int]
) -> None:
    """Draw a (N, 2) polyline of ego-frame points."""
    pixels = view.to_pixels(np.asarray(points_xy_m, dtype=np.float64))
    for start, end in itertools.pairwise(pixels):
        _draw_line(image, start, end, color_rgb, 1, dashed=False)


def _draw_line(
    image: Image,
    start: Float,
    end: Float,
    color: tuple[int, int, int],
    thickness_px: int,
    dashed: bool,
) -> None:
    """Paint one line by stepping half a pixel at a time."""
    length = float(np.hypot(*(end - start)))
    steps = np.linspace(0.0, 1.0, max(2, int(length * 2)))
    if dashed:
        steps = steps[(steps * length).astype(int) % 8 < 5]
    line = np.floor(start + (end - start) * steps[:, None]).astype(np.int64)
    reach = range(thickness_px)
    for dx in reach:
        for dy in reach:
            column, row = line[:, 0] + dx, line[:, 1] + dy
            inside = (column >= 0) & (row >= 0) & (column < image.shape[1]) & (row < image.shape[0])
            image[row[inside], column[inside]] = color
