"""A nuScenes data set of one scene: the 13 tables, `samples/` and `sweeps/`.

Labelled sweeps are keyframes; without labels every sweep is one. The scanner's frame is turned
about its axis in quarters until x points right, as in nuScenes. Files are stamped in microseconds.
Tokens are made from what they name, so that the same recording gives the same files.
Layout: github.com/nutonomy/nuscenes-devkit, `docs/schema_nuscenes.md`.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from io import BytesIO
from pathlib import Path
from typing import Any, Final, NamedTuple

import numpy as np

from recordings.export.writer import Frame, Writer, image_suffix, safe_name
from recordings.recording import MAX_POSE_EXTRAPOLATION_NS, Recording
from scene.box import Boxes, count_points
from scene.calibration import Intrinsics
from scene.image import Image
from scene.pose import SE3, matrix_to_quat, quat_to_matrix
from scene.sweep import Sweep

VERSION: Final = "v1.0-starloop"
LIDAR: Final = "LIDAR_TOP"
CATEGORIES: Final = {
    "car": "vehicle.car", "truck": "vehicle.truck", "bus": "vehicle.bus.rigid",
    "trailer": "vehicle.trailer", "construction_vehicle": "vehicle.construction",
    "pedestrian": "human.pedestrian.adult", "motorcycle": "vehicle.motorcycle",
    "bicycle": "vehicle.bicycle", "traffic_cone": "movable_object.trafficcone",
    "barrier": "movable_object.barrier",
}  # fmt: skip
_VISIBILITY: Final = ("v0-40", "v40-60", "v60-80", "v80-100")
_IMAGE_SUFFIXES: Final = ("jpg", "png")
_MAX_KEYFRAME_IMAGE_US: Final = 250_000

Record = dict[str, Any]


class _Shot(NamedTuple):
    """A camera image that has been written: camera, microseconds, file, size in pixels."""

    camera: str
    time_us: int
    path: Path
    size: tuple[int, int]


class NuScenesWriter(Writer):
    """Writes one scene. See `recordings.export.writer.Writer`."""

    def __init__(self, folder: Path, recording: Recording) -> None:
        super().__init__(folder, recording)
        self._tables: dict[str, list[Record]] = {"ego_pose": [], "sample_data": [], "sample": []}
        self._annotations: list[Record] = []
        self._instances: dict[str, Record] = {}
        self._shots: list[_Shot] = []
        self._categories = dict.fromkeys(CATEGORIES.values())
        self._scene = _token("scene", recording.recording)
        self._log = _token("log", recording.recording)
        self._mounting = self.ego_SE3_lidar @ _quarter_turns(self.ego_SE3_lidar)
        self._last_us = -1
        self._sensor(LIDAR, "lidar", self._mounting, None)
        self._say_losses()

    def frame(self, frame: Frame) -> None:
        """Write one lidar file; a labelled one becomes a keyframe with its annotations."""
        sweep = frame.sweep
        time_us = max(_microseconds(sweep.timestamp_ns), self._last_us + 1)
        self._last_us = time_us
        key = frame.boxes is not None or self.recording.ground_truth is None
        name = self._file(LIDAR, time_us, "pcd.bin", key)
        self._points(sweep).tofile(self.folder / name)
        if key:
            token = _token("sample", self._scene, time_us)
            self._tables["sample"].append(
                {"token": token, "timestamp": time_us, "scene_token": self._scene}
            )
        self._data(LIDAR, time_us, name, frame.map_SE3_ego, key)
        if frame.boxes is not None:
            self._annotate(frame, frame.boxes, _token("sample", self._scene, time_us))

    def image(self, image: Image) -> bool:
        """Write one image; whether it belongs to a keyframe is decided at the end."""
        suffix = image_suffix(image)
        if image.data is None or suffix not in _IMAGE_SUFFIXES:
            return self.lose(f"images of {image.sensor}: only JPEG and PNG files can be copied")
        from PIL import Image as Picture
        from PIL import UnidentifiedImageError

        try:
            with Picture.open(BytesIO(image.data)) as picture:
                size = picture.size
        except (UnidentifiedImageError, OSError):
            return self.lose(f"images of {image.sensor} that are no pictures")
        time_us = _microseconds(image.timestamp_ns)
        path = self.folder / self._file(image.sensor, time_us, suffix, key=False)
        path.write_bytes(image.data)
        self._shots.append(_Shot(image.sensor, time_us, path, size))
        return True

    def close(self) -> None:
        """Write the tables."""
        self._place_images()
        self._link_sample_data()
        samples = self._tables["sample"]
        _chain(samples)
        _chain_annotations(self._annotations, self._instances)
        self._tables |= {
            "sample_annotation": self._annotations,
            "instance": list(self._instances.values()),
            "category": [
                {"token": _token("category", n), "name": n, "description": "", "index": i}
                for i, n in enumerate(self._categories)
            ],
            "attribute": [],
            "visibility": [
                {"token": str(i), "level": level, "description": ""}
                for i, level in enumerate(_VISIBILITY, 1)
            ],
            "log": [
                {"token": self._log, "logfile": str(self.recording.recording), "vehicle": "",
                 "date_captured": "", "location": "unknown"}
            ],
            "scene": [self._scene_record(samples)],
            "map": [self._blank_map()],
        }  # fmt: skip
        folder = self.folder / VERSION
        folder.mkdir()
        for name, rows in self._tables.items():
            (folder / f"{name}.json").write_text(json.dumps(rows, indent=0))

    def _say_losses(self) -> None:
        self.lose_signals()
        self.lose("nanoseconds: times are rounded to microseconds")
        if self.has_poses:
            self.lose("poses between sensor files: each file has one ego pose")
        else:
            self.lose("that the poses were assumed: ego poses are written as they are")
        if self.recording.sensor not in (LIDAR, ""):
            self.lose(f"the name of the lidar: {self.recording.sensor} is called {LIDAR}")

    def _points(self, sweep: Sweep) -> np.ndarray:
        """Return (N, 5) float32: x, y, z in the scanner's frame, intensity to 255, ring."""
        if sweep.ring is None:
            self.lose("beam numbers (ring) are not known: written as 0")
        if sweep.offset_ns.any():
            self.lose("times of single points: files hold x, y, z, intensity and ring only")
        table = np.zeros((len(sweep), 5), dtype="<f4")
        points = sweep.points_ego_m.astype(np.float64)
        table[:, :3] = self._mounting.inverse().transform_points(points)
        table[:, 3] = sweep.intensity * np.float32(255)
        table[:, 4] = 0 if sweep.ring is None else sweep.ring
        return table

    def _file(self, channel: str, time_us: int, suffix: str, key: bool) -> str:
        named = safe_name(channel)
        folder = f"{'samples' if key else 'sweeps'}/{named}"
        (self.folder / folder).mkdir(parents=True, exist_ok=True)
        return f"{folder}/{self.recording.recording}__{named}__{time_us}.{suffix}"

    def _sensor(self, channel: str, kind: str, place: SE3, camera: Intrinsics | None) -> None:
        self._tables.setdefault("sensor", []).append(
            {"token": _token("sensor", channel), "channel": channel, "modality": kind}
        )
        self._tables.setdefault("calibrated_sensor", []).append(
            {
                "token": _token("calibrated_sensor", self._scene, channel),
                "sensor_token": _token("sensor", channel),
                "translation": place.translation_m.tolist(),
                "rotation": place.quat_wxyz.tolist(),
                "camera_intrinsic": [] if camera is None else camera.matrix.tolist(),
            }
        )

    def _data(
        self, channel: str, time_us: int, name: str, pose: SE3, key: bool,
        size: tuple[int, int] = (0, 0),
    ) -> None:  # fmt: skip
        token = _token("sample_data", self._scene, channel, time_us)
        self._tables["ego_pose"].append(
            {"token": token, "timestamp": time_us, "rotation": pose.quat_wxyz.tolist(),
             "translation": pose.translation_m.tolist()}
        )  # fmt: skip
        self._tables["sample_data"].append(
            {
                "token": token, "sample_token": "", "ego_pose_token": token,
                "calibrated_sensor_token": _token("calibrated_sensor", self._scene, channel),
                "timestamp": time_us, "fileformat": "pcd" if channel == LIDAR else name[-3:],
                "is_key_frame": key, "height": size[1], "width": size[0], "filename": name,
                "prev": "", "next": "", "channel": channel,
            }
        )  # fmt: skip

    def _annotate(self, frame: Frame, boxes: Boxes, sample: str) -> None:
        """Add the boxes of a keyframe, turned into the map with the tilt of the vehicle."""
        if (~np.isnan(boxes.velocity_xy_mps)).any():
            self.lose("velocities of boxes: the devkit finds them from the tracks")
        if (~np.isnan(boxes.score)).any():
            self.lose("scores of boxes")
        if (boxes.num_points < 0).any():
            boxes = count_points(frame.sweep.points_ego_m, boxes)
        pose = frame.map_SE3_ego
        half, zero = boxes.yaw_rad / 2, np.zeros(len(boxes))
        turned = quat_to_matrix(np.stack([np.cos(half), zero, zero, np.sin(half)], 1))
        quat = matrix_to_quat(pose.rotation @ turned) if len(boxes) else np.zeros((0, 4))
        center = pose.transform_points(boxes.center_xyz_m)
        for i in range(len(boxes)):  # a record each: the table is JSON
            track = str(boxes.track_id[i]) or f"{sample}#{i}"
            instance = self._instance(track, str(boxes.category[i]))
            self._annotations.append(
                {
                    "token": _token("annotation", sample, i), "sample_token": sample,
                    "instance_token": instance, "visibility_token": "", "attribute_tokens": [],
                    "translation": center[i].tolist(),
                    "size": boxes.size_lwh_m[i, [1, 0, 2]].tolist(),
                    "rotation": quat[i].tolist(), "prev": "", "next": "",
                    "num_lidar_pts": int(boxes.num_points[i]), "num_radar_pts": 0,
                }
            )  # fmt: skip

    def _instance(self, track: str, category: str) -> str:
        """Return the token of a track: the track's own id where that is one of nuScenes."""
        is_token = len(track) == 32 and set(track) <= set("0123456789abcdef")
        named = CATEGORIES.get(category, category)
        self._categories.setdefault(named)
        token = track if is_token else _token("instance", self._scene, track)
        if not is_token:
            self.lose("track ids: instances have tokens; tracks stay apart")
        known = self._instances.setdefault(
            token, {"token": token, "category_token": _token("category", named)}
        )
        if known["category_token"] != _token("category", named):
            self.lose("changes of category within a track: an instance has one category")
        return token

    def _place_images(self) -> None:
        """Give each keyframe the nearest image of each camera; add all to the tables."""
        keys = np.array([sample["timestamp"] for sample in self._tables["sample"]])
        for camera in sorted({shot.camera for shot in self._shots}):
            shots = sorted((s for s in self._shots if s.camera == camera), key=lambda s: s.time_us)
            calibration = self.recording.calibration
            if camera not in calibration.ego_SE3_sensor:
                self.lose(f"images of {camera}: its mounting is not known")
                for shot in shots:
                    shot.path.unlink()
                continue
            place = calibration.ego_SE3_sensor[camera]
            self._sensor(camera, "camera", place, calibration.cameras.get(camera))
            distance = np.abs(np.array([s.time_us for s in shots])[:, None] - keys[None])
            nearest = distance.argmin(axis=0)
            chosen = set(nearest[distance.min(axis=0) <= _MAX_KEYFRAME_IMAGE_US].tolist())
            for number, shot in enumerate(shots):
                self._place_image(shot, number in chosen)

    def _place_image(self, shot: _Shot, key: bool) -> None:
        name = self._file(shot.camera, shot.time_us, shot.path.suffix[1:], key)
        shot.path.rename(self.folder / name)
        track = self.recording.trajectory
        first, last = int(track.timestamps_ns[0]), int(track.timestamps_ns[-1])
        time_ns = min(max(shot.time_us * 1000, first), last)
        if abs(time_ns - shot.time_us * 1000) > MAX_POSE_EXTRAPOLATION_NS:
            self.lose(f"poses of images of {shot.camera} outside the drive: the nearest is written")
        self._data(shot.camera, shot.time_us, name, track.at(time_ns), key, shot.size)

    def _link_sample_data(self) -> None:
        """Chain the files of each channel and give each the keyframe nearest to it."""
        data = self._tables["sample_data"]
        samples = self._tables["sample"]
        keys = np.array([sample["timestamp"] for sample in samples])
        for channel in sorted({record["channel"] for record in data}):
            _chain([record for record in data if record["channel"] == channel])
        for record in data:
            if len(keys):
                nearest = int(np.abs(keys - record["timestamp"]).argmin())
                record["sample_token"] = samples[nearest]["token"]
            del record["channel"]

    def _scene_record(self, samples: Sequence[Record]) -> Record:
        return {
            "token": self._scene, "log_token": self._log, "nbr_samples": len(samples),
            "first_sample_token": samples[0]["token"] if samples else "",
            "last_sample_token": samples[-1]["token"] if samples else "",
            "name": str(self.recording.recording), "description": "written by starloop",
        }  # fmt: skip

    def _blank_map(self) -> Record:
        """Write a map of one empty pixel: the devkit does not load a log without a map."""
        from PIL import Image as Picture

        name = f"maps/{_token('map', self._log)}.png"
        (self.folder / "maps").mkdir()
        Picture.new("L", (1, 1)).save(self.folder / name)
        self.lose("a map: none was recorded; the devkit gets a blank one")
        token = _token("map", self._log)
        return {"token": token, "log_tokens": [self._log], "category": "semantic_prior",
                "filename": name}  # fmt: skip


