"""KITTI object benchmark: unrelated frames (`training/velodyne`, `label_2`, `calib`, `image_2`).

Frames were drawn from many drives, so there are neither poses nor times: the ego stands still and
frame n is put at n times 100 ms, both marked as assumed. Scans are as the scanner took them.
Truncation and occlusion of a label have no place in a box and are not kept.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Final

import numpy as np

from recordings.datasets.kitti_labels import read_labels, to_boxes
from recordings.datasets.kitti_rig import (
    EGO_SE3_VELODYNE,
    SENSOR,
    KittiRig,
    camera_calibration,
    png_size,
    read_rig,
    read_scan,
)
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
from scene.errors import FormatError
from scene.image import Image
from scene.recording import RecordingId
from scene.sweep import Sweep

PERIOD_NS: Final = 100_000_000
_CAMERAS: Final = {2: "image_2", 3: "image_3"}


def open_kitti_object(path: Path, name: RecordingId, part: str = "") -> KittiObjectRecording:
    """Open the frames of one folder."""
    del part  # a folder is one recording
    return KittiObjectRecording(path, name)


class KittiObjectRecording(Recording):
    """All frames of `training/` or `testing/`. See `recordings.recording.Recording`."""

    format = "kitti_object"

    def __init__(self, folder: Path, name: RecordingId) -> None:
        """Read calibration and labels of all frames.

        Raises:
            FormatError: if there is no scan.
        """
        self.recording = name
        self.sensor = SENSOR
        self.damage: list[Damage] = []
        self._folder = folder
        self._files = _numbered(folder, ("velodyne", "velodyne_reduced"), "bin")
        if not self._files:
            raise FormatError(f"{folder.name}: no scans; expected velodyne/000000.bin and so on")
        self._times = {number: number * PERIOD_NS for number in sorted(self._files)}
        self._images = {key: _numbered(folder, (key,), "png") for key in _CAMERAS.values()}
        rigs = self._read_rigs()
        self.calibration = self._read_calibration(rigs)
        self.trajectory = identity_trajectory(list(self._times.values()))
        self.ground_truth = self._read_truth(rigs)
        self.topics = self._topics()

    def sweeps(self) -> Iterator[Sweep]:
        """Yield the scans in order of their numbers."""
        builder = SweepBuilder(self.trajectory, self.damage, EGO_SE3_VELODYNE)
        for number, time in self._times.items():
            path = self._files[number]
            where = f"{path.parent.name}/{path.name}"
            sweep = builder.build(time, where, partial(read_scan, path))
            if sweep is not None:
                yield sweep

    def images(self) -> Iterator[Image]:
        """Yield the images of the frames that have a scan, by reference."""
        for number, time in self._times.items():
            for key, files in self._images.items():
                if number in files:
                    yield Image(key, time, "png", uri=f"{key}/{files[number].name}")

    def _read_rigs(self) -> dict[int, KittiRig]:
        """Return the calibration of each frame that has one."""
        rigs = {}
        for number in self._times:
            path = self._folder / "calib" / f"{number:06d}.txt"
            if not path.exists():
                continue
            try:
                rigs[number] = read_rig(path)
            except FormatError as error:
                self.damage.append(Damage(f"calib/{path.name}", str(error), f"boxes of {number}"))
        return rigs

    def _read_calibration(self, rigs: dict[int, KittiRig]) -> Calibration:
        """Return camera models only if all frames agree: their drives had different ones."""
        assumed = frozenset({ASSUMED_POSES, ASSUMED_CLOCK})
        calibration = Calibration({SENSOR: EGO_SE3_VELODYNE}, assumed)
        sizes = {}
        for number, key in _CAMERAS.items():
            size = png_size(next(iter(self._images[key].values()))) if self._images[key] else None
            if size is not None:
                sizes[number] = size
        found = [camera_calibration(rig, _CAMERAS, sizes) for rig in rigs.values()]
        if not found or any(not _same(found[0], other) for other in found[1:]):
            return calibration
        places, models = found[0]
        return replace(
            calibration, ego_SE3_sensor={SENSOR: EGO_SE3_VELODYNE, **places}, cameras=models
        )

    def _read_truth(self, rigs: dict[int, KittiRig]) -> dict[int, Boxes] | None:
        folder = self._folder / "label_2"
        if not folder.is_dir():
            return None
        frames = {}
        for number, time in self._times.items():
            path = folder / f"{number:06d}.txt"
            if not path.exists():
                continue
            if number not in rigs:
                what = f"no readable calib/{path.name}: labels are in the camera's frame"
                self.damage.append(Damage(f"label_2/{path.name}", what, f"boxes of {number}"))
                continue
            labels = read_labels(path, self.damage)
            frames[time] = to_boxes(labels, rigs[number].ego_SE3_rect)
        return frames

    def _topics(self) -> list[Topic]:
        where = next(iter(self._files.values())).parent.name
        topics = [Topic(where, "scans", len(self._files), "sweeps")]
        topics += [Topic(key, "png", len(f), "images") for key, f in self._images.items() if f]
        if self.ground_truth is not None:
            topics.append(Topic("label_2", "labels", len(self.ground_truth), "boxes"))
        return topics


def _numbered(folder: Path, names: tuple[str, ...], suffix: str) -> dict[int, Path]:
    """Return the files <number>.<suffix> of the first of the folders that has any."""
    for name in names:
        files = {
            int(path.stem): path
            for path in sorted((folder / name).glob(f"*.{suffix}"))
            if re.fullmatch(r"\d{6}", path.stem)
        }
        if files:
            return files
    return {}


def _same(one: tuple, other: tuple) -> bool:
    """Return whether two camera calibrations are equal."""
    (places, models), (places_b, models_b) = one, other
    return places.keys() == places_b.keys() and all(
        np.allclose(places[name].translation_m, places_b[name].translation_m, atol=1e-6)
        and np.allclose(places[name].rotation, places_b[name].rotation, atol=1e-9)
        and np.allclose(models[name].matrix, models_b[name].matrix, atol=1e-6)
        for name in places
    )
