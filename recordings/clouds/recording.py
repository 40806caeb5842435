"""Files of points: a folder of one kind, a sweep each, with an optional file of poses.

Times come from the file names (`1673400472138016708.pcd`, `1673400472.138016.ply`), else from the
files, else files are taken to be 100 ms apart and the clock is marked as assumed. Poses come from a
file (see `cloud_poses`), else from viewpoints in the files; both give the sensor in the
map, and the sensor is taken for the ego frame, because none of these formats has a place for a
mounting. Points in map coordinates (surveys) are moved into the ego frame by the pose of their
time; without poses the ego stands among them. Boxes come from a file `boxes.csv`, if there is one
(see `recordings.clouds.boxes_file`).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import ClassVar, Final, NamedTuple

import numpy as np

from recordings.clouds import boxes_file, cloud_poses, las_file, pcd_file, ply_file
from recordings.clouds.cloud_head import MAP_COORDINATES_M, CloudFormat, CloudHead
from recordings.formats import files_in, head, is_las, is_pcd, is_ply
from recordings.geometry.point_times import sweep_period_ns
from recordings.geometry.points import RawPoints
from recordings.geometry.sweep_builder import SweepBuilder
from recordings.recording import (
    ASSUMED_CLOCK,
    ASSUMED_POSES,
    Damage,
    Recording,
    Topic,
    identity_trajectory,
)
from scene.box import Boxes
from scene.calibration import Calibration
from scene.errors import CutShortError, FormatError
from scene.pose import SE3, Trajectory
from scene.recording import RecordingId
from scene.sweep import Sweep
from scene.types import Float64, Int64

SENSOR: Final = "lidar"
MAX_POINTS: Final = 10_000_000  # of one sweep; an ingest of so many takes about 1.3 GB
ASSUMED_PERIOD_NS: Final = 100_000_000


class _File(NamedTuple):
    """One cloud: what its head says and which sweep it becomes."""

    path: Path
    head: CloudHead
    number: int


class CloudRecording(Recording):
    """Files of points. See `recordings.recording.Recording`."""

    kind: ClassVar[CloudFormat]

    def __init__(self, paths: list[Path], name: RecordingId) -> None:
        """Read heads and poses.

        Raises:
            FormatError: if no file has a readable head, or the file of poses is wrong.
        """
        self.recording = name
        self.sensor = SENSOR
        self.damage: list[Damage] = []
        self._num_files = len(paths)
        self._files = self._readable(sorted(paths, key=_sort_key))
        assumed = {SENSOR}
        self._times = self._find_times(assumed)
        self.trajectory = self._find_trajectory(paths[0].parent, assumed)
        self.calibration = Calibration({SENSOR: SE3.identity()}, frozenset(assumed))
        self.ground_truth = self._find_boxes(paths[0].parent)
        points = sum(file.head.num_points for file in self._files)
        count = len(self._files)
        self.topics = [Topic(f"*.{self.format}", f"{self.kind.title} files", count, "sweeps")]
        self.topics += [Topic("points", "points", points, "sweeps")]

    def sweeps(self) -> Iterator[Sweep]:
        """Yield one sweep a file."""
        known = ASSUMED_CLOCK not in self.calibration.assumed
        builder = SweepBuilder(
            self.trajectory, self.damage, SE3.identity(),
            period_ns=sweep_period_ns(self._times) if known else 0,
        )  # fmt: skip
        for time, file in zip(self._times.tolist(), self._files, strict=True):
            sweep = builder.build(time, file.path.name, partial(self._read, file, time))
            if sweep is not None:
                yield sweep

    def _read(self, file: _File, timestamp_ns: int) -> RawPoints:
        """Return the points of one file in the ego frame of their time."""
        if not file.head.in_map:
            return self._points(file, np.zeros(3))
        pose = self.trajectory.at(timestamp_ns)
        raw = self._points(file, pose.translation_m)
        if np.array_equal(pose.rotation, np.eye(3)):
            return raw
        turned = raw.xyz_m @ pose.rotation.astype(np.float32)  # the inverse, from the right
        return raw._replace(xyz_m=np.ascontiguousarray(turned))

    def _points(self, file: _File, origin_m: Float64) -> RawPoints:
        """Return the points of one file; of one that is cut short, those that are there."""
        try:
            return self.kind.read_points(file.path, origin_m, None)
        except CutShortError as error:
            if not error.num_found:
                raise
            raw = self.kind.read_points(file.path, origin_m, error.num_found)
            lost = f"{file.head.num_points - error.num_found} of {file.head.num_points} points"
            self.damage.append(Damage(file.path.name, str(error), lost))
            return raw

    def _readable(self, paths: list[Path]) -> list[_File]:
        """Return the files whose head can be read."""
        files = []
        for number, path in enumerate(paths):
            try:
                files.append(_File(path, _bounded(self.kind.read_head(path), path), number))
            except FormatError as error:
                self.damage.append(Damage(path.name, str(error), f"file {number}"))
        if not files:
            what = self.damage[0].what if self.damage else f"no {self.kind.title} file"
            raise FormatError(what)
        return files

    def _find_times(self, assumed: set[str]) -> Int64:
        named = [_time_of(file.path.stem) for file in self._files]
        inside = [file.head.time_ns for file in self._files]
        for found in (named, inside):
            known = [time for time in found if time is not None]
            if len(known) == len(found):
                if found is inside:
                    self._files.sort(key=lambda file: (file.head.time_ns or 0, file.number))
                return np.array(sorted(known), dtype=np.int64)
        assumed.add(ASSUMED_CLOCK)
        return np.array([file.number for file in self._files], dtype=np.int64) * ASSUMED_PERIOD_NS

    def _find_trajectory(self, folder: Path, assumed: set[str]) -> Trajectory:
        path = cloud_poses.find_poses(folder)
        if path is not None:
            numbers = np.array([file.number for file in self._files], dtype=np.int64)
            trajectory = cloud_poses.read_poses(path, self._times, numbers, self._num_files)
            self._check_places(trajectory, path.name)
            return trajectory
        viewpoints = [file.head.viewpoint for file in self._files]
        trajectory = cloud_poses.of_viewpoints(self._times, viewpoints)
        if trajectory is not None:
            return trajectory
        assumed.add(ASSUMED_POSES)
        trajectory = identity_trajectory(self._times.tolist())
        places = np.stack([_stand(file.head) for file in self._files])
        _, first = np.unique(self._times, return_index=True)
        return Trajectory(trajectory.timestamps_ns, trajectory.quat_wxyz, places[first])

    def _find_boxes(self, folder: Path) -> dict[int, Boxes] | None:
        """Return the boxes beside the files; a folder of surveys has none in the ego frame."""
        if any(file.head.in_map for file in self._files):
            return None
        return boxes_file.beside(folder, self._times.tolist())

    def _check_places(self, trajectory: Trajectory, name: str) -> None:
        """Refuse poses that lie elsewhere than points in map coordinates."""
        for file in self._files:
            near = file.head.near_m
            if not file.head.in_map or near is None or not len(trajectory):
                continue
            away_m = float(np.abs(trajectory.translation_m[:, :2] - near[:2]).max(axis=1).min())
            if away_m > MAP_COORDINATES_M:
                raise FormatError(
                    f"{name}: its poses lie {away_m / 1e3:.0f} km from the points of "
                    f"{file.path.name}; give both in the same coordinates"
                )


class PcdRecording(CloudRecording):
    """PCD files."""

    format = "pcd"
    kind = CloudFormat("PCD", pcd_file.read_head, pcd_file.read_points)


class PlyRecording(CloudRecording):
    """PLY files."""

    format = "ply"
    kind = CloudFormat("PLY", ply_file.read_head, ply_file.read_points)


class LasRecording(CloudRecording):
    """LAS and LAZ files."""

    format = "las"
    kind = CloudFormat("LAS/LAZ", las_file.read_head, las_file.read_points)


def open_pcd(path: Path, name: RecordingId, part: str = "") -> PcdRecording:
    """Open one PCD file, or those of a folder."""
    del part  # a folder is one recording
    return PcdRecording(_files(path, is_pcd, ".pcd"), name)


def open_ply(path: Path, name: RecordingId, part: str = "") -> PlyRecording:
    """Open one PLY file, or those of a folder."""
    del part
    return PlyRecording(_files(path, is_ply, ".ply"), name)


def open_las(path: Path, name: RecordingId, part: str = "") -> LasRecording:
    """Open one LAS or LAZ file, or those of a folder."""
    del part
    return LasRecording(_files(path, is_las, ".las", ".laz"), name)


def _files(path: Path, is_file: Callable[[bytes], bool], *suffixes: str) -> list[Path]:
    """Return the files of a kind; also those that only their name says it of, as of empty ones."""
    if path.is_file():
        return [path]
    return [f for f in files_in(path) if f.suffix.lower() in suffixes or is_file(head(f))]


def _bounded(cloud: CloudHead, path: Path) -> CloudHead:
    """Refuse what is too large to be held as one sweep."""
    if cloud.num_points > MAX_POINTS:
        raise FormatError(
            f"{path.name}: {cloud.num_points:,} points are a survey, not a sweep; cut it into "
            f"files of at most {MAX_POINTS:,} by time or place (`pdal split`, `lassplit`), or "
            "export the sweeps of the scanner"
        )
    return cloud


def _stand(cloud: CloudHead) -> Float64:
    """Return (3,) where the ego is put without poses: among the points, else at zero.

    Whole metres, so that the coordinates of the file are had back exactly.
    """
    if cloud.near_m is None or not cloud.in_map:
        return np.zeros(3)
    return np.floor(cloud.near_m)


def _sort_key(path: Path) -> tuple[int, int, str]:
    """Order by time where the name is one, else by the numbers in the name as numbers."""
    time = _time_of(path.stem)
    if time is not None:
        return 0, time, ""
    digits = re.search(r"(\d+)(?!.*\d)", path.stem)
    return 1, int(digits[1]) if digits else 0, path.stem


def _time_of(stem: str) -> int | None:
    """Return nanoseconds since the epoch of a file name, None if it is not a time.

    Milli- and microseconds have no zeros in front: `000000000012` is the twelfth file.
    """
    match = re.fullmatch(r"(\d{9,10})\.(\d{1,9})", stem)
    if match:
        return int(match[1]) * 1_000_000_000 + int((match[2] + "0" * 9)[:9])
    if re.fullmatch(r"\d{18,19}", stem):
        return int(stem)
    if re.fullmatch(r"[1-9]\d{14,15}", stem):
        return int(stem) * 1000
    return int(stem) * 1_000_000 if re.fullmatch(r"[1-9]\d{11,12}", stem) else None
