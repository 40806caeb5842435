"""Bird's-eye pictures of frames: points, labels, predictions, and what was missed.

Drawn at twice the size and scaled down, so that lines and points are smooth.
"""

from __future__ import annotations

import io
from dataclasses import dataclass
from typing import Final, Literal

import numpy as np
from PIL import Image, ImageDraw

from reporting.picture_frame import TEXT, Color, Entry, font, framed
from scene.bev import BevView
from scene.box import Boxes
from scene.pose import SE3
from scene.taxonomy import CATEGORIES, CATEGORY
from scene.types import Float, Float64, Mask
from scene.types import Image as Pixels

Forward = Literal["up", "right"]

MATCH_DISTANCE_M: Final = 2.0
_OVERSAMPLE: Final = 2
_BACKGROUND: Final = (10, 13, 20)
_RAMP: Final = (  # height above the ground, meters -> colour
    (-0.3, (36, 44, 64)),
    (0.15, (58, 70, 98)),
    (0.6, (74, 112, 170)),
    (1.4, (122, 156, 204)),
    (2.6, (176, 190, 220)),
    (5.0, (206, 208, 226)),
)
_LABEL: Final = (240, 243, 250)
_MISSED: Final = (255, 82, 96)
_QUIET: Final = (120, 132, 156)
_CIRCLED_BELOW_M: Final = 2.6
_FRAME_MARGIN_M: Final = 0.5
_EGO_LWH_M: Final = (4.6, 1.9)
_REAR_AXLE_TO_CENTER_M: Final = 1.4


@dataclass(frozen=True, slots=True)
class _Canvas:
    """From ego-frame meters to pixels of the oversampled picture."""

    view: BevView
    forward: Forward

    @property
    def size(self) -> tuple[int, int]:
        """Width and height, pixels."""
        rows, columns = self.view.shape
        wide = (columns, rows) if self.forward == "up" else (rows, columns)
        return wide[0] * _OVERSAMPLE, wide[1] * _OVERSAMPLE

    @property
    def pixels_per_meter(self) -> float:
        return _OVERSAMPLE / self.view.meters_per_pixel

    def project(self, points_xy_m: Float) -> Float64:
        """Return (..., 2) pixel coordinates of (..., 2) ego points."""
        scale = self.pixels_per_meter
        ahead = np.asarray(points_xy_m[..., 0], dtype=np.float64)
        left = np.asarray(points_xy_m[..., 1], dtype=np.float64)
        if self.forward == "up":
            pair = ((self.view.y_max_m - left) * scale, (self.view.x_max_m - ahead) * scale)
        else:
            pair = ((ahead - self.view.x_min_m) * scale, (self.view.y_max_m - left) * scale)
        return np.stack(pair, axis=-1)


