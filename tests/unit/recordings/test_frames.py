from __future__ import annotations

import numpy as np
import pytest

from recordings.frames import FrameTree
from scene.errors import FrameError
from scene.pose import SE3

RNG = np.random.default_rng(5)


def random_pose() -> SE3:
    quat = RNG.normal(size=4)
    return SE3.from_quaternion(quat / np.linalg.norm(quat), RNG.normal(size=3) * 5)


def values(pose: SE3) -> tuple[float, ...]:
    return (*pose.quat_wxyz.tolist(), *pose.translation_m.tolist())


def test_static_chain_in_both_directions() -> None:
    a_b, b_c, a_d = random_pose(), random_pose(), random_pose()
    tree = FrameTree()
    tree.add_static("a", "b", values(a_b))
    tree.add_static("b", "c", values(b_c))
    tree.add_static("a", "d", values(a_d))
    found = tree.static_between("d", "c")
    expected = a_d.inverse() @ a_b @ b_c
    assert found is not None
    np.testing.assert_allclose(found.rotation, expected.rotation, atol=1e-12)
    np.testing.assert_allclose(found.translation_m, expected.translation_m, atol=1e-12)
    same = tree.static_between("a", "a")
    assert same is not None
    assert same.translation_m.tolist() == [0, 0, 0]
    assert tree.static_between("a", "elsewhere") is None


def test_moving_chain_is_composed_at_the_asked_times() -> None:
    tree = FrameTree()
    map_odom = [random_pose() for _ in range(3)]
    odom_base = [random_pose() for _ in range(11)]
    base_lidar = random_pose()
    for i, pose in enumerate(map_odom):
        tree.add_moving("map", "odom", i * 500, values(pose))
    for i, pose in enumerate(odom_base):
        tree.add_moving("odom", "base", i * 100, values(pose))
    tree.add_static("base", "lidar", values(base_lidar))
    track = tree.between("map", "lidar", np.array([500, 1000]))
    for row, (i, j) in enumerate(((1, 5), (2, 10))):
        expected = map_odom[i] @ odom_base[j] @ base_lidar
        np.testing.assert_allclose(track.translation_m[row], expected.translation_m, atol=1e-9)
    backwards = tree.between("lidar", "map", np.array([500]))
    expected = (map_odom[1] @ odom_base[5] @ base_lidar).inverse()
    np.testing.assert_allclose(backwards.translation_m[0], expected.translation_m, atol=1e-9)


def test_trajectory_has_the_rate_of_the_fastest_edge_where_all_are_known() -> None:
    tree = FrameTree()
    second = 1_000_000_000
    for time in range(0, 20 * second, second // 10):
        tree.add_moving("odom", "base", time, values(SE3.identity()))
    for time in (8 * second, 9 * second):
        tree.add_moving("map", "odom", time, values(SE3.identity()))
    track = tree.trajectory("map", "base")
    assert track.timestamps_ns[0] == 6 * second
    assert track.timestamps_ns[-1] == 11 * second
    assert len(track) == 51


def test_samples_may_come_unordered_twice_or_broken() -> None:
    tree = FrameTree()
    poses = [SE3.from_yaw(0.1 * i, np.array([float(i), 0, 0])) for i in range(4)]
    for i in (2, 0, 1, 1, 3):
        tree.add_moving("map", "base", i, values(poses[i]))
    tree.add_moving("map", "base", 5, (0.0, 0.0, 0.0, 0.0, 9.0, 9.0, 9.0))
    tree.add_moving("map", "base", 6, (1.0, 0.0, 0.0, 0.0, np.nan, 0.0, 0.0))
    track = tree.track(("map", "base"))
    assert track.timestamps_ns.tolist() == [0, 1, 2, 3]
    assert track.translation_m[:, 0].tolist() == [0, 1, 2, 3]


def test_root_prefers_the_map_and_is_none_for_what_does_not_move() -> None:
    tree = FrameTree()
    tree.add_moving("odom", "base", 0, values(SE3.identity()))
    tree.add_moving("map", "odom", 0, values(SE3.identity()))
    tree.add_static("base", "lidar", values(SE3.identity()))
    tree.add_static("wall", "camera", values(SE3.identity()))
    assert tree.root_of("base") == "map"
    assert tree.root_of("lidar") == "map"
    assert tree.root_of("camera") is None
    other = FrameTree()
    other.add_moving("utm_32n", "car", 0, values(SE3.identity()))
    assert other.root_of("car") == "utm_32n"


def test_a_loop_of_parents_ends() -> None:
    tree = FrameTree()
    tree.add_moving("a", "b", 0, values(SE3.identity()))
    tree.add_moving("b", "a", 0, values(SE3.identity()))
    assert tree.root_of("a") == "b"


def test_frames_without_a_way_between_them_are_named() -> None:
    tree = FrameTree()
    tree.add_static("a", "b", values(SE3.identity()))
    with pytest.raises(FrameError, match="from 'x' to 'a'; frames: a, b"):
        tree.between("a", "x", np.array([0]))
