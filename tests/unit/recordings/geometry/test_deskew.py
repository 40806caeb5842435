from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from recordings.geometry.deskew import (
    StraightenedRecording,
    compensate,
    compensate_objects,
    undo,
    undo_objects,
)
from scene.box import Boxes
from scene.calibration import Calibration
from scene.errors import DataError, FrameError
from scene.pose import SE3, Trajectory
from scene.sweep import Sweep
from storage.codec import DEFAULT_STEP_M
from storage.local import LocalStore
from storage.sweeps import SweepFile, read_poses, write_poses, write_sweeps
from tests.support.tiny_recording import TinyRecording
from tests.support.turning_lidar import Drive, off_the_walls_m, raw_sweep

ORIGIN = 1_700_000_000_000_000_000


def in_map(sweep: Sweep, trajectory: Trajectory) -> np.ndarray:
    return trajectory.at(sweep.timestamp_ns).transform_points(sweep.points_ego_m.astype(np.float64))


def in_firing_order(sweep: Sweep) -> np.ndarray:
    """The store keeps points by ring and azimuth."""
    assert sweep.ring is not None
    return np.lexsort((sweep.ring, sweep.offset_ns))


def poses(drive: Drive, rate_hz: int, seconds: float = 1.0) -> Trajectory:
    times = ORIGIN + np.arange(0, int(seconds * 1e9), 1_000_000_000 // rate_hz)
    return drive.trajectory(times, ORIGIN)


def test_walls_become_straight() -> None:
    drive = Drive()
    track = poses(drive, 100)
    sweep, truth = raw_sweep(drive, ORIGIN + 300_000_000, ORIGIN)
    before = off_the_walls_m(in_map(sweep, track))
    straight = compensate(sweep, track)
    after = off_the_walls_m(in_map(straight, track))
    assert before.mean() > 0.4
    assert before.max() > 1.7  # at the seam, at 15 m/s and 23 deg/s
    assert after.max() < 0.004
    np.testing.assert_allclose(in_map(straight, track), truth, atol=0.004)
    assert straight.offset_ns is sweep.offset_ns


def test_points_may_lie_before_the_sweeps_time() -> None:
    """The sweep's time is the end of the revolution, as some drivers stamp it."""
    drive = Drive()
    track = poses(drive, 100)
    sweep, truth = raw_sweep(drive, ORIGIN + 300_000_000, ORIGIN)
    late = replace(
        sweep,
        timestamp_ns=sweep.timestamp_ns + 100_000_000,
        offset_ns=(sweep.offset_ns - 100_000_000).astype(np.int32),
    )
    np.testing.assert_allclose(in_map(compensate(late, track), track), truth, atol=0.004)


def test_poses_as_rare_as_the_sweeps_still_take_out_most() -> None:
    drive = Drive()
    track = poses(drive, 10)
    sweep, _ = raw_sweep(drive, ORIGIN + 300_000_000, ORIGIN)
    after = off_the_walls_m(in_map(compensate(sweep, track), track))
    assert after.max() < 0.12  # what a straight line between poses 0.1 s apart leaves out


def test_a_sweep_that_ends_after_the_last_pose_is_carried_on() -> None:
    drive = Drive()
    track = poses(drive, 100)
    last = int(track.timestamps_ns[-1])
    sweep, truth = raw_sweep(drive, last, ORIGIN)
    np.testing.assert_allclose(in_map(compensate(sweep, track), track), truth, atol=0.06)
    far = replace(sweep, timestamp_ns=last + 500_000_000)
    with pytest.raises(FrameError, match="outside the poses"):
        compensate(far, track)


def test_undo_gives_the_measured_points_back() -> None:
    drive = Drive()
    track = poses(drive, 100)
    sweep, _ = raw_sweep(drive, ORIGIN + 300_000_000, ORIGIN)
    again = undo(compensate(sweep, track), track)
    assert np.abs(again.points_ego_m - sweep.points_ego_m).max() < 1e-4


def test_undo_works_on_what_the_store_holds(tmp_path: Path) -> None:
    """Points and poses are read back from a bucket: the originals to the codec's step."""
    drive = Drive()
    track = poses(drive, 100)
    store = LocalStore(tmp_path)
    raw = [raw_sweep(drive, ORIGIN + i * 100_000_000, ORIGIN)[0] for i in range(5)]
    write_sweeps(
        store, "sweeps.parquet", (compensate(sweep, track) for sweep in raw), track,
        Calibration({"lidar": SE3.identity()}), sensor="lidar", motion="compensated",
        compensated_by="ingest",
    )  # fmt: skip
    write_poses(store, "poses.parquet", track)
    with SweepFile(store, "sweeps.parquet") as file:
        assert (file.motion, file.compensated_by) == ("compensated", "ingest")
        for index, sweep in enumerate(raw):
            stored = undo(file.read(index), read_poses(store, "poses.parquet"))
            at, was = in_firing_order(stored), in_firing_order(sweep)
            assert stored.offset_ns[at].tolist() == sweep.offset_ns[was].tolist()
            away = np.linalg.norm(stored.points_ego_m[at] - sweep.points_ego_m[was], axis=1)
            assert away.max() < DEFAULT_STEP_M


def test_a_sweep_without_point_times_is_left_alone() -> None:
    sweep, _ = raw_sweep(Drive(), ORIGIN, ORIGIN, columns=8)
    timeless = replace(sweep, offset_ns=np.zeros(len(sweep), np.int32))
    assert compensate(timeless, poses(Drive(), 10)) is timeless
    empty = Sweep(0, np.zeros((0, 3), np.float32), np.zeros(0, np.float32), np.zeros(0, np.int32))
    assert compensate(empty, poses(Drive(), 10)) is empty


def test_points_on_moving_objects_are_drawn_together_and_back() -> None:
    rng = np.random.default_rng(2)
    count = 400
    offset = np.sort(rng.integers(0, 100_000_000, count)).astype(np.int32)
    local = rng.uniform(-0.5, 0.5, (count, 3)) * (4.2, 1.8, 1.5)
    yaw = 0.6
    turn = np.array([[np.cos(yaw), -np.sin(yaw)], [np.sin(yaw), np.cos(yaw)]])
    velocity = turn @ (20.0, 0.0)
    at_start = np.concatenate([local[:, :2] @ turn.T, local[:, 2:]], axis=1)
    at_start += (12.0, -3.0, 0.9)
    seen = at_start.copy()
    seen[:, :2] += velocity * (offset / 1e9)[:, None]
    ground = rng.uniform(-30, 30, (500, 3)) * (1, 1, 0) + (0, 0, -0.5)
    points = np.concatenate([seen, ground]).astype(np.float32)
    times = np.concatenate([offset, rng.integers(0, 100_000_000, 500)]).astype(np.int32)
    sweep = Sweep(ORIGIN, points, np.zeros(900, np.float32), times)
    boxes = Boxes.make(
        np.array([[12.0, -3.0, 0.9], [-20.0, 0.0, 1.0]]), np.array([[4.3, 1.9, 1.6], [4, 2, 1]]),
        np.array([yaw, 0.0]), ["car", "car"], np.array([velocity, [np.nan, np.nan]]),
    )  # fmt: skip
    straight, owner = compensate_objects(sweep, boxes)
    np.testing.assert_allclose(straight.points_ego_m[:count], at_start, atol=1e-5)
    np.testing.assert_array_equal(straight.points_ego_m[count:], points[count:])
    assert (owner[:count] == 0).all()
    assert (owner[count:] == -1).all()
    back = undo_objects(straight, boxes, owner)
    np.testing.assert_allclose(back.points_ego_m, points, atol=1e-5)


def test_objects_of_a_recording_are_straightened_with_the_velocity_of_their_tracks() -> None:
    source = TinyRecording(num_points=4000)
    told = source.ground_truth
    assert told is not None
    silent = {
        time: replace(boxes, velocity_xy_mps=np.full((len(boxes), 2), np.nan))
        for time, boxes in told.items()
    }
    source.ground_truth = silent
    moved = 0
    for before, after in zip(
        source.sweeps(), StraightenedRecording(source).sweeps(), strict=True
    ):  # fmt: skip
        boxes = told.get(before.timestamp_ns)
        expected = before if boxes is None else compensate_objects(before, boxes)[0]
        np.testing.assert_allclose(after.points_ego_m, expected.points_ego_m, atol=1e-4)
        moved += int((after.points_ego_m != before.points_ego_m).any(axis=1).sum())
    assert moved > 100


def test_objects_are_not_straightened_without_boxes_or_in_measured_points() -> None:
    source = TinyRecording()
    source.motion = "raw"
    with pytest.raises(DataError, match="as measured"):
        StraightenedRecording(source)
    source.ground_truth = None
    with pytest.raises(DataError, match="no boxes"):
        StraightenedRecording(source)
