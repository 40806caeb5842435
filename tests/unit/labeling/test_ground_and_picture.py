import io

import numpy as np
import pytest
from PIL import Image

from labeling.ground import GroundGrid, find_ground
from labeling.picture import draw_frame, encode_png
from scene.bev import BevView
from scene.box import Boxes
from scene.errors import LabelError

VIEW = BevView()


def hill(count=30_000):
    rng = np.random.default_rng(1)
    xy = np.column_stack([rng.uniform(-25, 65, count), rng.uniform(-35, 35, count)])
    return np.column_stack([xy, np.sin(xy[:, 0] / 15) + rng.normal(0, 0.02, count)])


def test_ground_follows_a_hill_under_objects():
    ground = hill()
    rng = np.random.default_rng(2)
    house = np.column_stack([rng.uniform(20, 30, 5000), rng.uniform(5, 15, 5000),
                             rng.uniform(1, 6, 5000)])  # fmt: skip
    grid = find_ground(np.concatenate([ground, house]).astype(np.float32), VIEW)
    where = np.column_stack([np.linspace(-15, 55, 50), np.linspace(-20, 20, 50)])
    np.testing.assert_allclose(grid.at(where), np.sin(where[:, 0] / 15), atol=0.35)


def test_cells_without_points_take_their_neighbours():
    points = hill()
    grid = find_ground(points[points[:, 1] < 0].astype(np.float32), VIEW)
    known, unknown = grid.at(np.array([[10.0, -2.0], [10.0, 25.0]]))
    assert known == pytest.approx(unknown, abs=0.3)


@pytest.mark.parametrize(
    "points", [np.zeros((0, 3)), np.full((9, 3), 500.0), np.full((9, 3), np.nan)]
)
def test_without_points_the_ground_is_flat(points):
    grid = find_ground(points.astype(np.float32), VIEW)
    assert not grid.height_m.any()


def test_one_roof_does_not_lift_the_ground():
    points = hill()
    points[:, 2] = 0.0
    roof = (np.abs(points[:, 0] - 14) < 2) & (np.abs(points[:, 1] - 8) < 2)
    points[roof, 2] = 3.0
    assert abs(find_ground(points.astype(np.float32), VIEW).at(np.array([[14.0, 8.0]]))[0]) < 0.05


def test_ground_survives_json():
    grid = find_ground(hill().astype(np.float32), VIEW)
    back = GroundGrid.from_dict(grid.to_dict())
    np.testing.assert_allclose(back.height_m, grid.height_m, atol=0.005)
    where = np.array([[3.0, 4.0], [1e6, -1e6]])
    np.testing.assert_allclose(back.at(where), grid.at(where), atol=0.005)


@pytest.mark.parametrize("values", [{}, {"height_cm": [], "x_min_m": 0, "y_min_m": 0, "cell_m": 1}])
def test_damaged_ground_is_refused(values):
    with pytest.raises(LabelError, match="ground map"):
        GroundGrid.from_dict(values)


def test_picture_shows_points_where_they_are_and_is_deterministic():
    points = np.array([[30.0, 10.0, 1.5], [0.0, -20.0, 1.5]], dtype=np.float32)
    picture = draw_frame(points, Boxes.empty(), VIEW)
    empty = draw_frame(points[:0], Boxes.empty(), VIEW)
    rows, columns = np.nonzero((picture != empty).any(axis=2))
    seen = np.floor(VIEW.to_pixels(points[:, :2]))
    for column, row in seen:
        assert np.hypot(columns - column, rows - row).min() <= 1
    assert len(rows) <= 4
    png = encode_png(picture)
    assert png == encode_png(draw_frame(points, Boxes.empty(), VIEW))
    assert (np.asarray(Image.open(io.BytesIO(png))) == picture).all()


def test_picture_shows_which_way_a_prelabel_faces():
    left = np.array([np.pi / 2])
    box = Boxes.make(np.array([[20.0, 0.0, 1.0]]), np.array([[4.0, 2.0, 2.0]]), left, ["car"])
    none = np.zeros((0, 3), np.float32)
    picture, empty = draw_frame(none, box, VIEW), draw_frame(none, Boxes.empty(), VIEW)
    row, column = np.nonzero((picture != empty).any(axis=2))
    assert np.abs(row - 400).max() <= 1  # along the row of x = 20
    assert 279 <= column.min() <= 281  # 2 m to the left
    assert 299 <= column.max() <= 301
