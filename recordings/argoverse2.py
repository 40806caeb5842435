"""Argoverse 2 sensor logs: a folder of Feather files.

Points and boxes are already in the ego frame at the sweep's time, so no calibration is applied.
The PandaSet export in the same layout (float32 points, no `laser_number`) reads the same way.
Layout: github.com/argoverse/av2-api, `datasets/sensor`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Final

import numpy as np
import pyarrow as pa
import pyarrow.feather

from recordings.points import INTENSITY_NAMES, RawPoints, pick
from recordings.recording import (
    ASSUMED_POSES,
    Damage,
    Recording,
    identity_trajectory,
)  # fmt: skip
from recordings.sweep_builder import SweepBuilder
from recordings.tracks import with_velocities
from scene.box import Boxes
from scene.calibration import Calibration
from scene.errors import FormatError
from scene.pose import SE3, Trajectory, quat_to_matrix
from scene.recording import RecordingId
from scene.sweep import Sweep
from scene.taxonomy import to_category
from scene.types import Float64

LIDAR_FOLDER: Final = "sensors/lidar"
_POSE_COLUMNS: Final = ("qw", "qx", "qy", "qz", "tx_m", "ty_m", "tz_m")
_LIDAR_NAMES: Final = ("up_lidar", "lidar_pandar64", "lidar")


def open_argoverse2(path: Path, name: RecordingId, part: str = "") -> Argoverse2Recording:
    """Open one log."""
    del part  # a folder is one log
    return Argoverse2Recording(path, name)


class Argoverse2Recording(Recording):
    """One log. See `recordings.recording.Recording`."""

    format = "argoverse2"

    def __init__(self, folder: Path, name: RecordingId) -> None:
        """Read poses, calibration and annotations.

        Raises:
            FormatError: if there is no sweep, or a file that is there cannot be read.
        """
        self.recording = name
        self.damage: list[Damage] = []
        self._files = _sweep_files(folder)
        times = [time for time, _ in self._files]
        self.sensor, self.calibration = _calibration(folder)
        pose_file = folder / "city_SE3_egovehicle.feather"
        if pose_file.exists():
            self.trajectory = _trajectory(pose_file)
        else:
            self.trajectory = identity_trajectory(times)
            assumed = self.calibration.assumed | {ASSUMED_POSES}
            self.calibration = Calibration(self.calibration.ego_SE3_sensor, assumed)
        self.ground_truth = self._ground_truth(folder / "annotations.feather", times)

    def sweeps(self) -> Iterator[Sweep]:
        """Yield the sweeps, one file each."""
        builder = SweepBuilder(self.trajectory, self.damage, SE3.identity())
        for timestamp_ns, path in self._files:
            where = f"{LIDAR_FOLDER}/{path.name}"
            sweep = builder.build(timestamp_ns, where, partial(_raw_points, path))
            if sweep is not None:
                yield sweep

    def _ground_truth(self, path: Path, times: list[int]) -> dict[int, Boxes] | None:
        if not path.exists():
            return None
        frames = _boxes_by_time(path)
        if ASSUMED_POSES not in self.calibration.assumed:
            frames = with_velocities(_covered(frames, self.trajectory), self.trajectory)
        return {time: frames.get(time, Boxes.empty()) for time in times}


def _sweep_files(folder: Path) -> list[tuple[int, Path]]:
    files = [
        (int(path.stem), path)
        for path in (folder / LIDAR_FOLDER).glob("*.feather")
        if re.fullmatch(r"\d+", path.stem)
    ]
    if not files:
        raise FormatError(
            f"{folder.name}: no sweep in {LIDAR_FOLDER}; expected files <timestamp_ns>.feather"
        )
    return sorted(files)


def _read(path: Path, needed: tuple[str, ...]) -> pa.Table:
    """Read a Feather file and check that it has the columns needed."""
    try:
        table = pyarrow.feather.read_table(path, memory_map=False)
    except (pa.ArrowInvalid, OSError) as error:
        raise FormatError(f"{path.name}: not a readable Feather file ({error})") from error
    missing = [name for name in needed if name not in table.column_names]
    if missing:
        found = ", ".join(table.column_names)
        raise FormatError(f"{path.name}: no column {', '.join(missing)}; columns: {found}")
    return table


def _matrix(table: pa.Table, names: tuple[str, ...]) -> Float64:
    return np.stack([table.column(name).to_numpy().astype(np.float64) for name in names], axis=1)


def _raw_points(path: Path) -> RawPoints:
    table = _read(path, ("x", "y", "z"))

    def column(name: str | None) -> np.ndarray[tuple[int], np.dtype[np.generic]] | None:
        return None if name is None else table.column(name).to_numpy()

    names = table.column_names
    xyz = np.stack([table.column(name).to_numpy() for name in "xyz"], axis=1).astype(np.float32)
    ring = column("laser_number" if "laser_number" in names else None)
    offset = column("offset_ns" if "offset_ns" in names else None)
    return RawPoints(xyz, column(pick(names, INTENSITY_NAMES)), ring, offset, "offset_ns")


def _calibration(folder: Path) -> tuple[str, Calibration]:
    path = folder / "calibration" / "egovehicle_SE3_sensor.feather"
    if not path.exists():
        return "lidar", Calibration({"lidar": SE3.identity()}, frozenset({"lidar"}))
    table = _read(path, ("sensor_name", *_POSE_COLUMNS))
    poses = _matrix(table, _POSE_COLUMNS)
    names = [str(name) for name in table.column("sensor_name").to_pylist()]
    sensors = {
        name: SE3.from_quaternion(pose[:4], pose[4:])
        for name, pose in zip(names, poses, strict=True)
    }
    lidars = [*(name for name in _LIDAR_NAMES if name in sensors)]
    lidars += sorted(name for name in sensors if "lidar" in name.lower())
    if not lidars:
        sensors["lidar"] = SE3.identity()
        return "lidar", Calibration(sensors, frozenset({"lidar"}))
    return lidars[0], Calibration(sensors)


def _trajectory(path: Path) -> Trajectory:
    table = _read(path, ("timestamp_ns", *_POSE_COLUMNS))
    times, first = np.unique(table.column("timestamp_ns").to_numpy(), return_index=True)
    poses = _matrix(table, _POSE_COLUMNS)[first]
    norm = np.linalg.norm(poses[:, :4], axis=1, keepdims=True)
    if not np.all(norm > 0.5):
        raise FormatError(f"{path.name}: a quaternion has no length")
    return Trajectory(times.astype(np.int64), poses[:, :4] / norm, poses[:, 4:])


def _boxes_by_time(path: Path) -> dict[int, Boxes]:
    """Return the boxes of our categories by time, with the file's own counts of points."""
    size = ("length_m", "width_m", "height_m")
    table = _read(path, ("timestamp_ns", "track_uuid", "category", *size, *_POSE_COLUMNS))
    names = [to_category(str(name)) for name in table.column("category").to_pylist()]
    keep = np.array([name is not None for name in names], dtype=bool)
    pose = _matrix(table, _POSE_COLUMNS)
    rotation = quat_to_matrix(pose[:, :4]) if len(pose) else np.zeros((0, 3, 3))
    counted = "num_interior_pts" in table.column_names
    boxes = Boxes.make(
        pose[:, 4:],
        _matrix(table, size),
        np.arctan2(rotation[:, 1, 0], rotation[:, 0, 0]),
        [name or "" for name in names],
        track_id=[str(track) for track in table.column("track_uuid").to_pylist()],
        num_points=table.column("num_interior_pts").to_numpy() if counted else None,
    ).take(keep)
    times = table.column("timestamp_ns").to_numpy()[keep]
    return {int(time): boxes.take(times == time) for time in np.unique(times)}


def _covered(frames: dict[int, Boxes], trajectory: Trajectory) -> dict[int, Boxes]:
    """Return the frames within the time of the poses."""
    first, last = int(trajectory.timestamps_ns[0]), int(trajectory.timestamps_ns[-1])
    return {time: boxes for time, boxes in frames.items() if first <= time <= last}
