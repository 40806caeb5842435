"""Bird's-eye pictures of frames: points, labels, predictions, and what was missed.

Drawn at twice the size and scaled down, so that lines and points are smooth.
"""

from __future__ import annotations

import io
from dataclasses import dataclass
from typing import Final, Literal

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from scene.bev import BevView
from scene.box import Boxes
from scene.taxonomy import CATEGORIES, CATEGORY
from scene.types import Float, Float64, Mask
from scene.types import Image as Pixels

Forward = Literal["up", "right"]
Color = tuple[int, int, int]
Entry = tuple[str, Color, str]  # style, colour, text of a line in the legend

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
_TEXT: Final = (226, 231, 240)
_STRIP_PX: Final = 34
_LINE_PX: Final = 21
_STRIP: Final = (17, 21, 31)
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

    Labels are dashed and white, predictions solid in the colour of their category. When both are
    given, a label with lidar points that no prediction of its category is near (2 m between
    centres) is circled in red.

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
        missed = missed_labels(annotations, predictions) & _inside(annotations, view)
        _draw_labels(draw, canvas, annotations, missed)
    image = image.resize(
        (image.width // _OVERSAMPLE, image.height // _OVERSAMPLE), Image.Resampling.BOX
    )
    draw = ImageDraw.Draw(image)
    _draw_ring_texts(draw, canvas, image.size)
    _draw_scale(draw, canvas, image.size)
    image = _frame(image, title, _legend(annotations, predictions, missed))
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
    font = _font(12)
    for radius_m in range(20, 121, 20):
        at = canvas.project(np.array([float(radius_m), 0.0])) / _OVERSAMPLE
        if 0 < at[0] < size[0] - 34 and 0 < at[1] < size[1] - 16:
            draw.text((at[0] + 4, at[1] + 2), f"{radius_m} m", font=font, fill=_QUIET)


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


def _draw_labels(draw: ImageDraw.ImageDraw, canvas: _Canvas, boxes: Boxes, missed: Mask) -> None:
    """Draw dashed outlines; circle those that were missed."""
    corners = boxes.corners_bev_m()
    for i in range(len(boxes)):
        color = _MISSED if missed[i] else _LABEL
        outline = canvas.project(corners[i])
        for start, end in zip(outline, np.roll(outline, -1, axis=0), strict=True):
            _dashed(draw, start, end, color)
        if missed[i]:
            center = canvas.project(boxes.center_xyz_m[i, :2])
            size_m = max(1.6, float(np.hypot(*boxes.size_lwh_m[i, :2])) / 2 + 0.6)
            reach = size_m * canvas.pixels_per_meter
            draw.ellipse([*(center - reach), *(center + reach)], outline=_MISSED, width=4)


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


def _legend(annotations: Boxes | None, predictions: Boxes | None, missed: Mask) -> list[Entry]:
    """Return (style, colour, text) of each entry that the picture needs."""
    entries: list[Entry] = []
    if annotations is not None:
        entries.append(("dashed", _LABEL, "label"))
    if missed.any():
        entries.append(("ring", _MISSED, f"missed ({int(missed.sum())})"))
    if predictions is not None:
        found = set(predictions.category.tolist())
        entries += [("box", c.color_rgb, _spoken(c.name)) for c in CATEGORIES if c.name in found]
    return entries


def _frame(image: Image.Image, title: str, entries: list[Entry]) -> Image.Image:
    """Return the picture with a strip for the title above and one for the legend below it."""
    places = _flow(entries, image.width)
    above = _STRIP_PX if title else 0
    below = (places[-1][1] + _LINE_PX + 8) if places else 0
    framed = Image.new("RGB", (image.width, image.height + above + below), _STRIP)
    framed.paste(image, (0, above))
    draw = ImageDraw.Draw(framed)
    _draw_title(draw, title, image.width)
    for (style, color, text), (left, top) in zip(entries, places, strict=True):
        middle = above + image.height + top + _LINE_PX // 2
        _draw_sign(draw, style, color, left, middle)
        draw.text((left + 28, middle), text, font=_font(13), fill=_TEXT, anchor="lm")
    return framed


def _flow(entries: list[Entry], width: int) -> list[tuple[int, int]]:
    """Return (left, top) of each legend entry inside the strip, wrapped at the width."""
    places: list[tuple[int, int]] = []
    left, top = 14, 8
    for _, _, text in entries:
        need = 28 + int(_font(13).getlength(text)) + 20
        if left > 14 and left + need > width:
            left, top = 14, top + _LINE_PX
        places.append((left, top))
        left += need
    return places


def _draw_sign(draw: ImageDraw.ImageDraw, style: str, color: Color, left: int, middle: int) -> None:
    """Draw the sign of a legend entry, 20 pixels wide."""
    if style == "box":
        draw.rectangle([left, middle - 5, left + 18, middle + 5], outline=color, width=2)
    elif style == "ring":
        draw.ellipse([left + 2, middle - 7, left + 16, middle + 7], outline=color, width=2)
    else:
        for start in (left, left + 8, left + 16):
            draw.line([start, middle, start + 4, middle], fill=color, width=2)


def _draw_title(draw: ImageDraw.ImageDraw, title: str, width: int) -> None:
    """Write the title, cut to the width of the picture."""
    font = _font(15)
    while len(title) > 4 and draw.textlength(title, font=font) > width - 28:
        title = title[:-4].rstrip() + "..."
    draw.text((14, _STRIP_PX // 2 + 1), title, font=font, fill=_TEXT, anchor="lm")


def _draw_scale(draw: ImageDraw.ImageDraw, canvas: _Canvas, size: tuple[int, int]) -> None:
    """Draw a bar of 10 m into the lower right corner."""
    length = 10.0 / canvas.view.meters_per_pixel
    right, bottom = size[0] - 18, size[1] - 18
    draw.line([right - length, bottom, right, bottom], fill=_TEXT, width=2)
    for x in (right - length, right):
        draw.line([x, bottom - 5, x, bottom + 1], fill=_TEXT, width=2)
    draw.text((right - length / 2, bottom - 6), "10 m", font=_font(12), fill=_TEXT, anchor="mb")


def _flat(points: Float64) -> list[float]:
    return [float(v) for v in points.reshape(-1)]


def _font(size_px: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    """Return the font that Pillow brings along: the same picture on every machine."""
    return ImageFont.load_default(size_px)


def _spoken(category: str) -> str:
    return category.replace("_", " ")
