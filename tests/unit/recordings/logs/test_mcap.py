from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from recordings.logs import log
from recordings.logs.mcap import McapRecording
from scene.box import Boxes
from scene.pose import SE3
from scene.recording import RecordingId
from tests.support.ros_writer import RosWriter, make

POINT = np.dtype([("x", "<f4"), ("y", "<f4"), ("z", "<f4"), ("intensity", "u1"), ("t", "<u4")])
START = 1_700_000_000_000_000_000
PERIOD = 100_000_000
NUM = 6
EGO_SE3_LIDAR = SE3.from_yaw(0.3, np.array([1.0, 0.0, 1.8]))
SPEED = 8.0


def ego_pose(time_ns: int) -> SE3:
    """A straight drive at 8 m/s, heading 0.5 rad, starting at (100, -40)."""
    along = SPEED * (time_ns - START) / 1e9
    at = np.array([100 + along * np.cos(0.5), -40 + along * np.sin(0.5), 0.2])
    return SE3.from_yaw(0.5, at)


def cloud(index: int) -> np.ndarray:
    rng = np.random.default_rng(index)
    points = np.zeros(50, POINT)
    for name in "xyz":
        points[name] = rng.uniform(-20, 20, 50)
    points["intensity"], points["t"] = rng.integers(0, 256, 50), np.arange(50) * 1000
    return points


def truth_map(time_ns: int) -> Boxes:
    """A car that drives 3 m/s along map y, and a still pedestrian; a bird is no category."""
    seconds = (time_ns - START) / 1e9
    centers = [[110, -35 + 3 * seconds, 0.9], [105, -38, 0.9], [0, 0, 5]]
    sizes = [[4.5, 1.9, 1.6], [0.7, 0.6, 1.8], [0.3, 0.3, 0.3]]
    names, tracks = ["car", "pedestrian", "bird"], ["a", "b", "c"]
    return Boxes.make(
        np.array(centers), np.array(sizes), np.array([1.57, 0, 0]), names, None, tracks
    )


