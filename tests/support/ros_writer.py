"""Writes small ROS 2 recordings for tests: any cloud layout, poses, boxes, chosen compression."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np

from scene.box import Boxes
from scene.pose import SE3

_KIND = {"i1": 1, "u1": 2, "i2": 3, "u2": 4, "i4": 5, "u4": 6, "f4": 7, "f8": 8}
_VISION = {
    "ObjectHypothesis": "string class_id\nfloat64 score\n",
    "ObjectHypothesisWithPose": (
        "ObjectHypothesis hypothesis\ngeometry_msgs/PoseWithCovariance pose\n"
    ),
    "BoundingBox3D": "geometry_msgs/Pose center\ngeometry_msgs/Vector3 size\n",
    "Detection3D": (
        "std_msgs/Header header\nObjectHypothesisWithPose[] results\nBoundingBox3D bbox\n"
        "string id\n"
    ),
    "Detection3DArray": "std_msgs/Header header\nDetection3D[] detections\n",
}


@cache
def types() -> Any:
    from rosbags.typesys import Stores, get_types_from_msg, get_typestore

    store = get_typestore(Stores.ROS2_HUMBLE)
    for name, text in _VISION.items():
        store.register(get_types_from_msg(text, f"vision_msgs/msg/{name}"))
    return store


def make(kind: str, *values: Any) -> Any:
    return types().types[kind](*values)


def header(time_ns: int, frame: str) -> Any:
    stamp = make("builtin_interfaces/msg/Time", *divmod(time_ns, 1_000_000_000))
    return make("std_msgs/msg/Header", stamp, frame)


def pose(value: SE3) -> Any:
    w, x, y, z = value.quat_wxyz.tolist()
    point = make("geometry_msgs/msg/Point", *value.translation_m.tolist())
    return make("geometry_msgs/msg/Pose", point, make("geometry_msgs/msg/Quaternion", x, y, z, w))


def cloud_message(
    time_ns: int, frame: str, points: np.ndarray, *, height: int = 1, row_padding: int = 0
) -> Any:
    """A PointCloud2 of a structured array, whatever its dtype's offsets, padding and byte order."""
    fields = []
    for name in points.dtype.names:
        kind, offset = points.dtype.fields[name][:2]
        count = int(np.prod(kind.shape, dtype=int))
        fields.append(
            make("sensor_msgs/msg/PointField", name, offset, _KIND[kind.base.str[1:]], count)
        )
    big = any(points.dtype[name].base.byteorder == ">" for name in points.dtype.names)
    step, width = points.dtype.itemsize, len(points) // height
    rows = np.frombuffer(points.tobytes(), np.uint8).reshape(height, -1)
    data = np.pad(rows, ((0, 0), (0, row_padding))).reshape(-1)
    return make(
        "sensor_msgs/msg/PointCloud2", header(time_ns, frame), height, width, fields, big, step,
        step * width + row_padding, data, True,
    )  # fmt: skip


def serialize(message: Any, *, little_endian: bool = True) -> bytes:
    return bytes(types().serialize_cdr(message, message.__msgtype__, little_endian=little_endian))


