"""Files of poses beside clouds: KITTI rows, TUM rows, or CSV with a header.

All give the sensor in the map. Values are separated by spaces, commas or semicolons; lines that
begin with `#` are left out.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final

import numpy as np

from scene.errors import FormatError
from scene.pose import SE3, Trajectory, matrix_to_quat
from scene.types import Float64, Int64

POSE_FILES: Final = ("poses.txt", "poses.csv", "poses.tum")
_MAX_BYTES: Final = 512 * 2**20
_TIME: Final = ("timestamp_ns", "time_ns", "timestamp", "time", "stamp", "t", "timestamp_s")
_PLACE: Final = (("x", "tx", "x_m", "tx_m", "px", "pos_x"), ("y", "ty", "y_m", "ty_m", "py",
    "pos_y"), ("z", "tz", "z_m", "tz_m", "pz", "pos_z"))  # fmt: skip
_QUAT: Final = (("qw", "q_w", "rot_w"), ("qx", "q_x", "rot_x"), ("qy", "q_y", "rot_y"),
    ("qz", "q_z", "rot_z"))  # fmt: skip
_ANGLES: Final = (("roll", "roll_rad", "roll_deg"), ("pitch", "pitch_rad", "pitch_deg"),
    ("yaw", "yaw_rad", "yaw_deg", "heading_rad"))  # fmt: skip


def find_poses(folder: Path) -> Path | None:
    """Return the file of poses in a folder, None if there is none."""
    return next((folder / name for name in POSE_FILES if (folder / name).is_file()), None)


def read_poses(
    path: Path, times_ns: Int64, numbers: Int64 | None = None, num_files: int = 0
) -> Trajectory:
    """Return `map_SE3_sensor` from a file of poses.

    Args:
        path: rows of 12 numbers (KITTI: one for each cloud, in order), rows of 8 (TUM: time x y z
            qx qy qz qw), or columns with names.
        times_ns: (T,) times of the clouds, for rows without time.
        numbers: (T,) which of the files each cloud is, where some of them cannot be read.
        num_files: how many files there are.

    Raises:
        FormatError: if it is something else, or does not fit the clouds.
    """
    header, words = _words(path)
    if not words:
        raise FormatError(f"{path.name}: holds no poses")
    try:
        table = np.array(words, dtype=np.float64)
    except ValueError as error:
        raise FormatError(f"{path.name}: not rows of equally many numbers") from error
    if not np.isfinite(table).all():
        raise FormatError(f"{path.name}: a value is not finite")
    if header:
        return _by_names(path, header, words, table)
    if table.ndim == 2 and table.shape[1] == 8:
        times = _times(path, [row[0] for row in words])
        return _increasing(times, _unit(table[:, [7, 4, 5, 6]], path), table[:, 1:4])
    if table.ndim != 2 or table.shape[1] != 12:
        raise FormatError(
            f"{path.name}: expected 12 numbers a row (KITTI), 8 (TUM: time x y z qx qy qz qw), or "
            "a header with time, x, y, z, qx, qy, qz, qw"
        )
    if numbers is not None and len(table) == num_files:
        table = table[numbers]
    if len(table) != len(times_ns):
        raise FormatError(f"{path.name}: {len(table)} poses for {len(times_ns)} clouds")
    matrix = table.reshape(-1, 3, 4)
    return _increasing(times_ns, matrix_to_quat(matrix[:, :, :3]), matrix[:, :, 3])


def of_viewpoints(times_ns: Int64, viewpoints: list[SE3]) -> Trajectory | None:
    """Return `map_SE3_sensor` from the viewpoints of clouds, None if they say nothing."""
    rotation = np.stack([pose.rotation for pose in viewpoints])
    translation = np.stack([pose.translation_m for pose in viewpoints])
    if np.allclose(rotation, np.eye(3)) and np.allclose(translation, 0.0):
        return None
    return _increasing(times_ns, matrix_to_quat(rotation), translation)


def _words(path: Path) -> tuple[list[str], list[list[str]]]:
    """Return the names of the columns, lower case, and the rows of words."""
    if (size := path.stat().st_size) > _MAX_BYTES:
        raise FormatError(f"{path.name}: {size} bytes are too many for poses")
    text = path.read_text("utf-8", errors="replace")
    lines = [re.split(r"[,;\s]+", line.strip().strip(",;")) for line in text.splitlines()
             if line.strip() and not line.lstrip().startswith("#")]  # fmt: skip
    if not lines or re.match(r"[-+.\d]", lines[0][0]):
        return [], lines
    return [name.strip("\"'").lower() for name in lines[0]], lines[1:]


def _by_names(path: Path, header: list[str], words: list[list[str]], table: Float64) -> Trajectory:
    if table.ndim != 2 or table.shape[1] != len(header):
        raise FormatError(f"{path.name}: {len(header)} names, rows of {table.shape[1:]} values")

    def columns(wanted: tuple[tuple[str, ...], ...]) -> list[int]:
        found = [next((header.index(n) for n in names if n in header), -1) for names in wanted]
        return [] if -1 in found else found

    (time,) = columns((_TIME,)) or (-1,)
    place, quat, angles = columns(_PLACE), columns(_QUAT), columns(_ANGLES)
    if time < 0 or not place or not (quat or angles):
        raise FormatError(
            f"{path.name}: expected columns for time, x, y, z and qw, qx, qy, qz (or roll, pitch, "
            f"yaw); found {', '.join(header[:16])}"
        )
    times = _times(path, [row[time] for row in words], nanoseconds=header[time].endswith("_ns"))
    if quat:
        return _increasing(times, _unit(table[:, quat], path), table[:, place])
    factor = [np.pi / 180 if header[column].endswith("_deg") else 1.0 for column in angles]
    return _increasing(times, _from_angles(table[:, angles] * factor), table[:, place])


def _from_angles(angles_rad: Float64) -> Float64:
    """Return (T, 4) quaternions of (T, 3) roll, pitch, yaw: Rz(yaw) Ry(pitch) Rx(roll)."""
    (cr, cp, cy), (sr, sp, sy) = np.cos(angles_rad / 2).T, np.sin(angles_rad / 2).T
    quat = [
        cr * cp * cy + sr * sp * sy,
        sr * cp * cy - cr * sp * sy,
        cr * sp * cy + sr * cp * sy,
        cr * cp * sy - sr * sp * cy,
    ]
    return np.stack(quat, axis=1)


def _times(path: Path, texts: list[str], *, nanoseconds: bool = False) -> Int64:
    """Return nanoseconds of times in seconds, or in nanoseconds where they have 18 digits.

    Without going through a float: doubles are too coarse for nanoseconds since 1970.
    """
    times = []
    for text in texts:
        whole, _, fraction = text.partition(".")
        if not re.fullmatch(r"[-+]?\d{1,19}", whole) or not re.fullmatch(r"\d*", fraction):
            if not re.fullmatch(r"[-+]?\d+\.?\d*[eE][-+]?\d+", text):
                raise FormatError(f"{path.name}: {text!r} is not a time in seconds")
            times.append(round(float(text) * (1 if nanoseconds else 1e9)))
        elif nanoseconds or len(whole.lstrip("+-")) >= 18:
            times.append(int(whole))
        else:
            rest = int((fraction + "0" * 9)[:9])
            times.append(int(whole) * 10**9 + (-rest if whole.startswith("-") else rest))
    if max(map(abs, times), default=0) >= 2**63:
        raise FormatError(f"{path.name}: a time lies beyond the year 2262")
    return np.array(times, dtype=np.int64)


def _unit(quat_wxyz: Float64, path: Path) -> Float64:
    norm = np.linalg.norm(quat_wxyz, axis=1, keepdims=True)
    if not np.all(norm > 0.5):
        raise FormatError(f"{path.name}: a quaternion has no length")
    return quat_wxyz / norm


def _increasing(times_ns: Int64, quat: Float64, translation: Float64) -> Trajectory:
    times, first = np.unique(times_ns, return_index=True)
    return Trajectory(times, quat[first], translation[first])
