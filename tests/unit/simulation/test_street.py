import hashlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scene.box import points_in_boxes
from simulation.actors import Actor, Cast, driving, standing, walking
from simulation.ego import VehicleModel
from simulation.lidar import LidarModel
from simulation.road import Road
from simulation.shapes import bicycle, bus, car, pedestrian, truck
from simulation.traffic import build_drive
from simulation.world import observe

LIDAR = LidarModel(num_columns=360)


@pytest.mark.parametrize("make", [car, truck, bus, pedestrian, bicycle])
def test_parts_fill_their_box_and_stay_inside(make) -> None:
    for seed in range(8):
        shape = make(np.random.default_rng(seed))
        reach = []
        for phase in np.linspace(0, 2 * np.pi, 9):
            owned = shape.parts.owned_by(0)
            parts = owned.placed(np.zeros((1, 2)), np.zeros(1), np.array([phase]))
            reach.append(np.abs(parts.center_xy_m) + parts.half_xy_m)
        reach = np.concatenate(reach).max(axis=0)
        half = np.array(shape.size_lwh_m[:2]) / 2
        assert (reach <= half + 0.02).all(), (reach, half)
        assert (reach >= half * 0.9).all(), (reach, half)
        assert parts.z_max_m.max() == pytest.approx(shape.size_lwh_m[2], abs=0.02)
        assert parts.z_min_m.min() <= 0.3


@settings(max_examples=40, deadline=None)
@given(
    st.floats(-0.01, 0.01), st.floats(-60, 60), st.floats(-12, 12), st.floats(-3, 3)
)  # fmt: skip
def test_road_round_trip(curvature: float, s: float, d: float, yaw: float) -> None:
    road = Road(12.0, -5.0, yaw, curvature)
    xy, heading = road.to_map(np.array([s]), np.array([d]))
    back_s, back_d = road.to_road(xy)
    assert back_s[0] == pytest.approx(s, abs=1e-4)
    assert back_d[0] == pytest.approx(d, abs=1e-4)
    ahead, _ = road.to_map(np.array([s + 1e-4]), np.array([d]))
    step = ahead[0] - xy[0]
    assert np.arctan2(step[1], step[0]) - heading[0] == pytest.approx(
        round((np.arctan2(step[1], step[0]) - heading[0]) / (2 * np.pi)) * 2 * np.pi, abs=1e-4
    )


def test_scripts_move_as_told() -> None:
    rng = np.random.default_rng(0)
    actors = (
        Actor("a", car(rng), driving(10.0, -1.75, 8.0, 6.0, changes=[(2.0, -4.0)])),
        Actor("b", car(rng), driving(50.0, 1.75, 8.0, 6.0, oncoming=True)),
        Actor("c", pedestrian(rng), walking([(20, -5), (20, 5)], 1.5, starts_at_ego_s_m=7.0)),
        Actor("d", car(rng), standing(30.0, -4.0, 0.1)),
    )  # fmt: skip
    cast = Cast(actors, Road())
    cast.notice(0.5, 6.9)
    assert np.isinf(cast.started_s[2])
    cast.notice(1.0, 7.1)
    state = cast.at(2.0)
    assert state.xy_m[0] == pytest.approx([26.0, -1.75], abs=1e-6)
    assert state.velocity_xy_mps[1] == pytest.approx([-8.0, 0.0], abs=1e-6)
    assert abs(state.yaw_rad[1]) == pytest.approx(np.pi)
    assert state.xy_m[2] == pytest.approx([20.0, -5.0 + 1.5 * 0.75], abs=0.01)
    assert state.yaw_rad[2] == pytest.approx(np.pi / 2)
    assert state.velocity_xy_mps[3] == pytest.approx([0.0, 0.0])
    stopped = cast.at(5.0)
    assert stopped.xy_m[0, 0] == pytest.approx(26.0 + 8.0, abs=0.01)
    assert stopped.velocity_xy_mps[0] == pytest.approx([0.0, 0.0], abs=1e-6)


def look(seed: int, time_s: float = 1.0):
    world = build_drive(True, 8.0, np.random.default_rng(seed))
    cast, ego = world.make_cast(), world.make_ego(VehicleModel())
    return observe(
        world, LIDAR, cast, cast.at(time_s), ego.motion, 10**18, np.random.default_rng(seed)
    )


def test_same_seed_same_sweep_other_seed_another() -> None:
    digests = []
    for seed in (3, 3, 4):
        scan, truth = look(seed)
        content = scan.sweep.points_ego_m.tobytes() + scan.sweep.intensity.tobytes()
        digests.append(hashlib.sha256(content + truth.center_xyz_m.tobytes()).hexdigest())
    assert digests[0] == digests[1] != digests[2]


@pytest.mark.parametrize("seed", [1, 5])
def test_boxes_sit_on_their_points(seed: int) -> None:
    scan, truth = look(seed)
    assert len(scan.sweep) > 5000
    inside = points_in_boxes(scan.sweep.points_ego_m, truth, margin_m=0.12)
    own = scan.owner[None] == np.arange(len(truth))[:, None]
    assert np.array_equal(own.sum(axis=1), truth.num_points)
    held = (inside & own).sum() / own.sum()
    assert held > 0.995
    solid = points_in_boxes(scan.sweep.points_ego_m, truth, margin_m=-0.05)
    strangers = solid & ~own & (scan.sweep.points_ego_m[:, 2] > 0.3)[None]
    assert strangers.sum() / solid.sum() < 0.03


def test_sweep_looks_like_the_sensor() -> None:
    scan, _ = look(2)
    sweep = scan.sweep
    assert sweep.ring is not None
    assert set(np.unique(sweep.ring)) <= set(range(32))
    assert (np.diff(sweep.offset_ns) >= 0).all()
    assert sweep.offset_ns[-1] < 50_000_000
    ground = sweep.points_ego_m[(scan.owner < 0) & (np.abs(sweep.points_ego_m[:, 2]) < 0.08)]
    assert len(ground) > 1000
    assert abs(np.median(ground[:, 2])) < 0.02
    assert sweep.intensity.min() >= 0
    assert sweep.intensity.max() <= 1
    ahead = np.abs(np.arctan2(sweep.points_ego_m[:, 1], sweep.points_ego_m[:, 0])) < 0.05
    assert np.median(sweep.offset_ns[ahead]) == pytest.approx(25e6, abs=1e6)


def test_only_late_drives_have_people_and_nobody_stands_inside_another() -> None:
    for late in (False, True):
        kinds, pairs = set(), 0
        for seed in range(5):
            world = build_drive(late, 8.0, np.random.default_rng(seed))
            cast = world.make_cast()
            boxes = cast.boxes(cast.at(0.0))
            kinds |= set(boxes.category.tolist())
            people = boxes.take(boxes.category == "pedestrian")
            vehicles = boxes.take(np.isin(boxes.category, ["car", "truck", "bus"]))
            pairs += int(points_in_boxes(people.center_xyz_m, vehicles).sum())
        assert ("pedestrian" in kinds) == late
        assert {"car", "bicycle"} <= kinds
        assert pairs == 0
