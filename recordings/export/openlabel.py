"""ASAM OpenLABEL 1.0: one JSON file of frames, objects and coordinate systems, and PCD files.

Coordinate systems are `map`, below it `ego` (its pose in `map` changes with every frame), below it
the sensors. A cuboid is (x, y, z, qx, qy, qz, qw, length, width, height) in `ego` at the time of
its frame. The stream of the lidar names the PCD file of each frame, in the ego frame too.
Source: ASAM OpenLABEL 1.0.0, 2021, and its JSON schema.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Final

import numpy as np

from recordings.export.pcd import pcd_name, point_table, write_pcd
from recordings.export.writer import Frame, Writer, image_suffix, safe_name
from recordings.recording import Recording
from scene.box import Boxes
from scene.calibration import Intrinsics
from scene.image import Image
from scene.pose import SE3

FILE: Final = "openlabel.json"
SCHEMA_VERSION: Final = "1.0.0"
EGO, MAP = "ego", "map"
_IMAGE_SUFFIXES: Final = ("jpg", "png", "webp")

Json = dict[str, Any]


class OpenLabelWriter(Writer):
    """Writes one recording. See `recordings.export.writer.Writer`.

    The frames are written as they come, so that a long drive does not have to fit into memory; the
    objects, which know in which frames they are, come last.
    """

    def __init__(self, folder: Path, recording: Recording) -> None:
        super().__init__(folder, recording)
        (folder / "lidar").mkdir()
        self._stream = (folder / FILE).open("w")
        self._objects: dict[str, tuple[str, str, str]] = {}  # key: uid, name, category
        self._seen: dict[str, list[list[int]]] = {}
        self._images: dict[str, list[str]] = {}
        self._last = -1
        self._stream.write('{"openlabel": {\n"frames": {')
        self.lose_signals("only their sensors have a place")
        if not self.has_poses:
            self.lose("poses: none were recorded, so ego stays at the origin of map")

    def frame(self, frame: Frame) -> None:
        """Write one cloud and the frame that speaks of it."""
        name = f"lidar/{pcd_name(frame.sweep.timestamp_ns)}"
        write_pcd(self.folder / name, point_table(frame.sweep), SE3.identity())
        pose = frame.map_SE3_ego
        properties: Json = {
            "timestamp": _seconds(frame.sweep.timestamp_ns),
            "transforms": {
                f"{EGO}_to_{MAP}": {
                    "src": EGO, "dst": MAP, "transform_src_to_dst": _transform(pose),
                }
            },
            "streams": {self._lidar: {"uri": name}},
            # Not of the standard, which allows more: doubles are too coarse for nanoseconds.
            "timestamp_ns": frame.sweep.timestamp_ns,
            "labelled": frame.boxes is not None,
        }  # fmt: skip
        value: Json = {"frame_properties": properties}
        if frame.boxes is not None and len(frame.boxes):
            value["objects"] = self._frame_objects(frame.number, frame.boxes)
        comma = "," if frame.number else ""
        self._stream.write(f'{comma}\n"{frame.number}": {json.dumps(value, allow_nan=False)}')
        self._last = frame.number

    def image(self, image: Image) -> bool:
        """Write one image; the stream of its camera names the files."""
        suffix = image_suffix(image)
        if image.data is None or suffix not in _IMAGE_SUFFIXES:
            return self.lose(
                f"images of {image.sensor}: only JPEG, PNG and WebP files can be copied"
            )
        name = f"cameras/{safe_name(image.sensor)}/{image.timestamp_ns:019d}.{suffix}"
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(image.data)
        self._images.setdefault(image.sensor, []).append(name)
        return True

    def close(self) -> None:
        """Write everything that is not a frame."""
        rest = {
            "metadata": {
                "schema_version": SCHEMA_VERSION,
                "name": str(self.recording.recording),
                "comment": "cuboids are centred, x along the heading, in ego at the frame's time",
                "tagged_file": "lidar/",
            },
            "frame_intervals": [{"frame_start": 0, "frame_end": self._last}],
            "objects": self._object_records(),
            "coordinate_systems": self._coordinate_systems(),
            "streams": self._streams(),
        }
        parts = (f'"{name}": {json.dumps(value, allow_nan=False)}' for name, value in rest.items())
        self._stream.write("\n},\n" + ",\n".join(parts) + "\n}}\n")
        self._stream.close()

    @property
    def _lidar(self) -> str:
        return self.recording.sensor or "lidar"

    def _frame_objects(self, index: int, boxes: Boxes) -> Json:
        """Return the cuboids of one frame by the uid of their object."""
        half, zero = boxes.yaw_rad / 2, np.zeros(len(boxes))
        quat_xyzw = np.stack([zero, zero, np.sin(half), np.cos(half)], axis=1)
        values = np.concatenate([boxes.center_xyz_m, quat_xyzw, boxes.size_lwh_m], axis=1).tolist()
        found: Json = {}
        for i, value in enumerate(values):
            track = str(boxes.track_id[i])
            uid = self._uid(track or f"#{index}.{i}", track, str(boxes.category[i]), index)
            data: Json = {"cuboid": [{"name": "shape", "val": value, "coordinate_system": EGO}]}
            numbers = [
                ("score", float(boxes.score[i])), ("vx_mps", float(boxes.velocity_xy_mps[i, 0])),
                ("vy_mps", float(boxes.velocity_xy_mps[i, 1])),
            ]  # fmt: skip
            if boxes.num_points[i] >= 0:
                numbers.append(("num_points", int(boxes.num_points[i])))
            data["num"] = [{"name": n, "val": v} for n, v in numbers if not np.isnan(v)]
            found[uid] = {"object_data": data}
        return found

    def _uid(self, key: str, track: str, category: str, index: int) -> str:
        """Return the uid of a track, and note that it is in this frame."""
        uid, _, first = self._objects.setdefault(key, (str(len(self._objects)), track, category))
        if first != category:
            self.lose("changes of category within a track: an object has one type")
        spans = self._seen.setdefault(uid, [])
        if spans and spans[-1][1] == index - 1:
            spans[-1][1] = index
        else:
            spans.append([index, index])
        return uid

    def _object_records(self) -> Json:
        return {
            uid: {
                "name": track or f"object {uid}",
                "type": category,
                "coordinate_system": EGO,
                "frame_intervals": [
                    {"frame_start": start, "frame_end": end} for start, end in self._seen[uid]
                ],
                "object_data_pointers": {
                    "shape": {
                        "type": "cuboid",
                        "frame_intervals": [
                            {"frame_start": start, "frame_end": end}
                            for start, end in self._seen[uid]
                        ],
                    }
                },
            }
            for uid, track, category in self._objects.values()
        }

    def _coordinate_systems(self) -> Json:
        """Return map, ego and the sensors with where they sit on the vehicle."""
        sensors = {
            name: pose
            for name, pose in self.recording.calibration.ego_SE3_sensor.items()
            if name not in (EGO, MAP)
        }
        systems: Json = {
            MAP: {"type": "scene_cs", "parent": "", "children": [EGO]},
            EGO: {"type": "local_cs", "parent": MAP, "children": sorted(sensors)},
        }
        for name, pose in sensors.items():
            systems[name] = {
                "type": "sensor_cs", "parent": EGO, "children": [],
                "pose_wrt_parent": _transform(pose),
            }  # fmt: skip
        return systems

    def _streams(self) -> Json:
        streams: Json = {
            self._lidar: {
                "type": "lidar", "uri": "lidar/",
                "description": "PCD files named by nanoseconds, points in ego at that time",
            }
        }  # fmt: skip
        cameras = self.recording.calibration.cameras
        for name in sorted({*cameras, *self._images}):
            streams[name] = {"type": "camera"}
            if name in self._images:
                streams[name] |= {
                    "uri": f"cameras/{safe_name(name)}/",
                    "description": "images named by nanoseconds",
                }
            if name in cameras:
                streams[name]["stream_properties"] = _intrinsics(cameras[name])
        return streams


def _seconds(time_ns: int) -> str:
    seconds, rest = divmod(time_ns, 10**9)
    return f"{seconds}.{rest:09d}"


def _transform(pose: SE3) -> Json:
    w, x, y, z = pose.quat_wxyz.tolist()
    return {"quaternion": [x, y, z, w], "translation": pose.translation_m.tolist()}


def _intrinsics(camera: Intrinsics) -> Json:
    """Return a pinhole camera, or a custom one where the standard has no such model."""
    matrix = np.pad(camera.matrix, ((0, 0), (0, 1))).ravel().tolist()
    values: Json = {
        "camera_matrix": matrix, "width_px": camera.width_px, "height_px": camera.height_px,
        "distortion_coeffs": camera.distortion.tolist(),
    }  # fmt: skip
    if camera.model == "plumb_bob" and len(camera.distortion) == 5:
        return {"intrinsics_pinhole": values}
    return {"intrinsics_custom": {**values, "model": camera.model}}
