"""PandaSet in its original layout: a folder a sequence, pickled pandas frames and JSON.

Points and cuboids are in the world frame; the poses have axes x right, y forward, z up. A frame's
time is near the end of its revolution. Points have times of their own and say which of the two
lidars saw them: sweeps are those of the spinning one, `d` = 0. A cuboid's yaw is 0 along the
world's y, its `dimensions.y` is the length. Where the forward-facing lidar (PandarGT) was
annotated too, its copy of a cuboid is left out. Source: github.com/scaleapi/pandaset-devkit.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from decimal import Decimal
from functools import partial
from pathlib import Path
from typing import Any, Final

import numpy as np

from recordings.datasets.pandas_pickle import read_frame
from recordings.geometry.points import RawPoints
from recordings.geometry.sweep_builder import SweepBuilder
from recordings.geometry.tracks import with_velocities
from recordings.recording import Damage, Recording, Topic
from scene.box import Boxes
from scene.calibration import Calibration, Intrinsics
from scene.errors import FormatError, FrameError
from scene.image import Image
from scene.pose import SE3, Trajectory, matrix_to_quat, quat_to_matrix
from scene.recording import RecordingId
from scene.signal import Signal
from scene.sweep import Sweep
from scene.taxonomy import to_category
from scene.types import Float64, Int64

SENSOR: Final = "lidar_pandar64"
# The poses are of a frame whose x points right and y forward.
POSE_R_EGO: Final = np.array([[0.0, -1.0, 0.0], [1.0, 0.0, 0.0], [0.0, 0.0, 1.0]])
IMAGE_SIZE_PX: Final = (1920, 1080)
_FRAME: Final = re.compile(r"(\d+)\.pkl(?:\.gz)?")
_POINTS: Final = ("x", "y", "z", "i", "t", "d")
_PLACE: Final = ("position.x", "position.y", "position.z")
_SIZE: Final = ("dimensions.y", "dimensions.x", "dimensions.z")
_GPS: Final = {
    "lat": "latitude_deg", "long": "longitude_deg", "height": "altitude_m",
    "xvel": "velocity_x_mps", "yvel": "velocity_y_mps",
}  # fmt: skip


def open_pandaset(path: Path, name: RecordingId, part: str = "") -> PandaSetRecording:
    """Open one sequence."""
    del part  # a folder is one sequence
    return PandaSetRecording(path, name)


class PandaSetRecording(Recording):
    """One sequence. See `recordings.recording.Recording`."""

    format = "pandaset"

    def __init__(self, folder: Path, name: RecordingId) -> None:
        """Read poses, times, cameras and cuboids.

        Raises:
            FormatError: if there is no sweep, or poses or times are missing or broken.
        """
        self.recording = name
        self.sensor = SENSOR
        self.damage: list[Damage] = []
        self._folder = folder
        self._files = _frames(folder / "lidar")
        if not self._files:
            raise FormatError(f"{folder.name}: no sweep; expected lidar/00.pkl.gz and so on")
        self._times = _read_times(folder / "lidar" / "timestamps.json")
        self.trajectory = _trajectory(folder / "lidar" / "poses.json", self._times)
        self._images: list[Image] = []
        self.calibration = self._read_cameras()
        self.ground_truth = self._read_truth(folder / "annotations" / "cuboids")
        self.signals = self._read_gps(folder / "meta")
        self.topics = self._topics()

    def sweeps(self) -> Iterator[Sweep]:
        """Yield one sweep a file."""
        builder = SweepBuilder(self.trajectory, self.damage, SE3.identity())
        for number, path in self._files.items():
            where = f"lidar/{path.name}"
            if number >= len(self._times):
                what = f"no time for frame {number}: timestamps.json has {len(self._times)}"
                self.damage.append(Damage(where, what, f"frame {number}"))
                continue
            time = int(self._times[number])
            sweep = builder.build(time, where, partial(self._raw_points, path, time))
            if sweep is not None:
                yield sweep

    def images(self) -> Iterator[Image]:
        """Yield the images of all cameras by reference, each with its own time."""
        return iter(self._images)

    def _raw_points(self, path: Path, time_ns: int) -> RawPoints:
        """Return the points of the spinning lidar in the ego frame at the frame's time."""
        columns = read_frame(path, _POINTS)
        kept = np.asarray(columns["d"]) == 0
        world_m = np.stack([columns[name][kept].astype(np.float64) for name in "xyz"], axis=1)
        ego_SE3_world = self.trajectory.at(time_ns).inverse()
        xyz_m = ego_SE3_world.transform_points(world_m).astype(np.float32)
        intensity = np.clip(np.nan_to_num(columns["i"][kept].astype(np.float64)), 0, 255)
        time_s = columns["t"][kept].astype(np.float64)
        return RawPoints(xyz_m, intensity.astype(np.uint8), None, time_s, "t_s")

    def _read_cameras(self) -> Calibration:
        """Find images and where their cameras sit, told by one pose of each camera."""
        places: dict[str, SE3] = {SENSOR: SE3.identity()}
        models: dict[str, Intrinsics] = {}
        for folder in sorted(p for p in (self._folder / "camera").glob("*") if p.is_dir()):
            try:
                times = _read_times(folder / "timestamps.json")
                poses = _poses(folder / "poses.json")[: len(times)]
                models[folder.name] = _intrinsics(folder / "intrinsics.json")
                known = self._first_between_poses(times[: len(poses)])
                world_SE3_camera = SE3.from_quaternion(poses[known, :4], poses[known, 4:])
                ego_SE3_world = self.trajectory.at(int(times[known])).inverse()
            except (FormatError, FrameError, IndexError) as error:
                self.damage.append(
                    Damage(f"camera/{folder.name}", str(error), "images of this camera")
                )
                models.pop(folder.name, None)
                continue
            places[folder.name] = ego_SE3_world @ world_SE3_camera
            for path in sorted(folder.glob("*.jpg")):
                if path.stem.isdigit() and int(path.stem) < len(times):
                    uri = f"camera/{folder.name}/{path.name}"
                    time = int(times[int(path.stem)])
                    self._images.append(Image(folder.name, time, "jpeg", uri=uri))
        self._images.sort(key=lambda image: (image.timestamp_ns, image.sensor))
        return Calibration(places, frozenset(), models)

    def _first_between_poses(self, times_ns: Int64) -> int:
        """Return the first image between two ego poses; the first image is taken before any."""
        first, last = self.trajectory.timestamps_ns[[0, -1]]
        inside = np.flatnonzero((times_ns >= first) & (times_ns <= last))
        return int(inside[0]) if len(inside) else 0

    def _read_truth(self, folder: Path) -> dict[int, Boxes] | None:
        """Return the boxes of every frame that has a file of cuboids."""
        files = _frames(folder)
        if not files:
            return None
        frames: dict[int, Boxes] = {}
        for number, path in files.items():
            if number >= len(self._times):
                continue
            time = int(self._times[number])
            try:
                frames[time] = _boxes(path).transform(self.trajectory.at(time).inverse())
            except (FormatError, FrameError) as error:
                where = f"annotations/cuboids/{path.name}"
                self.damage.append(Damage(where, str(error), f"boxes of frame {number}"))
        return with_velocities(frames, self.trajectory)

    def _read_gps(self, folder: Path) -> tuple[Signal, ...]:
        """Return the positions of the vehicle, if there are any."""
        path = folder / "gps.json"
        if not path.exists() or not (folder / "timestamps.json").exists():
            return ()
        try:
            times = _read_times(folder / "timestamps.json")
            rows = [[float(row[name]) for name in _GPS] for row in _json(path)[: len(times)]]
            values = np.array(rows, dtype=np.float64).reshape(-1, len(_GPS))
            names = tuple(_GPS.values())
            return (Signal("gps", "gnss", "", names, times[: len(values)], values),)
        except (FormatError, KeyError, TypeError, ValueError) as error:
            self.damage.append(Damage("meta/gps.json", f"not readable ({error!r})", "signal gps"))
            return ()

    def _topics(self) -> list[Topic]:
        topics = [
            Topic(SENSOR, "pandas frames, d = 0", len(self._files), "sweeps"),
            Topic(
                "lidar_pandar_gt", "pandas frames, d = 1", len(self._files),
                f"not used: sweeps come from {SENSOR}",
            ),
            Topic("poses", "json", len(self.trajectory), "poses"),
        ]  # fmt: skip
        for name in self.calibration.cameras:
            count = sum(image.sensor == name for image in self._images)
            topics.append(Topic(name, "jpeg", count, "images"))
        if self.ground_truth is not None:
            boxes = sum(len(boxes) for boxes in self.ground_truth.values())
            topics.append(Topic("cuboids", "pandas frames", boxes, "boxes"))
        return topics


