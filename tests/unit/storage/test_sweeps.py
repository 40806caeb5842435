"""Sweep and pose files: round trip, random access, refusal, determinism."""

from __future__ import annotations

import io
from pathlib import Path
from typing import BinaryIO

import numpy as np
import pyarrow.parquet as pq
import pytest

from scene.calibration import Calibration
from scene.errors import DataError, FormatError, FrameError, NotFoundError
from scene.pose import SE3, Trajectory
from scene.sweep import Sweep
from storage import codec
from storage.local import LocalStore
from storage.s3_client import RangeReader
from storage.store import ObjectStat
from storage.sweeps import SweepFile, read_poses, write_poses, write_sweeps

KEY = "sweeps/a.parquet"
STEP_NS = 100_000_000
CALIBRATION = Calibration(
    {
        "top": SE3.from_quaternion(np.array([0.9, 0.1, -0.2, 0.3]), np.array([0.8, 0.0, 1.73])),
        "side": SE3.identity(),
    },
    frozenset({"side"}),
)


def sweep(index: int, num_points: int = 200) -> Sweep:
    random = np.random.default_rng(index)
    return Sweep(
        index * STEP_NS,
        random.normal(0, 20, (num_points, 3)).astype(np.float32),
        random.random(num_points).astype(np.float32),
        np.arange(num_points, dtype=np.int32),
        None,
    )


@pytest.fixture
def trajectory() -> Trajectory:
    times = np.arange(0, 11) * STEP_NS
    yaw = np.linspace(0, 1.0, 11)
    quat = np.stack([np.cos(yaw / 2), yaw * 0, yaw * 0, np.sin(yaw / 2)], axis=1)
    return Trajectory(times, quat, np.stack([yaw * 9, -yaw, yaw * 0], axis=1))


@pytest.fixture
def store(tmp_path: Path) -> LocalStore:
    return LocalStore(tmp_path / "store")


def write(store: LocalStore, trajectory: Trajectory, count: int = 10, key: str = KEY):
    sweeps = (sweep(i, 100 + 20 * i) for i in range(count))
    return write_sweeps(store, key, sweeps, trajectory, CALIBRATION, sensor="top")


def test_what_is_written_comes_back(store: LocalStore, trajectory: Trajectory) -> None:
    summary = write(store, trajectory)
    assert (summary.num_sweeps, summary.num_points) == (10, 1900)
    assert summary.size_bytes == store.stat(KEY).size_bytes
    with SweepFile(store, KEY) as file:
        assert len(file) == 10
        assert file.timestamps_ns.tolist() == [i * STEP_NS for i in range(10)]
        assert file.num_points.tolist() == [100 + 20 * i for i in range(10)]
        assert file.sensor == "top"
        assert file.calibration.assumed == {"side"}
        ours, theirs = CALIBRATION.of("top"), file.calibration.of("top")
        assert np.array_equal(ours.rotation, theirs.rotation)
        assert np.array_equal(ours.translation_m, theirs.translation_m)
        back = file.read(file.index_of(7 * STEP_NS))
        assert back.timestamp_ns == 7 * STEP_NS
        assert len(back) == 240
        assert np.array_equal(np.sort(back.offset_ns), np.arange(240))


def test_poses_are_those_of_the_trajectory(store: LocalStore, trajectory: Trajectory) -> None:
    write(store, trajectory)
    with SweepFile(store, KEY) as file:
        for index in (0, 3, 9):
            expected = trajectory.at(index * STEP_NS)
            assert np.allclose(file.map_SE3_ego(index).rotation, expected.rotation, atol=1e-12)
            assert np.array_equal(
                file.map_SE3_ego(index).translation_m, expected.translation_m + 0.0
            )
        assert len(file.trajectory) == 10


def test_same_input_gives_the_same_bytes(store: LocalStore, trajectory: Trajectory) -> None:
    first, second = write(store, trajectory), write(store, trajectory, key="sweeps/b.parquet")
    assert first == second
    assert store.get(KEY) == store.get("sweeps/b.parquet")


def test_one_sweep_costs_one_sweep_of_bytes(store: LocalStore, trajectory: Trajectory) -> None:
    """Opening reads the footer, reading a sweep fetches its row group: what S3 is paid for."""
    sweeps = (sweep(i, 20_000) for i in range(10))
    write_sweeps(store, KEY, sweeps, trajectory, CALIBRATION, sensor="top")
    log: list[int] = []

    class Counting(io.BytesIO):
        def read(self, size: int | None = -1) -> bytes:
            data = super().read(size)
            log.append(len(data))
            return data

    class Store(LocalStore):
        def open(self, key: str):
            with super().open(key) as file:
                return Counting(file.read())

    size = store.stat(KEY).size_bytes
    with SweepFile(Store(Path(store.url.removeprefix("file://"))), KEY) as file:
        opened = sum(log)
        file.read(4)
        fetched = sum(log) - opened
    assert opened < max(70_000, 0.1 * size)
    assert fetched <= 1.1 * size / 10