def bev_png(
    points_ego_m: Float,
    annotations: Boxes | None,
    predictions: Boxes | None,
    title: str = "",
    view: BevView | None = None,
    *,
    forward: Forward = "up",
    min_score: float = 0.3,
) -> bytes:
    """Return a PNG of one frame seen from above.

    Labels are dashed, predictions solid. Alone, either has the colours of its categories; together,
    labels are white, and a label with lidar points that no prediction of its category is near (2 m
    between centres) is marked in red.

    Args:
        points_ego_m: (N, 3) meters, ego frame.
        annotations: labels, or None when there are none to show.
        predictions: boxes of a model, or None; those below `min_score` are not drawn.
        title: one line at the top.
        view: the ground to show.
        forward: which way the vehicle looks in the picture.
        min_score: least score of a prediction that is drawn.
    """
    view = view or BevView()
    canvas = _Canvas(view, forward)
    image = Image.fromarray(_splat(np.asarray(points_ego_m), canvas))
    draw = ImageDraw.Draw(image)
    _draw_rings(draw, canvas)
    _draw_ego(draw, canvas)
    missed = np.zeros(0, dtype=bool)
    if predictions is not None:
        predictions = predictions.take(predictions.score >= min_score)
        predictions = predictions.take(_inside(predictions, view))
        _draw_predictions(draw, canvas, predictions)
    if annotations is not None:
        annotations = annotations.take(_overlapping(annotations, view))
        missed = missed_labels(annotations, predictions) & _inside(annotations, view)
        _draw_labels(draw, canvas, annotations, missed, plain=predictions is not None)
    image = image.resize(
        (image.width // _OVERSAMPLE, image.height // _OVERSAMPLE), Image.Resampling.BOX
    )
    draw = ImageDraw.Draw(image)
    _draw_ring_texts(draw, canvas, image.size)
    _draw_scale(draw, canvas, image.size)
    image = framed(image, title, _legend(annotations, predictions, missed))
    buffer = io.BytesIO()
    image.quantize(256, method=Image.Quantize.MEDIANCUT, dither=Image.Dither.NONE).save(
        buffer, "PNG", optimize=True
    )
    return buffer.getvalue()


def missed_labels(annotations: Boxes, predictions: Boxes | None) -> Mask:
    """Return (N,) which labels with lidar points no prediction of their category is near."""
    missed = np.zeros(len(annotations), dtype=bool)
    if predictions is None:
        return missed
    offset = annotations.center_xyz_m[:, None, :2] - predictions.center_xyz_m[None, :, :2]
    near = np.hypot(offset[..., 0], offset[..., 1]) <= MATCH_DISTANCE_M
    same = annotations.category[:, None] == predictions.category[None, :]
    return (annotations.num_points != 0) & ~(near & same).any(axis=1)


def _overlapping(boxes: Boxes, view: BevView) -> Mask:
    """Return (N,) which boxes the picture shows at least in part."""
    corners = boxes.corners_bev_m()
    low, high = corners.min(axis=1), corners.max(axis=1)
    ahead = (high[:, 0] >= view.x_min_m) & (low[:, 0] <= view.x_max_m)
    return ahead & (high[:, 1] >= view.y_min_m) & (low[:, 1] <= view.y_max_m)


def _inside(boxes: Boxes, view: BevView) -> Mask:
    """Return (N,) which centres the picture shows."""
    x, y = boxes.center_xyz_m[:, 0], boxes.center_xyz_m[:, 1]
    ahead = (x >= view.x_min_m) & (x <= view.x_max_m)
    return ahead & (y >= view.y_min_m) & (y <= view.y_max_m)


def _splat(points_ego_m: Float, canvas: _Canvas) -> Pixels:
    """Return the (H, W, 3) picture of the points alone, coloured by height, higher on top."""
    width, height = canvas.size
    image = np.empty((height, width, 3), dtype=np.uint8)
    image[:] = _BACKGROUND
    points = points_ego_m[np.isfinite(points_ego_m).all(axis=1)]
    points = points[np.argsort(points[:, 2], kind="stable")]
    corner = np.floor(canvas.project(points[:, :2])).astype(np.int64)
    reach = 3
    inside = ((corner >= 0) & (corner < np.array([width - reach, height - reach]))).all(axis=1)
    corner, level = corner[inside], points[inside, 2]
    heights = np.array([h for h, _ in _RAMP])
    ramp = np.array([c for _, c in _RAMP], dtype=np.float64)
    color = np.stack([np.interp(level, heights, ramp[:, i]) for i in range(3)], axis=1)
    color = color.astype(np.uint8)
    for dx in range(reach):
        for dy in range(reach):
            image[corner[:, 1] + dy, corner[:, 0] + dx] = color
    return image


def _draw_rings(draw: ImageDraw.ImageDraw, canvas: _Canvas) -> None:
    """Draw a circle every 20 m around the vehicle."""
    center = canvas.project(np.zeros(2))
    for radius_m in range(20, 121, 20):
        reach = radius_m * canvas.pixels_per_meter
        area = [*(center - reach), *(center + reach)]
        draw.ellipse(area, outline=(44, 54, 76), width=_OVERSAMPLE)


def _draw_ring_texts(draw: ImageDraw.ImageDraw, canvas: _Canvas, size: tuple[int, int]) -> None:
    small = font(13)
    for radius_m in range(20, 121, 20):
        at = canvas.project(np.array([float(radius_m), 0.0])) / _OVERSAMPLE
        if 0 < at[0] < size[0] - 34 and 0 < at[1] < size[1] - 16:
            draw.text((at[0] + 4, at[1] + 2), f"{radius_m} m", font=small, fill=_QUIET)


def _draw_ego(draw: ImageDraw.ImageDraw, canvas: _Canvas) -> None:
    """Draw the vehicle itself: a filled outline with an arrow."""
    half_length, half_width = _EGO_LWH_M[0] / 2, _EGO_LWH_M[1] / 2
    outline = np.array([[1, 0.55], [0.7, 1], [-1, 1], [-1, -1], [0.7, -1], [1, -0.55]])
    body = outline * [half_length, half_width] + [_REAR_AXLE_TO_CENTER_M, 0.0]
    draw.polygon(_flat(canvas.project(body)), fill=(236, 240, 248))
    arrow = np.array([[0.5, 0.0], [-0.35, 0.5], [-0.1, 0.0], [-0.35, -0.5]])
    tip = arrow * [half_length, half_width * 1.3] + [_REAR_AXLE_TO_CENTER_M, 0.0]
    draw.polygon(_flat(canvas.project(tip)), fill=(40, 48, 66))


def _draw_predictions(draw: ImageDraw.ImageDraw, canvas: _Canvas, boxes: Boxes) -> None:
    """Draw solid outlines with a line from the centre through the front."""
    corners = boxes.corners_bev_m()
    for i in range(len(boxes)):
        color = CATEGORY[str(boxes.category[i])].color_rgb
        outline = canvas.project(corners[i])
        draw.line([*_flat(outline), *_flat(outline[:2])], fill=color, width=5, joint="curve")
        front = canvas.project(corners[i, :2].mean(axis=0))
        center = canvas.project(boxes.center_xyz_m[i, :2])
        draw.line([*center, *front], fill=color, width=4)


def _draw_labels(
    draw: ImageDraw.ImageDraw, canvas: _Canvas, boxes: Boxes, missed: Mask, plain: bool
) -> None:
    """Draw dashed outlines, white when `plain`; mark those that were missed."""
    corners = boxes.corners_bev_m()
    for i in range(len(boxes)):
        color = _LABEL if plain else CATEGORY[str(boxes.category[i])].color_rgb
        color = _MISSED if missed[i] else color
        outline = canvas.project(corners[i])
        for start, end in zip(outline, np.roll(outline, -1, axis=0), strict=True):
            _dashed(draw, start, end, color)
        if missed[i]:
            _draw_missed(draw, canvas, boxes, i)


def _draw_missed(draw: ImageDraw.ImageDraw, canvas: _Canvas, boxes: Boxes, i: int) -> None:
    """Circle a small object, frame a large one."""
    length_m, width_m = (float(v) for v in boxes.size_lwh_m[i, :2])
    center_m = boxes.center_xyz_m[i, :2]
    if max(length_m, width_m) < _CIRCLED_BELOW_M:
        center, reach = canvas.project(center_m), 1.6 * canvas.pixels_per_meter
        draw.ellipse([*(center - reach), *(center + reach)], outline=_MISSED, width=5)
        return
    grown = 1.0 + 2 * _FRAME_MARGIN_M / np.array([length_m, width_m])
    turn = SE3.from_yaw(float(boxes.yaw_rad[i]), np.zeros(3)).rotation[:2, :2]
    corners = (boxes.corners_bev_m()[i] - center_m) @ turn * grown @ turn.T + center_m
    outline = canvas.project(corners)
    draw.line([*_flat(outline), *_flat(outline[:2])], fill=_MISSED, width=5, joint="curve")


def _dashed(
    draw: ImageDraw.ImageDraw, start: Float64, end: Float64, color: Color, dash_px: float = 9.0
) -> None:
    """Draw a dashed line that begins and ends with a dash, so that corners are seen."""
    length = float(np.hypot(*(end - start)))
    num_dashes = max(1, round(length / (2 * dash_px)))
    edges = np.linspace(0.0, 1.0, 2 * num_dashes)
    for a, b in zip(edges[::2], edges[1::2], strict=True):
        line = [*(start + (end - start) * a), *(start + (end - start) * b)]
        draw.line(line, fill=color, width=4)


def _draw_scale(draw: ImageDraw.ImageDraw, canvas: _Canvas, size: tuple[int, int]) -> None:
    """Draw a bar of 10 m into the lower right corner."""
    length = 10.0 / canvas.view.meters_per_pixel
    right, bottom = size[0] - 18, size[1] - 18
    draw.line([right - length, bottom, right, bottom], fill=TEXT, width=2)
    for x in (right - length, right):
        draw.line([x, bottom - 5, x, bottom + 1], fill=TEXT, width=2)
    draw.text((right - length / 2, bottom - 6), "10 m", font=font(13), fill=TEXT, anchor="mb")


def _flat(points: Float64) -> list[float]:
    return [float(v) for v in points.reshape(-1)]


def _legend(annotations: Boxes | None, predictions: Boxes | None, missed: Mask) -> list[Entry]:
    """Return (style, colour, text) of each entry that the picture needs."""
    if annotations is None and predictions is None:
        return []
    shown = annotations if predictions is None else predictions
    found = set() if shown is None else set(shown.category.tolist())
    style = "dashed" if predictions is None else "box"
    entries: list[Entry] = [
        (style, c.color_rgb, _spoken(c.name)) for c in CATEGORIES if c.name in found
    ]
    if predictions is None or annotations is None:
        return entries
    known: list[Entry] = [("dashed", _LABEL, "label")]
    if missed.any():
        known.append(("ring", _MISSED, f"missed ({int(missed.sum())})"))
    return known + entries


def _spoken(category: str) -> str:
    return category.replace("_", " ")
