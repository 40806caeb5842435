"""Real robot logs of every container: messages, points, times and poses as rosbags reads them."""

from __future__ import annotations

import sqlite3
from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from recordings.logs.log_file import LogFile
from recordings.logs.mcap_file import McapFile
from recordings.logs.rosbag1_file import BagFile
from recordings.logs.rosbag2_file import SqliteBag
from recordings.open import open_recording
from recordings.recording import Damage, Recording
from tests.support.shared_data import shared_data

pytestmark = pytest.mark.integration

NAV2 = "mcap/nav2_turtlebot.mcap"
PANDASET = "derived_pandaset_002_front"
ROS1 = ("husky_outdoor_test1", "evo_tf_example", f"{PANDASET}_ros1")
FOLDERS = (
    f"mcap/{PANDASET}_ros2",
    "mcap/rosbag2_talker",
    "mcap/rosbag2_wbag_split",
    "rosbag2_db3/evo_tf_example",
    "rosbag2_db3/rosbag2_talker",
    "rosbag2_db3/rosbag2_wbag_split",
    "rosbag2_db3/nebula_velodyne_vlp16/1673400471837873222",
    "rosbag2_db3/nebula_velodyne_vlp32/1713492677464078412",
)
ALL = (NAV2, *(f"rosbag1/{name}.bag" for name in ROS1), *FOLDERS)
Raw = tuple[str, int, bytes]


def files_of(path: Path) -> list[LogFile]:
    kinds = {".mcap": McapFile, ".db3": SqliteBag, ".bag": BagFile}
    return [kinds[p.suffix](p) for p in parts_of(path)]


def parts_of(path: Path) -> list[Path]:
    if path.is_file():
        return [path]
    return sorted(p for p in path.iterdir() if p.suffix in (".mcap", ".db3"))


def raw_messages(path: Path) -> tuple[list[Raw], list[Damage]]:
    damage: list[Damage] = []
    found = [
        (file.channels[number].topic, time, bytes(data))
        for file in files_of(path)
        for block in file.blocks(damage)
        for number, time, data in file.messages(block, damage)
    ]
    return found, damage


def raw_oracle(path: Path) -> list[Raw]:
    """Everything by the mcap package, by SQL, by rosbags."""
    from mcap.reader import make_reader
    from rosbags.rosbag1 import Reader

    found: list[Raw] = []
    for part in parts_of(path):
        if part.suffix == ".mcap":
            with part.open("rb") as stream:
                items = make_reader(stream).iter_messages()
                found += [(c.topic, m.log_time, bytes(m.data)) for _, c, m in items]
        elif part.suffix == ".db3":
            sql = "SELECT name, timestamp, data FROM messages JOIN topics ON topic_id = topics.id"
            with closing(sqlite3.connect(part)) as database:
                found += database.execute(sql).fetchall()
        else:
            with Reader(part) as reader:
                found += [(c.topic, time, bytes(raw)) for c, time, raw in reader.messages()]
    return found


def oracle(path: Path, topic: str) -> Iterator[Any]:
    """The messages of a topic, by rosbags."""
    from rosbags.highlevel import AnyReader
    from rosbags.typesys import Stores, get_typestore

    store = get_typestore(Stores.ROS2_HUMBLE)
    with AnyReader([path], default_typestore=store) as reader:
        chosen = [c for c in reader.connections if c.topic == topic]
        for connection, _, raw in reader.messages(chosen):
            yield reader.deserialize(raw, connection.msgtype)


@pytest.mark.parametrize("name", ALL)
def test_every_message_is_the_one_that_other_libraries_read(name: str) -> None:
    path = shared_data(name)
    found, damage = raw_messages(path)
    expected = raw_oracle(path)
    assert len(found) == len(expected)
    assert sorted(found) == sorted(expected)
    assert damage == []


@pytest.mark.parametrize("name", ALL)
def test_topics_are_counted_and_none_is_a_failure(name: str) -> None:
    path = shared_data(name)
    counts = Counter(topic for topic, _, _ in raw_oracle(path))
    recording = open_recording(path)
    assert {topic.name: topic.count for topic in recording.topics if topic.count} == counts
    assert all(topic.use for topic in recording.topics)
    assert recording.damage == []


def stamp(message: Any) -> int:
    return message.header.stamp.sec * 10**9 + message.header.stamp.nanosec


def by_topic(path: Path, topic: str) -> list[Any]:
    return list(oracle(path, topic))


