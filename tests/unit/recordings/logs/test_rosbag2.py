from __future__ import annotations

import shutil
import sqlite3
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recordings.logs.rosbag2_file import SqliteBag
from recordings.open import open_recording
from recordings.recording import Damage
from scene.errors import DataError, FormatError
from scene.pose import SE3
from tests.support.bag_writers import Rosbag2Writer
from tests.support.ros_writer import RosWriter

POINT = np.dtype([("x", "<f4"), ("y", "<f4"), ("z", "<f4")])
START = 1_700_000_000_000_000_000
PERIOD = 100_000_000


def points(index: int) -> np.ndarray:
    cloud = np.zeros(30, POINT)
    for name in "xyz":
        cloud[name] = np.random.default_rng(index).uniform(-20, 20, 30)
    return cloud


def write_drive(path: Path, first: int = 0, num: int = 6, compression: str = "none") -> None:
    with Rosbag2Writer(path, compression=compression) as writer:
        for i in range(first, first + num):
            time = START + i * PERIOD
            writer.odometry("/odom", time, "map", "base_link", SE3.from_yaw(0, np.array([i, 0, 0])))
            writer.cloud("/points", time, "base_link", points(i))


def check_drive(path: Path, num: int = 6) -> None:
    recording = open_recording(path)
    assert recording.format == "rosbag2"
    sweeps = list(recording.sweeps())
    assert [sweep.timestamp_ns for sweep in sweeps] == [START + i * PERIOD for i in range(num)]
    for i, sweep in enumerate(sweeps):
        expected = np.stack([points(i)[name] for name in "xyz"], axis=1)
        np.testing.assert_array_equal(sweep.points_ego_m, expected)
    assert len(recording.trajectory) == num
    assert recording.damage == []


@pytest.mark.parametrize("compression", ["none", "message", "file"])
def test_a_folder_and_its_file_alone(tmp_path: Path, compression: str) -> None:
    write_drive(tmp_path / "bag", compression=compression)
    check_drive(tmp_path / "bag")
    (database,) = (file for file in (tmp_path / "bag").iterdir() if ".db3" in file.name)
    check_drive(database)
    (tmp_path / "bag" / "metadata.yaml").unlink()
    check_drive(tmp_path / "bag")


@pytest.mark.slow
def test_a_compressed_mcap_is_read_and_leaves_no_temporary_file(tmp_path: Path) -> None:
    import gc
    import tempfile

    import zstandard

    path = tmp_path / "drive.mcap"
    with RosWriter(path) as writer:
        writer.cloud("/points", START, "base_link", points(0))
    packed = tmp_path / "drive.mcap.zstd"
    packed.write_bytes(zstandard.compress(path.read_bytes()))
    before = set(Path(tempfile.gettempdir()).glob("starloop-*"))
    recording = open_recording(packed)
    assert recording.format == "mcap"
    assert len(list(recording.sweeps())) == 1
    del recording
    gc.collect()
    assert set(Path(tempfile.gettempdir()).glob("starloop-*")) <= before


def write_split(folder: Path, parts: int = 11) -> None:
    folder.mkdir()
    listed = []
    for number in range(parts):
        part = folder.parent / f"part_{number}"
        write_drive(part, first=2 * number, num=2)
        shutil.move(part / f"{part.name}.db3", folder / f"{part.name}.db3")
        entry = f"    - {{path: {part.name}.db3, message_count: 4, "
        entry += f"starting_time: {{nanoseconds_since_epoch: {START + 2 * number * PERIOD}}}, "
        listed.append((f"    - {part.name}.db3", entry + f"duration: {{nanoseconds: {PERIOD}}}}}"))
    names, entries = zip(*listed, strict=True)
    (folder / "metadata.yaml").write_text(
        "rosbag2_bagfile_information:\n  version: 5\n  relative_file_paths:\n"
        + "\n".join(names) + "\n  files:\n" + "\n".join(entries) + "\n"
    )  # fmt: skip


def test_split_bags_are_one_recording_in_order(tmp_path: Path) -> None:
    write_split(tmp_path / "bag")
    check_drive(tmp_path / "bag", 22)
    (tmp_path / "bag" / "metadata.yaml").unlink()
    check_drive(tmp_path / "bag", 22)