def _frames(folder: Path) -> dict[int, Path]:
    """Return the pickled frames of a folder by number."""
    found = {}
    for path in sorted(folder.glob("*.pkl*")):
        match = _FRAME.fullmatch(path.name)
        if match:
            found[int(match[1])] = path
    return dict(sorted(found.items()))


def _json(path: Path) -> Any:
    """Return the content of a JSON file, with exact decimal numbers."""
    if not path.is_file():
        raise FormatError(
            f"{path.parent.name}/{path.name} is missing; copy it from the original download"
        )
    try:
        return json.loads(path.read_bytes(), parse_float=Decimal)
    except (ValueError, RecursionError) as error:
        raise FormatError(f"{path.parent.name}/{path.name}: not JSON ({error})") from error


def _read_times(path: Path) -> Int64:
    """Return (T,) nanoseconds of a list of seconds since the epoch."""
    seconds = _json(path)
    try:
        times = np.array([int(Decimal(s) * 1_000_000_000) for s in seconds], dtype=np.int64)
    except (TypeError, ValueError, ArithmeticError) as error:
        raise FormatError(f"{path.name}: not a list of seconds ({error!r})") from error
    if not len(times) or np.any(np.diff(times) <= 0):
        raise FormatError(f"{path.parent.name}/{path.name}: times are missing or do not increase")
    return times


