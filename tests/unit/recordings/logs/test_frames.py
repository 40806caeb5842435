from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation, Slerp

from recordings.logs.frames import MAX_HOLD_NS, MIN_HOLD_NS, FrameTree
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


def test_a_missing_frame_is_answered_with_the_nearest_names() -> None:
    tree = FrameTree()
    tree.add_static("base_link", "lidar_top", values(SE3.identity()))
    tree.add_static("base_link", "camera_front", values(SE3.identity()))
    with pytest.raises(FrameError, match=r"no frame .lidar..*nearest known: lidar_top$"):
        tree.between("base_link", "lidar", np.array([0]))
    with pytest.raises(FrameError, match="nearest known: base_link, camera_front, lidar_top"):
        tree.between("xyz", "lidar_top", np.array([0]))


def test_frames_without_a_way_between_them_are_named_with_their_neighbours() -> None:
    tree = FrameTree()
    tree.add_static("a", "b", values(SE3.identity()))
    tree.add_moving("c", "d", 0, values(SE3.identity()))
    with pytest.raises(FrameError, match="from 'd' to 'a'; with 'd' go c; with 'a' go b"):
        tree.between("a", "d", np.array([0]))


def test_two_parents_and_cycles_are_reported() -> None:
    tree = FrameTree()
    tree.add_static("base", "lidar", values(SE3.identity()))
    tree.add_moving("odom", "base", 0, values(SE3.identity()))
    assert tree.problems() == []
    tree.add_moving("map", "base", 0, values(SE3.identity()))
    assert tree.problems() == ["frame 'base' has 2 parents: map, odom"]
    loop = FrameTree()
    for parent, child in ("ab", "bc", "ca"):
        loop.add_static(parent, child, values(SE3.identity()))
    (problem,) = loop.problems()
    assert problem.startswith("frames are their own ancestors: ")
    itself = FrameTree()
    itself.add_static("a", "a", values(SE3.identity()))
    assert itself.problems() == ["frames are their own ancestors: a -> a"]


@pytest.mark.parametrize(
    ("step_ns", "hold_ns"),
    [(20_000_000, MIN_HOLD_NS), (300_000_000, 600_000_000), (5_000_000_000, MAX_HOLD_NS)],
)
def test_a_moving_edge_is_held_for_two_steps_and_no_longer(step_ns: int, hold_ns: int) -> None:
    tree = FrameTree()
    for i in range(5):
        tree.add_moving("odom", "base", i * step_ns, values(SE3.from_yaw(0.1 * i, np.zeros(3))))
    last = 4 * step_ns
    held = tree.between("odom", "base", np.array([-hold_ns, last + hold_ns]))
    ends = tree.track(("odom", "base")).quat_wxyz[[0, -1]]
    np.testing.assert_allclose(held.quat_wxyz, ends, atol=1e-12)
    for outside in (-hold_ns - 1, last + hold_ns + 1):
        with pytest.raises(FrameError, match="from 'base' to 'odom': pose asked for at"):
            tree.between("odom", "base", np.array([outside]))


def scipy_pose(values: list[float]) -> tuple[Rotation, np.ndarray]:
    return Rotation.from_quat(values[:4], scalar_first=True), np.array(values[4:])


unit = st.floats(-1, 1, allow_nan=False, width=32)
quaternions = st.lists(unit, min_size=4, max_size=4).filter(lambda q: np.linalg.norm(q) > 0.1)
poses = st.tuples(quaternions, st.lists(st.floats(-50, 50), min_size=3, max_size=3)).map(
    lambda parts: [*(np.array(parts[0]) / np.linalg.norm(parts[0])).tolist(), *parts[1]]
)


@pytest.mark.slow
@settings(deadline=None, max_examples=60)
@given(poses, poses, poses, poses, st.floats(0, 1))
def test_chains_of_still_and_moving_edges_equal_scipy(
    mount: list[float], first: list[float], last: list[float], drift: list[float], share: float
) -> None:
    """map <- odom (moving) <- base (moving) <- lidar (still), at any time, and back."""
    tree = FrameTree()
    tree.add_static("base", "lidar", tuple(mount))
    tree.add_moving("odom", "base", 0, tuple(first))
    tree.add_moving("odom", "base", 1_000_000, tuple(last))
    tree.add_moving("map", "odom", 0, tuple(drift))
    time = round(share * 1_000_000)
    (turn_m, mount_t), (turn_d, drift_t) = scipy_pose(mount), scipy_pose(drift)
    (turn_a, start), (turn_b, end) = scipy_pose(first), scipy_pose(last)
    if (turn_a.inv() * turn_b).magnitude() > np.pi - 1e-3:
        return  # both ways round are as short
    key = Slerp([0, 1_000_000], Rotation.concatenate([turn_a, turn_b]))(time)
    at = start + (end - start) * time / 1_000_000
    points = np.array([[1.0, 2.0, 3.0], [-20.0, 5.0, 0.5]])
    expected = turn_d.apply(key.apply(turn_m.apply(points) + mount_t) + at) + drift_t
    found = tree.between("map", "lidar", np.array([time]))
    pose = SE3.from_quaternion(found.quat_wxyz[0], found.translation_m[0])
    np.testing.assert_allclose(pose.transform_points(points), expected, atol=1e-6)
    back = tree.between("lidar", "map", np.array([time]))
    inverse = SE3.from_quaternion(back.quat_wxyz[0], back.translation_m[0])
    np.testing.assert_allclose(inverse.transform_points(expected), points, atol=1e-6)