def test_missing_and_broken_parts_are_named_and_the_rest_is_read(tmp_path: Path) -> None:
    bag = tmp_path / "bag"
    write_split(bag, 4)
    (bag / "part_1.db3").unlink()
    (bag / "part_2.db3").write_bytes(b"")
    recording = open_recording(bag)
    times = [sweep.timestamp_ns for sweep in recording.sweeps()]
    assert times == [START + i * PERIOD for i in (0, 1, 6, 7)]
    assert recording.damage == [
        Damage(
            "bag/metadata.yaml", "part_1.db3 is listed here and is not there",
            f"4 messages from {START + 2 * PERIOD} to {START + 3 * PERIOD} ns",
        ),
        Damage(
            "bag/metadata.yaml", "part_2.db3 is listed here and is not a readable bag file",
            f"4 messages from {START + 4 * PERIOD} to {START + 5 * PERIOD} ns",
        ),
    ]  # fmt: skip


def test_custom_definitions_come_from_the_bag_or_from_the_library(tmp_path: Path) -> None:
    write_drive(tmp_path / "bag")
    path = tmp_path / "bag" / "bag.db3"
    with sqlite3.connect(path) as database:
        database.execute("DROP TABLE message_definitions")
    database.close()
    check_drive(path)


def messages(path: Path) -> tuple[list[tuple[str, int, bytes]], list[Damage]]:
    damage: list[Damage] = []
    file = SqliteBag(path)
    found = [
        (file.channels[number].topic, time, bytes(data))
        for block in file.blocks(damage)
        for number, time, data in file.messages(block, damage)
    ]
    return found, damage


def write_long(path: Path, num: int = 400) -> list[tuple[str, int, bytes]]:
    with Rosbag2Writer(path) as writer:
        for i in range(num):
            writer.pose_stamped("/pose", START + i, "map", SE3.identity())
            if i % 20 == 0:
                writer.image("/camera", START + i, "cam", bytes([i % 256]) * 10_000)
    return messages(path / f"{path.name}.db3")[0]


def test_messages_equal_those_of_the_rosbags_reader_and_reading_starts_anywhere(
    tmp_path: Path,
) -> None:
    from rosbags.rosbag2 import Reader

    found = write_long(tmp_path / "bag")
    with Reader(tmp_path / "bag") as reader:
        expected = [(c.topic, time, bytes(data)) for c, time, data in reader.messages()]
    assert found == expected
    file = SqliteBag(tmp_path / "bag" / "bag.db3")
    (block,) = file.blocks([], 300)
    rest = [bytes(data) for _, _, data in file.messages(block, [])]
    assert rest == [data for _, _, data in expected[299:]]


def test_a_database_cut_short_gives_its_readable_rows(tmp_path: Path) -> None:
    whole = write_long(tmp_path / "bag")
    path = tmp_path / "bag" / "bag.db3"
    data = path.read_bytes()
    counts = []
    for share in (0.95, 0.7, 0.4):
        path.write_bytes(data[: int(len(data) * share)])
        found, damage = messages(path)
        assert set(found) <= set(whole)
        assert damage[0].what == "the database is cut short"
        assert str(len(data) - int(len(data) * share)) in damage[0].lost
        assert damage[1].where.startswith("bag.db3 from row ")
        counts.append(len(found))
    assert counts == sorted(counts, reverse=True)
    assert counts[0] > 0.8 * len(whole)
    assert counts[2] > 0.2 * len(whole)


def test_a_broken_page_costs_its_rows_and_the_index_tells_which(tmp_path: Path) -> None:
    whole = write_long(tmp_path / "bag")
    path = tmp_path / "bag" / "bag.db3"
    data = bytearray(path.read_bytes())
    page = data.index(whole[200][2][:60]) // 4096
    data[page * 4096 : page * 4096 + 64] = b"\xff" * 64
    path.write_bytes(data)
    found, (note,) = messages(path)
    lost = [message for message in whole if message not in found]
    assert 0 < len(lost) < 40
    times = sorted(time for _, time, _ in lost)
    assert note.lost == f"{len(lost)} messages, logged from {times[0]} to {times[-1]} ns"
    first = whole.index(lost[0]) + 1
    assert note.where == f"bag.db3 from row {first} to row {first + len(lost) - 1}"


def shuffle(path: Path, statement: str = "") -> list[int]:
    """Write the rows in another order; return the new row ids in order of time."""
    with sqlite3.connect(path) as database:
        rows = database.execute("SELECT topic_id, timestamp, data FROM messages").fetchall()
        order = np.random.default_rng(0).permutation(len(rows))
        database.execute("DELETE FROM messages")
        database.executemany(
            "INSERT INTO messages(id, topic_id, timestamp, data) VALUES (?, ?, ?, ?)",
            [(at + 1, *rows[old]) for at, old in enumerate(order)],
        )
        if statement:
            database.execute(statement)
    database.close()
    return (np.argsort(order) + 1).tolist()


