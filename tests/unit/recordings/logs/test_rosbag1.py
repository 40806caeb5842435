from __future__ import annotations

from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recordings.logs.rosbag1_file import BagFile
from recordings.open import open_recording
from recordings.recording import Recording
from scene.errors import FormatError
from scene.pose import SE3
from tests.support.bag_writers import Bag1Writer, text_message

POINT = np.dtype(
    {
        "names": ["z", "x", "y", "intensity", "ring", "t"],
        "formats": ["<f4", "<f4", "<f4", "<f4", "<u2", "<u4"],
        "offsets": [4, 8, 12, 16, 20, 24],
        "itemsize": 32,
    }
)
START = 1_700_000_000_000_000_000
PERIOD = 100_000_000
NUM = 8
JPEG = b"\xff\xd8\xff\xe0 a small picture"


def cloud(index: int) -> np.ndarray:
    rng = np.random.default_rng(index)
    points = np.zeros(40, POINT)
    for name in "xyz":
        points[name] = rng.uniform(-20, 20, 40)
    points["intensity"], points["ring"] = rng.random(40), rng.integers(0, 64, 40)
    points["t"] = np.arange(40) * 1000
    return points


def write_drive(path: Path, compression: str = "none", chunk_bytes: int = 4096) -> None:
    path.unlink(missing_ok=True)
    with Bag1Writer(path, compression=compression, chunk_bytes=chunk_bytes) as writer:
        mount = SE3.from_yaw(0.3, np.array([1.0, 0.0, 1.8]))
        writer.transform("/tf_static", START, "/base_link", "/velodyne", mount)
        for i in range(NUM):
            time = START + i * PERIOD
            where = SE3.from_yaw(0.1 * i, np.array([i, 2.0 * i, 0]))
            writer.odometry("/odom", time, "map", "base_link", where)
            writer.imu("/imu", time, "imu_link", np.arange(10.0) + i)
            writer.cloud("/points", time, "velodyne", cloud(i))
            writer.image("/camera", time + 5, "cam", JPEG)
            writer.write("/chatter", text_message("hello"), time)


def check_drive(recording: Recording) -> None:
    assert recording.sensor == "velodyne"
    sweeps = list(recording.sweeps())
    assert [sweep.timestamp_ns for sweep in sweeps] == [START + i * PERIOD for i in range(NUM)]
    mount = recording.calibration.of("velodyne")
    np.testing.assert_allclose(mount.translation_m, [1.0, 0.0, 1.8])
    for i, sweep in enumerate(sweeps):
        points = cloud(i)
        xyz = np.stack([points[name] for name in "xyz"], axis=1).astype(np.float64)
        np.testing.assert_allclose(sweep.points_ego_m, mount.transform_points(xyz), atol=1e-5)
        np.testing.assert_array_equal(sweep.ring, points["ring"])
        np.testing.assert_array_equal(sweep.offset_ns, points["t"])
    np.testing.assert_allclose(recording.trajectory.translation_m[:, 1], 2.0 * np.arange(NUM))
    (imu,) = recording.signals
    order = [3, 0, 1, 2, 4, 5, 6, 7, 8, 9]
    np.testing.assert_array_equal(imu.values, (np.arange(10.0) + np.arange(NUM)[:, None])[:, order])
    images = list(recording.images())
    assert [image.timestamp_ns for image in images] == [START + i * PERIOD + 5 for i in range(NUM)]
    assert {(image.sensor, image.encoding, image.data) for image in images} == {
        ("cam", "jpeg", JPEG)
    }
    uses = {topic.name: (topic.count, topic.use) for topic in recording.topics}
    assert uses["/points"] == (NUM, "sweeps")
    assert uses["/chatter"] == (NUM, "not used: no decoder for std_msgs/msg/String")
    assert recording.damage == []


@pytest.mark.parametrize("compression", ["none", "bz2", "lz4"])
def test_a_whole_drive(tmp_path: Path, compression: str) -> None:
    write_drive(tmp_path / "drive.bag", compression)
    recording = open_recording(tmp_path / "drive.bag")
    assert recording.format == "rosbag1"
    check_drive(recording)


@pytest.mark.parametrize("compression", ["none", "bz2", "lz4"])
def test_a_bag_without_index_reads_the_same(tmp_path: Path, compression: str) -> None:
    path = tmp_path / "drive.bag.active"
    write_drive(path, compression)
    data = bytearray(path.read_bytes())
    at = data.index(b"index_pos=") + 10
    end = int.from_bytes(data[at : at + 8], "little")
    data[at : at + 8] = bytes(8)
    path.write_bytes(data[:end])
    recording = open_recording(path)
    assert [note.what for note in recording.damage] == ["the bag was never closed: it has no index"]
    recording.damage.clear()
    check_drive(recording)


def messages(path: Path) -> tuple[list[tuple[str, int, bytes]], list[str]]:
    damage: list = []
    file = BagFile(path)
    found = [
        (file.channels[number].topic, time, bytes(data))
        for block in file.blocks(damage)
        for number, time, data in file.messages(block, damage)
    ]
    return found, [f"{note.where}: {note.what}; {note.lost}" for note in damage]


