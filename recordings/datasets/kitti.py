"""KITTI raw drives (`2011_09_26_drive_0001_sync`): a folder of scans, OXTS records and tracklets.

Times are those of the moment the scanner faces forward. Points are as the scanner took them while
the car moved, and have no times of their own; where `timestamps_start.txt` and `timestamps_end.txt`
say how long the turn took, each gets one from its direction: the turn begins behind the car and
goes clockwise, seen from above. Source: kiss-icp 1.2, `datasets/kitti_raw.py`, `get_timestamps`.
"""

from __future__ import annotations

import re
import tarfile
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Final

import numpy as np

from recordings.datasets import kitti_poses
from recordings.datasets.kitti_oxts import oxts_signals, read_drive
from recordings.datasets.kitti_rig import (
    EGO_SE3_VELODYNE,
    MAX_SCAN_BYTES,
    SENSOR,
    camera_calibration,
    raw_points,
    read_raw_rig,
)
from recordings.datasets.kitti_text import read_stamps
from recordings.datasets.kitti_tracklets import read_tracklets
from recordings.geometry.points import RawPoints
from recordings.geometry.sweep_builder import SweepBuilder
from recordings.geometry.tracks import with_velocities
from recordings.recording import (
    ASSUMED_POSES,
    Damage,
    Recording,
    Topic,
    identity_trajectory,
)
from scene.box import Boxes
from scene.calibration import Calibration
from scene.errors import FormatError
from scene.image import Image
from scene.pose import Trajectory
from scene.recording import RecordingId
from scene.sweep import Sweep
from scene.types import Int64

_CAMERAS: Final = {number: f"image_0{number}" for number in range(4)}


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
        self._spans = kitti_poses.read_spans(folder)
        self.motion = "unknown" if self._spans is None else "raw"
        self._images = _find_images(folder, self.damage)
        self.calibration = _calibration(folder)
        self.trajectory = self._read_trajectory(folder)
        oxts = read_drive(folder, self._times)
        self.signals = oxts_signals(*oxts) if oxts is not None else ()
        self.ground_truth = self._read_truth(folder / "tracklet_labels.xml")
        self.topics = self._topics()

    def sweeps(self) -> Iterator[Sweep]:
        """Yield the scans in order of their numbers."""
        builder = SweepBuilder(self.trajectory, self.damage, EGO_SE3_VELODYNE)
        for where, number, data in self._scans():
            if number >= len(self._times):
                what = f"no time for scan {number}: the times file has {len(self._times)} lines"
                self.damage.append(Damage(where, what, f"scan {number}"))
                continue
            time = int(self._times[number])
            known = self._spans is not None and number < len(self._spans)
            span = self._spans[number] if self._spans is not None and known else None
            sweep = builder.build(time, where, partial(_timed_points, data, time, span))
            if sweep is not None:
                yield sweep

    def images(self) -> Iterator[Image]:
        """Yield the images by reference, each with its own time."""
        return iter(self._images)

    def _topics(self) -> list[Topic]:
        counts = Counter(image.sensor for image in self._images)
        topics = [Topic("velodyne_points", "scans", len(self._times), "sweeps")]
        topics += [Topic(name, "png", counts[name], "images") for name in sorted(counts)]
        if ASSUMED_POSES not in self.calibration.assumed:
            topics.append(Topic("oxts", "poses", len(self.trajectory), "poses"))
        if self.ground_truth is not None:
            boxes = sum(len(boxes) for boxes in self.ground_truth.values())
            topics.append(Topic("tracklet_labels", "tracklets", boxes, "boxes"))
        return topics

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
                    if member.size > MAX_SCAN_BYTES:
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
        self.calibration = replace(self.calibration, assumed=assumed)
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


def _calibration(folder: Path) -> Calibration:
    """Return the scanner's mounting, and the cameras where their calibration is there."""
    rig = read_raw_rig(folder)
    if rig is None:
        return Calibration({SENSOR: EGO_SE3_VELODYNE})
    places, models = camera_calibration(rig, _CAMERAS, {})
    return Calibration({SENSOR: EGO_SE3_VELODYNE, **places}, frozenset(), models)


def _timed_points(data: bytes, time_ns: int, span_ns: Int64 | None) -> RawPoints:
    """Return the points of a scan, with times after `time_ns` if the (2,) span is known."""
    raw = raw_points(data)
    if span_ns is None:
        return raw
    first, last = int(span_ns[0]) - time_ns, int(span_ns[1]) - time_ns
    share = 0.5 - np.arctan2(raw.xyz_m[:, 1], raw.xyz_m[:, 0]) / (2 * np.pi)
    time = (first + share * (last - first)).astype(np.int64)
    return raw._replace(time=time, time_name="offset_ns")


def _find_images(folder: Path, damage: list[Damage]) -> list[Image]:
    """Return the images of all cameras by reference, in time order."""
    images = []
    for name in _CAMERAS.values():
        files = sorted((folder / name / "data").glob("*.png"))
        path = folder / name / "timestamps.txt"
        if not files:
            continue
        if not path.exists():
            what = "no timestamps.txt beside the images"
            damage.append(Damage(f"{name}/timestamps.txt", what, f"images of {name}"))
            continue
        times = read_stamps(path)
        for file in files:
            if file.stem.isdigit() and int(file.stem) < len(times):
                time = int(times[int(file.stem)])
                images.append(Image(name, time, "png", uri=f"{name}/data/{file.name}"))
    return sorted(images, key=lambda image: (image.timestamp_ns, image.sensor))


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
