"""Times and ego poses of a KITTI raw drive, from whichever of its files are there."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import numpy as np

from recordings.datasets.kitti_oxts import oxts_trajectory, read_drive
from recordings.datasets.kitti_rig import find_above, read_labelled, read_rig
from recordings.datasets.kitti_text import read_numbers, read_stamps
from scene.errors import FormatError
from scene.pose import SE3, Trajectory, matrix_to_quat
from scene.types import Float64, Int64

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


def read_trajectory(folder: Path, times_ns: Int64, ego_SE3_velodyne: SE3) -> Trajectory | None:
    """Return `map_SE3_ego` at the scan times, None if the drive holds no poses.

    Tried in this order: `oxts/data/*.txt`, `oxts_subset.csv` (both global, the map is east-north-up
    with its origin at the first pose), `poses_velodyne.txt` (scanner frame k in scanner frame 0).
    """
    oxts = read_drive(folder, times_ns)
    if oxts is not None:
        return oxts_trajectory(*oxts, ego_SE3_velodyne @ _velo_SE3_imu(folder))
    path = folder / "poses_velodyne.txt"
    if not path.exists():
        return None
    rows = read_numbers(path, 12).reshape(-1, 3, 4)
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
