from __future__ import annotations

import numpy as np

from recordings.geometry.tracks import with_velocities
from scene.box import Boxes
from scene.pose import SE3, Trajectory

STEP = 200_000_000


def ego(time_ns: int) -> SE3:
    seconds = time_ns / 1e9
    return SE3.from_yaw(0.4 * seconds, np.array([7.0 * seconds, 2.0 * seconds, 0.0]))


def trajectory(count: int) -> Trajectory:
    poses = [ego(i * STEP) for i in range(count)]
    times = np.arange(count, dtype=np.int64) * STEP
    quat = np.stack([pose.quat_wxyz for pose in poses])
    return Trajectory(times, quat, np.stack([pose.translation_m for pose in poses]))


def boxes(time_ns: int, *objects: tuple[str, tuple[float, float], tuple[float, float]]) -> Boxes:
    seconds = time_ns / 1e9
    center = [[x + vx * seconds, y + vy * seconds, 1.0] for _, (x, y), (vx, vy) in objects]
    count = len(objects)
    made = Boxes.make(
        np.array(center), np.ones((count, 3)), np.zeros(count), ["car"] * count, None,
        [name for name, _, _ in objects],
    )  # fmt: skip
    return made.transform(ego(time_ns).inverse())


def test_constant_velocity_seen_from_a_turning_vehicle() -> None:
    objects = (("a", (10.0, 3.0), (5.0, -1.0)), ("b", (0.0, 9.0), (0.0, 0.0)))
    frames = {i * STEP: boxes(i * STEP, *objects[:: 1 if i % 2 else -1]) for i in range(6)}
    found = with_velocities(frames, trajectory(6))
    for time, result in found.items():
        for name, _, velocity in objects:
            row = result.track_id.tolist().index(name)
            expected = ego(time).inverse().rotation @ np.array([*velocity, 0.0])
            np.testing.assert_allclose(result.velocity_xy_mps[row], expected[:2], atol=1e-9)
        np.testing.assert_array_equal(result.center_xyz_m, frames[time].center_xyz_m)


def test_unknown_without_track_neighbour_or_over_a_long_gap() -> None:
    frames = {
        0: boxes(0, ("", (1, 1), (1, 0)), ("far", (5, 5), (1, 0)), ("once", (2, 2), (0, 0))),
        STEP: boxes(STEP, ("", (1, 1), (1, 0))),
        10 * STEP: boxes(10 * STEP, ("far", (5, 5), (1, 0))),
    }
    found = with_velocities(frames, trajectory(11))
    assert all(np.isnan(result.velocity_xy_mps).all() for result in found.values())


def test_known_velocities_are_kept_and_empty_frames_stay() -> None:
    first, second = boxes(0, ("a", (0, 0), (1, 0))), boxes(STEP, ("a", (0, 0), (1, 0)))
    known = Boxes.make(
        first.center_xyz_m, first.size_lwh_m, first.yaw_rad, ["car"], np.array([[9.0, 9.0]]), ["a"]
    )
    found = with_velocities({0: known, STEP: second, 2 * STEP: Boxes.empty()}, trajectory(3))
    assert found[0].velocity_xy_mps.tolist() == [[9, 9]]
    assert not np.isnan(found[STEP].velocity_xy_mps).any()
    assert len(found[2 * STEP]) == 0
    assert with_velocities({}, trajectory(2)) == {}
