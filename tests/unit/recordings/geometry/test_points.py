from __future__ import annotations

import numpy as np
import pytest

from recordings.geometry.points import IntensityScale, RawPoints, clean, pick, place
from scene.errors import DataError
from scene.pose import SE3


def raw(xyz: list[list[float]]) -> RawPoints:
    points = np.array(xyz, dtype=np.float32)
    return RawPoints(points, np.arange(len(points), dtype=np.uint8), None, None)


def test_clean_drops_missing_returns_and_keeps_columns_together() -> None:
    nan = float("nan")
    cloud = raw([[1, 2, 3], [nan, 0, 0], [0, 0, 0], [4, 5, np.inf], [0, 0, 1e9], [-7, 0, 0]])
    cleaned = clean(cloud)
    assert cleaned.xyz_m.tolist() == [[1, 2, 3], [-7, 0, 0]]
    assert cleaned.intensity is not None
    assert cleaned.intensity.tolist() == [0, 5]


def test_clean_returns_a_good_cloud_uncopied_and_an_empty_one_as_it_is() -> None:
    cloud = raw([[1, 2, 3]])
    assert clean(cloud) is cloud
    empty = RawPoints(np.zeros((0, 3), np.float32), None, None, None)
    assert len(clean(empty).xyz_m) == 0


def test_clean_refuses_a_cloud_of_only_nan() -> None:
    with pytest.raises(DataError, match="all 2 points"):
        clean(raw([[np.nan] * 3, [0, 0, 0]]))


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        (np.array([0, 51, 255], np.uint8), [0, 0.2, 1]),
        (np.array([0.0, 0.25, 1.0], np.float32), [0, 0.25, 1]),
        (np.array([0.0, 51.0, 255.0], np.float32), [0, 0.2, 1]),
        (np.array([0, 13107, 65535], np.uint16), [0, 0.2, 1]),
        (np.array([0, 51, 255], np.uint16), [0, 0.2, 1]),
        (np.array([np.nan, 51.0, 255.0], np.float32), [0, 0.2, 1]),
        (np.array([-1.0, 51.0, 255.0], np.float64), [0, 0.2, 1]),
    ],
)
def test_intensity_is_brought_to_one(values: np.ndarray, expected: list[float]) -> None:
    scaled = IntensityScale().apply(values, len(values))
    assert scaled.dtype == np.float32
    np.testing.assert_allclose(scaled, expected, atol=1e-6)


def test_intensity_factor_is_chosen_once_for_a_recording() -> None:
    scale = IntensityScale()
    scale.apply(np.array([200.0], np.float32), 1)
    np.testing.assert_allclose(scale.apply(np.array([1.0], np.float32), 1), [1 / 255], rtol=1e-6)


@pytest.mark.parametrize("kind", [np.float32, np.uint16])
def test_dark_first_sweeps_do_not_choose_the_intensity_factor(kind: type) -> None:
    scale = IntensityScale()
    assert scale.apply(np.zeros(3, kind), 3).tolist() == [0, 0, 0]
    found = scale.apply(np.array([0, 6553.5, 65535], kind), 3)
    np.testing.assert_allclose(found, [0, 0.1, 1], atol=1e-4)


def test_placing_is_the_transform_to_a_hundredth_of_a_millimetre() -> None:
    rng = np.random.default_rng(3)
    points = rng.uniform(-150, 150, (5000, 3)).astype(np.float32)
    pose = SE3.from_quaternion(np.array([0.8, 0.1, -0.2, 0.5]), np.array([1.2, -0.3, 1.7]))
    exact = pose.transform_points(points.astype(np.float64))
    found, real = place(points, pose)
    assert real is None
    assert np.abs(found - exact).max() < 5e-5
    assert place(points, SE3.identity())[0].tobytes() == points.tobytes()


def test_pick_ignores_case_and_prefers_the_first_wanted() -> None:
    assert pick(["X", "Intensity", "i"], ("intensity", "i")) == "Intensity"
    assert pick(["x"], ("intensity",)) is None
