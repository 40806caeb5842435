from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recordings.geometry.cameras import camera_SE3_ego, project, project_sweep
from recordings.open import open_recording
from scene.calibration import Calibration, Intrinsics
from scene.errors import DataError, FrameError
from scene.pose import SE3, quat_to_matrix
from scene.sweep import Sweep
from tests.support.shared_data import shared_data
from tests.support.turning_lidar import Drive, raw_sweep

ORIGIN = 1_700_000_000_000_000_000
MATRIX = np.array([[900.0, 0, 960], [0, 905.0, 540], [0, 0, 1]])
# A camera that looks along ego x: its z is ego x, its x ego -y, its y ego -z.
EGO_SE3_CAMERA = SE3(np.array([[0.0, 0, 1], [-1, 0, 0], [0, -1, 0]]), np.array([1.5, 0.0, 1.4]))

coefficient = st.floats(-0.3, 0.3)


def points_ahead(seed: int, wide: float = 1.0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    depth = rng.uniform(2, 60, 300)
    return np.stack([rng.uniform(-wide, wide, 300) * depth, rng.uniform(-wide, wide, 300) * depth,
                     depth], axis=1)  # fmt: skip


@settings(deadline=None, max_examples=50)
@given(st.sampled_from([4, 5, 8]), st.lists(coefficient, min_size=8, max_size=8))
def test_polynomial_models_equal_opencv(count: int, values: list[float]) -> None:
    cv2 = pytest.importorskip("cv2", reason="pip install opencv-python-headless")
    distortion = np.array(values[:count]) * ([1, 1, 0.02, 0.02, 1, 1, 1, 1][:count])
    model = "rational_polynomial" if count == 8 else "plumb_bob"
    points = points_ahead(1)
    found = project(points, Intrinsics(1920, 1080, MATRIX, distortion, model))
    zero = np.zeros(3)
    expected = cv2.projectPoints(points, zero, zero, MATRIX, distortion)[0][:, 0]
    np.testing.assert_allclose(found.pixels[found.seen], expected[found.seen], atol=1e-6)
    inside = (expected >= -0.5).all(axis=1) & (expected < (1919.5, 1079.5)).all(axis=1)
    assert not (found.seen & ~inside).any()


@settings(deadline=None, max_examples=50)
@given(st.lists(st.floats(-0.05, 0.05), min_size=4, max_size=4))
def test_the_fisheye_model_equals_opencv(values: list[float]) -> None:
    cv2 = pytest.importorskip("cv2", reason="pip install opencv-python-headless")
    distortion = np.array(values)
    points = points_ahead(2, wide=1.3)
    found = project(points, Intrinsics(1920, 1080, MATRIX, distortion, "equidistant"))
    zero = np.zeros((1, 1, 3))
    expected = cv2.fisheye.projectPoints(points[:, None], zero, zero, MATRIX, distortion)[0][:, 0]
    assert found.seen.sum() > 50
    np.testing.assert_allclose(found.pixels[found.seen], expected[found.seen], atol=1e-6)


def test_a_fisheye_sees_behind_its_own_plane() -> None:
    camera = Intrinsics(1920, 1920, np.array([[500.0, 0, 960], [0, 500, 960], [0, 0, 1]]),
                        np.zeros(4), "equidistant")  # fmt: skip
    angle = np.deg2rad([0, 45, 100, 179])
    points = np.stack([np.sin(angle), np.zeros(4), np.cos(angle)], axis=1) * 5
    found = project(points, camera)
    np.testing.assert_allclose(found.pixels[:3, 0], 960 + 500 * angle[:3])
    assert found.seen.tolist() == [True, True, True, False]


def test_points_behind_or_beyond_the_polynomials_reach_are_not_seen() -> None:
    bent = Intrinsics(1920, 1080, MATRIX, np.array([-0.4, 0, 0, 0, 0]))
    # r (1 - 0.4 r^2) grows up to r = 0.913: further out the image would be folded back.
    aside = np.array([0.0, 0.9, 0.95, 1.5, 1.6])
    points = np.stack([aside, np.zeros(5), np.ones(5)], axis=1)
    assert project(points, bent).seen.tolist() == [True, True, False, False, False]
    behind = np.array([[0.0, 0, -5], [0, 0, 0], [0.1, 0, 5]])
    flat = project(behind, Intrinsics(1920, 1080, MATRIX))
    assert flat.seen.tolist() == [False, False, True]
    assert flat.depth_m.tolist() == [-5, 0, 5]
    assert np.isfinite(flat.pixels).all()


def test_unknown_models_and_cameras_are_refused() -> None:
    with pytest.raises(DataError, match="'mei' is not known; known: plumb_bob"):
        project(np.ones((1, 3)), Intrinsics(10, 10, MATRIX, np.ones(4), "mei"))
    with pytest.raises(DataError, match="5 coefficients, got 6"):
        project(np.ones((1, 3)), Intrinsics(10, 10, MATRIX, np.ones(6), "plumb_bob"))
    track = Drive().trajectory(ORIGIN + np.arange(0, 2) * 10**8, ORIGIN)
    sweep = raw_sweep(Drive(), ORIGIN, ORIGIN, columns=8)[0]
    rig = Calibration({"front": EGO_SE3_CAMERA}, cameras={"left": Intrinsics(9, 9, MATRIX)})
    with pytest.raises(FrameError, match="'front'; known cameras: left"):
        project_sweep(sweep, track, rig, "front", ORIGIN)


def test_points_are_seen_from_where_the_vehicle_was_at_the_time_of_the_image() -> None:
    """A raw sweep while driving a curve; the image is taken 40 ms after the sweep began."""
    drive = Drive(speed_mps=15.0, yaw_rate_radps=0.4)
    track = drive.trajectory(ORIGIN + np.arange(0, 100) * 10**7, ORIGIN)
    start, image_ns = ORIGIN + 300_000_000, ORIGIN + 340_000_000
    sweep, truth = raw_sweep(drive, start, ORIGIN)
    rig = Calibration({"front": EGO_SE3_CAMERA}, cameras={"front": Intrinsics(1920, 1080, MATRIX)})
    rotation, position = drive.at(np.array([(image_ns - ORIGIN) / 1e9]))
    in_ego = (truth - position[0]) @ rotation[0]
    in_camera = (in_ego - EGO_SE3_CAMERA.translation_m) @ EGO_SE3_CAMERA.rotation
    expected = in_camera[:, :2] / in_camera[:, 2:] * (900, 905) + (960, 540)
    found = project_sweep(sweep, track, rig, "front", image_ns, "raw")
    assert found.seen.sum() > 500
    away = np.linalg.norm(found.pixels - expected, axis=1)[found.seen]
    assert away.max() < 0.5
    careless = project_sweep(sweep, track, rig, "front", start, "compensated")
    both = found.seen & careless.seen
    assert np.linalg.norm(careless.pixels - expected, axis=1)[both].max() > 15


@pytest.mark.parametrize("log", ["argoverse2/sensor/val", "av2_layout"])
def test_real_rigs_equal_the_argoverse_devkit(log: str) -> None:
    camera_module = pytest.importorskip(
        "av2.geometry.camera.pinhole_camera", reason="pip install --no-deps av2"
    )
    se3 = pytest.importorskip("av2.geometry.se3").SE3
    folder = next(shared_data(log).glob("*/calibration")).parent
    recording = open_recording(folder)
    sweep = next(recording.sweeps())
    thinned = Sweep(
        sweep.timestamp_ns, sweep.points_ego_m[::20], sweep.intensity[::20], sweep.offset_ns[::20]
    )
    image_ns = sweep.timestamp_ns + 33_000_000
    poses = recording.trajectory.interpolate(np.array([sweep.timestamp_ns, image_ns]))
    turns = quat_to_matrix(poses.quat_wxyz)
    then, now = (se3(turns[i], poses.translation_m[i]) for i in (0, 1))
    total = 0
    for name, intrinsics in recording.calibration.cameras.items():
        # The devkit projects without distortion.
        plain = Intrinsics(intrinsics.width_px, intrinsics.height_px, intrinsics.matrix)
        rig = Calibration(recording.calibration.ego_SE3_sensor, cameras={name: plain})
        found = project_sweep(thinned, recording.trajectory, rig, name, image_ns)
        camera = camera_module.PinholeCamera.from_feather(Path(folder), name)
        uv, in_camera, _ = camera.project_ego_to_img_motion_compensated(
            thinned.points_ego_m.astype(np.float64), now, then
        )
        np.testing.assert_allclose(found.depth_m, in_camera[:, 2], atol=1e-8)
        np.testing.assert_allclose(found.pixels[found.seen], uv[found.seen], atol=1e-6)
        total += int(found.seen.sum())
    assert total > 1000


def test_the_transform_at_one_time_is_the_mounting() -> None:
    track = Drive().trajectory(ORIGIN + np.arange(0, 10) * 10**8, ORIGIN)
    rig = Calibration({"front": EGO_SE3_CAMERA})
    pose = camera_SE3_ego(track, rig, "front", ORIGIN, ORIGIN)
    np.testing.assert_allclose(pose.rotation, EGO_SE3_CAMERA.inverse().rotation, atol=1e-12)
    np.testing.assert_allclose(
        pose.translation_m, EGO_SE3_CAMERA.inverse().translation_m, atol=1e-12
    )
