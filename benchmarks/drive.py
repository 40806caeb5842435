"""A generated drive in MCAP.

A 64-beam lidar over a street canyon with a range noise of 2 cm and a resolution of 2 mm, 26 bytes a
point (x, y, z, intensity f32, ring u16, t f64: the Hesai layout), and odometry at 50 Hz, in zstd
chunks of 4 MB, as `ros2 bag record` writes them.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

SWEEPS = 24
LIDAR = "/lidar/points"
START_NS, PERIOD_NS = 1_700_000_000_000_000_000, 100_000_000
POINT = np.dtype(
    [("x", "<f4"), ("y", "<f4"), ("z", "<f4"), ("intensity", "<f4"), ("ring", "<u2"), ("t", "<f8")]
)
_BEAMS, _COLUMNS = 64, 1875
_FIELD_TYPE = {"<f4": 7, "<u2": 4, "<f8": 8}


def write_drive(path: Path, num_sweeps: int = SWEEPS, scans: int = SWEEPS) -> tuple[int, int]:
    """Write the recording; return its number of points and the bytes of its messages.

    Args:
        path: the file.
        num_sweeps: how long.
        scans: how many of the sweeps differ; making one costs more than writing it.
    """
    from mcap.writer import CompressionType, Writer
    from rosbags.typesys import Stores, get_typestore

    store = get_typestore(Stores.ROS2_HUMBLE)
    make = store.types
    num_points = raw_bytes = 0
    with path.open("wb") as stream:
        writer = Writer(stream, chunk_size=4 << 20, compression=CompressionType.ZSTD)
        writer.start(profile="ros2", library="starloop-bench")
        channels = {}
        for topic, kind in (
            (LIDAR, "sensor_msgs/msg/PointCloud2"),
            ("/odom", "nav_msgs/msg/Odometry"),
        ):
            text, _ = store.generate_msgdef(kind, ros_version=2)
            schema = writer.register_schema(kind, "ros2msg", text.encode())
            channels[kind] = writer.register_channel(topic, "cdr", schema)
        made = [scan(index) for index in range(min(scans, num_sweeps))]
        for index in range(num_sweeps):
            points = made[index % scans].copy()
            points["t"] += (index - index % scans) * PERIOD_NS / 1e9
            num_points += len(points)
            for step in range(5):
                time = START_NS + index * PERIOD_NS + step * PERIOD_NS // 5
                messages = [_odometry(make, time)] + (
                    [_cloud(make, time, points)] if not step else []
                )
                for message in messages:
                    data = bytes(store.serialize_cdr(message, message.__msgtype__))
                    raw_bytes += len(data)
                    writer.add_message(channels[message.__msgtype__], time, data, time)
        writer.finish()
    return num_points, raw_bytes


def scan(index: int) -> np.ndarray:
    """Return a revolution between two walls 8 m to each side, over a road 1.8 m below."""
    rng = np.random.default_rng(index)
    elevation = np.deg2rad(np.linspace(-24, 3, _BEAMS))[:, None]
    azimuth = np.linspace(-np.pi, np.pi, _COLUMNS, endpoint=False)[None, :]
    wall = 8.0 / np.maximum(np.abs(np.sin(azimuth)), 0.06) / np.cos(elevation)
    with np.errstate(divide="ignore"):
        ground = np.where(elevation < 0, -1.8 / np.sin(elevation), np.inf)
    distance = np.minimum(wall, ground) + rng.normal(0, 0.02, (_BEAMS, _COLUMNS))
    distance = np.round(distance / 0.002) * 0.002
    points = np.zeros((_BEAMS, _COLUMNS), POINT)
    points["x"] = distance * np.cos(elevation) * np.cos(azimuth)
    points["y"] = distance * np.cos(elevation) * np.sin(azimuth)
    points["z"] = distance * np.sin(elevation)
    points["intensity"] = rng.integers(0, 256, distance.shape)
    points["ring"] = np.arange(_BEAMS)[:, None]
    offset_s = np.round((azimuth + np.pi) / (2 * np.pi) * 0.1, 6)
    points["t"] = START_NS / 1e9 + index * 0.1 + offset_s
    seen = (distance < 110) & (rng.random(distance.shape) > 0.07)
    return points.T[seen.T]  # drivers send column by column


def _header(make: Any, time_ns: int, frame: str) -> object:
    stamp = make["builtin_interfaces/msg/Time"](*divmod(time_ns, 10**9))
    return make["std_msgs/msg/Header"](stamp, frame)


def _cloud(make: Any, time_ns: int, points: np.ndarray) -> object:
    fields = [
        make["sensor_msgs/msg/PointField"](
            name, POINT.fields[name][1], _FIELD_TYPE[POINT[name].str], 1
        )
        for name in POINT.names
    ]
    return make["sensor_msgs/msg/PointCloud2"](
        _header(make, time_ns, "base_link"), 1, len(points), fields, False, POINT.itemsize,
        POINT.itemsize * len(points), points.view(np.uint8).reshape(-1), True,
    )  # fmt: skip


def _odometry(make: Any, time_ns: int) -> object:
    x = 10.0 * (time_ns - START_NS) / 1e9
    point = make["geometry_msgs/msg/Point"](x, 0.0, 0.0)
    pose = make["geometry_msgs/msg/Pose"](
        point, make["geometry_msgs/msg/Quaternion"](0.0, 0.0, 0.0, 1.0)
    )
    zero = make["geometry_msgs/msg/Vector3"](0.0, 0.0, 0.0)
    twist = make["geometry_msgs/msg/Twist"](zero, zero)
    return make["nav_msgs/msg/Odometry"](
        _header(make, time_ns, "map"), "base_link",
        make["geometry_msgs/msg/PoseWithCovariance"](pose, np.zeros(36)),
        make["geometry_msgs/msg/TwistWithCovariance"](twist, np.zeros(36)),
    )  # fmt: skip


def write_imu(path: Path, count: int) -> None:
    """Write a recording of sensor_msgs/Imu messages."""
    from tests.support.ros_writer import RosWriter

    rng = np.random.default_rng(0)
    with RosWriter(path, chunk_bytes=4 << 20) as writer:
        for index in range(count):
            time_ns = START_NS + index * 10_000_000
            writer.imu("/imu", time_ns, "imu_link", rng.normal(0, 1, 10))
