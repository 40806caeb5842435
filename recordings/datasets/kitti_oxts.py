"""OXTS records of KITTI: position, attitude and motion of the vehicle, one line a record.

Columns: KITTI raw development kit, `dataformat.txt`.
"""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Final

import numpy as np

from recordings.datasets.kitti_text import read_numbers, read_stamps
from scene.errors import FormatError
from scene.pose import SE3, Trajectory, matrix_to_quat
from scene.signal import Signal, SignalKind
from scene.types import Float64, Int64

# Mean radius of the devkit's Mercator projection (convertOxtsToPose.m).
EARTH_RADIUS_M: Final = 6378137.0
_POSE_COLUMNS: Final = 6
_SUBSET: Final = ("lat_deg", "lon_deg", "alt_m", "roll_rad", "pitch_rad", "yaw_rad")
_SIGNALS: Final[dict[str, tuple[SignalKind, dict[str, int]]]] = {
    "oxts/gnss": (
        "gnss",
        {"latitude_deg": 0, "longitude_deg": 1, "altitude_m": 2, "velocity_north_mps": 6,
         "velocity_east_mps": 7, "position_std_m": 23},
    ),
    "oxts/imu": (
        "imu",
        {"angular_velocity_x_radps": 17, "angular_velocity_y_radps": 18,
         "angular_velocity_z_radps": 19, "linear_acceleration_x_mps2": 11,
         "linear_acceleration_y_mps2": 12, "linear_acceleration_z_mps2": 13},
    ),
}  # fmt: skip


def read_drive(folder: Path, times_ns: Int64) -> tuple[Float64, Int64] | None:
    """Return the records of a raw drive and their times, None if it has none.

    Records are `oxts/data/*.txt`, (T, 30), or `oxts_subset.csv`, (T, 6) with the pose only. Their
    times are `oxts/timestamps.txt`, else those of the scans with the same numbers. A record that
    is not later than the one before is left out.

    Raises:
        FormatError: if a file is no record.
    """
    files = sorted((folder / "oxts" / "data").glob("*.txt"))
    subset = folder / "oxts_subset.csv"
    if not files and not subset.exists():
        return None
    rows = _rows(files) if files else _subset(subset)
    stamps = folder / "oxts" / "timestamps.txt"
    times = read_stamps(stamps) if files and stamps.exists() else times_ns
    count = min(len(rows), len(times))
    later = np.ones(count, dtype=bool)
    later[1:] = times[1:count] > np.maximum.accumulate(times[:count])[:-1]
    return rows[:count][later], times[:count][later]


def read_records(path: Path) -> Float64:
    """Return (T, 30) records of a file, at least (T, 6).

    Raises:
        FormatError: if the lines are no records of finite numbers.
    """
    rows = read_numbers(path, None)
    if rows.shape[1] < _POSE_COLUMNS or not np.isfinite(rows).all():
        raise FormatError(f"{path.name}: expected at least 6 finite numbers a line, as OXTS writes")
    return rows


def oxts_signals(rows: Float64, times_ns: Int64) -> tuple[Signal, ...]:
    """Return position and motion as signals, of records that have all columns.

    Args:
        rows: (T, C) records.
        times_ns: (T,) their times.
    """
    if rows.shape[1] < 24:
        return ()
    return tuple(
        Signal(name, kind, "imu", tuple(columns), times_ns, rows[:, list(columns.values())])
        for name, (kind, columns) in _SIGNALS.items()
    )


def _rows(files: list[Path]) -> Float64:
    records = [read_records(path)[:1] for path in files]
    width = min(record.shape[1] for record in records)
    return np.concatenate([record[:, :width] for record in records])


def _subset(path: Path) -> Float64:
    with path.open(newline="") as stream:
        try:
            rows = [[float(row[name]) for name in _SUBSET] for row in csv.DictReader(stream)]
        except (KeyError, ValueError, TypeError) as error:
            raise FormatError(f"{path.name}: expected columns {', '.join(_SUBSET)}") from error
    return np.array(rows).reshape(-1, len(_SUBSET))


def oxts_trajectory(rows: Float64, times_ns: Int64, ego_SE3_imu: SE3) -> Trajectory:
    """Return ego poses by the devkit's Mercator projection, scaled at the first latitude.

    Args:
        rows: (T, C) records: latitude, longitude (degrees), altitude, roll, pitch, yaw first.
        times_ns: (T,) their times.
        ego_SE3_imu: where the OXTS unit sits.

    Source: KITTI raw development kit, convertOxtsToPose.m and latToScale.m.
    """
    latitude, longitude, altitude, roll, pitch, yaw = rows[:, :_POSE_COLUMNS].T
    scale = np.cos(np.radians(latitude[0]))
    east = scale * EARTH_RADIUS_M * np.radians(longitude)
    north = scale * EARTH_RADIUS_M * np.log(np.tan(np.radians(90 + latitude) / 2))
    translation = np.stack([east, north, altitude], axis=1)
    rotation = _rotation(roll, pitch, yaw)
    imu_SE3_ego = ego_SE3_imu.inverse()
    ego = rotation @ imu_SE3_ego.translation_m + (translation - translation[0])
    return Trajectory(times_ns, matrix_to_quat(rotation @ imu_SE3_ego.rotation), ego)


def _rotation(roll: Float64, pitch: Float64, yaw: Float64) -> Float64:
    """Return (T, 3, 3) rotations Rz(yaw) Ry(pitch) Rx(roll)."""
    (sr, cr), (sp, cp), (sy, cy) = ((np.sin(a), np.cos(a)) for a in (roll, pitch, yaw))
    rows = [
        [cy * cp, cy * sp * sr - sy * cr, cy * sp * cr + sy * sr],
        [sy * cp, sy * sp * sr + cy * cr, sy * sp * cr - cy * sr],
        [-sp, cp * sr, cp * cr],
    ]
    return np.moveaxis(np.array(rows), 2, 0)
