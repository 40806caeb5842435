from dataclasses import replace

import numpy as np
import pytest

from scene.box import Boxes
from scene.calibration import Calibration
from scene.pose import SE3, Trajectory
from scene.sweep import Sweep
from storage.local import LocalStore
from storage.sweeps import SweepFile, write_sweeps
from training import config as recipes
from training.frames import counted, earlier_sweeps, num_point_columns, read_points

CONFIG = replace(recipes.small(), num_sweeps=3)
STEP_NS = 200_000_000


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    """A vehicle that drives 2 m and turns 0.1 rad to the left between sweeps of one fixed pole."""
    store = LocalStore(tmp_path_factory.mktemp("store"))
    poses = [SE3.from_yaw(0.1 * i, np.array([2.0 * i, 0.5 * i, 0.0])) for i in range(8)]
    pole_map = np.array([[20.0, 4.0, 1.0]])
    sweeps = [
        Sweep(
            i * STEP_NS,
            pose.inverse().transform_points(pole_map).astype(np.float32),
            np.array([0.2 * i / 8], dtype=np.float32),
            np.zeros(1, dtype=np.int32),
        )
        for i, pose in enumerate(poses)
    ]
    track = Trajectory(
        np.arange(8) * STEP_NS,
        np.stack([pose.quat_wxyz for pose in poses]),
        np.stack([pose.translation_m for pose in poses]),
    )
    rig = Calibration({"top": SE3.identity()})
    write_sweeps(store, "sweeps/pole.parquet", sweeps, track, rig, sensor="top")
    with SweepFile(store, "sweeps/pole.parquet") as opened:
        yield opened


def test_earlier_sweeps_meet_the_frame_where_the_world_stands(file):
    points = read_points(file, 4 * STEP_NS, CONFIG)
    assert points.shape == (3, num_point_columns(CONFIG)) == (3, 5)
    np.testing.assert_allclose(points[:, :3], np.tile(points[0, :3], (3, 1)), atol=2e-3)
    np.testing.assert_allclose(points[:, 4], [0.0, 0.2, 0.4], atol=1e-6)
    np.testing.assert_allclose(points[:, 3] * 255, np.rint(points[:, 3] * 255), atol=1e-3)
    assert points[0, 3] > points[1, 3] > points[2, 3]


def test_one_sweep_has_no_lag_and_the_beginning_has_fewer(file):
    assert read_points(file, 4 * STEP_NS, replace(CONFIG, num_sweeps=1)).shape == (1, 4)
    assert len(read_points(file, 0, CONFIG)) == 1
    assert len(read_points(file, STEP_NS, CONFIG)) == 2


def test_sweeps_of_long_ago_are_left_out(file):
    assert earlier_sweeps(file, 7, 100) == [7, 6, 5, 4, 3, 2]  # the sixth is a second old


def test_only_the_frames_own_sweep_counts_points():
    boxes = Boxes.make(np.zeros((1, 3)), np.ones((1, 3)), np.zeros(1), ["car"])
    points = np.zeros((5, 5), dtype=np.float32)
    points[2:, 4] = 0.1
    assert counted(points, boxes).num_points.tolist() == [2]
    known = replace(boxes, num_points=np.array([9]))
    assert counted(points, known).num_points.tolist() == [9]
