"""KITTI raw drives (`2011_09_26_drive_0001_sync`): a folder of scans, OXTS records and tracklets.

The ego origin is put on the ground below the OXTS unit, which KITTI's sensor plan shows 5 cm from
the rear axle: the scanner sits 0.81 m ahead of it (`calib_imu_to_velo`) and 1.73 m above the road
(Geiger et al., "Vision meets robotics: the KITTI dataset", IJRR 2013, figure 3). Scans turn while
the car moves and KITTI raw holds no time per point, so points are taken as they are and
`offset_ns` is zero. Times are those of the moment the scanner faces forward.
"""

from __future__ import annotations

import re
import tarfile
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Final

import numpy as np

from recordings import kitti_poses
from recordings.kitti_tracklets import read_tracklets
from recordings.points import RawPoints
from recordings.recording import ASSUMED_POSES, Damage, Recording, identity_trajectory
from recordings.sweep_builder import SweepBuilder
from recordings.tracks import with_velocities
from scene.box import Boxes
from scene.calibration import Calibration
from scene.errors import FormatError
from scene.pose import SE3, Trajectory
from scene.recording import RecordingId
from scene.sweep import Sweep

SENSOR: Final = "velodyne"
EGO_SE3_VELODYNE: Final = SE3(np.eye(3), np.array([0.81, 0.0, 1.73]))
_POINT_BYTES: Final = 16
_MAX_SCAN_BYTES: Final = 64 * 2**20


def open_kitti(path: Path, name: RecordingId, part: str = "") -> KittiRecording:
    """Open one drive."""
    del part  # a folder is one drive
    return KittiRecording(path, name)


class KittiRecording(Recording):
    """One drive. See `recordings.recording.Recording`."""

    format = "kitti"

    def __init__(self, folder: Path, name: RecordingId) -> None:
        """Read times, poses and tracklets.

        Scans are `velodyne_points/data/*.bin`, or members of an archive `velodyne_points*.tar.xz`
        (or .gz, .bz2) beside that folder.

        Raises:
            FormatError: if scans or their times are missing, or a file cannot be read.
        """
        self.recording = name
        self.sensor = SENSOR
        self.damage: list[Damage] = []
        self._files = sorted((folder / "velodyne_points" / "data").glob("*.bin"))
        self._archive = None if self._files else _archive(folder)
        if not self._files and self._archive is None:
            raise FormatError(
                f"{folder.name}: no scans; expected velodyne_points/data/*.bin or an archive "
                "velodyne_points*.tar.xz"
            )
        self._times = kitti_poses.read_times(folder)
        self.calibration = Calibration({SENSOR: EGO_SE3_VELODYNE})
        self.trajectory = self._read_trajectory(folder)
        self.ground_truth = self._read_truth(folder / "tracklet_labels.xml")

    def sweeps(self) -> Iterator[Sweep]:
        """Yield the scans in order of their numbers."""
        builder = SweepBuilder(self.trajectory, self.damage, EGO_SE3_VELODYNE)
        for where, number, data in self._scans():
            if number >= len(self._times):
                what = f"no time for scan {number}: the times file has {len(self._times)} lines"
                self.damage.append(Damage(where, what, f"scan {number}"))
                continue
            sweep = builder.build(int(self._times[number]), where, partial(_raw_points, data))
            if sweep is not None:
                yield sweep

    def _scans(self) -> Iterator[tuple[str, int, bytes]]:
        """Yield file name, scan number and bytes."""
        for path in self._files:
            number = _number(path.name)
            if number is None:
                self.damage.append(Damage(path.name, "the file name is no scan number", path.name))
            else:
                yield path.name, number, path.read_bytes()
        if self._archive is not None:
            yield from self._archived_scans(self._archive)

    def _archived_scans(self, path: Path) -> Iterator[tuple[str, int, bytes]]:
        """Yield scans from an archive in one pass, nothing is written to disk."""
        try:
            with tarfile.open(path, "r|*") as archive:
                for member in archive:
                    number = _number(Path(member.name).name)
                    if number is None or not member.isfile():
                        continue
                    where = f"{path.name}:{member.name}"
                    if member.size > _MAX_SCAN_BYTES:
                        what = f"{member.size} bytes in one scan"
                        self.damage.append(Damage(where, what, f"scan {number}"))
                        continue
                    stream = archive.extractfile(member)
                    if stream is not None:
                        yield where, number, stream.read()
        except (tarfile.TarError, EOFError, OSError, ValueError) as error:
            what = f"the archive breaks off: {error}"
            self.damage.append(Damage(path.name, what, "the scans after it"))

    def _read_trajectory(self, folder: Path) -> Trajectory:
        trajectory = kitti_poses.read_trajectory(folder, self._times, EGO_SE3_VELODYNE)
        if trajectory is not None:
            return trajectory
        assumed = frozenset({ASSUMED_POSES})
        self.calibration = Calibration(self.calibration.ego_SE3_sensor, assumed)
        return identity_trajectory([int(time) for time in self._times])

    def _read_truth(self, path: Path) -> dict[int, Boxes] | None:
        if not path.exists():
            return None
        frames = read_tracklets(path, len(self._times), self.damage)
        by_time = {
            int(time): frames.get(number, Boxes.empty()).transform(EGO_SE3_VELODYNE)
            for number, time in enumerate(self._times)
        }
        if ASSUMED_POSES in self.calibration.assumed:
            return by_time
        return with_velocities(by_time, self.trajectory)


def _raw_points(data: bytes) -> RawPoints:
    if len(data) % _POINT_BYTES:
        raise FormatError(f"{len(data)} bytes are not whole points of {_POINT_BYTES} bytes")
    points = np.frombuffer(data, dtype="<f4").reshape(-1, 4)
    return RawPoints(points[:, :3], points[:, 3], None, None)


def _archive(folder: Path) -> Path | None:
    """Return the first archive of scans in the folder."""
    found = sorted(
        path
        for path in folder.glob("velodyne_points*.tar.*")
        if path.suffix in {".xz", ".gz", ".bz2"}
    )
    return found[0] if found else None


def _number(file_name: str) -> int | None:
    match = re.fullmatch(r"(\d+)\.bin", file_name)
    return int(match[1]) if match else None
