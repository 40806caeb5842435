"""KITTI tracking benchmark: sequences (`training/velodyne/0000`, `label_02`, `calib`, `oxts`).

The benchmark has no times: frames are 100 ms apart, as they were recorded, and the clock is marked
as assumed, unless `times/0000.txt` gives seconds, one line a frame, as our export writes. Poses
come from the OXTS records. Scans are as the scanner took them.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Final

import numpy as np

from recordings.datasets.kitti_labels import Label, read_labels, to_boxes
from recordings.datasets.kitti_oxts import oxts_signals, oxts_trajectory, read_records
from recordings.datasets.kitti_rig import (
    EGO_SE3_VELODYNE,
    SENSOR,
    KittiRig,
    camera_calibration,
    png_size,
    read_rig,
    read_scan,
)
from recordings.datasets.kitti_text import read_stamps
from recordings.geometry.sweep_builder import SweepBuilder
from recordings.geometry.tracks import with_velocities
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
from scene.errors import FormatError
from scene.image import Image
from scene.recording import RecordingId
from scene.sweep import Sweep
from scene.types import Int64

PERIOD_NS: Final = 100_000_000
_CAMERAS: Final = {2: "image_02", 3: "image_03"}


def open_kitti_tracking(path: Path, name: RecordingId, part: str = "") -> KittiTrackingRecording:
    """Open the sequence called `part`; a folder with a single one needs no name."""
    return KittiTrackingRecording(path, name, part)


class KittiTrackingRecording(Recording):
    """One sequence. See `recordings.recording.Recording`."""

    format = "kitti_tracking"

    def __init__(self, folder: Path, name: RecordingId, sequence: str = "") -> None:
        """Read calibration, poses and labels.

        Raises:
            FormatError: if there is no such sequence, or its calibration or poses are wrong.
        """
        self.recording = name
        self.sensor = SENSOR
        self.damage: list[Damage] = []
        self._sequence = _choose(folder, sequence)
        self._files = _numbered(folder / "velodyne" / self._sequence, "bin")
        self._stamps = self._read_times(folder / "times" / f"{self._sequence}.txt")
        self._images = {
            key: _numbered(folder / key / self._sequence, "png") for key in _CAMERAS.values()
        }
        calibration = folder / "calib" / f"{self._sequence}.txt"
        rig = read_rig(calibration) if calibration.exists() else None
        self._read_poses(folder / "oxts" / f"{self._sequence}.txt", rig)
        self.ground_truth = self._read_truth(folder / "label_02" / f"{self._sequence}.txt", rig)
        self.topics = self._topics()

    def sweeps(self) -> Iterator[Sweep]:
        """Yield the scans in order of their numbers."""
        builder = SweepBuilder(self.trajectory, self.damage, EGO_SE3_VELODYNE)
        for number, path in self._files.items():
            where = f"velodyne/{self._sequence}/{path.name}"
            sweep = builder.build(self._time_ns(number), where, partial(read_scan, path))
            if sweep is not None:
                yield sweep

    def images(self) -> Iterator[Image]:
        """Yield the images by reference, in time order."""
        numbers = sorted({number for files in self._images.values() for number in files})
        for number in numbers:
            for key, files in self._images.items():
                if number in files:
                    uri = f"{key}/{self._sequence}/{files[number].name}"
                    yield Image(key, self._time_ns(number), "png", uri=uri)

    def _read_times(self, path: Path) -> Int64 | None:
        """Return (T,) times by frame, None if there are none or not one for every frame."""
        if not path.exists():
            return None
        times = read_stamps(path)
        if len(times) <= max(self._files, default=0) or np.any(np.diff(times) <= 0):
            what = f"{len(times)} times that must increase, one for each frame"
            self.damage.append(Damage(f"times/{path.name}", what, "true times"))
            return None
        return times

    def _time_ns(self, frame: int) -> int:
        """Return the time of a frame; beyond the last known one frames go on as assumed."""
        if self._stamps is None:
            return frame * PERIOD_NS
        last = len(self._stamps) - 1
        return int(self._stamps[min(frame, last)]) + max(frame - last, 0) * PERIOD_NS

    def _read_poses(self, path: Path, rig: KittiRig | None) -> None:
        """Read the trajectory and put the calibration together."""
        assumed = {ASSUMED_CLOCK} if self._stamps is None else set[str]()
        places, models = {}, {}
        if rig is not None:
            sizes = {n: _size(self._images[key]) for n, key in _CAMERAS.items()}
            known = {n: size for n, size in sizes.items() if size is not None}
            places, models = camera_calibration(rig, _CAMERAS, known)
        if path.exists() and rig is not None and rig.velo_SE3_imu is not None:
            rows = read_records(path)
            every = np.array([self._time_ns(i) for i in range(len(rows))], dtype=np.int64)
            self.trajectory = oxts_trajectory(rows, every, EGO_SE3_VELODYNE @ rig.velo_SE3_imu)
            self.signals = oxts_signals(rows, every)
        else:
            assumed.add(ASSUMED_POSES)
            self.trajectory = identity_trajectory([self._time_ns(number) for number in self._files])
        self.calibration = Calibration(
            {SENSOR: EGO_SE3_VELODYNE, **places}, frozenset(assumed), models
        )

    def _read_truth(self, path: Path, rig: KittiRig | None) -> dict[int, Boxes] | None:
        """Return the boxes of every frame: a sequence is labelled from end to end."""
        if not path.exists():
            return None
        if rig is None:
            what = f"no calib/{path.name}: labels are in the camera's frame"
            self.damage.append(Damage(f"label_02/{path.name}", what, "all boxes"))
            return None
        by_frame: dict[int, list[Label]] = {number: [] for number in self._files}
        for label in read_labels(path, self.damage, tracking=True):
            if label.frame in by_frame:
                by_frame[label.frame].append(label)
        frames = {
            self._time_ns(number): to_boxes(labels, rig.ego_SE3_rect)
            for number, labels in by_frame.items()
        }
        if ASSUMED_POSES in self.calibration.assumed:
            return frames
        covered = {t: b for t, b in frames.items() if t <= self.trajectory.timestamps_ns[-1]}
        return frames | with_velocities(covered, self.trajectory)

    def _topics(self) -> list[Topic]:
        topics = [Topic("velodyne", "scans", len(self._files), "sweeps")]
        topics += [Topic(key, "png", len(f), "images") for key, f in self._images.items() if f]
        if ASSUMED_POSES not in self.calibration.assumed:
            topics.append(Topic("oxts", "poses", len(self.trajectory), "poses"))
        if self.ground_truth is not None:
            boxes = sum(len(boxes) for boxes in self.ground_truth.values())
            topics.append(Topic("label_02", "labels", boxes, "boxes"))
        return topics


def _choose(folder: Path, sequence: str) -> str:
    found = sorted(
        path.name
        for path in (folder / "velodyne").iterdir()
        if path.is_dir() and re.fullmatch(r"\d{4}", path.name)
    )
    names = ", ".join(found[:5]) + (", ..." if len(found) > 5 else "")
    if not sequence and len(found) == 1:
        return found[0]
    if not sequence:
        raise FormatError(
            f"{folder.name}: holds {len(found)} sequences, each a recording of its own; name one: "
            f"{names}"
        )
    if sequence not in found:
        raise FormatError(
            f"{folder.name}: no sequence {sequence!r} in velodyne/; there are: {names}"
        )
    return sequence


def _numbered(folder: Path, suffix: str) -> dict[int, Path]:
    return {
        int(path.stem): path
        for path in sorted(folder.glob(f"*.{suffix}"))
        if re.fullmatch(r"\d{6}", path.stem)
    }


def _size(files: dict[int, Path]) -> tuple[int, int] | None:
    return png_size(next(iter(files.values()))) if files else None
