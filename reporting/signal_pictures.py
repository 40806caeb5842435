"""The picture of a recording without a lidar: small panels of its main signals over time.

Drawn at twice the size and scaled down, like `reporting.pictures`.
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from PIL import Image, ImageDraw

from reporting.picture_frame import TEXT, Color, Entry, font, framed
from scene.pose import Trajectory
from scene.signal import Signal, state_action_pairs
from scene.types import Float64, Mask

_SCALE: Final = 2
_COLUMNS: Final = 3
_MAX_PANELS: Final = 12
_PANEL: Final = (356, 132)
_GAP: Final = 14
_INSET: Final = (50, 26, 10, 10)  # left, top, right, bottom, of the plot in its panel
_AXIS_PX: Final = 24
_BACKGROUND: Final = (10, 13, 20)
_PLOT: Final = (17, 22, 33)
_GRID: Final = (38, 47, 67)
_QUIET: Final = (134, 146, 170)
_STATE: Final = (104, 178, 255)
_ACTION: Final = (255, 178, 84)
_OTHER: Final = (126, 214, 160)


@dataclass(frozen=True, slots=True)
class _Line:
    """One curve of a panel: (T,) x and y, NaN where it breaks."""

    x: Float64
    y: Float64
    color: Color


@dataclass(frozen=True, slots=True)
class _Panel:
    """One small plot.

    Attributes:
        title: what it shows.
        lines: the last is on top.
        square: x is not time, and both axes have one scale.
    """

    title: str
    lines: tuple[_Line, ...]
    square: bool = False


def signals_png(signals: Sequence[Signal], trajectory: Trajectory, title: str = "") -> bytes:
    """Return a PNG of the main signals of a recording: those fields that move most.

    States and their actions share a panel; the path and the speed come first where there are poses.

    Args:
        signals: of one recording.
        trajectory: its poses, may be empty.
        title: one line at the top.
    """
    start_s, end_s = _duration(signals, trajectory)
    panels = _of_poses(trajectory, start_s)
    panels += _of_signals(signals, start_s, _MAX_PANELS - len(panels))
    columns = max(1, min(_COLUMNS, len(panels)))
    rows = max(1, -(-len(panels) // columns))
    size = (
        columns * (_PANEL[0] + _GAP) + _GAP,
        rows * (_PANEL[1] + _GAP) + _GAP + _AXIS_PX,
    )
    image = Image.new("RGB", (size[0] * _SCALE, size[1] * _SCALE), _BACKGROUND)
    boxes = [_place(number, columns) for number in range(len(panels))]
    draw = ImageDraw.Draw(image)
    for panel, box in zip(panels, boxes, strict=True):
        _draw_panel(draw, panel, box, end_s - start_s)
    image = image.resize(size, Image.Resampling.LANCZOS)
    draw = ImageDraw.Draw(image)
    for panel, box in zip(panels, boxes, strict=True):
        _write_panel(draw, panel, box)
    if not panels:
        draw.text((_GAP, _GAP), "nothing to plot", font=font(15), fill=_QUIET)
    _write_axis(draw, panels, boxes, end_s - start_s)
    total = sum(len(s.fields) for s in _leading(signals)) + 2 * (len(trajectory) > 1)
    if panels and total > len(panels):
        title += f"  {len(panels)} of {total} fields, the liveliest"
    buffer = io.BytesIO()
    whole = framed(image, title, _legend(signals, panels))
    whole.quantize(64, method=Image.Quantize.MEDIANCUT, dither=Image.Dither.NONE).save(
        buffer, "PNG", optimize=True
    )
    return buffer.getvalue()


def _duration(signals: Sequence[Signal], trajectory: Trajectory) -> tuple[float, float]:
    series = [s.timestamps_ns for s in signals] + [trajectory.timestamps_ns]
    known = [times for times in series if len(times)]
    if not known:
        return 0.0, 1.0
    start = min(int(times.min()) for times in known) / 1e9
    return start, max(int(times.max()) for times in known) / 1e9


def _of_poses(trajectory: Trajectory, start_s: float) -> list[_Panel]:
    if len(trajectory) < 2:
        return []
    x, y = trajectory.translation_m[:, 0], trajectory.translation_m[:, 1]
    seconds = trajectory.timestamps_ns / 1e9 - start_s
    speed = trajectory.speed_mps()
    return [
        _Panel("path, m (map, x right)", (_Line(x, y, _OTHER),), square=True),
        _Panel("speed, m/s", (_Line(seconds, speed, _OTHER),)),
    ]


def _of_signals(signals: Sequence[Signal], start_s: float, room: int) -> list[_Panel]:
    """Return panels of the liveliest fields, shared fairly among the signals."""
    partner = {state.name: action for state, action in state_action_pairs(signals)}
    alone = _leading(signals)
    panels: list[_Panel] = []
    for number, signal in enumerate(alone):
        fair = -(-(room - len(panels)) // (len(alone) - number))
        for field in _liveliest(signal, fair):
            lines = [_line(signal, field, start_s, _STATE if signal.kind == "state" else _OTHER)]
            if signal.name in partner:
                lines.insert(0, _line(partner[signal.name], field, start_s, _ACTION))
            elif signal.kind == "action":
                lines = [_line(signal, field, start_s, _ACTION)]
            name = signal.fields[field]
            title = name if signal.kind == "state" else f"{signal.name} {name}"
            panels.append(_Panel(title, tuple(lines)))
    return panels[:room]


def _leading(signals: Sequence[Signal]) -> list[Signal]:
    """Return the signals with panels of their own, states first; an action joins its state."""
    joined = {action.name for _, action in state_action_pairs(signals)}
    alone = [s for s in signals if s.name not in joined and len(s.timestamps_ns) and s.fields]
    order = {"state": 0, "action": 1, "imu": 2, "gnss": 3, "other": 4}
    return sorted(alone, key=lambda signal: order[signal.kind])


def _liveliest(signal: Signal, count: int) -> list[int]:
    """Return the fields with the widest span, in the order of the signal."""
    width = signal.span()
    return sorted(np.argsort(-width, kind="stable")[: max(count, 0)].tolist())


def _line(signal: Signal, field: int, start_s: float, color: Color) -> _Line:
    return _Line(signal.timestamps_ns / 1e9 - start_s, signal.values[:, field], color)


def _place(number: int, columns: int) -> tuple[int, int, int, int]:
    """Return left, top, right, bottom of the plot of a panel, pixels of the final picture."""
    row, column = divmod(number, columns)
    left, top = _GAP + column * (_PANEL[0] + _GAP), _GAP + row * (_PANEL[1] + _GAP)
    return (
        left + _INSET[0], top + _INSET[1], left + _PANEL[0] - _INSET[2],
        top + _PANEL[1] - _INSET[3],
    )  # fmt: skip


def _limits(panel: _Panel) -> tuple[float, float]:
    """Return the lowest and the highest value, some room around a constant."""
    values = np.concatenate([line.y for line in panel.lines])
    values = values[np.isfinite(values)]
    if not len(values):
        return 0.0, 1.0
    low, high = float(values.min()), float(values.max())
    room = (high - low) * 0.06 if high > low else max(abs(high) * 1e-3, 1e-6)
    return low - room, high + room


def _said(value: float, low: float, high: float) -> str:
    """Return a limit with enough digits to tell the two apart."""
    size = max(abs(low), abs(high), 1e-12)
    digits = 3 + int(np.clip(np.log10(size / (high - low)), 0, 5))
    return f"{value:.{digits}g}"


def _draw_panel(
    draw: ImageDraw.ImageDraw, panel: _Panel, box: tuple[int, int, int, int], length_s: float
) -> None:
    left, top, right, bottom = (edge * _SCALE for edge in box)
    draw.rectangle([left, top, right, bottom], fill=_PLOT)
    for share in (0.25, 0.5, 0.75):
        y = top + share * (bottom - top)
        draw.line([left, y, right, y], fill=_GRID, width=1)
    low, high = _limits(panel)
    for line in panel.lines:
        if panel.square:
            x, y = _square(line, (left, top, right, bottom))
        else:
            x = left + line.x / max(length_s, 1e-9) * (right - left)
            y = bottom - (line.y - low) / (high - low) * (bottom - top)
        for part in _runs(np.isfinite(x) & np.isfinite(y)):
            points = _thinned(x[part], y[part])
            if len(points) > 2:
                draw.line(points, fill=line.color, width=2 * _SCALE - 1, joint="curve")


def _square(line: _Line, box: tuple[int, int, int, int]) -> tuple[Float64, Float64]:
    """Return pixels of a path: one scale for both axes, centred."""
    left, top, right, bottom = box
    width, height = float(np.ptp(line.x)), float(np.ptp(line.y))
    scale = 0.9 / max(width / (right - left), height / (bottom - top), 1e-9)
    x = (left + right) / 2 + (line.x - (line.x.min() + width / 2)) * scale
    y = (top + bottom) / 2 - (line.y - (line.y.min() + height / 2)) * scale
    return x, y


def _runs(known: Mask) -> list[slice]:
    """Return the stretches without a break."""
    edges = np.flatnonzero(np.diff(np.concatenate([[False], known, [False]]).astype(np.int8)))
    return [slice(int(a), int(b)) for a, b in zip(edges[::2], edges[1::2], strict=True)]


def _thinned(x: Float64, y: Float64, most: int = 4000) -> list[float]:
    """Return x, y, x, y, ... of a curve; of long ones the lowest and highest of each stretch."""
    if len(x) > most:
        starts = np.linspace(0, len(x), most // 2, endpoint=False).astype(int)
        low, high = np.minimum.reduceat(y, starts), np.maximum.reduceat(y, starts)
        x, y = np.repeat(x[starts], 2), np.stack([low, high], axis=1).ravel()
    return np.stack([x, y], axis=1).ravel().tolist()


def _write_panel(draw: ImageDraw.ImageDraw, panel: _Panel, box: tuple[int, int, int, int]) -> None:
    left, top, _, bottom = box
    draw.text((left, top - 6), _cut(panel.title), font=font(14), fill=TEXT, anchor="ls")
    if panel.square:
        size = max(float(np.ptp(axis)) for line in panel.lines for axis in (line.x, line.y))
        draw.text((left - 6, bottom), f"{size:.3g} m", font=font(11), fill=_QUIET, anchor="rs")
        return
    low, high = _limits(panel)
    for value, y, anchor in ((high, top, "rt"), (low, bottom, "rs")):
        draw.text((left - 6, y), _said(value, low, high), font=font(11), fill=_QUIET, anchor=anchor)


def _cut(title: str, most: int = 40) -> str:
    return title if len(title) <= most else f"{title[: most - 3]}..."


def _write_axis(
    draw: ImageDraw.ImageDraw,
    panels: Sequence[_Panel],
    boxes: Sequence[tuple[int, int, int, int]],
    length_s: float,
) -> None:
    """Write the time under the lowest panel of each column."""
    timed = [box for panel, box in zip(panels, boxes, strict=True) if not panel.square]
    for left in {box[0] for box in timed}:
        _, _, right, bottom = max(box for box in timed if box[0] == left)
        for x, text, anchor in ((left, "0 s", "lt"), (right, f"{length_s:.3g} s", "rt")):
            draw.text((x, bottom + 5), text, font=font(12), fill=_QUIET, anchor=anchor)


def _legend(signals: Sequence[Signal], panels: Sequence[_Panel]) -> list[Entry]:
    colors = {line.color for panel in panels for line in panel.lines}
    names: list[Entry] = []
    for kind, color in (("state", _STATE), ("action", _ACTION)):
        found = [signal.name for signal in signals if signal.kind == kind]
        if found and color in colors:
            names.append(("line", color, found[0] if len(found) == 1 else f"{kind}s"))
    return names
