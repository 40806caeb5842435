"""Boxes beside point clouds: `boxes.csv`, for formats whose files have no place for boxes.

One row a box, ego frame at `timestamp_ns`, metres and radians, in the columns of `COLUMNS`. A frame
that was looked at and holds no object is a row with nothing but its time.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Final

import numpy as np

from scene.box import Boxes
from scene.errors import FormatError

BOXES_FILE: Final = "boxes.csv"
COLUMNS: Final = (
    "timestamp_ns", "category", "track_id", "x_m", "y_m", "z_m", "length_m", "width_m", "height_m",
    "yaw_rad", "vx_mps", "vy_mps", "score", "num_points",
)  # fmt: skip
_MAX_BYTES: Final = 2**30


def header() -> str:
    """Return the first line of the file."""
    return ",".join(COLUMNS) + "\n"


def lines(timestamp_ns: int, boxes: Boxes) -> str:
    """Return the lines of one frame; numbers are written so that every bit comes back."""
    if not len(boxes):
        return f"{timestamp_ns}" + "," * (len(COLUMNS) - 1) + "\n"
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    columns = (
        boxes.category.tolist(), boxes.track_id.tolist(), *boxes.center_xyz_m.T.tolist(),
        *boxes.size_lwh_m.T.tolist(), boxes.yaw_rad.tolist(), *boxes.velocity_xy_mps.T.tolist(),
        boxes.score.tolist(), boxes.num_points.tolist(),
    )  # fmt: skip
    for row in zip(*columns, strict=True):
        writer.writerow([timestamp_ns, *("" if value != value else value for value in row)])
    return buffer.getvalue()


def beside(folder: Path, times_ns: Iterable[int]) -> dict[int, Boxes] | None:
    """Return the boxes of some times from the file in a folder, None if there is no such file.

    Raises:
        FormatError: if the file is something else.
    """
    path = folder / BOXES_FILE
    if not path.is_file():
        return None
    found = read_boxes(path)
    return {time: found[time] for time in times_ns if time in found}


def read_boxes(path: Path) -> dict[int, Boxes]:
    """Return the boxes by time.

    Raises:
        FormatError: if a column is missing or a value is no number; says in which line.
    """
    if path.stat().st_size > _MAX_BYTES:
        raise FormatError(f"{path.name}: over {_MAX_BYTES >> 30} GiB, not a table of boxes")
    rows: dict[int, list[list[float]]] = {}
    names: dict[int, list[tuple[str, str]]] = {}
    try:
        with path.open(newline="", encoding="utf-8") as stream:
            reader = csv.DictReader(stream)
            missing = [name for name in COLUMNS[:10] if name not in (reader.fieldnames or ())]
            if missing:
                raise FormatError(f"{path.name}: no column {', '.join(missing)}")
            for row in reader:
                time, values = _row(row, path, reader.line_num)
                numbers, texts = rows.setdefault(time, []), names.setdefault(time, [])
                if values is not None:
                    numbers.append(values)
                    texts.append((row["category"] or "", row["track_id"] or ""))
    except (csv.Error, UnicodeDecodeError) as error:
        raise FormatError(
            f"{path.name}: not a table of comma-separated values ({error})"
        ) from error
    return {time: _boxes(rows[time], names[time]) for time in sorted(rows)}


def _row(row: dict[str, str], path: Path, line: int) -> tuple[int, list[float] | None]:
    """Return time and numbers of a row, None for one that only says that a frame is empty."""
    try:
        time = int(row["timestamp_ns"])
        if not row["category"]:
            return time, None
        values = [float(row.get(name) or "nan") for name in COLUMNS[3:]]
    except (ValueError, TypeError) as error:
        raise FormatError(f"{path.name} line {line}: not a box ({error})") from error
    if not np.isfinite(values[:7]).all() or abs(time) >= 2**63:
        raise FormatError(f"{path.name} line {line}: place and size of the box must be numbers")
    return time, values


def _boxes(rows: list[list[float]], names: list[tuple[str, str]]) -> Boxes:
    if not rows:
        return Boxes.empty()
    table = np.array(rows, dtype=np.float64)
    counted = np.nan_to_num(table[:, 10], nan=-1.0)
    boxes = Boxes.make(
        table[:, :3], table[:, 3:6], table[:, 6], [name for name, _ in names], table[:, 7:9],
        [track for _, track in names], table[:, 9], counted.clip(-1, 2**53).astype(np.int64),
    )  # fmt: skip
    exact = np.abs(table[:, 6]) <= np.pi  # wrapping costs the last bit
    return replace(boxes, yaw_rad=np.where(exact, table[:, 6], boxes.yaw_rad))
