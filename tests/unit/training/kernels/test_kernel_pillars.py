from dataclasses import replace

import numpy as np
import pytest
import torch  # noqa: TID253
from hypothesis import given, settings
from hypothesis import strategies as st

from scene.errors import ShapeError
from training import config as recipes
from training.kernels.pillars import PillarGrid, describe_points, largest_answers

GRID = PillarGrid(-6.4, -3.2, -1.0, 3.0, 0.2, 64, 32)


def cloud(seed, count=4000, columns=4):
    rng = np.random.default_rng(seed)
    low, high = [-8, -4, -2, 0, 0], [8, 4, 4, 1, 0.5]
    points = rng.uniform(low, high, (count, 5)).astype(np.float32)[:, :columns]
    points[: count // 4, :3] = points[0, :3] + rng.normal(0, 0.05, (count // 4, 3))
    points[5, 3] = np.nan
    points[6, 0] = np.inf
    points[7, -1] = np.nan
    return points


def reference(points, grid):
    """Features of the points inside and their cells, in float64 but for the choice of cell."""
    side = np.float32(grid.pillar_m)
    u = (points[:, 0] - np.float32(grid.x_min_m)) / side
    v = (points[:, 1] - np.float32(grid.y_min_m)) / side
    with np.errstate(invalid="ignore"):
        inside = (u >= 0) & (u < grid.rows) & (v >= 0) & (v < grid.columns)
        inside &= points[:, 2] >= np.float32(grid.z_min_m)
        inside &= (points[:, 2] < np.float32(grid.z_max_m)) & np.isfinite(points).all(axis=1)
    row, column = u[inside].astype(int), v[inside].astype(int)
    kept = points[inside].astype(np.float64)
    cells, pillar = np.unique(row * grid.columns + column, return_inverse=True)
    count = np.bincount(pillar)
    mean = np.stack([np.bincount(pillar, kept[:, k]) / count for k in range(3)], axis=1)[pillar]
    middle = np.stack([row + 0.5, column + 0.5], axis=1) * grid.pillar_m
    middle += [grid.x_min_m, grid.y_min_m]
    features = [
        kept[:, :2] / 50, kept[:, 2:], (kept[:, :2] - mean[:, :2]) / grid.pillar_m,
        kept[:, 2:3] - mean[:, 2:], (kept[:, :2] - middle) / grid.pillar_m,
    ]  # fmt: skip
    return np.concatenate(features, axis=1), pillar, cells


@pytest.mark.parametrize("columns", [4, 5])
def test_features_equal_the_float64_reference(columns):
    points = cloud(1, columns=columns)
    expected, pillar, cells = reference(points, GRID)
    found = describe_points(points, GRID)
    assert found.features.shape == (len(expected), columns + 5)
    np.testing.assert_allclose(found.features, expected, atol=1e-4)
    np.testing.assert_array_equal(found.cells[found.pillar], cells[pillar])
    assert len(np.unique(found.cells)) == len(found.cells) == len(cells)


@pytest.mark.parametrize("columns", [4, 5])
def test_answers_equal_reference_and_torch(columns):
    points = cloud(2, columns=columns)
    rng = np.random.default_rng(3)
    weight = rng.normal(size=(columns + 5, 24)).astype(np.float32)
    bias = rng.normal(size=24).astype(np.float32)
    features, pillar, cells = reference(points, GRID)
    answer = np.maximum(features @ weight.astype(np.float64) + bias, 0)
    expected = np.zeros((len(cells), 24))
    np.maximum.at(expected, pillar, answer)
    found = largest_answers(points, GRID, weight, bias)
    order = np.argsort(found.cells)
    np.testing.assert_array_equal(found.cells[order], cells)
    np.testing.assert_allclose(found.picture[order], expected, atol=3e-4)
    described = describe_points(points, GRID)
    values = torch.relu(torch.from_numpy(described.features) @ torch.from_numpy(weight)
                        + torch.from_numpy(bias))  # fmt: skip
    index = torch.from_numpy(described.pillar).long()[:, None].expand(-1, 24)
    peer = torch.zeros(len(cells), 24).scatter_reduce(0, index, values, "amax")
    np.testing.assert_array_equal(described.cells, found.cells)
    np.testing.assert_allclose(found.picture, peer.numpy(), atol=5e-4)


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 10_000), count=st.integers(1, 60))
def test_the_order_of_points_does_not_matter(seed, count):
    points = cloud(seed, max(count, 8))
    rng = np.random.default_rng(seed)
    weight = rng.normal(size=(9, 8)).astype(np.float32)
    bias = rng.normal(size=8).astype(np.float32)
    one = largest_answers(points, GRID, weight, bias)
    two = largest_answers(points[rng.permutation(len(points))], GRID, weight, bias)
    np.testing.assert_array_equal(np.sort(one.cells), np.sort(two.cells))
    first, second = np.argsort(one.cells), np.argsort(two.cells)
    np.testing.assert_allclose(one.picture[first], two.picture[second], atol=1e-4)


def test_no_points_make_no_pillars():
    nothing = np.zeros((0, 4), dtype=np.float32)
    assert describe_points(nothing, GRID).features.shape == (0, 9)
    weight, bias = np.zeros((9, 4), np.float32), np.ones(4, np.float32)
    assert largest_answers(nothing, GRID, weight, bias).picture.shape == (0, 4)


def test_shapes_that_do_not_fit_are_refused():
    with pytest.raises(ShapeError, match="N, 4 or 5"):
        describe_points(np.zeros((3, 3), np.float32), GRID)
    with pytest.raises(ShapeError, match=r"expected \(10, 4\)"):
        largest_answers(
            np.zeros((3, 5), np.float32), GRID, np.zeros((9, 4), np.float32), np.zeros(4)
        )


def test_the_grid_is_that_of_the_settings():
    config = replace(recipes.small(), pillar_m=0.2)
    grid = PillarGrid.of(config)
    assert (grid.rows, grid.columns) == config.grid_shape == (160, 160)
    assert (grid.x_min_m, grid.z_max_m) == (config.x_min_m, config.z_max_m)
