"""Pictures of an evaluation: precision over recall, calibration, kinds of mistakes, examples."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from PIL import Image, ImageDraw

from reporting.picture_frame import TEXT, Color, Entry, font, framed
from reporting.pictures import bev_png
from scene.bev import BevView
from scene.box import Boxes
from scene.taxonomy import CATEGORY
from scene.types import Float, Float64

_OVERSAMPLE: Final = 2
_SIZE: Final = (760, 480)  # of the plot with its axes
_LEFT, _TOP, _RIGHT, _BOTTOM = 64, 16, 20, 50
_BACKGROUND: Final = (10, 13, 20)
_GRID: Final = (44, 54, 76)
_QUIET: Final = (140, 151, 174)
_LINE: Final = (86, 180, 233)
_WRONG: Final = (255, 82, 96)
_KIND_COLOR: Final[Mapping[str, Color]] = {
    "class": (204, 121, 167), "localisation": (230, 159, 0), "both": (166, 118, 29),
    "duplicate": (240, 228, 66), "background": (255, 82, 96), "missed": (86, 180, 233),
}  # fmt: skip
_TILE_M: Final = 11.0
_COLUMNS: Final = 3


@dataclass(frozen=True, slots=True)
class CurveLine:
    """One category's precision at recalls from 0 to 1, evenly spaced, and its AP."""

    category: str
    precision: Float64
    max_recall: float
    ap: float


@dataclass(frozen=True, slots=True)
class Example:
    """A place where a model was wrong.

    Attributes:
        title: kind of mistake, category and score.
        points_ego_m: (N, 3) of the frame.
        truth, predictions: boxes of the frame.
        center_xy_m: (2,) where to look.
    """

    title: str
    points_ego_m: Float
    truth: Boxes
    predictions: Boxes
    center_xy_m: Float64


class _Plot:
    """A chart with two axes; values are turned into pixels of the oversampled picture."""

    def __init__(self, x_label: str, y_label: str, top: float = 1.0) -> None:
        width, height = (side * _OVERSAMPLE for side in _SIZE)
        self.image = Image.new("RGB", (width, height), _BACKGROUND)
        self.draw = ImageDraw.Draw(self.image)
        self._top = top
        self._labels = (x_label, y_label)

    def at(self, x: float, y: float) -> tuple[float, float]:
        """Return the pixel of a point; x in [0, 1], y in [0, top]."""
        wide, high = _SIZE[0] - _LEFT - _RIGHT, _SIZE[1] - _TOP - _BOTTOM
        column = _LEFT + x * wide
        row = _TOP + (1.0 - y / self._top) * high
        return column * _OVERSAMPLE, row * _OVERSAMPLE

    def axes(self, x_ticks: Sequence[tuple[float, str]], y_ticks: Sequence[float]) -> None:
        """Draw grid and ticks."""
        small = font(14 * _OVERSAMPLE)
        for x, text in x_ticks:
            column, row = self.at(x, 0.0)
            self.draw.line([self.at(x, 0.0), self.at(x, self._top)], fill=_GRID, width=2)
            self.draw.text((column, row + 10), text, font=small, fill=_QUIET, anchor="ma")
        for y in y_ticks:
            column, row = self.at(0.0, y)
            self.draw.line([self.at(0.0, y), self.at(1.0, y)], fill=_GRID, width=2)
            self.draw.text((column - 12, row), f"{y:g}", font=small, fill=_QUIET, anchor="rm")
        width, height = self.image.size
        self.draw.text((width / 2, height - 8), self._labels[0], font=small, fill=TEXT, anchor="mb")
        side = Image.new("RGB", (height, 40), _BACKGROUND)
        middle = (height / 2, 20)
        ImageDraw.Draw(side).text(middle, self._labels[1], font=small, fill=TEXT, anchor="mm")
        self.image.paste(side.rotate(90, expand=True), (0, 0))

    def line(self, x: Float64, y: Float64, color: Color, width: int = 5) -> None:
        """Draw a line through points."""
        points = [self.at(float(a), float(b)) for a, b in zip(x, y, strict=True)]
        if len(points) > 1:
            self.draw.line(points, fill=color, width=width, joint="curve")

    def bar(self, left: float, right: float, bottom: float, top: float, color: Color) -> None:
        """Draw a filled bar."""
        (x0, y0), (x1, y1) = self.at(left, top), self.at(right, bottom)
        if y1 - y0 >= 1:
            self.draw.rectangle([x0, y0, x1, y1], fill=color)

    def text(self, x: float, y: float, text: str, color: Color, anchor: str) -> None:
        """Write at a point, a little above it."""
        column, row = self.at(x, y)
        size = font(14 * _OVERSAMPLE)
        self.draw.text((column, row - 8), text, font=size, fill=color, anchor=anchor)

    def png(self, title: str, entries: list[Entry]) -> bytes:
        """Return the picture with title and legend."""
        small = self.image.resize(_SIZE, Image.Resampling.LANCZOS)
        return _encoded(framed(small, title, entries))