def _poses(path: Path) -> Float64:
    """Return (T, 7) poses w, x, y, z of the heading and the position."""
    rows = _json(path)
    try:
        table = np.array(
            [
                [float(row["heading"][a]) for a in "wxyz"]
                + [float(row["position"][a]) for a in "xyz"]
                for row in rows
            ],
            dtype=np.float64,
        ).reshape(-1, 7)
    except (KeyError, TypeError, ValueError, OverflowError) as error:
        raise FormatError(f"{path.name}: not a list of poses ({error!r})") from error
    norm = np.linalg.norm(table[:, :4], axis=1, keepdims=True)
    if not len(table) or not np.isfinite(table).all() or not np.all(norm > 0.5):
        raise FormatError(f"{path.parent.name}/{path.name}: a pose is missing or no pose")
    table[:, :4] /= norm
    return table


def _trajectory(path: Path, times_ns: Int64) -> Trajectory:
    """Return `map_SE3_ego`: the map is PandaSet's world, the ego the pose with x forward."""
    table = _poses(path)
    count = min(len(table), len(times_ns))
    rotation = quat_to_matrix(table[:count, :4]) @ POSE_R_EGO
    return Trajectory(times_ns[:count], matrix_to_quat(rotation), table[:count, 4:])


def _intrinsics(path: Path) -> Intrinsics:
    """Return a camera model; all images of PandaSet are 1920 x 1080 and rectified."""
    values = _json(path)
    try:
        fx, fy, cx, cy = (float(values[name]) for name in ("fx", "fy", "cx", "cy"))
    except (KeyError, TypeError, ValueError) as error:
        raise FormatError(f"{path.name}: expected fx, fy, cx and cy ({error!r})") from error
    return Intrinsics(*IMAGE_SIZE_PX, np.array([[fx, 0, cx], [0, fy, cy], [0, 0, 1.0]]))


def _boxes(path: Path) -> Boxes:
    """Return the cuboids of our categories in the world frame."""
    columns = read_frame(path, ("uuid", "label", "yaw", *_PLACE, *_SIZE))
    names = [to_category(str(label)) for label in columns["label"]]
    keep = np.array([name is not None for name in names], dtype=bool)
    if "cuboids.sensor_id" in columns:
        keep &= columns["cuboids.sensor_id"].astype(np.float64) != 1
    try:
        return Boxes.make(
            np.stack([columns[name].astype(np.float64) for name in _PLACE], axis=1),
            np.stack([columns[name].astype(np.float64) for name in _SIZE], axis=1),
            columns["yaw"].astype(np.float64) + np.pi / 2,
            [name or "" for name in names],
            track_id=[str(track) for track in columns["uuid"]],
        ).take(keep)
    except (TypeError, ValueError) as error:
        raise FormatError(f"{path.name}: cuboids that are no numbers ({error})") from error
