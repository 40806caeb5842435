"""What is known of the circumstances of a frame: where, when, and by which lidar."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np

from loop.workspace import Workspace
from scene.errors import FormatError
from scene.recording import RecordingId
from scene.types import Float64, Int64
from storage.signals import read_signals

_TILE_M: Final = 200.0
_CELL_DEG: Final = 0.01  # about a kilometre
_FIRST_NS: Final = 946_684_800_000_000_000  # 2000; earlier clocks count from the start of a drive
_HOUR_NS: Final = 3_600_000_000_000
_HOURS: Final = 6
_NEAR_NS: Final = 5_000_000_000  # a position of the satellites this far off still says the place


def conditions_of(
    workspace: Workspace, recording: str, times_ns: Sequence[int]
) -> list[dict[str, str]]:
    """Return what is known of each frame, by name of `training.evaluation.FRAME_KINDS`.

    * place: a cell of 0.01 degrees where the recording has a satellite position; else a tile of
      200 m of the recording's own map, where it moved.
    * time of day: six hours of the sun's time where the longitude is known, else of UTC; unknown if
      the clock is not that of the day.
    * source: format and lidar of the recording.
    """
    times = np.asarray(times_ns, dtype=np.int64)
    rows = workspace.tables.read("recordings", {"recording": recording}).to_pylist()
    source = _source(rows[0]) if rows else ""
    latitude_deg, longitude_deg = _positions(workspace, recording, times)
    tiles = _tiles(workspace, recording, times)
    known = []
    for time, latitude, longitude in zip(times.tolist(), latitude_deg, longitude_deg, strict=True):
        place = tiles.get(time, "")
        if np.isfinite(latitude):
            place = f"{_cell(latitude)}, {_cell(longitude)}"
        facts = {"source": source, "place": place, "time of day": time_of_day(time, longitude)}
        known.append({name: text for name, text in facts.items() if text})
    return known


def time_of_day(timestamp_ns: int, longitude_deg: float = float("nan")) -> str:
    """Return six hours of the day, or an empty text if the clock does not tell the day.

    Args:
        timestamp_ns: since 1970, or since anything else.
        longitude_deg: east of Greenwich; NaN if unknown.
    """
    if timestamp_ns < _FIRST_NS:
        return ""
    sun = np.isfinite(longitude_deg)
    hour = (timestamp_ns % (24 * _HOUR_NS) / _HOUR_NS + (longitude_deg / 15 if sun else 0.0)) % 24
    first = int(hour // _HOURS) * _HOURS
    return f"{first:02d}-{first + _HOURS:02d} h {'by the sun' if sun else 'UTC'}"


def _source(row: Mapping[str, Any]) -> str:
    return ", ".join(text for text in (row["format"], row["sensor"]) if text)


def _cell(degrees: float) -> str:
    return f"{np.floor(degrees / _CELL_DEG) * _CELL_DEG:.2f}°"


def _positions(workspace: Workspace, recording: str, times_ns: Int64) -> tuple[Float64, Float64]:
    """Return latitude and longitude (degrees) at each time, NaN where there is none near."""
    unknown = np.full(len(times_ns), np.nan)
    try:
        signals = read_signals(workspace.store, RecordingId(recording))
    except FormatError:
        return unknown, unknown
    for signal in signals:
        names = list(signal.fields)
        if signal.kind != "gnss" or not {"latitude_deg", "longitude_deg"} <= set(names):
            continue
        columns = [names.index("latitude_deg"), names.index("longitude_deg")]
        values = signal.values[:, columns]
        good = np.isfinite(values).all(axis=1) & (values != 0).any(axis=1)  # 0, 0: no fix yet
        if not good.any():
            continue
        clock, values = signal.timestamps_ns[good], values[good]
        closest = np.searchsorted(clock[:-1] + np.diff(clock) // 2, times_ns)
        near = np.abs(clock[closest] - times_ns) <= _NEAR_NS
        latitude, longitude = np.where(near[:, None], values[closest], np.nan).T
        return latitude, longitude
    return unknown, unknown


def _tiles(workspace: Workspace, recording: str, times_ns: Int64) -> dict[int, str]:
    """Return the tile of the recording's map at each time; nothing if it never moved."""
    rows = workspace.tables.read("frames", {"recording": recording})
    xy_m = np.stack([rows[name].to_numpy() for name in ("x_m", "y_m")], axis=1)
    if not len(xy_m) or not np.ptp(xy_m, axis=0).any():
        return {}
    clock = rows["timestamp_ns"].to_numpy()
    wanted = np.isin(clock, times_ns)
    clock, tile = clock[wanted], np.floor(xy_m[wanted] / _TILE_M).astype(np.int64)
    return {
        time: f"{recording} tile {x},{y}"
        for time, (x, y) in zip(clock.tolist(), tile.tolist(), strict=True)
    }