def test_messages_equal_those_of_the_rosbags_reader(tmp_path: Path) -> None:
    from rosbags.rosbag1 import Reader

    path = tmp_path / "drive.bag"
    write_drive(path, "lz4")
    with Reader(path) as reader:
        expected = [(c.topic, time, bytes(data)) for c, time, data in reader.messages()]
    found, damage = messages(path)
    assert sorted(found) == sorted(expected)
    assert damage == []


@pytest.mark.parametrize("compression", ["none", "bz2", "lz4"])
def test_cut_anywhere_gives_every_complete_chunk(tmp_path: Path, compression: str) -> None:
    path = tmp_path / "drive.bag"
    write_drive(path, compression)
    whole, _ = messages(path)
    data = path.read_bytes()
    blocks = list(BagFile(path).blocks([]))
    counts = [len(list(BagFile(path).messages(block, []))) for block in blocks]
    last = 0
    for size in range(4200, len(data), 997):
        path.write_bytes(data[:size])
        found, damage = messages(path)
        assert found == whole[: len(found)]
        complete = sum(b.offset + len(b.records) <= size for b in blocks)
        if compression == "none":
            assert len(found) >= sum(counts[:complete])
        assert damage
        assert len(found) >= last
        last = len(found)
    assert last >= sum(counts[:-1])


def test_an_uncompressed_chunk_cut_short_gives_its_whole_messages(tmp_path: Path) -> None:
    path = tmp_path / "drive.bag"
    write_drive(path, chunk_bytes=10**6)
    whole, _ = messages(path)
    data = path.read_bytes()
    end = data.index(whole[9][2]) + len(whole[9][2])
    path.write_bytes(data[: end + 3])
    found, damage = messages(path)
    assert found == whole[:10]
    assert "the file ends inside a chunk" in damage[0]
    last = open_recording(path).damage[0].lost
    assert last.endswith(f", after the message logged at {found[-1][1]} ns")


@pytest.mark.parametrize("indexed", [True, False])
def test_a_broken_chunk_costs_only_itself_and_its_content_is_named(
    tmp_path: Path, indexed: bool
) -> None:
    path = tmp_path / "drive.bag"
    write_drive(path, "lz4")
    whole, _ = messages(path)
    file = BagFile(path)
    blocks = list(file.blocks([]))
    counts = [len(list(file.messages(block, []))) for block in blocks]
    data = bytearray(path.read_bytes())
    data[blocks[2].offset : blocks[2].offset + 40] = b"\xee" * 40
    if not indexed:
        at = data.index(b"index_pos=") + 10
        data[at : at + 8] = bytes(8)
    path.write_bytes(data)
    found, damage = messages(path)
    assert found == whole[: sum(counts[:2])] + whole[sum(counts[:3]) :]
    assert f"drive.bag at byte {blocks[2].offset}" in damage[0]
    assert f"{blocks[3].offset - blocks[2].offset} bytes" in damage[0]
    if indexed:
        lost = whole[sum(counts[:2]) : sum(counts[:3])]
        points = sum(topic == "/points" for topic, _, _ in lost)
        assert f"{points} of /points" in damage[0]
        times = sorted(time for _, time, _ in lost)
        assert f"logged from {times[0]} to {times[-1]} ns" in damage[0]


def test_the_time_of_what_is_lost_is_told_by_its_neighbours(tmp_path: Path) -> None:
    path = tmp_path / "drive.bag"
    write_drive(path, "lz4")
    blocks = list(BagFile(path).blocks([]))
    data = bytearray(path.read_bytes())
    data[blocks[1].offset + 60] ^= 0xFF
    path.write_bytes(data)
    note = open_recording(path).damage[0]
    assert "between the messages logged at " in note.lost


@cache
def whole_bag(compression: str) -> bytes:
    with TemporaryDirectory() as folder:
        path = Path(folder) / "drive.bag"
        write_drive(path, compression, chunk_bytes=1500)
        return path.read_bytes()


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_flipped_and_cut_bytes_never_escape(tmp_path_factory: pytest.TempPathFactory, data) -> None:
    path = tmp_path_factory.mktemp("fuzz") / "drive.bag"
    content = bytearray(whole_bag(data.draw(st.sampled_from(["none", "bz2", "lz4"]))))
    for _ in range(data.draw(st.integers(1, 6))):
        content[data.draw(st.integers(13, len(content) - 1))] = data.draw(st.integers(0, 255))
    path.write_bytes(content[: data.draw(st.integers(4000, len(content)))])
    try:
        recording = open_recording(path)
        list(recording.sweeps())
        list(recording.images())
    except FormatError:
        pass


def test_older_bags_are_refused_with_a_remedy(tmp_path: Path) -> None:
    path = tmp_path / "old.bag"
    path.write_bytes(b"#ROSBAG V1.2\n" + bytes(100))
    with pytest.raises(FormatError, match="rosbag migrate"):
        open_recording(path)
