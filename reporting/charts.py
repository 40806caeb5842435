"""Small inline SVG charts. Colours come from the page's CSS, so they follow light and dark."""

from __future__ import annotations

import math
from collections.abc import Sequence

from markupsafe import Markup

from reporting.model import Interval, SlicePoint


def before_after(
    before: Interval | None, after: Interval | None, width: float = 220.0, labels: bool = False
) -> Markup:
    """Return two dots with their intervals on one scale from 0 to 1, `width` pixels long."""
    height = 44.0 if labels else 26.0
    inset = 8.0 if labels else 5.0
    ticks = [(v, inset + (width - 2 * inset) * v) for v in (0.0, 0.5, 1.0)]
    parts = [f'<line class="axis" x1="{inset}" x2="{width - inset}" y1="13" y2="13"/>']
    for value, x in ticks:
        parts.append(f'<line class="tick" x1="{x:.1f}" x2="{x:.1f}" y1="9" y2="17"/>')
        if labels:
            parts.append(f'<text x="{x:.1f}" y="38" text-anchor="middle">{value:g}</text>')
    for name, interval, y in (("before", before, 9.0), ("after", after, 17.0)):
        if interval is None or math.isnan(interval.value):
            continue
        low, value, high = (
            inset + (width - 2 * inset) * min(1.0, max(0.0, v))
            for v in (interval.low, interval.value, interval.high)
        )
        parts.append(
            f'<line class="{name} span" x1="{low:.1f}" x2="{high:.1f}" y1="{y}" y2="{y}"/>'
            f'<circle class="{name}" cx="{value:.1f}" cy="{y}" r="4.5"/>'
        )
    return _svg("".join(parts), width, height, "before and after with 95 % intervals")


def history(points: Sequence[SlicePoint], width: float = 440.0, height: float = 110.0) -> Markup:
    """Return a line over turns with its intervals as a band; AP from 0 to 1."""
    points = [p for p in points if not math.isnan(p.ap.value)]
    if len(points) < 2:
        return Markup("")
    left, right, top, bottom = 34.0, width - 24.0, 8.0, height - 20.0
    first, last = points[0].turn, points[-1].turn
    xs = [left + (right - left) * (p.turn - first) / max(1, last - first) for p in points]

    def y(value: float) -> float:
        return bottom - (bottom - top) * min(1.0, max(0.0, value))

    upper = [(x, y(p.ap.high)) for x, p in zip(xs, points, strict=True)]
    lower = [(x, y(p.ap.low)) for x, p in zip(xs, points, strict=True)]
    line = [(x, y(p.ap.value)) for x, p in zip(xs, points, strict=True)]
    parts = [_horizontal(y(v), left, right, f"{v:.1f}") for v in (0.0, 0.5, 1.0)]
    parts.append(f'<polygon class="band" points="{_path(upper + lower[::-1])}"/>')
    parts.append(f'<polyline class="line" points="{_path(line)}"/>')
    for (x, level), point in zip(line, points, strict=True):
        parts.append(f'<circle class="after" cx="{x:.1f}" cy="{level:.1f}" r="3.5"/>')
        parts.append(
            f'<text x="{x:.1f}" y="{height - 5}" text-anchor="middle">turn {point.turn}</text>'
        )
    return _svg("".join(parts), width, height, "average precision over turns")


def loss_curve(
    curve: Sequence[tuple[int, float]], width: float = 480.0, height: float = 150.0
) -> Markup:
    """Return the training loss over iterations."""
    points = [(i, v) for i, v in curve if math.isfinite(v)]
    if len(points) < 2:
        return Markup("")
    left, right, top, bottom = 40.0, width - 10.0, 10.0, height - 22.0
    highest = max(v for _, v in points) or 1.0
    first, last = points[0][0], points[-1][0]
    line = [
        (
            left + (right - left) * (i - first) / max(1, last - first),
            bottom - (bottom - top) * v / highest,
        )
        for i, v in points
    ]
    parts = [
        _horizontal(bottom - (bottom - top) * share, left, right, f"{highest * share:.2g}")
        for share in (0.0, 0.5, 1.0)
    ]
    parts.append(f'<polyline class="line" points="{_path(line)}"/>')
    parts.append(f'<text x="{left}" y="{height - 5}">iteration {first}</text>')
    parts.append(f'<text x="{right}" y="{height - 5}" text-anchor="end">{last}</text>')
    return _svg("".join(parts), width, height, "training loss")


def _horizontal(y: float, left: float, right: float, text: str) -> str:
    """Return a grid line with its value."""
    return (
        f'<line class="axis" x1="{left}" x2="{right}" y1="{y:.1f}" y2="{y:.1f}"/>'
        f'<text x="{left - 5}" y="{y + 3.5:.1f}" text-anchor="end">{text}</text>'
    )


def _path(points: Sequence[tuple[float, float]]) -> str:
    return " ".join(f"{x:.1f},{y:.1f}" for x, y in points)


def _svg(content: str, width: float, height: float, label: str) -> Markup:
    return Markup(  # noqa: S704 - content holds numbers of this module only
        f'<svg class="chart" role="img" aria-label="{label}" width="{width:g}" height="{height:g}" '
        f'viewBox="0 0 {width:g} {height:g}">{content}</svg>'
    )
