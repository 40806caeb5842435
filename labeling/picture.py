"""The bird's-eye picture that a person labels on."""

from __future__ import annotations

import io
from functools import lru_cache
from typing import Final

import numpy as np

from scene.bev import BevView, draw_boxes, draw_path, rasterise
from scene.box import Boxes
from scene.types import Float32, Image

_RING_RGB: Final = (40, 44, 56)
_EGO_RGB: Final = (200, 204, 214)
_FACING_RGB: Final = (150, 120, 150)
_EGO: Final = Boxes.make(
    np.array([[1.4, 0.0, 0.8]]), np.array([[4.6, 1.9, 1.6]]), np.zeros(1), ["car"]
)


def draw_frame(points_ego_m: Float32, prelabels: Boxes, view: BevView) -> Image:
    """Return an (H, W, 3) picture: range rings each 10 m, the ego vehicle, points.

    A thin line from the middle of each prelabel towards its front shows which way it faces,
    because a rectangle in the labelling tool has no front.
    """
    image = _backdrop(view).copy()
    points = rasterise(points_ego_m, view, background=0)
    points = np.maximum(points, np.roll(points, 1, axis=0))  # two pixels high: visible unzoomed
    seen = points.any(axis=2)
    image[seen] = points[seen]
    front = prelabels.corners_bev_m()[:, :2].mean(axis=1) if len(prelabels) else np.zeros((0, 2))
    for start, end in zip(prelabels.center_xyz_m[:, :2], front, strict=True):
        draw_path(image, np.stack([start, end]), view, _FACING_RGB)
    return image


@lru_cache(maxsize=4)
def _backdrop(view: BevView) -> Image:
    """Return what is the same in every picture; drawing the rings costs more than the rest."""
    image = rasterise(np.zeros((0, 3), dtype=np.float32), view)
    angle = np.linspace(-np.pi, np.pi, 181)
    circle = np.stack([np.cos(angle), np.sin(angle)], axis=1)
    for radius_m in range(10, 101, 10):
        draw_path(image, circle * radius_m, view, _RING_RGB)
    draw_boxes(image, _EGO, view, _EGO_RGB, thickness_px=1)
    return image


def encode_png(image: Image) -> bytes:
    """Return the picture as PNG; the same picture gives the same bytes."""
    from PIL import Image as Pillow

    sink = io.BytesIO()
    Pillow.fromarray(image).save(sink, "PNG", optimize=False, compress_level=6)
    return sink.getvalue()
