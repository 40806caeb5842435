"""Times and ego poses of a KITTI raw drive, from whichever of its files are there."""

from __future__ import annotations

import csv
import re
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import numpy as np

from recordings.kitti_rig import find_above, read_labelled, read_rig
from scene.errors import FormatError
from scene.pose import SE3, Trajectory, matrix_to_quat
from scene.types import Float64, Int64

# Mean radius of the devkit's Mercator projection (convertOxtsToPose.m).
EARTH_RADIUS_M: Final = 6378137.0
# 2011_09_26/calib_imu_to_velo.txt, used where a drive comes without its calibration files.
_VELO_SE3_IMU: Final = SE3(
    np.array(
        [
            [9.999976e-01, 7.553071e-04, -2.035826e-03],
            [-7.854027e-04, 9.998898e-01, -1.482298e-02],
            [2.024406e-03, 1.482454e-02, 9.998881e-01],
        ]
    ),
    np.array([-8.086759e-01, 3.195559e-01, -7.997231e-01]),
)


def read_spans(folder: Path) -> Int64 | None:
    """Return (T, 2) first and last moment of each scan in nanoseconds, None if they are not known.

    Raises:
        FormatError: if a line is not a time, or the two files differ in length.
    """
    paths = [folder / "velodyne_points" / f"timestamps_{end}.txt" for end in ("start", "end")]
    if not all(path.exists() for path in paths):
        return None
    start, end = (read_stamps(path) for path in paths)
    if len(start) != len(end):
        raise FormatError(
            f"timestamps_start.txt has {len(start)} lines, timestamps_end.txt {len(end)}: copy "
            "both from the original download"
        )
    return np.stack([start, end], axis=1)


def read_times(folder: Path) -> Int64:
    """Return (T,) scan times in nanoseconds, by scan number.

    Reads `velodyne_points/timestamps.txt` (date and time, nine decimals, taken as UTC) or
    `velodyne_points/timestamps_s.txt` (seconds since the epoch).

    Raises:
        FormatError: if neither is there or a line is not a time.
    """
    for name in ("timestamps.txt", "timestamps_s.txt"):
        path = folder / "velodyne_points" / name
        if path.exists():
            return read_stamps(path)
    raise FormatError(
        f"{folder.name}: no velodyne_points/timestamps.txt; without times scans have no order in "
        "the drive: copy the file from the original download"
    )


def read_stamps(path: Path) -> Int64:
    """Return (T,) nanoseconds of a file with one time a line.

    Raises:
        FormatError: if a line is not a time or there is none.
    """
    lines = path.read_text(errors="replace").split("\n")
    while lines and not lines[-1].strip():
        lines.pop()
    times = [_time_ns(line, path, i) for i, line in enumerate(lines, 1)]
    if not times:
        raise FormatError(f"{path.name}: holds no times")
    return np.array(times, dtype=np.int64)


def _time_ns(line: str, path: Path, number: int) -> int:
    """Parse one line without going through a float: doubles are too coarse for nanoseconds."""
    whole, _, fraction = line.strip().partition(".")
    try:
        nanoseconds = int((fraction + "0" * 9)[:9])
        if re.fullmatch(r"\d+", whole):
            return int(whole) * 1_000_000_000 + nanoseconds
        moment = datetime.strptime(whole, "%Y-%m-%d %H:%M:%S").replace(tzinfo=UTC)
        return int(moment.timestamp()) * 1_000_000_000 + nanoseconds
    except ValueError as error:
        raise FormatError(f"{path.name} line {number}: {line!r} is not a time") from error


def read_trajectory(folder: Path, times_ns: Int64, ego_SE3_velodyne: SE3) -> Trajectory | None:
    """Return `map_SE3_ego` at the scan times, None if the drive holds no poses.

    Tried in this order: `oxts/data/*.txt`, `oxts_subset.csv` (both global, the map is east-north-up
    with its origin at the first pose), `poses_velodyne.txt` (scanner frame k in scanner frame 0).
    """
    oxts = _oxts_rows(folder)
    if oxts is not None:
        velo_SE3_imu = _velo_SE3_imu(folder)
        count = min(len(oxts), len(times_ns))
        ego_SE3_imu = ego_SE3_velodyne @ velo_SE3_imu
        return oxts_trajectory(oxts[:count], times_ns[:count], ego_SE3_imu)
    path = folder / "poses_velodyne.txt"
    if not path.exists():
        return None
    rows = _numbers(path, 12).reshape(-1, 3, 4)
    count = min(len(rows), len(times_ns))
    return _relative_poses(rows[:count], times_ns[:count], ego_SE3_velodyne)


