"""Writes a drive as an ordinary ROS 2 MCAP: clouds, transforms, odometry and ground truth."""

from __future__ import annotations

import os
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from scene.box import Boxes
from scene.errors import FormatError
from scene.pose import SE3
from scene.sweep import Sweep
from simulation.lidar import EgoMotion

CLOUD_TOPIC = "/lidar/points"
TRUTH_TOPIC = "/ground_truth/boxes"
_POINT = np.dtype(
    [("x", "<f4"), ("y", "<f4"), ("z", "<f4"), ("intensity", "<f4"), ("ring", "<u2"), ("t", "<u4")]
)
_FIELD_TYPE = {"<f4": 7, "<u2": 4, "<u4": 6}  # sensor_msgs/msg/PointField constants
_VISION = {
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
def _typestore() -> Any:
    """Return ROS 2 Humble's message types and those of vision_msgs."""
    from rosbags.typesys import Stores, get_types_from_msg, get_typestore

    store = get_typestore(Stores.ROS2_HUMBLE)
    for name, text in _VISION.items():
        store.register(get_types_from_msg(text, name))
    return store


class DriveWriter:
    """Writes one MCAP; the file appears under its name only when it is complete.

    Args:
        path: where the file goes.
        address: content address stored in the file, so that it need not be made again.
        ego_SE3_lidar: published as a static transform.
    """

    def __init__(self, path: Path, address: str, ego_SE3_lidar: SE3) -> None:
        from mcap.writer import CompressionType, Writer

        self._path, self._address = path, address
        self._part = path.with_name(f".{path.name}.part")
        self._stream = self._part.open("wb")
        self._writer = Writer(self._stream, chunk_size=2 << 20, compression=CompressionType.ZSTD)
        self._writer.start(profile="ros2", library="starloop")
        self._types = _typestore().types
        self._channels: dict[str, tuple[int, str]] = {}
        self._lidar = ego_SE3_lidar
        self._sequence = 0

    def static_transform(self, timestamp_ns: int) -> None:
        """Publish where the lidar stands."""
        transform = self._types["geometry_msgs/msg/Transform"](
            self._vector(self._lidar.translation_m), self._quaternion(self._lidar.quat_wxyz)
        )
        stamped = self._types["geometry_msgs/msg/TransformStamped"](
            self._header(timestamp_ns, "base_link"), "lidar", transform
        )
        message = self._types["tf2_msgs/msg/TFMessage"]([stamped])
        self._write("/tf_static", message, timestamp_ns)

    def sweep(self, sweep: Sweep) -> None:
        """Publish a cloud in the lidar frame; `t` is nanoseconds after the header's stamp."""
        cloud = np.zeros(len(sweep), dtype=_POINT)
        points = self._lidar.inverse().transform_points(sweep.points_ego_m.astype(np.float64))
        cloud["x"], cloud["y"], cloud["z"] = points.T
        cloud["intensity"], cloud["t"] = sweep.intensity, sweep.offset_ns
        cloud["ring"] = 0 if sweep.ring is None else sweep.ring
        make_field = self._types["sensor_msgs/msg/PointField"]
        fields = [
            make_field(name, offset, _FIELD_TYPE[kind.str], 1)
            for name, (kind, offset) in ((n, _POINT.fields[n][:2]) for n in _POINT.names or ())  # type: ignore[index]
        ]
        message = self._types["sensor_msgs/msg/PointCloud2"](
            self._header(sweep.timestamp_ns, "lidar"), 1, len(cloud), fields, False,
            _POINT.itemsize, _POINT.itemsize * len(cloud), cloud.view(np.uint8), True,
        )  # fmt: skip
        self._write(CLOUD_TOPIC, message, sweep.timestamp_ns)

    def odometry(self, timestamp_ns: int, ego: EgoMotion) -> None:
        """Publish the pose of the ego in the map and its speed."""
        pose = ego.map_SE3_ego
        make = self._types
        still = np.zeros(36)
        stamped_pose = make["geometry_msgs/msg/PoseWithCovariance"](self._pose(pose), still)
        twist = make["geometry_msgs/msg/Twist"](
            self._vector(np.array([ego.speed_mps, 0.0, 0.0])),
            self._vector(np.array([0.0, 0.0, ego.yaw_rate_radps])),
        )
        message = make["nav_msgs/msg/Odometry"](
            self._header(timestamp_ns, "map"), "base_link", stamped_pose,
            make["geometry_msgs/msg/TwistWithCovariance"](twist, still),
        )  # fmt: skip
        self._write("/odom", message, timestamp_ns)

    def truth(self, timestamp_ns: int, boxes_map: Boxes) -> None:
        """Publish map-frame boxes as Detection3DArray: size is x length, y width, z height."""
        header = self._header(timestamp_ns, "map")
        detections = [self._detection(header, boxes_map, i) for i in range(len(boxes_map))]
        message = self._types["vision_msgs/msg/Detection3DArray"](header, detections)
        self._write(TRUTH_TOPIC, message, timestamp_ns)

    def _detection(self, header: Any, boxes: Boxes, i: int) -> Any:
        """Make the message of one box."""
        make = self._types
        pose = self._pose(SE3.from_yaw(float(boxes.yaw_rad[i]), boxes.center_xyz_m[i]))
        kind = make["vision_msgs/msg/ObjectHypothesis"](str(boxes.category[i]), 1.0)
        covariance = make["geometry_msgs/msg/PoseWithCovariance"](pose, np.zeros(36))
        guess = make["vision_msgs/msg/ObjectHypothesisWithPose"](kind, covariance)
        box = make["vision_msgs/msg/BoundingBox3D"](pose, self._vector(boxes.size_lwh_m[i]))
        return make["vision_msgs/msg/Detection3D"](header, [guess], box, str(boxes.track_id[i]))

    def close(self) -> None:
        """Finish the file and give it its name."""
        self._writer.add_metadata("starloop.drive", {"address": self._address})
        self._writer.finish()
        self._stream.flush()
        os.fsync(self._stream.fileno())
        self._stream.close()
        self._part.replace(self._path)

    def abandon(self) -> None:
        """Throw away an unfinished file."""
        self._stream.close()
        self._part.unlink(missing_ok=True)

    def _write(self, topic: str, message: Any, timestamp_ns: int) -> None:
        """Append one message, registering its topic the first time."""
        kind = message.__msgtype__
        if topic not in self._channels:
            text, _ = _typestore().generate_msgdef(kind, ros_version=2)
            schema = self._writer.register_schema(kind, "ros2msg", text.encode())
            channel = self._writer.register_channel(topic, "cdr", schema)
            self._channels[topic] = channel, kind
        data = _typestore().serialize_cdr(message, kind)
        self._sequence += 1
        self._writer.add_message(
            self._channels[topic][0], timestamp_ns, bytes(data), timestamp_ns, self._sequence
        )

    def _header(self, timestamp_ns: int, frame: str) -> Any:
        seconds, nanoseconds = divmod(timestamp_ns, 1_000_000_000)
        stamp = self._types["builtin_interfaces/msg/Time"](seconds, nanoseconds)
        return self._types["std_msgs/msg/Header"](stamp, frame)

    def _vector(self, xyz: Sequence[float] | np.ndarray) -> Any:
        return self._types["geometry_msgs/msg/Vector3"](*(float(v) for v in xyz))

    def _quaternion(self, wxyz: np.ndarray) -> Any:
        w, x, y, z = (float(v) for v in wxyz)
        return self._types["geometry_msgs/msg/Quaternion"](x, y, z, w)

    def _pose(self, pose: SE3) -> Any:
        point = self._types["geometry_msgs/msg/Point"](*(float(v) for v in pose.translation_m))
        return self._types["geometry_msgs/msg/Pose"](point, self._quaternion(pose.quat_wxyz))


def address_of(path: Path) -> str | None:
    """Return the content address of a finished drive, or None if this is not one."""
    from mcap.exceptions import McapError
    from mcap.reader import make_reader

    if not path.is_file():
        return None
    try:
        with path.open("rb") as stream:
            for record in make_reader(stream).iter_metadata():
                if record.name == "starloop.drive":
                    return record.metadata.get("address")
    except (McapError, FormatError, OSError):
        return None
    return None