def write_drive(path: Path, *, poses: bool = True, static: bool = True, truth: bool = True) -> None:
    with RosWriter(path) as writer:
        if static:
            writer.transform("/tf_static", START, "base_link", "lidar_top", EGO_SE3_LIDAR)
        for i in range(NUM):
            time = START + i * PERIOD
            if poses:
                for step in (0, PERIOD // 2):
                    pose = ego_pose(time + step)
                    writer.odometry("/some/pose", time + step, "map", "base_link", pose)
            writer.cloud("/anything", time, "lidar_top", cloud(i))
            if truth:
                writer.boxes("/labels", time, "map", truth_map(time))


def open_mcap(path: Path) -> McapRecording:
    return McapRecording([path], RecordingId("test"))


def test_a_whole_drive(tmp_path: Path) -> None:
    path = tmp_path / "drive.mcap"
    write_drive(path)
    recording = open_mcap(path)
    assert recording.sensor == "lidar_top"
    assert recording.calibration.assumed == frozenset()
    np.testing.assert_allclose(
        recording.calibration.of("lidar_top").translation_m, EGO_SE3_LIDAR.translation_m
    )
    assert len(recording.trajectory) == 2 * NUM
    sweeps = list(recording.sweeps())
    assert [sweep.timestamp_ns for sweep in sweeps] == [START + i * PERIOD for i in range(NUM)]
    for i, sweep in enumerate(sweeps):
        points = cloud(i)
        xyz = np.stack([points[name] for name in "xyz"], axis=1).astype(np.float64)
        np.testing.assert_allclose(
            sweep.points_ego_m, EGO_SE3_LIDAR.transform_points(xyz), atol=1e-5
        )
        np.testing.assert_allclose(sweep.intensity, points["intensity"] / 255, atol=1e-6)
        np.testing.assert_array_equal(sweep.offset_ns, points["t"])
        expected = ego_pose(sweep.timestamp_ns)
        at = recording.trajectory.at(sweep.timestamp_ns)
        np.testing.assert_allclose(at.translation_m, expected.translation_m, atol=1e-9)
    assert recording.damage == []


def test_ground_truth_is_in_the_ego_frame_with_velocities(tmp_path: Path) -> None:
    path = tmp_path / "drive.mcap"
    write_drive(path)
    truth = open_mcap(path).ground_truth
    assert truth is not None
    assert sorted(truth) == [START + i * PERIOD for i in range(NUM)]
    for time, boxes in truth.items():
        assert boxes.category.tolist() == ["car", "pedestrian"]
        assert boxes.track_id.tolist() == ["a", "b"]
        expected = truth_map(time).transform(ego_pose(time).inverse())
        np.testing.assert_allclose(boxes.center_xyz_m, expected.center_xyz_m[:2], atol=1e-6)
        np.testing.assert_allclose(boxes.yaw_rad, expected.yaw_rad[:2], atol=1e-9)
        np.testing.assert_allclose(boxes.size_lwh_m[0], [4.5, 1.9, 1.6])
        car = ego_pose(time).inverse().rotation @ np.array([0, 3.0, 0])
        np.testing.assert_allclose(boxes.velocity_xy_mps[0], car[:2], atol=1e-5)
        np.testing.assert_allclose(boxes.velocity_xy_mps[1], 0.0, atol=1e-5)


def test_boxes_between_sweeps_are_carried_to_the_sweep(tmp_path: Path) -> None:
    path = tmp_path / "drive.mcap"
    write_drive(path, truth=False)
    with RosWriter(tmp_path / "late.mcap") as writer:
        for i in range(NUM):
            time = START + i * PERIOD - 30_000_000 * (i > 0)
            writer.boxes(
                "/labels", time, "base_link", truth_map(time).transform(ego_pose(time).inverse())
            )
    recording = McapRecording([path, tmp_path / "late.mcap"], RecordingId("x"))
    assert recording.ground_truth is not None
    time = START + 2 * PERIOD
    expected = truth_map(time).transform(ego_pose(time).inverse())
    found = recording.ground_truth[time]
    np.testing.assert_allclose(found.center_xyz_m, expected.center_xyz_m[:2], atol=1e-4)


def test_of_several_boxes_near_a_sweep_the_nearest_are_taken(tmp_path: Path) -> None:
    path = tmp_path / "drive.mcap"
    write_drive(path, truth=False)
    with RosWriter(tmp_path / "boxes.mcap") as writer:
        for i in range(1, NUM):  # without tracks nobody knows how fast they are
            for late_ns in (-45_000_000, 5_000_000, 45_000_000):
                time = START + i * PERIOD + late_ns
                where = np.array([[10.0, late_ns / 1e6, 1.0]])
                boxes = Boxes.make(where, np.ones((1, 3)), np.zeros(1), ["car"], None, [""])
                pose = ego_pose(START + i * PERIOD)
                writer.boxes("/labels", time, "map", boxes.transform(pose))
    recording = McapRecording([path, tmp_path / "boxes.mcap"], RecordingId("x"))
    assert recording.ground_truth is not None
    found = [boxes.center_xyz_m[0, 1] for boxes in recording.ground_truth.values()]
    np.testing.assert_allclose(found, [5.0] * (NUM - 1), atol=0.1)


def test_boxes_where_poses_are_missing_are_damage_and_no_reason_to_read_nothing(
    tmp_path: Path,
) -> None:
    path = tmp_path / "drive.mcap"
    write_drive(path, truth=False)
    with RosWriter(tmp_path / "more.mcap") as writer:
        for i in range(NUM, NUM + 5):  # the poses have ended
            time = START + i * PERIOD
            writer.cloud("/anything", time, "lidar_top", cloud(i))
            writer.boxes("/labels", time + 20_000_000, "base_link", truth_map(time))
    recording = McapRecording([path, tmp_path / "more.mcap"], RecordingId("x"))
    assert len(list(recording.sweeps())) > NUM - 1
    lost = [note.lost for note in recording.damage if note.where == "/labels"]
    assert lost[-1] == f"boxes at {START + (NUM + 4) * PERIOD + 20_000_000}"


def test_sweeps_are_the_same_whether_clouds_were_kept_or_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "drive.mcap"
    write_drive(path)
    kept = [sweep.points_ego_m.tobytes() for sweep in open_mcap(path).sweeps()]
    monkeypatch.setattr(log, "CACHE_BYTES", 2500)
    recording = open_mcap(path)
    assert 0 < len(recording._kept) < NUM
    for _ in range(2):
        assert [sweep.points_ego_m.tobytes() for sweep in recording.sweeps()] == kept


def test_without_poses_the_vehicle_stands_still_and_that_is_marked(tmp_path: Path) -> None:
    path = tmp_path / "drive.mcap"
    write_drive(path, poses=False, truth=False)
    recording = open_mcap(path)
    assert recording.calibration.assumed == frozenset({"map"})
    assert len(list(recording.sweeps())) == NUM
    assert recording.trajectory.at(START + PERIOD).translation_m.tolist() == [0, 0, 0]
    assert recording.ground_truth is None


def test_without_a_mounting_the_sensor_is_marked_as_assumed(tmp_path: Path) -> None:
    path = tmp_path / "drive.mcap"
    write_drive(path, static=False, truth=False)
    recording = open_mcap(path)
    assert recording.calibration.assumed == frozenset({"lidar_top"})
    assert len(list(recording.sweeps())) == NUM


def test_map_odom_base_chain_and_poses_without_child(tmp_path: Path) -> None:
    path = tmp_path / "tf.mcap"
    map_SE3_odom = SE3.from_yaw(1.0, np.array([5.0, 5.0, 0.0]))
    with RosWriter(path) as writer:
        writer.transform("/tf", START, "map", "odom", map_SE3_odom)
        for i in range(NUM):
            time = START + i * PERIOD
            writer.transform("/tf", time, "odom", "base_link", ego_pose(time))
            writer.cloud("/points", time, "base_link", cloud(i))
    recording = open_mcap(path)
    time = START + 3 * PERIOD
    expected = map_SE3_odom @ ego_pose(time)
    np.testing.assert_allclose(recording.trajectory.at(time).translation_m, expected.translation_m)
    with RosWriter(path) as writer:
        for i in range(NUM):
            time = START + i * PERIOD
            writer.pose_stamped("/localization", time, "map", ego_pose(time))
            writer.cloud("/points", time, "velodyne", cloud(i))
    recording = open_mcap(path)
    assert recording.calibration.assumed == frozenset({"velodyne"})
    found = recording.trajectory.at(time).translation_m
    np.testing.assert_allclose(found, ego_pose(time).translation_m)


def test_the_lidar_with_more_points_is_read(tmp_path: Path) -> None:
    path = tmp_path / "two.mcap"
    with RosWriter(path) as writer:
        for i in range(NUM):
            time = START + i * PERIOD
            writer.cloud("/a_small", time, "rear", cloud(i)[:5])
            writer.cloud("/b_large", time, "front", cloud(i))
    recording = open_mcap(path)
    assert recording.sensor == "front"
    assert {len(sweep) for sweep in recording.sweeps()} == {50}


def test_bad_clouds_become_damage_and_the_rest_is_read(tmp_path: Path) -> None:
    path = tmp_path / "bad.mcap"
    nothing = cloud(1)
    nothing["x"] = np.nan
    half = cloud(2)
    half["z"][:20] = np.inf
    with RosWriter(path) as writer:
        writer.cloud("/points", START, "base_link", cloud(0))
        writer.cloud("/points", START + PERIOD, "base_link", nothing)
        writer.cloud("/points", START + 2 * PERIOD, "base_link", half)
        writer.cloud("/points", START + 2 * PERIOD, "base_link", cloud(3))
        writer.cloud("/points", START + PERIOD, "base_link", cloud(4))
        writer.cloud("/points", START + 3 * PERIOD, "base_link", cloud(5)[:0])
    recording = open_mcap(path)
    sizes = {sweep.timestamp_ns - START: len(sweep) for sweep in recording.sweeps()}
    assert sizes == {0: 50, 2 * PERIOD: 30, 3 * PERIOD: 0}
    what = [note.what for note in recording.damage]
    assert len(what) == 3
    assert "all 50 points are NaN" in what[0]
    assert "repeats the sweep before it" in what[1]
    assert "goes back behind the sweep before it" in what[2]
    assert {note.where for note in recording.damage} == {"/points"}


def test_sweeps_without_a_pose_near_become_damage(tmp_path: Path) -> None:
    path = tmp_path / "gap.mcap"
    second = 1_000_000_000
    with RosWriter(path) as writer:
        for time in (START, START + second // 2, START + 10 * second):
            writer.odometry("/odom", time, "map", "base_link", ego_pose(time))
        for time in (-second, second // 4, 5 * second, 10 * second):
            writer.cloud("/points", START + time, "base_link", cloud(0))
    recording = open_mcap(path)
    assert [s.timestamp_ns - START for s in recording.sweeps()] == [second // 4, 10 * second]
    what = [note.what for note in recording.damage]
    assert "1.000 s outside the ego poses" in what[0]
    assert "gap of 9.500 s between two ego poses" in what[1]


def test_a_drive_cut_short_keeps_what_came_before(tmp_path: Path) -> None:
    path = tmp_path / "drive.mcap"
    write_drive(path)
    data = path.read_bytes()
    path.write_bytes(data[: len(data) // 2])
    recording = open_mcap(path)
    sweeps = list(recording.sweeps())
    assert 0 < len(sweeps) < NUM
    assert recording.damage
    assert recording.damage[0].lost


def test_a_recording_of_which_nothing_is_used_says_what_it_holds(tmp_path: Path) -> None:
    path = tmp_path / "labels.mcap"
    with RosWriter(path) as writer:
        writer.boxes("/labels", START, "map", truth_map(START))
        writer.write("/chatter", make("std_msgs/msg/String", "hello"), START)
    recording = open_mcap(path)
    assert list(recording.sweeps()) == []
    assert len(recording.trajectory) == 0
    assert [(topic.name, topic.count, topic.use) for topic in recording.topics] == [
        ("/chatter", 1, "not used: no decoder for std_msgs/msg/String"),
        ("/labels", 1, "not used: there are no sweeps that the boxes could belong to"),
    ]


def test_a_driver_that_publishes_sectors_is_assembled_to_sweeps(tmp_path: Path) -> None:
    """Ten clouds of 36 degrees a revolution, their times relative to their own stamps."""
    columns, sectors, turns = 360, 10, 3
    path = tmp_path / "sectors.mcap"
    with RosWriter(path) as writer:
        writer.transform("/tf_static", START, "base_link", "lidar_top", EGO_SE3_LIDAR)
        for number in range(turns * sectors):
            time = START + number * PERIOD // sectors
            writer.odometry("/odom", time, "map", "base_link", ego_pose(time))
            column = np.arange(columns // sectors) + number % sectors * (columns // sectors)
            points = np.zeros(len(column), POINT)
            points["x"] = 10 * np.cos(-2 * np.pi * column / columns)
            points["y"] = 10 * np.sin(-2 * np.pi * column / columns)
            points["t"] = np.arange(len(column)) * (PERIOD // columns)
            writer.cloud("/lidar/sectors", time, "lidar_top", points)
            if number % sectors == 4:  # labelled at another time than the first sector's
                writer.boxes("/labels", time, "map", truth_map(time))
    recording = open_mcap(path)
    sweeps = list(recording.sweeps())
    assert [sweep.timestamp_ns for sweep in sweeps] == [START + i * PERIOD for i in range(turns)]
    for sweep in sweeps:
        assert len(sweep) == columns
        expected = np.arange(columns) * PERIOD / columns
        assert np.abs(sweep.offset_ns - expected).max() < 1000
    assert recording.damage == []
    assert recording.ground_truth is not None
    assert sorted(recording.ground_truth) == [sweep.timestamp_ns for sweep in sweeps]