class MessageWriter:
    """Makes messages; where they go, a subclass says."""

    def write(self, topic: str, message: Any, time_ns: int) -> None:
        raise NotImplementedError

    def cloud(self, topic: str, time_ns: int, frame: str, points: np.ndarray) -> None:
        self.write(topic, cloud_message(time_ns, frame, points), time_ns)

    def transform(self, topic: str, time_ns: int, parent: str, child: str, value: SE3) -> None:
        w, x, y, z = value.quat_wxyz.tolist()
        transform = make(
            "geometry_msgs/msg/Transform",
            make("geometry_msgs/msg/Vector3", *value.translation_m.tolist()),
            make("geometry_msgs/msg/Quaternion", x, y, z, w),
        )
        stamped = make(
            "geometry_msgs/msg/TransformStamped", header(time_ns, parent), child, transform
        )
        self.write(topic, make("tf2_msgs/msg/TFMessage", [stamped]), time_ns)

    def odometry(self, topic: str, time_ns: int, parent: str, child: str, value: SE3) -> None:
        with_covariance = make("geometry_msgs/msg/PoseWithCovariance", pose(value), np.zeros(36))
        zero = make("geometry_msgs/msg/Vector3", 0.0, 0.0, 0.0)
        twist = make(
            "geometry_msgs/msg/TwistWithCovariance",
            make("geometry_msgs/msg/Twist", zero, zero),
            np.zeros(36),
        )
        message = make(
            "nav_msgs/msg/Odometry", header(time_ns, parent), child, with_covariance, twist
        )
        self.write(topic, message, time_ns)

    def pose_stamped(self, topic: str, time_ns: int, parent: str, value: SE3) -> None:
        message = make("geometry_msgs/msg/PoseStamped", header(time_ns, parent), pose(value))
        self.write(topic, message, time_ns)

    def boxes(self, topic: str, time_ns: int, frame: str, boxes: Boxes) -> None:
        head = header(time_ns, frame)
        detections = []
        for i in range(len(boxes)):
            where = pose(SE3.from_yaw(float(boxes.yaw_rad[i]), boxes.center_xyz_m[i]))
            best = make("vision_msgs/msg/ObjectHypothesis", str(boxes.category[i]), 0.9)
            other = make("vision_msgs/msg/ObjectHypothesis", "barrier", 0.1)
            covariance = make("geometry_msgs/msg/PoseWithCovariance", where, np.zeros(36))
            results = [
                make("vision_msgs/msg/ObjectHypothesisWithPose", guess, covariance)
                for guess in (other, best)
            ]
            size = make("geometry_msgs/msg/Vector3", *boxes.size_lwh_m[i].tolist())
            box = make("vision_msgs/msg/BoundingBox3D", where, size)
            track = str(boxes.track_id[i])
            detections.append(make("vision_msgs/msg/Detection3D", head, results, box, track))
        self.write(topic, make("vision_msgs/msg/Detection3DArray", head, detections), time_ns)

    def imu(self, topic: str, time_ns: int, frame: str, values: np.ndarray) -> None:
        """Orientation x y z w, rates, accelerations: (10,)."""
        turn = make("geometry_msgs/msg/Quaternion", *values[:4].tolist())
        rate = make("geometry_msgs/msg/Vector3", *values[4:7].tolist())
        force = make("geometry_msgs/msg/Vector3", *values[7:].tolist())
        zero = np.zeros(9)
        message = make(
            "sensor_msgs/msg/Imu", header(time_ns, frame), turn, zero, rate, zero, force, zero
        )
        self.write(topic, message, time_ns)

    def gnss(self, topic: str, time_ns: int, place: tuple[float, float, float]) -> None:
        status = make("sensor_msgs/msg/NavSatStatus", 1, 1)
        covariance = np.diag([4.0, 9.0, 16.0]).reshape(-1)
        message = make(
            "sensor_msgs/msg/NavSatFix", header(time_ns, "gps"), status, *place, covariance, 2
        )
        self.write(topic, message, time_ns)

    def camera(self, topic: str, time_ns: int, frame: str, matrix: np.ndarray) -> None:
        region = make("sensor_msgs/msg/RegionOfInterest", 0, 0, 0, 0, False)
        message = make(
            "sensor_msgs/msg/CameraInfo", header(time_ns, frame), 480, 640, "plumb_bob",
            np.arange(5.0), matrix.reshape(-1), np.eye(3).reshape(-1), np.zeros(12), 0, 0, region,
        )  # fmt: skip
        self.write(topic, message, time_ns)

    def image(self, topic: str, time_ns: int, frame: str, data: bytes) -> None:
        message = make(
            "sensor_msgs/msg/CompressedImage", header(time_ns, frame), "rgb8; jpeg compressed bgr8",
            np.frombuffer(data, np.uint8),
        )  # fmt: skip
        self.write(topic, message, time_ns)


class RosWriter(MessageWriter):
    """Appends messages to an MCAP; use as a context manager."""

    def __init__(
        self,
        path: Path,
        *,
        chunk_bytes: int = 4096,
        compression: str = "zstd",
        pack: Callable[[bytes], bytes] = bytes,
        remark: str = "",
    ) -> None:
        from mcap.writer import CompressionType, Writer

        self._stream = path.open("wb")
        self._pack = pack  # what is done to each message before it is written
        self._remark = remark  # behind the definition of every type
        kind = {"zstd": CompressionType.ZSTD, "lz4": CompressionType.LZ4, "": CompressionType.NONE}
        self._writer = Writer(
            self._stream, chunk_size=chunk_bytes, compression=kind[compression],
            use_chunking=chunk_bytes > 0,
        )  # fmt: skip
        self._writer.start(profile="ros2", library="test")
        self._channels: dict[tuple[str, str], int] = {}

    def __enter__(self) -> RosWriter:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        at: TracebackType | None,
    ) -> None:
        self._writer.finish()
        self._stream.close()

    def write(self, topic: str, message: Any, time_ns: int, *, little_endian: bool = True) -> None:
        kind = message.__msgtype__
        if (topic, kind) not in self._channels:
            text, _ = types().generate_msgdef(kind, ros_version=2)
            text += self._remark
            schema = self._writer.register_schema(kind, "ros2msg", text.encode())
            self._channels[topic, kind] = self._writer.register_channel(topic, "cdr", schema)
        data = self._pack(serialize(message, little_endian=little_endian))
        self._writer.add_message(self._channels[topic, kind], time_ns, data, time_ns)