def test_rows_out_of_time_order_are_read_in_time_order(tmp_path: Path) -> None:
    write_drive(tmp_path / "bag")
    shuffle(tmp_path / "bag" / "bag.db3")
    check_drive(tmp_path / "bag")


def test_reading_in_time_order_goes_on_from_any_block(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = write_long(tmp_path / "bag")
    path = tmp_path / "bag" / "bag.db3"
    ids = shuffle(path)
    monkeypatch.setattr("recordings.logs.rosbag2_file._BLOCK_ROWS", 50)
    found, damage = messages(path)
    assert [time for _, time, _ in found] == [time for _, time, _ in whole]
    assert (set(found), damage) == (set(whole), [])
    file = SqliteBag(path)
    blocks = list(file.blocks([]))
    assert len(blocks) == 9
    assert ids[:50:49] == [blocks[0].rows[0][0], blocks[0].rows[49][0]]
    for number, block in enumerate(blocks):
        rest = [row for later in file.blocks([], block.offset) for row in later.rows]
        assert rest == [row for later in blocks[number:] for row in later.rows]


@pytest.mark.parametrize(
    "statement", ["DROP INDEX timestamp_idx", "DELETE FROM messages WHERE id = 5"]
)
def test_without_a_whole_index_rows_are_read_as_they_lie(tmp_path: Path, statement: str) -> None:
    whole = write_long(tmp_path / "bag", 60)
    path = tmp_path / "bag" / "bag.db3"
    shuffle(path, statement)
    found, damage = messages(path)
    assert set(found) <= set(whole)
    assert len(found) == len(whole) - statement.startswith("DELETE")
    assert damage == []


def test_a_broken_page_of_rows_out_of_order_costs_its_rows(tmp_path: Path) -> None:
    whole = write_long(tmp_path / "bag")
    path = tmp_path / "bag" / "bag.db3"
    shuffle(path)
    data = bytearray(path.read_bytes())
    page = data.rindex(whole[200][2][:60]) // 4096
    data[page * 4096 : page * 4096 + 64] = b"\xff" * 64
    path.write_bytes(data)
    found, damage = messages(path)
    times = [time for _, time, _ in found]
    assert times == sorted(times)
    assert set(found) < set(whole)
    assert 0 < len(whole) - len(found) < 40
    lost = sum(int(note.lost.split()[0]) for note in damage)
    assert lost == len(whole) - len(found)
    assert all(note.where.startswith("bag.db3 ") for note in damage)


def test_rows_of_a_wrong_type_are_damage(tmp_path: Path) -> None:
    write_drive(tmp_path / "bag")
    path = tmp_path / "bag" / "bag.db3"
    with sqlite3.connect(path) as database:
        database.execute("UPDATE messages SET data = 'text' WHERE id = 4")
        database.execute("UPDATE messages SET data = x'28b52ffd00' WHERE id = 6")
    database.close()
    recording = open_recording(path)
    assert len(list(recording.sweeps())) == 4
    assert [note.where for note in recording.damage] == ["bag.db3 at row 4", "bag.db3 at row 6"]


def test_other_databases_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "other.db3"
    with sqlite3.connect(path) as database:
        database.execute("CREATE TABLE topics(id INTEGER PRIMARY KEY)")
        database.execute("CREATE VIEW messages AS SELECT 1")
    database.close()
    with pytest.raises(FormatError, match=r"other\.db3: .* no rosbag2"):
        open_recording(path)
    path.write_bytes(b"SQLite format 3\0" + b"\xff" * 5000)
    with pytest.raises(FormatError, match=r"\.recover"):
        open_recording(path)


@cache
def whole_bag(shuffled: bool) -> bytes:
    with TemporaryDirectory() as folder:
        write_long(Path(folder) / "bag", 60)
        if shuffled:
            shuffle(Path(folder) / "bag" / "bag.db3")
        return (Path(folder) / "bag" / "bag.db3").read_bytes()


@settings(max_examples=40, deadline=None)
@given(st.data())
def test_flipped_and_cut_bytes_never_escape(tmp_path_factory: pytest.TempPathFactory, data) -> None:
    path = tmp_path_factory.mktemp("fuzz") / "bag.db3"
    content = bytearray(whole_bag(data.draw(st.booleans())))
    for _ in range(data.draw(st.integers(1, 8))):
        content[data.draw(st.integers(16, len(content) - 1))] = data.draw(st.integers(0, 255))
    path.write_bytes(content[: data.draw(st.integers(100, len(content)))])
    try:
        recording = open_recording(path)
        list(recording.sweeps())
        list(recording.images())
    except DataError:
        pass
