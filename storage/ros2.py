"""Writes ordinary ROS 2 messages into an MCAP file, without a ROS installation."""

from __future__ import annotations

import os
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any, Final

import numpy as np

from scene.box import Boxes
from scene.calibration import Intrinsics
from scene.image import Image
from scene.pose import SE3
from scene.sweep import Sweep
from scene.types import Float64

_POINT: Final = np.dtype(
    [("x", "<f4"), ("y", "<f4"), ("z", "<f4"), ("intensity", "<f4"), ("ring", "<u2"), ("t", "<u4")]
)
_FIELD_TYPE: Final = {"<f4": 7, "<u2": 4, "<u4": 6, "<i4": 5}  # sensor_msgs/msg/PointField
_CHUNK_BYTES: Final = 2 << 20
_VISION: Final = {
    "vision_msgs/msg/ObjectHypothesis": "string class_id\nfloat64 score\n",
    "vision_msgs/msg/ObjectHypothesisWithPose": (
        "vision_msgs/ObjectHypothesis hypothesis\ngeometry_msgs/PoseWithCovariance pose\n"
    ),
    "vision_msgs/msg/BoundingBox3D": "geometry_msgs/Pose center\ngeometry_msgs/Vector3 size\n",
    "vision_msgs/msg/Detection3D": (
        "std_msgs/Header header\nvision_msgs/ObjectHypothesisWithPose[] results\n"
        "vision_msgs/BoundingBox3D bbox\nstring id\n"
    ),
    "vision_msgs/msg/Detection3DArray": (
        "std_msgs/Header header\nvision_msgs/Detection3D[] detections\n"
    ),
}


@cache
def typestore() -> Any:
    """Return ROS 2 Humble's message types and those of vision_msgs."""
    from rosbags.typesys import Stores, get_types_from_msg, get_typestore

    store = get_typestore(Stores.ROS2_HUMBLE)
    for name, text in _VISION.items():
        store.register(get_types_from_msg(text, name))
    return store