def precision_recall_png(curves: Sequence[CurveLine], title: str = "") -> bytes:
    """Return the precision of each category over recall, up to the highest recall it reaches."""
    plot = _Plot("recall", "precision")
    plot.axes([(v, f"{v:g}") for v in _TENTHS], _TENTHS)
    entries: list[Entry] = []
    for curve in sorted(curves, key=lambda c: -c.ap):
        color = CATEGORY[curve.category].color_rgb
        recall = np.linspace(0.0, 1.0, len(curve.precision), dtype=np.float64)
        shown = recall <= curve.max_recall
        plot.line(recall[shown], curve.precision[shown], color)
        if shown.any():
            last = plot.at(float(recall[shown][-1]), float(curve.precision[shown][-1]))
            plot.draw.ellipse([last[0] - 7, last[1] - 7, last[0] + 7, last[1] + 7], fill=color)
        entries.append(("line", color, f"{curve.category.replace('_', ' ')} {curve.ap:.2f}"))
    return plot.png(title, entries)


def calibration_png(
    edge: Float64, promised: Float64, right: Float64, count: Float, error: float, title: str = ""
) -> bytes:
    """Return how often predictions are right by what their scores promise.

    Args:
        edge: (B + 1,) of the bins of scores.
        promised: (B,) mean score, NaN where a bin is empty.
        right: (B,) share of right predictions, NaN where a bin is empty.
        count: (B,) predictions.
        error: expected calibration error.
        title: one line at the top.
    """
    plot = _Plot("score", "share that is right")
    plot.axes([(v, f"{v:g}") for v in _TENTHS], _TENTHS)
    for low, high, share, number in zip(edge[:-1], edge[1:], right, count, strict=True):
        if not number:
            continue
        plot.bar(low + 0.006, high - 0.006, 0.0, float(share), (40, 78, 110))
        text = f"{int(number):,}".replace(",", " ")
        plot.text((low + high) / 2, 0.0, text, TEXT, "mb")
    plot.line(np.array([0.0, 1.0]), np.array([0.0, 1.0]), _QUIET, 3)
    known = np.isfinite(promised)
    plot.line(promised[known], right[known], _LINE)
    for x, y in zip(promised[known], right[known], strict=True):
        column, row = plot.at(float(x), float(y))
        plot.draw.ellipse([column - 9, row - 9, column + 9, row + 9], fill=_LINE)
    entries: list[Entry] = [
        ("line", _LINE, f"measured, calibration error {error:.3f}"),
        ("line", _QUIET, "as promised"),
        ("box", (40, 78, 110), "predictions in the bin"),
    ]
    return plot.png(title, entries)


def mistakes_png(cost: Mapping[str, float], count: Mapping[str, int], title: str = "") -> bytes:
    """Return what each kind of mistake costs in mAP, with how many there are."""
    top = _ceiling(max([*cost.values(), 0.01]))
    plot = _Plot("kind of mistake", "mAP gained if put right", top)
    width = 1.0 / max(len(cost), 1)
    plot.axes([((i + 0.5) * width, kind) for i, kind in enumerate(cost)], _steps(top))
    for i, (kind, value) in enumerate(cost.items()):
        left = i * width
        color = _KIND_COLOR.get(kind, _LINE)
        plot.bar(left + 0.02, left + width - 0.02, 0.0, max(value, 0.0), color)
        plot.text(left + width / 2, max(value, 0.0), f"{value:+.3f}  ({count[kind]})", TEXT, "mb")
    return plot.png(title, [])


def gallery_png(examples: Sequence[Example], title: str = "") -> bytes:
    """Return a grid of places seen from above, labels dashed and predictions solid."""
    tiles = [_tile(example) for example in examples]
    if not tiles:
        return _encoded(framed(Image.new("RGB", (640, 120), _BACKGROUND), title, []))
    wide, high = max(t.width for t in tiles), max(t.height for t in tiles)
    columns = min(_COLUMNS, len(tiles))
    rows = -(-len(tiles) // columns)
    gap = 6
    sheet = Image.new("RGB", (columns * (wide + gap) - gap, rows * (high + gap) - gap), _BACKGROUND)
    for i, tile in enumerate(tiles):
        sheet.paste(tile, ((i % columns) * (wide + gap), (i // columns) * (high + gap)))
    return _encoded(framed(sheet, title, []))


_TENTHS: Final = (0.0, 0.2, 0.4, 0.6, 0.8, 1.0)


def _tile(example: Example) -> Image.Image:
    x, y = (float(v) for v in example.center_xy_m)
    view = BevView(x - _TILE_M, x + _TILE_M, y - _TILE_M, y + _TILE_M, 0.06)
    png = bev_png(
        example.points_ego_m, example.truth, example.predictions, example.title, view, min_score=0.1
    )
    with Image.open(io.BytesIO(png)) as image:
        tile = image.convert("RGB")
    # A cross would hide what matters; a frame in the corner of the eye does not.
    draw, strip = ImageDraw.Draw(tile), 38
    middle = tile.width / 2
    reach = 1.9 / 0.06
    center = strip + 2 * _TILE_M / 0.06 / 2
    draw.ellipse(
        [middle - reach, center - reach, middle + reach, center + reach], outline=_WRONG, width=2
    )
    return tile


def _ceiling(value: float) -> float:
    """Return a round number above the value, with room for a text."""
    step = 10.0 ** np.floor(np.log10(value))
    for factor in (1.0, 2.0, 5.0, 10.0):
        if value * 1.15 <= factor * step:
            return float(factor * step)
    return float(20.0 * step)


def _steps(top: float) -> list[float]:
    return [float(v) for v in np.round(np.linspace(0.0, top, 6), 6)]


def _encoded(image: Image.Image) -> bytes:
    buffer = io.BytesIO()
    image.quantize(256, method=Image.Quantize.MEDIANCUT, dither=Image.Dither.NONE).save(
        buffer, "PNG", optimize=True
    )
    return buffer.getvalue()