def _relative_poses(matrices: Float64, times_ns: Int64, ego_SE3_sensor: SE3) -> Trajectory:
    """Return ego poses from (T, 3, 4) sensor poses in the frame of the first sensor pose."""
    sensor_SE3_ego = ego_SE3_sensor.inverse()
    poses = [
        ego_SE3_sensor @ SE3(matrix[:, :3], matrix[:, 3]) @ sensor_SE3_ego for matrix in matrices
    ]
    rotation = np.stack([pose.rotation for pose in poses])
    return Trajectory(
        times_ns, matrix_to_quat(rotation), np.stack([pose.translation_m for pose in poses])
    )


def _oxts_rows(folder: Path) -> Float64 | None:
    """Return (T, 6) latitude, longitude (degrees), altitude, roll, pitch, yaw by scan number."""
    files = sorted((folder / "oxts" / "data").glob("*.txt"))
    if files:
        return np.concatenate([read_oxts_file(path)[:1] for path in files])
    path = folder / "oxts_subset.csv"
    if not path.exists():
        return None
    names = ("lat_deg", "lon_deg", "alt_m", "roll_rad", "pitch_rad", "yaw_rad")
    with path.open(newline="") as stream:
        try:
            rows = [[float(row[name]) for name in names] for row in csv.DictReader(stream)]
        except (KeyError, ValueError, TypeError) as error:
            raise FormatError(f"{path.name}: expected columns {', '.join(names)}") from error
    return np.array(rows).reshape(-1, 6)


def read_oxts_file(path: Path) -> Float64:
    """Return (T, 6) latitude, longitude (degrees), altitude, roll, pitch, yaw of OXTS records.

    Raises:
        FormatError: if the lines are no records of finite numbers.
    """
    rows = _numbers(path, None)
    if rows.shape[1] < 6 or not np.isfinite(rows[:, :6]).all():
        raise FormatError(f"{path.name}: expected at least 6 finite numbers a line, as OXTS writes")
    return rows[:, :6]


def oxts_trajectory(rows: Float64, times_ns: Int64, ego_SE3_imu: SE3) -> Trajectory:
    """Return ego poses by the devkit's Mercator projection, scaled at the first latitude.

    Args:
        rows: (T, 6) latitude, longitude (degrees), altitude, roll, pitch, yaw.
        times_ns: (T,) their times.
        ego_SE3_imu: where the OXTS unit sits.

    Source: KITTI raw development kit, convertOxtsToPose.m and latToScale.m.
    """
    latitude, longitude, altitude, roll, pitch, yaw = rows.T
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


def _velo_SE3_imu(folder: Path) -> SE3:
    """Return where the IMU sits, from the calibration files in the drive or the folder above."""
    path = find_above(folder, "calib_imu_to_velo.txt")
    if path is not None:
        fields = read_labelled(path)
        if len(fields.get("R", ())) == 9 and len(fields.get("T", ())) == 3:
            return SE3(fields["R"].reshape(3, 3), fields["T"])
        raise FormatError(f"{path.name}: expected lines R: (9 numbers) and T: (3 numbers)")
    path = folder / "calib_tracking_format.txt"
    rig = read_rig(path) if path.exists() else None
    return _VELO_SE3_IMU if rig is None or rig.velo_SE3_imu is None else rig.velo_SE3_imu


def _numbers(path: Path, columns: int | None) -> Float64:
    """Return the rows of numbers of a text file."""
    rows = [line.split() for line in path.read_text().splitlines() if line.strip()]
    try:
        table = np.array(rows, dtype=np.float64)
    except ValueError as error:
        raise FormatError(f"{path.name}: not a table of numbers") from error
    if table.ndim != 2 or len(table) == 0 or (columns and table.shape[1] != columns):
        raise FormatError(f"{path.name}: expected rows of {columns or 'equal'} numbers")
    return table
