"""Storing the sweeps of a long recording: in parts, on several cores, with a kill in the middle."""

from __future__ import annotations

import os
import pickle
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from loop.parts import Parts, freeze, thaw
from loop.sweep_pass import store_sweeps
from loop.sweep_watch import SweepWatch
from recordings.logs.log import LogRecording
from recordings.logs.mcap import McapRecording
from scene.pose import SE3
from scene.recording import RecordingId
from scene.sweep import Sweep
from storage import layout
from storage.local import LocalStore
from storage.sweep_writer import SweepRow
from tests.support.ros_writer import RosWriter

NAME = RecordingId("drive")
START_NS, PERIOD_NS, SWEEPS, POINTS = 10**18, 10**8, 12, 500
PART_POINTS = 3 * POINTS


@pytest.fixture
def drive(tmp_path: Path) -> Path:
    path = tmp_path / "drive.mcap"
    dtype = np.dtype([(n, "<f4") for n in ("x", "y", "z", "intensity")])
    with RosWriter(path, chunk_bytes=20_000) as writer:
        mounting = SE3.from_yaw(0.1, np.array([1.0, 0, 2]))
        writer.transform("/tf_static", START_NS, "base_link", "lidar", mounting)
        for index in range(SWEEPS):
            time = START_NS + index * PERIOD_NS
            where = SE3.from_yaw(0.01 * index, np.array([0.5 * index, 0, 0]))
            writer.odometry("/odom", time, "map", "base_link", where)
            rng = np.random.default_rng(index)
            points = np.zeros(POINTS, dtype)
            for name in "xyz":
                points[name] = rng.normal(0, 10, POINTS)
            points["intensity"] = rng.random(POINTS) * 200
            writer.cloud("/points", time, "lidar", points)
    return path


class Killed(BaseException):
    """Stands for SIGKILL: nothing catches it."""


class Dying(McapRecording):
    """Counts the sweeps it decodes, and dies after so many."""

    decoded = 0
    dies_after = SWEEPS

    def sweeps(self) -> Iterator[Sweep]:
        for sweep in super().sweeps():
            self.decoded += 1
            yield sweep
            if self.decoded == self.dies_after:
                raise Killed


def run(drive: Path, folder: Path, store: LocalStore, **how: int) -> tuple[str, Dying, SweepWatch]:
    opened = Dying([drive], NAME)
    opened.dies_after = how.pop("dies_after", SWEEPS + 1)
    watch = SweepWatch(opened)
    parts = Parts(store, NAME, "bytes and code")
    path = folder / "sweeps.parquet"
    summary = store_sweeps(path, opened, watch, parts, part_points=PART_POINTS, **how)
    assert summary.num_sweeps == SWEEPS
    return summary.digest, opened, watch


@pytest.mark.slow
@pytest.mark.parametrize("keep_bytes", [0, 30_000, 2**28])
@pytest.mark.parametrize("workers", [1, 3])
def test_a_killed_pass_goes_on_and_ends_the_same(
    drive: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, keep_bytes: int, workers: int
) -> None:
    monkeypatch.setattr("recordings.logs.log.CACHE_BYTES", keep_bytes)
    whole, _, calm = run(drive, tmp_path, LocalStore(tmp_path / "a"))
    store = LocalStore(tmp_path / "b")
    with pytest.raises(Killed):
        run(drive, tmp_path, store, dies_after=8, workers=workers)
    assert len(list(store.list(layout.parts(NAME)))) == 2
    digest, opened, watch = run(drive, tmp_path, store, workers=workers)
    assert digest == whole
    assert opened.decoded == SWEEPS - 6
    assert watch.times == calm.times
    assert watch.check.finish() == calm.check.finish()
    assert watch.check.fingerprint == calm.check.fingerprint


def test_the_file_does_not_depend_on_workers_or_cores(
    drive: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    one, _, _ = run(drive, tmp_path, LocalStore(tmp_path / "a"), workers=1)
    four, _, _ = run(drive, tmp_path, LocalStore(tmp_path / "b"), workers=4)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0})
    single, _, _ = run(drive, tmp_path, LocalStore(tmp_path / "c"), workers=1)
    assert one == four == single


def test_damage_found_before_the_kill_is_told_after_it(drive: Path, tmp_path: Path) -> None:
    store = LocalStore(tmp_path / "store")

    def damaged(dies_after: int) -> LogRecording:
        opened = Dying([drive], NAME)
        opened.dies_after = dies_after
        opened.trajectory = opened.trajectory.interpolate(
            opened.trajectory.timestamps_ns[4:]
        )  # the first sweeps are before the poses
        parts = Parts(store, NAME, "x")
        store_sweeps(tmp_path / "f", opened, SweepWatch(opened), parts, part_points=PART_POINTS)
        return opened

    with pytest.raises(Killed):
        damaged(5)
    again = damaged(99)
    assert again.decoded == SWEEPS - 3 - 3
    assert len([d for d in again.damage if "outside the ego poses" in d.what]) == 3


def test_parts_of_other_bytes_are_not_used_and_are_cleared(tmp_path: Path) -> None:
    store = LocalStore(tmp_path)
    Parts(store, NAME, "old").save([SweepRow(1, 2, b"x")], b"state")
    fresh = Parts(store, NAME, "new")
    assert list(fresh.load()) == []
    assert [state for _, state in Parts(store, NAME, "old").load()] == [b"state"]
    fresh.clear()
    assert list(store.list("parts/")) == []


def test_a_bucket_cannot_run_code() -> None:
    class Evil:
        def __reduce__(self) -> tuple:
            return os.system, ("true",)

    with pytest.raises(pickle.UnpicklingError, match="not taken from a bucket"):
        thaw(pickle.dumps(Evil()), {})
    assert freeze(Evil(), {}) is None


def test_known_objects_are_only_referred_to() -> None:
    damage = ["long"] * 1000
    data = freeze({"list": damage, "array": np.arange(3)}, {"damage": damage})
    assert data is not None
    assert len(data) < 300
    back = thaw(data, {"damage": damage})
    assert back["list"] is damage
    assert np.array_equal(back["array"], np.arange(3))