def _chain(records: Sequence[Record]) -> None:
    """Set `prev` and `next`; records are in order of time."""
    records = sorted(records, key=lambda record: record["timestamp"])
    for i, record in enumerate(records):
        record["prev"] = records[i - 1]["token"] if i else ""
        record["next"] = records[i + 1]["token"] if i + 1 < len(records) else ""


def _chain_annotations(annotations: Sequence[Record], instances: dict[str, Record]) -> None:
    """Link the annotations of each instance, which come in order of time."""
    last: dict[str, Record] = {}
    for record in annotations:
        token = record["instance_token"]
        instance = instances[token]
        if token in last:
            record["prev"], last[token]["next"] = last[token]["token"], record["token"]
        else:
            instance["first_annotation_token"], instance["nbr_annotations"] = record["token"], 0
        instance["nbr_annotations"] += 1
        instance["last_annotation_token"] = record["token"]
        last[token] = record


def _quarter_turns(ego_SE3_lidar: SE3) -> SE3:
    """Return the turn about z in quarters that brings the x axis nearest to the vehicle's right."""
    quarters = round((-np.pi / 2 - ego_SE3_lidar.yaw_rad) / (np.pi / 2)) % 4
    cos, sin = [(1.0, 0.0), (0.0, 1.0), (-1.0, 0.0), (0.0, -1.0)][quarters]
    return SE3(np.array([[cos, -sin, 0.0], [sin, cos, 0.0], [0.0, 0.0, 1.0]]), np.zeros(3))


def _microseconds(time_ns: int) -> int:
    return (time_ns + 500) // 1000


def _token(*parts: object) -> str:
    """Return 32 hex digits made from what a record is about."""
    return hashlib.md5("\0".join(map(str, parts)).encode(), usedforsecurity=False).hexdigest()
