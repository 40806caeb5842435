"""Folders of PCD files, one sweep a file, with an optional file of poses.

Times come from the file names (`1673400472138016708.pcd`, `1673400472.138016.pcd`); names that are
no times are taken to be 100 ms apart, and the clock is marked as assumed. Poses come from
`poses.txt` (KITTI rows of 12, or TUM rows of time, x, y, z, qx, qy, qz, qw), else from the files'
VIEWPOINT lines; both give the sensor in the map, and the sensor is taken for the ego frame, because
PCD has no place for a mounting.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Final

import numpy as np

from recordings import pcd_file
from recordings.formats import files_in, head, is_pcd
from recordings.point_times import sweep_period_ns
from recordings.recording import (
    ASSUMED_CLOCK,
    ASSUMED_POSES,
    Damage,
    Recording,
    identity_trajectory,
)
from recordings.sweep_builder import SweepBuilder
from scene.box import Boxes
from scene.calibration import Calibration
from scene.errors import FormatError
from scene.pose import SE3, Trajectory, matrix_to_quat
from scene.recording import RecordingId
from scene.sweep import Sweep
from scene.types import Float64, Int64

SENSOR: Final = "lidar"
ASSUMED_PERIOD_NS: Final = 100_000_000
POSE_FILES: Final = ("poses.txt", "poses.csv", "poses.tum")


def open_pcd(path: Path, name: RecordingId, part: str = "") -> PcdRecording:
    """Open one file, or the PCD files of a folder."""
    del part  # a folder is one recording
    if path.is_file():
        return PcdRecording([path], name)
    return PcdRecording([file for file in files_in(path) if is_pcd(head(file))], name)


class PcdRecording(Recording):
    """A folder of PCD files. See `recordings.recording.Recording`."""

    format = "pcd"
    ground_truth: dict[int, Boxes] | None = None

    def __init__(self, paths: list[Path], name: RecordingId) -> None:
        """Read headers and poses.

        Raises:
            FormatError: if no file has a readable header, or the poses file is wrong.
        """
        self.recording = name
        self.sensor = SENSOR
        self.damage: list[Damage] = []
        assumed = {SENSOR}
        files, viewpoints = self._readable(sorted(paths, key=_sort_key))
        times = _times([path for path, _ in files])
        if times is None:
            assumed.add(ASSUMED_CLOCK)
            times = np.array([number for _, number in files], dtype=np.int64) * ASSUMED_PERIOD_NS
        self._files = [(int(time), path) for time, (path, _) in zip(times, files, strict=True)]
        trajectory = _trajectory(paths[0].parent, times, viewpoints)
        if trajectory is None:
            assumed.add(ASSUMED_POSES)
            trajectory = identity_trajectory([int(time) for time in times])
        self.trajectory = trajectory
        self.calibration = Calibration({SENSOR: SE3.identity()}, frozenset(assumed))

    def sweeps(self) -> Iterator[Sweep]:
        """Yield one sweep a file."""
        period_ns = sweep_period_ns(time for time, _ in self._files)
        builder = SweepBuilder(self.trajectory, self.damage, SE3.identity(), period_ns=period_ns)
        for timestamp_ns, path in self._files:
            read = partial(pcd_file.read_points, path)
            sweep = builder.build(timestamp_ns, path.name, read)
            if sweep is not None:
                yield sweep

    def _readable(self, paths: list[Path]) -> tuple[list[tuple[Path, int]], list[SE3]]:
        """Return the files whose header can be read, with their number, and their viewpoints."""
        files, viewpoints = [], []
        for number, path in enumerate(paths):
            try:
                viewpoints.append(pcd_file.read_header(path).viewpoint)
                files.append((path, number))
            except FormatError as error:
                self.damage.append(Damage(path.name, str(error), f"file {number}"))
        if not files:
            raise FormatError(self.damage[0].what if self.damage else "no PCD file")
        return files, viewpoints


def _sort_key(path: Path) -> tuple[int, int, str]:
    """Order by time where the name is one, else by the numbers in the name as numbers."""
    time = _time_of(path.stem)
    if time is not None:
        return 0, time, ""
    digits = re.search(r"(\d+)(?!.*\d)", path.stem)
    return 1, int(digits[1]) if digits else 0, path.stem


def _time_of(stem: str) -> int | None:
    """Return nanoseconds since the epoch of a file name, None if it is not a time."""
    match = re.fullmatch(r"(\d{9,10})\.(\d{1,9})", stem)
    if match:
        return int(match[1]) * 1_000_000_000 + int((match[2] + "0" * 9)[:9])
    if re.fullmatch(r"\d{18,19}", stem):
        return int(stem)
    if re.fullmatch(r"\d{15,16}", stem):
        return int(stem) * 1000
    return int(stem) * 1_000_000 if re.fullmatch(r"\d{12,13}", stem) else None


def _times(paths: list[Path]) -> Int64 | None:
    found = [_time_of(path.stem) for path in paths]
    known = [time for time in found if time is not None]
    return np.array(known, dtype=np.int64) if len(known) == len(paths) else None


def _trajectory(folder: Path, times_ns: Int64, viewpoints: list[SE3]) -> Trajectory | None:
    """Return the sensor poses, None if there are none."""
    path = next((folder / name for name in POSE_FILES if (folder / name).exists()), None)
    if path is not None:
        return _read_poses(path, times_ns)
    rotation = np.stack([pose.rotation for pose in viewpoints])
    translation = np.stack([pose.translation_m for pose in viewpoints])
    still = np.allclose(rotation, np.eye(3)) and np.allclose(translation, 0.0)
    return None if still else _increasing(times_ns, matrix_to_quat(rotation), translation)


def _read_poses(path: Path, times_ns: Int64) -> Trajectory:
    lines = path.read_text().replace(",", " ").splitlines()
    rows = [line.split() for line in lines if re.match(r"\s*[-+.\d]", line)]
    try:
        table = np.array(rows, dtype=np.float64)
    except ValueError as error:
        raise FormatError(f"{path.name}: not rows of equally many numbers") from error
    if table.ndim == 2 and table.shape[1] == 8:
        times = np.array([_seconds_to_ns(row[0]) for row in rows], dtype=np.int64)
        return _increasing(times, _unit(table[:, [7, 4, 5, 6]], path), table[:, 1:4])
    if table.ndim != 2 or table.shape[1] != 12:
        raise FormatError(
            f"{path.name}: expected 12 numbers a row (KITTI) or 8 (TUM: time x y z qx qy qz qw)"
        )
    if len(table) != len(times_ns):
        raise FormatError(f"{path.name}: {len(table)} poses for {len(times_ns)} PCD files")
    matrix = table.reshape(-1, 3, 4)
    return _increasing(times_ns, matrix_to_quat(matrix[:, :, :3]), matrix[:, :, 3])


def _seconds_to_ns(text: str) -> int:
    """Return nanoseconds of a time in seconds, or in nanoseconds where it has 18 digits."""
    whole, _, fraction = text.partition(".")
    if not whole.lstrip("-").isdigit():
        raise FormatError(f"{text!r} is not a time in seconds")
    return int(whole) if len(whole) >= 18 else int(whole) * 10**9 + int((fraction + "0" * 9)[:9])


def _unit(quat_wxyz: Float64, path: Path) -> Float64:
    norm = np.linalg.norm(quat_wxyz, axis=1, keepdims=True)
    if not np.all(norm > 0.5):
        raise FormatError(f"{path.name}: a quaternion has no length")
    return quat_wxyz / norm


def _increasing(times_ns: Int64, quat: Float64, translation: Float64) -> Trajectory:
    times, first = np.unique(times_ns, return_index=True)
    return Trajectory(times, quat[first], translation[first])
