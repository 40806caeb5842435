"""MCAP to stored sweeps, against the usual way: mcap_ros2 decoding into Parquet list columns.

The recording is generated here: a 64-beam lidar over a street canyon with a range noise of 2 cm and
a resolution of 2 mm, 26 bytes a point (x, y, z, intensity f32, ring u16, t f64: the Hesai layout),
zstd chunks of 4 MB, as `ros2 bag record` writes it.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np

from benchmarks.harness import BenchRow, interleave
from recordings.open import open_recording
from scene.recording import RecordingId
from storage.local import LocalStore
from storage.sweeps import write_sweeps

_BEAMS, _COLUMNS, _SWEEPS = 64, 1875, 24
_START_NS, _PERIOD_NS = 1_700_000_000_000_000_000, 100_000_000
_POINT = np.dtype(
    [("x", "<f4"), ("y", "<f4"), ("z", "<f4"), ("intensity", "<f4"), ("ring", "<u2"), ("t", "<f8")]
)
_FIELD_TYPE = {"<f4": 7, "<u2": 4, "<f8": 8}


def rows() -> list[BenchRow]:
    with tempfile.TemporaryDirectory() as name:
        return [*_ingest_rows(Path(name))]


def _ingest_rows(folder: Path) -> list[BenchRow]:
    recording = folder / "drive.mcap"
    num_points, raw_bytes = write_recording(recording)
    store = LocalStore(folder / "store")
    ours_file, peer_file = folder / "store" / "sweeps.parquet", folder / "peer.parquet"
    ours, peer, ratio = interleave(
        lambda: ingest(recording, store), lambda: ingest_with_mcap_ros2(recording, peer_file)
    )
    note = (
        f"{_SWEEPS} sweeps, {num_points / _SWEEPS:.0f} points each, {raw_bytes / 1e6:.0f} MB of "
        f"messages in a {recording.stat().st_size / 1e6:.0f} MB zstd MCAP. Ours writes "
        f"{ours_file.stat().st_size / num_points:.2f} B/point at 1 mm, the peer "
        f"{peer_file.stat().st_size / num_points:.2f} B/point of floats (zstd, one row group a "
        "sweep). CPU time of all threads."
    )
    speed = raw_bytes / 1e6
    size = peer_file.stat().st_size / ours_file.stat().st_size
    return [
        BenchRow(
            "MCAP to stored sweeps", "Starloop", "mcap_ros2 + pyarrow list columns", speed / ours,
            speed / peer, "MB/s of messages", ratio, note,
        ),
        BenchRow(
            "size of stored sweeps", "Starloop", "mcap_ros2 + pyarrow list columns",
            ours_file.stat().st_size / num_points, peer_file.stat().st_size / num_points,
            "bytes/point", size, "The same two files; ours exact to 0.5 mm.",
        ),
    ]  # fmt: skip


def ingest(path: Path, store: LocalStore) -> None:
    """The real path: read, decode, bring to the ego frame, encode, store."""
    recording = open_recording(path, RecordingId("drive"))
    summary = write_sweeps(
        store, "sweeps.parquet", recording.sweeps(), recording.trajectory, recording.calibration,
        sensor=recording.sensor,
    )  # fmt: skip
    if summary.num_sweeps != _SWEEPS or recording.damage:
        raise RuntimeError(f"not everything was read: {summary}, {recording.damage}")


def ingest_with_mcap_ros2(path: Path, target: Path) -> None:
    """The usual way, written with care: numpy views, one row group a sweep, zstd."""
    import pyarrow as pa
    import pyarrow.parquet as pq
    from mcap.reader import make_reader
    from mcap_ros2.decoder import DecoderFactory

    kinds = {"<f4": pa.float32(), "<u2": pa.uint16(), "<f8": pa.float64()}
    columns = {name: kinds[_POINT[name].str] for name in _POINT.names or ()}
    schema = pa.schema(
        [pa.field("stamp", pa.int64()), *(pa.field(n, pa.list_(k)) for n, k in columns.items())]
    )
    with path.open("rb") as stream, pq.ParquetWriter(target, schema, compression="zstd") as writer:
        reader = make_reader(stream, decoder_factories=[DecoderFactory()])
        for _, _, _, message in reader.iter_decoded_messages(topics=["/lidar/points"]):
            points = np.frombuffer(message.data, dtype=_POINT)
            stamp = message.header.stamp.sec * 10**9 + message.header.stamp.nanosec
            offsets = pa.array([0, len(points)], pa.int32())
            lists = [
                pa.ListArray.from_arrays(offsets, pa.array(np.ascontiguousarray(points[n]), k))
                for n, k in columns.items()
            ]
            arrays = [pa.array([stamp], pa.int64()), *lists]
            writer.write_table(pa.Table.from_arrays(arrays, schema=schema), row_group_size=1)


def write_recording(path: Path) -> tuple[int, int]:
    """Write the recording; return its number of points and the bytes of its messages."""
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
            ("/lidar/points", "sensor_msgs/msg/PointCloud2"),
            ("/odom", "nav_msgs/msg/Odometry"),
        ):
            text, _ = store.generate_msgdef(kind, ros_version=2)
            schema = writer.register_schema(kind, "ros2msg", text.encode())
            channels[kind] = writer.register_channel(topic, "cdr", schema)
        for index in range(_SWEEPS):
            points = scan(index)
            num_points += len(points)
            for step in range(5):
                time = _START_NS + index * _PERIOD_NS + step * _PERIOD_NS // 5
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
    """A revolution between two walls 8 m to each side, over a road 1.8 m below."""
    rng = np.random.default_rng(index)
    elevation = np.deg2rad(np.linspace(-24, 3, _BEAMS))[:, None]
    azimuth = np.linspace(-np.pi, np.pi, _COLUMNS, endpoint=False)[None, :]
    wall = 8.0 / np.maximum(np.abs(np.sin(azimuth)), 0.06) / np.cos(elevation)
    with np.errstate(divide="ignore"):
        ground = np.where(elevation < 0, -1.8 / np.sin(elevation), np.inf)
    distance = np.minimum(wall, ground) + rng.normal(0, 0.02, (_BEAMS, _COLUMNS))
    distance = np.round(distance / 0.002) * 0.002
    points = np.zeros((_BEAMS, _COLUMNS), _POINT)
    points["x"] = distance * np.cos(elevation) * np.cos(azimuth)
    points["y"] = distance * np.cos(elevation) * np.sin(azimuth)
    points["z"] = distance * np.sin(elevation)
    points["intensity"] = rng.integers(0, 256, distance.shape)
    points["ring"] = np.arange(_BEAMS)[:, None]
    offset_s = np.round((azimuth + np.pi) / (2 * np.pi) * 0.1, 6)
    points["t"] = _START_NS / 1e9 + index * 0.1 + offset_s
    seen = (distance < 110) & (rng.random(distance.shape) > 0.07)
    return points.T[seen.T]  # drivers send column by column


def _header(make: dict, time_ns: int, frame: str) -> object:
    stamp = make["builtin_interfaces/msg/Time"](*divmod(time_ns, 10**9))
    return make["std_msgs/msg/Header"](stamp, frame)


def _cloud(make: dict, time_ns: int, points: np.ndarray) -> object:
    fields = [
        make["sensor_msgs/msg/PointField"](
            name, _POINT.fields[name][1], _FIELD_TYPE[_POINT[name].str], 1
        )
        for name in _POINT.names
    ]
    return make["sensor_msgs/msg/PointCloud2"](
        _header(make, time_ns, "base_link"), 1, len(points), fields, False, _POINT.itemsize,
        _POINT.itemsize * len(points), points.view(np.uint8).reshape(-1), True,
    )  # fmt: skip


def _odometry(make: dict, time_ns: int) -> object:
    x = 10.0 * (time_ns - _START_NS) / 1e9
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