class Ros2Mcap:
    """Appends messages to one MCAP file; a topic is registered when it is first written.

    Args:
        path: the file, made anew.
    """

    def __init__(self, path: Path) -> None:
        from mcap.writer import CompressionType, Writer

        self._stream = path.open("wb")
        self._writer = Writer(
            self._stream, chunk_size=_CHUNK_BYTES, compression=CompressionType.ZSTD
        )
        self._writer.start(profile="ros2", library="starloop")
        self._types = typestore().types
        self._channels: dict[str, tuple[int, str]] = {}
        self._sequence = 0

    def transform(
        self, topic: str, timestamp_ns: int, parent: str, children: dict[str, SE3]
    ) -> None:
        """Publish `parent_SE3_child` of some frames."""
        stamped = [
            self._make(
                "geometry_msgs/msg/TransformStamped",
                self._header(timestamp_ns, parent),
                child,
                self._make(
                    "geometry_msgs/msg/Transform",
                    self._vector(pose.translation_m),
                    self._quaternion(pose.quat_wxyz),
                ),
            )
            for child, pose in children.items()
        ]
        self._write(topic, self._make("tf2_msgs/msg/TFMessage", stamped), timestamp_ns)

    def cloud(self, topic: str, frame: str, sweep: Sweep, frame_SE3_ego: SE3) -> None:
        """Publish a cloud in a frame; `t` is nanoseconds after the header's stamp.

        Points that were measured before the sweep's time make `t` a signed number; a sweep without
        beam numbers has no field `ring`.
        """
        names = [name for name in _POINT.names or () if name != "ring" or sweep.ring is not None]
        early = bool(len(sweep)) and int(sweep.offset_ns.min()) < 0
        cloud = np.zeros(
            len(sweep), [(n, "<i4" if early and n == "t" else _POINT[n]) for n in names]
        )
        points = frame_SE3_ego.transform_points(sweep.points_ego_m.astype(np.float64))
        cloud["x"], cloud["y"], cloud["z"] = points.T
        cloud["intensity"], cloud["t"] = sweep.intensity, sweep.offset_ns
        if sweep.ring is not None:
            cloud["ring"] = sweep.ring
        fields, offset = [], 0
        for name in names:
            kind = cloud.dtype[name]
            values = name, offset, _FIELD_TYPE[kind.str], 1
            fields.append(self._make("sensor_msgs/msg/PointField", *values))
            offset += kind.itemsize
        size = cloud.dtype.itemsize
        message = self._make(
            "sensor_msgs/msg/PointCloud2", self._header(sweep.timestamp_ns, frame), 1, len(cloud),
            fields, False, size, size * len(cloud), cloud.view(np.uint8), True,
        )  # fmt: skip
        self._write(topic, message, sweep.timestamp_ns)

    def odometry(
        self, topic: str, timestamp_ns: int, frames: tuple[str, str], pose: SE3,
        velocity_mps: Sequence[float] | Float64, yaw_rate_radps: float,
    ) -> None:  # fmt: skip
        """Publish the pose of the second frame in the first, and its velocity in its own axes."""
        still = np.zeros(36)
        twist = self._make(
            "geometry_msgs/msg/Twist",
            self._vector(velocity_mps),
            self._vector((0.0, 0.0, yaw_rate_radps)),
        )
        message = self._make(
            "nav_msgs/msg/Odometry",
            self._header(timestamp_ns, frames[0]),
            frames[1],
            self._make("geometry_msgs/msg/PoseWithCovariance", self._pose(pose), still),
            self._make("geometry_msgs/msg/TwistWithCovariance", twist, still),
        )
        self._write(topic, message, timestamp_ns)

    def boxes(self, topic: str, timestamp_ns: int, frame: str, boxes: Boxes) -> None:
        """Publish boxes as Detection3DArray: size is x length, y width, z height.

        A box without a score, which a person drew, gets the score 1.
        """
        header = self._header(timestamp_ns, frame)
        detections = [self._detection(header, boxes, i) for i in range(len(boxes))]
        message = self._make("vision_msgs/msg/Detection3DArray", header, detections)
        self._write(topic, message, timestamp_ns)

    def imu(
        self, topic: str, timestamp_ns: int, frame: str, orientation_wxyz: Float64,
        angular_velocity_radps: Float64, acceleration_mps2: Float64,
    ) -> None:  # fmt: skip
        """Publish an Imu; what is NaN is declared unknown by a covariance of -1."""
        parts = (
            (orientation_wxyz, self._quaternion), (angular_velocity_radps, self._vector),
            (acceleration_mps2, self._vector),
        )  # fmt: skip
        values: list[Any] = [self._header(timestamp_ns, frame)]
        for part, make in parts:
            known = bool(np.isfinite(part).all())
            covariance = np.zeros(9)
            covariance[0] = 0.0 if known else -1.0
            values += [make(np.nan_to_num(part)), covariance]
        self._write(topic, self._make("sensor_msgs/msg/Imu", *values), timestamp_ns)

    def gnss(
        self, topic: str, timestamp_ns: int, frame: str, place: Float64, status: int,
        std_m: Float64,
    ) -> None:  # fmt: skip
        """Publish a NavSatFix of latitude, longitude in degrees, altitude, and deviations."""
        service = 1  # GPS
        known = bool(np.isfinite(std_m).all())
        covariance = np.diag(np.nan_to_num(std_m) ** 2).ravel()
        message = self._make(
            "sensor_msgs/msg/NavSatFix", self._header(timestamp_ns, frame),
            self._make("sensor_msgs/msg/NavSatStatus", status, service),
            *(float(value) for value in place), covariance, 2 if known else 0,
        )  # fmt: skip
        self._write(topic, message, timestamp_ns)

    def image(self, topic: str, image: Image) -> None:
        """Publish a compressed image in the frame of its camera, as the bytes it came in."""
        data = np.frombuffer(image.data or b"", dtype=np.uint8)
        header = self._header(image.timestamp_ns, image.sensor)
        message = self._make("sensor_msgs/msg/CompressedImage", header, image.encoding, data)
        self._write(topic, message, image.timestamp_ns)

    def camera(self, topic: str, timestamp_ns: int, frame: str, camera: Intrinsics) -> None:
        """Publish how a camera sees."""
        projection = np.pad(camera.matrix, ((0, 0), (0, 1))).ravel()
        region = self._make("sensor_msgs/msg/RegionOfInterest", 0, 0, 0, 0, False)
        message = self._make(
            "sensor_msgs/msg/CameraInfo", self._header(timestamp_ns, frame), camera.height_px,
            camera.width_px, camera.model, camera.distortion.astype(np.float64),
            camera.matrix.ravel(), np.eye(3).ravel(), projection, 0, 0, region,
        )  # fmt: skip
        self._write(topic, message, timestamp_ns)

    def metadata(self, name: str, values: dict[str, str]) -> None:
        """Add a metadata record."""
        self._writer.add_metadata(name, values)

    def close(self) -> None:
        """Write the index; the data is on disk afterwards."""
        self._writer.finish()
        self._stream.flush()
        os.fsync(self._stream.fileno())
        self._stream.close()

    def abandon(self) -> None:
        """Close an unfinished file."""
        self._stream.close()

    def _detection(self, header: Any, boxes: Boxes, i: int) -> Any:
        """Make the message of one box."""
        pose = self._pose(SE3.from_yaw(float(boxes.yaw_rad[i]), boxes.center_xyz_m[i]))
        score = float(boxes.score[i])
        kind = self._make(
            "vision_msgs/msg/ObjectHypothesis",
            str(boxes.category[i]),
            1.0 if np.isnan(score) else score,
        )
        covariance = self._make("geometry_msgs/msg/PoseWithCovariance", pose, np.zeros(36))
        guess = self._make("vision_msgs/msg/ObjectHypothesisWithPose", kind, covariance)
        size = self._vector(boxes.size_lwh_m[i])
        box = self._make("vision_msgs/msg/BoundingBox3D", pose, size)
        track = str(boxes.track_id[i])
        return self._make("vision_msgs/msg/Detection3D", header, [guess], box, track)

    def _make(self, kind: str, *values: Any) -> Any:
        return self._types[kind](*values)

    def _write(self, topic: str, message: Any, timestamp_ns: int) -> None:
        """Append one message, registering its topic the first time."""
        kind = message.__msgtype__
        if topic not in self._channels:
            text, _ = typestore().generate_msgdef(kind, ros_version=2)
            schema = self._writer.register_schema(kind, "ros2msg", text.encode())
            channel = self._writer.register_channel(topic, "cdr", schema)
            self._channels[topic] = channel, kind
        data = typestore().serialize_cdr(message, kind)
        self._sequence += 1
        self._writer.add_message(
            self._channels[topic][0], timestamp_ns, bytes(data), timestamp_ns, self._sequence
        )

    def _header(self, timestamp_ns: int, frame: str) -> Any:
        seconds, nanoseconds = divmod(timestamp_ns, 1_000_000_000)
        stamp = self._make("builtin_interfaces/msg/Time", seconds, nanoseconds)
        return self._make("std_msgs/msg/Header", stamp, frame)

    def _vector(self, xyz: Sequence[float] | Float64) -> Any:
        return self._make("geometry_msgs/msg/Vector3", *(float(v) for v in xyz))

    def _quaternion(self, wxyz: Float64) -> Any:
        w, x, y, z = (float(v) for v in wxyz)
        return self._make("geometry_msgs/msg/Quaternion", x, y, z, w)

    def _pose(self, pose: SE3) -> Any:
        point = self._make("geometry_msgs/msg/Point", *(float(v) for v in pose.translation_m))
        return self._make("geometry_msgs/msg/Pose", point, self._quaternion(pose.quat_wxyz))
