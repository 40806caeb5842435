from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation, Slerp

from scene.errors import FrameError, ShapeError
from scene.pose import SE3, Trajectory, matrix_to_quat, quat_to_matrix, slerp, wrap_angle

quaternions = st.tuples(*[st.floats(-1, 1) for _ in range(4)]).filter(
    lambda q: sum(v * v for v in q) > 1e-3
)
vectors = st.tuples(*[st.floats(-1e3, 1e3) for _ in range(3)])


def make(quat: tuple[float, ...], translation: tuple[float, ...]) -> SE3:
    return SE3.from_quaternion(np.array(quat), np.array(translation))


@given(quaternions, vectors)
def test_inverse_undoes(quat: tuple[float, ...], translation: tuple[float, ...]) -> None:
    pose = make(quat, translation)
    points = np.array([[1.0, 2.0, 3.0], [-4.0, 0.0, 9.0]])
    back = pose.inverse().transform_points(pose.transform_points(points))
    np.testing.assert_allclose(back, points, atol=1e-8)


@given(quaternions, vectors, quaternions, vectors)
def test_composition_is_one_after_the_other(a, t, b, u) -> None:
    first, second = make(a, t), make(b, u)
    points = np.array([[0.5, -2.0, 7.0]])
    np.testing.assert_allclose(
        (first @ second).transform_points(points),
        first.transform_points(second.transform_points(points)),
        atol=1e-8,
    )


@given(quaternions)
def test_matrices_and_quaternions_agree_with_scipy(quat: tuple[float, ...]) -> None:
    array = np.array([quat])
    expected = Rotation.from_quat(np.roll(array, -1, axis=1))
    matrix = quat_to_matrix(array)
    np.testing.assert_allclose(matrix, expected.as_matrix(), atol=1e-9)
    back = quat_to_matrix(matrix_to_quat(matrix))
    np.testing.assert_allclose(back, matrix, atol=1e-9)


@given(quaternions, quaternions, st.floats(0, 1))
def test_slerp_agrees_with_scipy(a, b, ratio: float) -> None:
    ends = Rotation.from_quat(np.roll(np.array([a, b]), -1, axis=1))
    if ends[0].inv().__mul__(ends[1]).magnitude() > np.pi - 1e-3:
        return  # two arcs of the same length: either is right
    unit = np.array([a, b]) / np.linalg.norm([a, b], axis=1, keepdims=True)
    ours = slerp(unit[:1], unit[1:], np.array([[ratio]]))
    expected = Slerp([0, 1], ends)(ratio).as_matrix()
    np.testing.assert_allclose(quat_to_matrix(ours)[0], expected, atol=1e-6)


def test_a_zero_quaternion_is_refused() -> None:
    with pytest.raises(FrameError, match="length zero"):
        SE3.from_quaternion(np.zeros(4), np.zeros(3))


def test_points_of_the_wrong_shape_are_refused() -> None:
    with pytest.raises(ShapeError, match=r"\(N, 3\)"):
        SE3.identity().transform_points(np.zeros((2, 4)))


@pytest.fixture
def straight() -> Trajectory:
    times = np.array([0, 1_000_000_000, 2_000_000_000], dtype=np.int64)
    quat = np.tile([1.0, 0, 0, 0], (3, 1))
    return Trajectory(times, quat, np.array([[0.0, 0, 0], [10, 0, 0], [30, 0, 0]]))


def test_interpolation_is_linear_between_poses(straight: Trajectory) -> None:
    assert straight.at(500_000_000).translation_m.tolist() == [5, 0, 0]
    assert straight.at(1_500_000_000).translation_m.tolist() == [20, 0, 0]
    assert straight.at(2_000_000_000).translation_m.tolist() == [30, 0, 0]


def test_speed_by_differences(straight: Trajectory) -> None:
    np.testing.assert_allclose(straight.speed_mps(), [10, 15, 20])


def test_extrapolation_stays_within_its_bound(straight: Trajectory) -> None:
    assert straight.at(-50_000_000).translation_m.tolist() == [0, 0, 0]
    with pytest.raises(FrameError, match="outside the poses"):
        straight.at(-200_000_000)


def test_poses_must_be_in_order() -> None:
    with pytest.raises(FrameError, match="increase"):
        Trajectory(np.array([2, 1]), np.tile([1.0, 0, 0, 0], (2, 1)), np.zeros((2, 3)))


@given(st.floats(-1e4, 1e4))
def test_wrapped_angles_are_the_same_direction(angle: float) -> None:
    wrapped = float(wrap_angle(np.array([angle]))[0])
    assert -np.pi < wrapped <= np.pi
    assert np.cos(wrapped) == pytest.approx(np.cos(angle), abs=1e-6)
    assert np.sin(wrapped) == pytest.approx(np.sin(angle), abs=1e-6)