def test_other_readers_see_ordinary_columns(store: LocalStore, trajectory: Trajectory) -> None:
    write(store, trajectory)
    table = pq.read_table(
        io.BytesIO(store.get(KEY)), columns=["timestamp_ns", "num_points", "tx_m"]
    )
    assert table.num_rows == 10
    assert table["tx_m"].to_pylist() == pytest.approx([0.9 * i for i in range(10)])


@pytest.mark.parametrize("times", [(0, 2, 1), (0, 1, 1)])
def test_times_must_increase(
    store: LocalStore, trajectory: Trajectory, times: tuple[int, ...]
) -> None:
    sweeps = [sweep(t) for t in times]
    with pytest.raises(DataError, match=r"sweep 2 at .* times must strictly increase"):
        write_sweeps(store, KEY, sweeps, trajectory, CALIBRATION, sensor="top")
    assert not store.exists(KEY)


def test_no_sweep_is_an_error_and_leaves_nothing(store: LocalStore, trajectory: Trajectory) -> None:
    with pytest.raises(DataError, match="no readable sweep"):
        write_sweeps(store, KEY, [], trajectory, CALIBRATION, sensor="top")
    assert not store.exists(KEY)


def test_a_reader_that_fails_half_way_leaves_nothing(
    store: LocalStore, trajectory: Trajectory
) -> None:
    def broken():
        yield sweep(0)
        raise OSError("disk gone")

    with pytest.raises(OSError, match="disk gone"):
        write_sweeps(store, KEY, broken(), trajectory, CALIBRATION, sensor="top")
    assert not store.exists(KEY)


def test_a_sweep_outside_the_poses_is_refused(store: LocalStore, trajectory: Trajectory) -> None:
    with pytest.raises(FrameError, match="outside the poses"):
        write_sweeps(store, KEY, [sweep(40)], trajectory, CALIBRATION, sensor="top")


def test_unknown_keys_times_and_rows(store: LocalStore, trajectory: Trajectory) -> None:
    with pytest.raises(NotFoundError):
        SweepFile(store, "sweeps/none.parquet")
    write(store, trajectory)
    with SweepFile(store, KEY) as file:
        with pytest.raises(DataError, match="no sweep at 5 ns"):
            file.index_of(5)
        with pytest.raises(IndexError, match="sweep 10 of 10"):
            file.read(10)


@pytest.mark.parametrize("length", [0, 5, 3000])
def test_a_file_that_is_something_else(
    store: LocalStore, trajectory: Trajectory, length: int
) -> None:
    write(store, trajectory)
    store.put(KEY, store.get(KEY)[:length])
    with pytest.raises(FormatError, match=r"sweeps/a\.parquet: not a Starloop sweeps file"):
        SweepFile(store, KEY)


def test_damaged_points_name_file_and_sweep(store: LocalStore, trajectory: Trajectory) -> None:
    write(store, trajectory)
    data = bytearray(store.get(KEY))
    place = data.index(b"SLPC", data.index(b"SLPC") + 4)  # the second sweep
    data[place + 300] ^= 0xFF
    store.put(KEY, bytes(data))
    with SweepFile(store, KEY) as file:
        file.read(0)
        with pytest.raises(FormatError, match=r"sweeps/a.parquet: sweep 1: .*checksum"):
            file.read(1)


def test_full_rate_poses_come_back_exactly(store: LocalStore, trajectory: Trajectory) -> None:
    write_poses(store, "poses/a.parquet", trajectory)
    back = read_poses(store, "poses/a.parquet")
    assert np.array_equal(back.timestamps_ns, trajectory.timestamps_ns)
    assert np.array_equal(back.quat_wxyz, trajectory.quat_wxyz)
    assert np.array_equal(back.translation_m, trajectory.translation_m)
    store.put("poses/b.parquet", b"text")
    with pytest.raises(FormatError, match=r"poses/b\.parquet: not a Starloop pose file"):
        read_poses(store, "poses/b.parquet")


def test_reading_a_sweep_fetches_little_more_than_its_bytes(
    tmp_path: Path, trajectory: Trajectory
) -> None:
    """Counted where an S3 store asks the server for ranges."""
    local = LocalStore(tmp_path)
    big = [sweep(index, 100_000) for index in range(5)]
    write_sweeps(local, KEY, big, trajectory, CALIBRATION, sensor="lidar_top")
    fetched: list[int] = []

    class Remote(LocalStore):
        def open(self, key: str) -> BinaryIO:
            def read_range(stat: ObjectStat, start: int, length: int) -> bytes:
                fetched.append(length)
                return local.get_range(stat.key, start, length)

            return io.BufferedReader(RangeReader(read_range, local.stat(key)), 1 << 18)

    with SweepFile(Remote(tmp_path), KEY) as file:
        assert sum(fetched) < 100_000  # the footer
        for index in (3, 0, 4):
            fetched.clear()
            assert len(file.read(index)) == len(big[index])
            assert sum(fetched) <= 1.01 * len(codec.encode(big[index]))
            assert len(fetched) <= 2
