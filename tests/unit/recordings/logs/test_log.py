"""One log in three containers and two encodings gives one recording."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from recordings.logs import log
from recordings.logs.log_file import Channel, Schema
from recordings.logs.log_scan import Scan, Stream, decoder_of
from recordings.open import open_recording
from recordings.recording import Recording
from scene.pose import SE3
from tests.support.bag_writers import Bag1Writer, Rosbag2Writer
from tests.support.ros_writer import MessageWriter, RosWriter, header, make, pose

POINT = np.dtype([("x", "<f4"), ("y", "<f4"), ("z", "<f4"), ("intensity", "<f4")])
START = 1_700_000_000_000_000_000
PERIOD = 100_000_000
NUM = 12
MATRIX = np.array([[500.0, 0, 320], [0, 510.0, 240], [0, 0, 1]])
JPEG = b"\xff\xd8\xff\xe0 a small picture"


def mcap(path: Path) -> tuple[RosWriter, Path]:
    return RosWriter(path / "drive.mcap"), path / "drive.mcap"


def rosbag1(path: Path) -> tuple[Bag1Writer, Path]:
    return Bag1Writer(path / "drive.bag", compression="lz4"), path / "drive.bag"


def rosbag2(path: Path) -> tuple[Rosbag2Writer, Path]:
    return Rosbag2Writer(path / "drive"), path / "drive"


Container = Callable[[Path], tuple[Any, Path]]
each_container = pytest.mark.parametrize("container", [mcap, rosbag1, rosbag2])


def written(
    container: Container, folder: Path, write: Callable[[MessageWriter], None]
) -> Recording:
    writer, path = container(folder)
    with writer:
        write(writer)
    return open_recording(path)


def cloud(index: int) -> np.ndarray:
    points = np.zeros(300, POINT)
    for name in POINT.names or ():
        points[name] = np.random.default_rng(index).random(300)
    return points


def everything(writer: MessageWriter) -> None:
    mount = SE3.from_yaw(0.1, np.array([1.0, 0, 1.5]))
    writer.transform("/tf_static", START, "/base_link", "/lidar", mount)
    writer.transform("/tf_static", START, "base_link", "cam", SE3.from_yaw(1, np.ones(3)))
    writer.camera("/camera/info", START, "cam", MATRIX)
    for i in range(NUM):
        time = START + i * PERIOD
        writer.transform("/tf", time, "odom", "base_link", SE3.from_yaw(0, np.array([i, 0, 0])))
        writer.cloud("/points", time, "/lidar", cloud(i))
        writer.imu("/imu", time + 1, "imu", np.arange(10.0) * i)
        writer.gnss("/fix", time + 2, (48.0 + i, 11.0, 500.0))
        # Two cameras, the second logged before the first.
        writer.image("/right/compressed", time + 9, "right", JPEG)
        writer.image("/camera/compressed", time + 3, "cam", JPEG + bytes([i]))


@pytest.mark.slow
@each_container
@pytest.mark.parametrize("cache_bytes", [0, 9000, 2**28])
def test_all_kinds_of_messages(
    tmp_path: Path, container: Container, cache_bytes: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(log, "CACHE_BYTES", cache_bytes)
    recording = written(container, tmp_path, everything)
    assert recording.sensor == "lidar"
    for _ in range(2):
        sweeps = list(recording.sweeps())
        assert [sweep.timestamp_ns for sweep in sweeps] == [START + i * PERIOD for i in range(NUM)]
        for i, sweep in enumerate(sweeps):
            np.testing.assert_allclose(sweep.intensity, cloud(i)["intensity"], atol=1e-6)
        images = list(recording.images())
        times = [image.timestamp_ns for image in images]
        assert times == sorted(times)
        mine = [image for image in images if image.sensor == "cam"]
        assert [image.data for image in mine] == [JPEG + bytes([i]) for i in range(NUM)]
        assert {image.encoding for image in images} == {"jpeg"}
        assert len(images) == 2 * NUM
    camera = recording.calibration.cameras["cam"]
    assert (camera.width_px, camera.height_px, camera.model) == (640, 480, "plumb_bob")
    np.testing.assert_array_equal(camera.matrix, MATRIX)
    np.testing.assert_array_equal(camera.distortion, np.arange(5.0))
    assert "cam" in recording.calibration.ego_SE3_sensor
    signals = {signal.name: signal for signal in recording.signals}
    assert (signals["/fix"].kind, signals["/fix"].frame) == ("gnss", "gps")
    np.testing.assert_array_equal(
        signals["/fix"].values,
        [[48.0 + i, 11.0, 500.0, 1.0, 2.0, 3.0, 4.0] for i in range(NUM)],
    )
    assert signals["/imu"].fields[4] == "angular_velocity_x_radps"
    np.testing.assert_array_equal(signals["/imu"].values[:, 9], np.arange(NUM) * 9.0)
    assert signals["/imu"].timestamps_ns.tolist() == [START + i * PERIOD + 1 for i in range(NUM)]
    assert {topic.name: topic.use for topic in recording.topics} == {
        "/camera/compressed": "images", "/camera/info": "calibration", "/fix": "signal",
        "/imu": "signal", "/points": "sweeps", "/right/compressed": "images", "/tf": "poses",
        "/tf_static": "poses",
    }  # fmt: skip
    assert recording.damage == []


@each_container
def test_signals_alone_are_a_recording(tmp_path: Path, container: Container) -> None:
    def write(writer: MessageWriter) -> None:
        writer.imu("/imu", START, "imu", np.ones(10))

    recording = written(container, tmp_path, write)
    assert list(recording.sweeps()) == []
    assert [signal.values.shape for signal in recording.signals] == [(1, 10)]
    assert recording.sensor == ""


@pytest.mark.slow
@each_container
@pytest.mark.parametrize("kind", ["stamped", "with covariance", "bare", "transform"])
def test_poses_of_every_kind_are_the_trajectory(
    tmp_path: Path, container: Container, kind: str
) -> None:
    def write(writer: MessageWriter) -> None:
        for i in range(4):
            time, where = START + i * PERIOD, SE3.from_yaw(0.2 * i, np.array([i, 2.0, 0]))
            value = pose(where)
            if kind == "stamped":
                writer.pose_stamped("/where", time, "map", where)
            elif kind == "with covariance":
                full = make("geometry_msgs/msg/PoseWithCovariance", value, np.zeros(36))
                name = "geometry_msgs/msg/PoseWithCovarianceStamped"
                writer.write("/where", make(name, header(time, "map"), full), time)
            elif kind == "bare":
                writer.write("/where", value, time)
            else:
                turn = make(
                    "geometry_msgs/msg/Transform",
                    make("geometry_msgs/msg/Vector3", i * 1.0, 2.0, 0.0), value.orientation,
                )  # fmt: skip
                name = "geometry_msgs/msg/TransformStamped"
                message = make(name, header(time, "map"), "base_link", turn)
                writer.write("/vicon", message, time)
            writer.cloud("/points", time, "base_link", cloud(i))

    recording = written(container, tmp_path, write)
    assert recording.trajectory.timestamps_ns.tolist() == [START + i * PERIOD for i in range(4)]
    np.testing.assert_allclose(recording.trajectory.translation_m[:, 0], np.arange(4.0))
    np.testing.assert_allclose(recording.trajectory.at(START + PERIOD).yaw_rad, 0.2)
    assert len(list(recording.sweeps())) == 4


@each_container
def test_what_a_message_says_it_does_not_know_is_nan(tmp_path: Path, container: Container) -> None:
    def write(writer: MessageWriter) -> None:
        unknown = np.array([-1.0, *[0] * 8])
        turn, zero = make("geometry_msgs/msg/Quaternion", 0.0, 0.0, 0.0, 0.0), np.zeros(9)
        rate = make("geometry_msgs/msg/Vector3", 1.0, 2.0, 3.0)
        at = header(START, "imu")
        imu = make("sensor_msgs/msg/Imu", at, turn, unknown, rate, zero, rate, zero)
        writer.write("/imu", imu, START)
        status = make("sensor_msgs/msg/NavSatStatus", -1, 1)
        fix = make("sensor_msgs/msg/NavSatFix", at, status, 1.0, 2.0, 3.0, zero, 0)
        writer.write("/fix", fix, START)

    recording = written(container, tmp_path, write)
    fix, imu = recording.signals
    np.testing.assert_array_equal(fix.values[0], [np.nan, np.nan, np.nan, -1, *[np.nan] * 3])
    np.testing.assert_array_equal(imu.values[0], [*[np.nan] * 4, 1, 2, 3, 1, 2, 3])


@each_container
def test_raw_images_and_unknown_types_are_listed_with_the_reason(
    tmp_path: Path, container: Container
) -> None:
    def write(writer: MessageWriter) -> None:
        data = np.zeros(12, np.uint8)
        image = make("sensor_msgs/msg/Image", header(START, "cam"), 2, 2, "rgb8", False, 6, data)
        writer.write("/raw", image, START)
        writer.cloud("/points", START, "base_link", cloud(0))
        writer.cloud("/small", START, "base_link", cloud(0)[:5])

    recording = written(container, tmp_path, write)
    assert {topic.name: topic.use for topic in recording.topics} == {
        "/points": "sweeps",
        "/raw": "not used: raw images are not kept; record the compressed topic",
        "/small": "not used: /points holds more points",
    }


def test_a_type_of_its_own_that_lacks_a_field_is_damage_not_a_failure(tmp_path: Path) -> None:
    with Rosbag2Writer(tmp_path / "bag") as writer:
        for i in range(3):
            writer.imu("/imu", START + i, "imu", np.ones(10))
            writer.cloud("/points", START + i, "base_link", cloud(i))
    path = tmp_path / "bag" / "bag.db3"
    with sqlite3.connect(path) as database:
        database.execute(
            "UPDATE message_definitions SET encoded_message_definition = 'float64[37] numbers' "
            "WHERE topic_type = 'sensor_msgs/msg/Imu'"
        )
    database.close()
    recording = open_recording(path)
    (note,) = recording.damage
    assert "/imu" in note.where
    assert note.lost == f"3 messages logged at {START} to {START + 2}"
    (imu, points) = recording.topics
    assert imu.use.startswith("not used: sensor_msgs/msg/Imu")
    assert points.use == "sweeps"


def test_messages_that_rosbag2_compressed_one_by_one_in_an_mcap(tmp_path: Path) -> None:
    import zstandard

    path = tmp_path / "drive.mcap"
    with RosWriter(path, pack=zstandard.ZstdCompressor().compress) as writer:
        everything(writer)
    recording = open_recording(path)
    assert len(list(recording.sweeps())) == NUM
    assert len(list(recording.images())) == 2 * NUM
    assert len(recording.trajectory) == NUM
    assert recording.damage == []


def test_memory_that_threads_take_turns_in_is_counted_once() -> None:
    slabs = [np.zeros(40, np.uint8) for _ in range(2)]
    for slab in slabs:
        slab.flags.writeable = False
    channel = Channel("/points", Schema("sensor_msgs/msg/PointCloud2", "ros2msg", b""), "cdr")
    scan = Scan([], [], keep_bytes=100)
    for number in range(6):
        data = slabs[number % 2][number : number + 4].data
        scan._keep(Stream(channel, decoder_of(channel)), number, data)
    assert len(scan.kept) == 6
    assert scan._room_bytes == 20


def test_parts_that_define_a_type_in_other_words_are_one_recording(tmp_path: Path) -> None:
    for part, remark in enumerate(["", "\n# written by another driver\n"]):
        with RosWriter(tmp_path / f"drive_{part}.mcap", remark=remark) as writer:
            for i in range(part * NUM, (part + 1) * NUM):
                writer.cloud("/points", START + i * PERIOD, "lidar", cloud(i))
                writer.imu("/imu", START + i * PERIOD, "imu", np.arange(10.0) * i)
    recording = open_recording(tmp_path)
    expected = [START + i * PERIOD for i in range(2 * NUM)]
    assert [sweep.timestamp_ns for sweep in recording.sweeps()] == expected
    assert not recording.damage
    (signal,) = recording.signals
    assert signal.name == "/imu"
    assert signal.timestamps_ns.tolist() == expected
    assert signal.values[:, 4].tolist() == [4.0 * i for i in range(2 * NUM)]
    assert {topic.use for topic in recording.topics} == {"sweeps", "signal"}
