from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from curation.clusters import CLUSTER_SCHEMA, Clusters, distance_to_path, find_clusters
from scene.errors import ShapeError
from scene.pose import SE3
from tests.unit.curation.conftest import World, cars, scan

NO_PATH = np.zeros((0, 2))


def nearest(clusters: Clusters, x: float, y: float) -> tuple[float, int]:
    gap = np.hypot(clusters.center_xyz_m[:, 0] - x, clusters.center_xyz_m[:, 1] - y)
    return float(gap.min()), int(gap.argmin())


def test_person_and_car_are_measured():
    world = World(cars((12.0, 4.0, -0.6)), np.array([[10.0, -3.0, 0.25, 1.75]]))
    clusters = find_clusters(scan(world, SE3.identity()), 7, NO_PATH)
    assert (clusters.timestamp_ns == 7).all()
    gap, person = nearest(clusters, 10.0, -3.0)
    assert gap < 0.25
    assert clusters.size_lwh_m[person, 0] < 0.6
    assert 1.4 < clusters.size_lwh_m[person, 2] < 1.8
    gap, car = nearest(clusters, 12.0, 4.0)
    assert gap < 0.9
    assert clusters.size_lwh_m[car, 0] == pytest.approx(4.5, abs=0.3)
    assert clusters.yaw_rad[car] == pytest.approx(-0.6, abs=0.1)
    assert np.isinf(clusters.path_distance_m).all()


@pytest.mark.parametrize("slope", [-0.1, 0.12])
def test_ground_need_not_be_flat(slope: float):
    people = np.array([[x, y, 0.25, 1.75] for x, y in ((8.0, 2.0), (15.0, -5.0), (20.0, 4.0))])
    clusters = find_clusters(scan(World(cars(), people, slope), SE3.identity()), 0, NO_PATH)
    for x, y, _, height in people:
        gap, index = nearest(clusters, x, y)
        assert gap < 0.35
        assert clusters.size_lwh_m[index, 2] == pytest.approx(height, abs=0.5)
    assert len(clusters) == len(people), "the ramp itself is not an object"


def test_person_close_to_a_car_stays_apart():
    # 0.45 m of air between the car's rear and the person, 14 m away.
    world = World(cars((17.2, -3.0, 0.0)), np.array([[14.3, -3.0, 0.2, 1.75]]))
    clusters = find_clusters(scan(world, SE3.identity()), 0, NO_PATH)
    gap, index = nearest(clusters, 14.3, -3.0)
    assert gap < 0.25
    assert clusters.size_lwh_m[index, 0] < 0.7


def test_echoes_below_the_road_do_not_hide_people():
    people = np.array([[12.0, 3.0, 0.25, 1.75]])
    points = scan(World(cars(), people), SE3.identity())
    mirror = np.array([[12.4, 3.2, -3.0], [13.0, 2.0, -2.5], [20.0, -8.0, -6.0]], np.float32)
    clusters = find_clusters(np.concatenate([points, mirror]), 0, NO_PATH)
    assert nearest(clusters, 12.0, 3.0)[0] < 0.25


def test_pole_keeps_its_height_and_tree_crown_does_not_grow_a_person():
    world = World(cars(), np.array([[9.0, 2.0, 0.08, 5.0], [9.0, -4.0, 0.25, 1.7]]))
    points = scan(world, SE3.identity())
    crown = np.random.default_rng(0).uniform((8, -5, 3.5), (10, -3, 5.5), (400, 3))
    points = np.concatenate([points, crown.astype(np.float32)])
    clusters = find_clusters(points, 0, NO_PATH)
    assert clusters.size_lwh_m[nearest(clusters, 9.0, 2.0)[1], 2] > 2.9
    assert clusters.size_lwh_m[nearest(clusters, 9.0, -4.0)[1], 2] < 1.8


def test_bad_input_is_named_and_nan_is_ignored():
    with pytest.raises(ShapeError, match=r"sweep 5: expected \(N, 3\)"):
        find_clusters(np.zeros((4, 4)), 5, NO_PATH)
    with pytest.raises(ShapeError, match="path"):
        find_clusters(np.zeros((4, 3)), 5, np.zeros((2, 3)))
    points = scan(World(cars((9.0, 4.0, 0.0)), np.zeros((0, 4))), SE3.identity())
    clean = find_clusters(points, 0, NO_PATH)
    holes = np.concatenate([points, np.full((50, 3), np.nan, np.float32)])
    assert find_clusters(holes, 0, NO_PATH).to_arrow().equals(clean.to_arrow())
    assert len(find_clusters(np.zeros((0, 3)), 0, NO_PATH)) == 0


def test_arrow_round_trip_and_by_time():
    world = World(cars((12.0, 4.0, 0.3), (20.0, -4.0, 0.0)), np.zeros((0, 4)))
    one = find_clusters(scan(world, SE3.identity()), 5, np.array([[0.0, 0.0], [30.0, 0.0]]))
    two = find_clusters(scan(world, SE3.from_yaw(0.2, np.zeros(3))), 3, NO_PATH)
    both = Clusters.concatenate([one, two])
    assert both.to_arrow().schema.equals(CLUSTER_SCHEMA)
    again = Clusters.from_arrow(both.to_arrow())
    assert again.to_arrow().equals(both.to_arrow())
    assert list(both.by_time()) == [3, 5]
    assert both.by_time()[5].to_arrow().equals(one.to_arrow())
    assert Clusters.empty().by_time() == {}
    with pytest.raises(ShapeError, match="x_m"):
        Clusters.from_arrow(both.to_arrow().drop_columns(["x_m"]))


@settings(max_examples=50, deadline=None)
@given(
    st.lists(st.tuples(st.floats(-50, 50), st.floats(-50, 50)), min_size=1, max_size=8),
    st.lists(st.tuples(st.floats(-50, 50), st.floats(-50, 50)), min_size=1, max_size=6),
)
def test_distance_to_path_agrees_with_dense_sampling(places, path):
    places, path = np.array(places), np.array(path)
    got = distance_to_path(places, path)
    ratio = np.linspace(0, 1, 400)[:, None]
    dense = np.concatenate([path, *(a + (b - a) * ratio for a, b in itertools.pairwise(path))])
    want = np.hypot(*(places[:, None] - dense[None]).transpose(2, 0, 1)).min(1)
    longest = np.hypot(*np.diff(path, axis=0).T).max() if len(path) > 1 else 0.0
    assert (got <= want + 1e-9).all()
    assert (got >= want - longest / 399 - 1e-9).all()