@pytest.mark.parametrize("name", [f"mcap/{PANDASET}_ros2", f"rosbag1/{PANDASET}_ros1.bag"])
def test_clouds_and_images_are_the_messages_bytes(name: str) -> None:
    path = shared_data(name)
    recording = open_recording(path)
    sweeps = list(recording.sweeps())
    clouds = by_topic(path, "/lidar/points")
    assert [sweep.timestamp_ns for sweep in sweeps] == [stamp(cloud) for cloud in clouds]
    for sweep, cloud in zip(sweeps, clouds, strict=True):
        rows = cloud.data.reshape(-1, cloud.point_step)
        np.testing.assert_array_equal(sweep.points_ego_m, rows[:, :12].copy().view("<f4"))
    assert sum(map(len, sweeps)) == 226_646
    images = by_topic(path, "/front_camera/image/compressed")
    found = [(image.timestamp_ns, image.data) for image in recording.images()]
    assert found == [(stamp(message), message.data.tobytes()) for message in images]


def check_transforms(recording: Recording, path: Path, edge: tuple[str, str]) -> None:
    """The trajectory is the chain of one moving edge and the static ones below it."""
    moving = {
        stamp(item): item.transform
        for message in by_topic(path, "/tf")
        for item in message.transforms
        if (item.header.frame_id.lstrip("/"), item.child_frame_id.lstrip("/")) == edge
    }
    assert len(recording.trajectory) == len(moving)
    for time, (w, x, y, z), place in zip(
        recording.trajectory.timestamps_ns,
        recording.trajectory.quat_wxyz,
        recording.trajectory.translation_m,
        strict=True,
    ):
        expected = moving[int(time)]
        turn = np.array([getattr(expected.rotation, name) for name in "wxyz"])
        sign = np.sign(turn @ [w, x, y, z])
        np.testing.assert_allclose(sign * np.array([w, x, y, z]), turn, atol=1e-9)
        where = [getattr(expected.translation, name) for name in "xyz"]
        np.testing.assert_allclose(place, where, atol=1e-9)


@pytest.mark.parametrize("name", ["rosbag1/evo_tf_example.bag", "rosbag2_db3/evo_tf_example"])
def test_the_same_drive_in_two_containers_has_the_transforms_of_its_messages(name: str) -> None:
    path = shared_data(name)
    edges = {
        (item.header.frame_id.lstrip("/"), item.child_frame_id.lstrip("/"))
        for message in by_topic(path, "/tf")
        for item in message.transforms
    }
    (edge,) = edges
    check_transforms(open_recording(path), path, edge)


def test_husky_imu_gnss_and_odometry_are_the_messages() -> None:
    path = shared_data("rosbag1/husky_outdoor_test1.bag")
    recording = open_recording(path)
    signals = {signal.name: signal for signal in recording.signals}
    imu = by_topic(path, "/imu/data")
    assert len(imu) == 11_865
    order = sorted(range(len(imu)), key=lambda i: stamp(imu[i]))
    parts = (("orientation", "wxyz"), ("angular_velocity", "xyz"), ("linear_acceleration", "xyz"))
    expected = [
        [getattr(getattr(imu[i], part), axis) for part, axes in parts for axis in axes]
        for i in order
    ]
    np.testing.assert_array_equal(signals["/imu/data"].values, expected)
    np.testing.assert_array_equal(
        signals["/imu/data"].timestamps_ns, [stamp(imu[i]) for i in order]
    )
    fixes = by_topic(path, "/fix")
    places = [[fix.latitude, fix.longitude, fix.altitude, fix.status.status] for fix in fixes]
    np.testing.assert_array_equal(signals["/fix"].values[:, :4], places)
    odometry = {stamp(m): m.pose.pose for m in by_topic(path, "/husky_velocity_controller/odom")}
    assert recording.trajectory.timestamps_ns.tolist() == sorted(odometry)
    places = [[getattr(odometry[t].position, axis) for axis in "xyz"] for t in sorted(odometry)]
    np.testing.assert_allclose(recording.trajectory.translation_m, places, atol=1e-12)


@pytest.mark.parametrize("share", [0.999, 0.8, 0.5, 0.2])
@pytest.mark.parametrize("name", [f"rosbag1/{PANDASET}_ros1.bag", "rosbag2_db3/evo_tf_example"])
def test_a_real_log_cut_at_any_place_gives_what_came_before(
    tmp_path: Path, name: str, share: float
) -> None:
    source = shared_data(name)
    source = source if source.is_file() else next(source.glob("*.db3"))
    data = source.read_bytes()
    path = tmp_path / source.name
    whole = open_recording(source)
    path.write_bytes(data[: int(len(data) * share)])
    recording = open_recording(path)
    found = [sweep.points_ego_m.tobytes() for sweep in recording.sweeps()]
    assert found == [sweep.points_ego_m.tobytes() for sweep in whole.sweeps()][: len(found)]
    assert set(recording.trajectory.timestamps_ns) <= set(whole.trajectory.timestamps_ns)
    assert recording.damage
    share_of_poses = len(recording.trajectory) / len(whole.trajectory)
    assert share_of_poses >= share - 0.25
