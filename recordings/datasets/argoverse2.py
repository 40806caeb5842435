"""Argoverse 2 sensor logs: a folder of Feather files.

Points of all lidars lie together, moved to the ego frame at the sweep's time, as boxes do, so no
calibration is applied to them. Images stay where they are, with their own times.
The PandaSet export in the same layout (float32 points, no `laser_number`) reads the same way.
Layout: github.com/argoverse/av2-api, `datasets/sensor`.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from recordings.datasets.argoverse2_rig import POSE_COLUMNS, find_images, read_rig
from recordings.datasets.feather import matrix, numbers, read_feather
from recordings.geometry.points import INTENSITY_NAMES, RawPoints, pick
from recordings.geometry.sweep_builder import SweepBuilder
from recordings.geometry.tracks import with_velocities
from recordings.recording import (
    ASSUMED_POSES,
    Damage,
    Recording,
    Topic,
    identity_trajectory,
)  # fmt: skip
from scene.box import Boxes
from scene.errors import FormatError
from scene.image import Image
from scene.pose import SE3, Trajectory, quat_to_matrix
from scene.recording import RecordingId
from scene.sweep import Sweep
from scene.taxonomy import to_category

LIDAR_FOLDER: Final = "sensors/lidar"


def open_argoverse2(path: Path, name: RecordingId, part: str = "") -> Argoverse2Recording:
    """Open one log."""
    del part  # a folder is one log
    return Argoverse2Recording(path, name)


class Argoverse2Recording(Recording):
    """One log. See `recordings.recording.Recording`."""

    format = "argoverse2"
    motion = "compensated"

    def __init__(self, folder: Path, name: RecordingId) -> None:
        """Read poses, calibration and annotations.

        Raises:
            FormatError: if there is no sweep, or a file that is there cannot be read.
        """
        self.recording = name
        self.damage: list[Damage] = []
        self._files = _sweep_files(folder)
        times = [time for time, _ in self._files]
        lidars, self.calibration = read_rig(folder)
        self.sensor = lidars[0]
        self._images = find_images(folder)
        pose_file = folder / "city_SE3_egovehicle.feather"
        if pose_file.exists():
            self.trajectory = _trajectory(pose_file)
        else:
            self.trajectory = identity_trajectory(times)
            assumed = self.calibration.assumed | {ASSUMED_POSES}
            self.calibration = replace(self.calibration, assumed=assumed)
        self.ground_truth = self._ground_truth(folder / "annotations.feather", times)
        self.topics = self._topics(lidars)

    def sweeps(self) -> Iterator[Sweep]:
        """Yield the sweeps, one file each."""
        builder = SweepBuilder(self.trajectory, self.damage, SE3.identity())
        for timestamp_ns, path in self._files:
            where = f"{LIDAR_FOLDER}/{path.name}"
            sweep = builder.build(timestamp_ns, where, partial(_raw_points, path))
            if sweep is not None:
                yield sweep

    def images(self) -> Iterator[Image]:
        """Yield the images of all cameras by reference, each with its own time."""
        return iter(self._images)

    def _topics(self, lidars: list[str]) -> list[Topic]:
        """Return one row a sensor; the files hold the points of all lidars together."""
        topics = [Topic(name, "lidar", len(self._files), "sweeps") for name in lidars]
        counts = Counter(image.sensor for image in self._images)
        topics += [Topic(name, "camera", counts[name], "images") for name in sorted(counts)]
        topics.append(Topic("city_SE3_egovehicle", "poses", len(self.trajectory), "poses"))
        if self.ground_truth is not None:
            boxes = sum(len(boxes) for boxes in self.ground_truth.values())
            topics.append(Topic("annotations", "cuboids", boxes, "boxes"))
        return topics

    def _ground_truth(self, path: Path, times: list[int]) -> dict[int, Boxes] | None:
        if not path.exists():
            return None
        frames = _boxes_by_time(path)
        if ASSUMED_POSES not in self.calibration.assumed:
            frames = with_velocities(frames, self.trajectory)
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


def _raw_points(path: Path) -> RawPoints:
    table = read_feather(path, ("x", "y", "z"))

    def column(name: str | None) -> NDArray[np.generic] | None:
        return None if name is None else numbers(table, name)

    names = table.column_names
    xyz = np.stack([numbers(table, name) for name in "xyz"], axis=1).astype(np.float32)
    ring = column("laser_number" if "laser_number" in names else None)
    offset = column("offset_ns" if "offset_ns" in names else None)
    return RawPoints(xyz, column(pick(names, INTENSITY_NAMES)), ring, offset, "offset_ns")


def _trajectory(path: Path) -> Trajectory:
    table = read_feather(path, ("timestamp_ns", *POSE_COLUMNS))
    times, first = np.unique(numbers(table, "timestamp_ns"), return_index=True)
    poses = matrix(table, POSE_COLUMNS)[first]
    norm = np.linalg.norm(poses[:, :4], axis=1, keepdims=True)
    if not np.all(norm > 0.5):
        raise FormatError(f"{path.name}: a quaternion has no length")
    return Trajectory(times.astype(np.int64), poses[:, :4] / norm, poses[:, 4:])


def _boxes_by_time(path: Path) -> dict[int, Boxes]:
    """Return the boxes of our categories by time, with the file's own counts of points."""
    size = ("length_m", "width_m", "height_m")
    table = read_feather(path, ("timestamp_ns", "track_uuid", "category", *size, *POSE_COLUMNS))
    names = [to_category(str(name)) for name in table.column("category").to_pylist()]
    keep = np.array([name is not None for name in names], dtype=bool)
    pose = matrix(table, POSE_COLUMNS)
    rotation = quat_to_matrix(pose[:, :4]) if len(pose) else np.zeros((0, 3, 3))
    counted = "num_interior_pts" in table.column_names
    boxes = Boxes.make(
        pose[:, 4:],
        matrix(table, size),
        np.arctan2(rotation[:, 1, 0], rotation[:, 0, 0]),
        [name or "" for name in names],
        track_id=[str(track) for track in table.column("track_uuid").to_pylist()],
        num_points=numbers(table, "num_interior_pts").astype(np.int64) if counted else None,
    ).take(keep)
    times = numbers(table, "timestamp_ns").astype(np.int64)[keep]
    return {int(time): boxes.take(times == time) for time in np.unique(times)}
