import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scene.box import Boxes
from scene.pose import SE3
from simulation.contact import outlines_meet
from simulation.ego import Ego, VehicleModel
from simulation.lidar import EgoMotion
from simulation.planner import (
    HORIZON_S,
    Planner,
    PlannerConfig,
    idm_acceleration,
    project,
    time_to_collision_s,
)
from simulation.road import Road
from simulation.tracker import Tracker, Tracks

ROAD, MODEL, CONFIG = Road(), VehicleModel(), PlannerConfig()


def box(
    x: float, y: float, velocity=(0.0, 0.0), category: str = "car", score: float = 0.9
) -> Boxes:
    size = {"car": (4.5, 1.8, 1.5), "pedestrian": (0.6, 0.6, 1.75)}[category]
    return Boxes.make(
        np.array([[x, y, size[2] / 2]]), np.array([size]), np.zeros(1), [category],
        np.array([velocity]), None, np.array([score]),
    )  # fmt: skip


def ego_at(speed: float, x: float = 0.0) -> EgoMotion:
    return EgoMotion(np.array([x, -1.75]), 0.0, speed, 0.0)


def plan(boxes: Boxes, speed: float) -> float:
    planner = Planner(CONFIG, MODEL, ROAD, -1.75, 12.0)
    return planner.plan(Tracks(boxes, np.zeros(len(boxes))), ego_at(speed))


@pytest.mark.parametrize("speed", [2.0, 8.0, 14.0])
def test_full_brake_stops_in_the_closed_form_distance(speed: float) -> None:
    ego = Ego(MODEL, np.array([0.0, -1.75]), 0.0, speed)
    while ego.speed_mps > 0.0 and ego.xy_m[0] < 60.0:
        ego.step(-20.0, ROAD, -1.75, 0.001)
    assert ego.speed_mps == 0.0
    assert ego.xy_m[0] == pytest.approx(MODEL.stopping_distance_m(speed), abs=0.02)


def test_ego_keeps_its_lane_in_a_bend() -> None:
    road = Road(curvature_1pm=1 / 90)
    xy, heading = road.to_map(np.array(0.0), np.array(-1.75))
    ego = Ego(MODEL, xy, float(heading), 9.0)
    for _ in range(800):
        ego.step(0.0, road, -1.75, 0.01)
    _, d = road.to_road(ego.xy_m[None])
    assert d[0] == pytest.approx(-1.75, abs=0.15)


def test_idm_settles_at_its_equilibrium_gap() -> None:
    lead, speed, gap = 8.0, 11.0, 60.0
    for _ in range(6000):
        pull = idm_acceleration(CONFIG, speed, 12.0, np.array([gap]), np.array([lead]))[0]
        gap += (lead - speed) * 0.05
        speed = max(0.0, speed + pull * 0.05)
    wanted = (CONFIG.standstill_gap_m + lead * CONFIG.headway_s) / np.sqrt(1 - (lead / 12.0) ** 4)
    assert speed == pytest.approx(lead, abs=1e-3)
    assert gap == pytest.approx(wanted, abs=1e-2)


def test_planner_answers_to_what_matters() -> None:
    free = plan(Boxes.empty(), 10.0)
    assert free > 0
    assert plan(box(9.0, -5.3), 10.0) == free  # parked beside the lane
    assert plan(box(30.0, 1.75, (-10.0, 0.0)), 10.0) == free  # oncoming
    assert plan(box(-15.0, -1.75, (10.0, 0.0)), 10.0) == free  # behind
    assert plan(box(30.0, -1.75, (6.0, 0.0)), 10.0) < 0  # slower ahead
    assert plan(box(16.0, -1.75), 10.0) == -MODEL.max_brake_mps2  # standing, close
    walker = box(18.0, -4.5, (0.0, 1.5), "pedestrian")
    assert plan(walker, 10.0) < -2.0  # about to cross
    assert plan(box(18.0, -4.5, (0.0, 0.0), "pedestrian"), 10.0) == free  # waits at the curb
    assert plan(box(18.0, -4.5, (0.0, -1.5), "pedestrian"), 10.0) == free  # walks away
    assert plan(box(16.0, -1.75), 0.0) > -MODEL.max_brake_mps2  # no emergency when standing


def test_time_to_collision() -> None:
    boxes = Boxes.concatenate([box(23.8 + 2.25, -1.75), box(40, 3.0), box(14.1, -4.75, (0.0, 2.0))])
    view = project(boxes, ego_at(10.0), ROAD, -1.75, MODEL)
    ttc = time_to_collision_s(view, 10.0, MODEL.width_m / 2)
    assert ttc[0] == pytest.approx(2.0, abs=0.11)
    assert ttc[1] == HORIZON_S
    assert ttc[2] == pytest.approx(0.81, abs=0.11)


def test_tracker_confirms_two_of_three_and_finds_the_velocity() -> None:
    rng = np.random.default_rng(0)
    tracker, sizes = Tracker(), []
    for k in range(12):
        x = 10.0 + 0.8 * k
        found = box(x + rng.normal(0, 0.1), rng.normal(0, 0.1))
        tracker.update(Boxes.empty() if k == 1 else found, SE3.identity(), k * 0.1)
        sizes.append(len(tracker.at(k * 0.1).boxes))
    assert sizes[:3] == [0, 0, 1]
    assert sizes[-1] == 1
    tracks = tracker.at(1.2)
    assert tracks.boxes.velocity_xy_mps[0] == pytest.approx([8.0, 0.0], abs=0.8)
    assert tracks.boxes.center_xyz_m[0, 0] == pytest.approx(10.0 + 0.8 * 12, abs=0.4)
    for k in range(12, 16):
        tracker.update(Boxes.empty(), SE3.identity(), k * 0.1)
    assert len(tracker.at(1.6).boxes) == 0


def test_tracker_ignores_weak_and_lonely_detections() -> None:
    tracker = Tracker()
    rng = np.random.default_rng(1)
    for k in range(20):
        weak = box(10.0, 0.0, score=0.2)
        lonely = box(float(rng.uniform(0, 50)), float(k * 7 % 40 - 20))
        tracker.update(Boxes.concatenate([weak, lonely]), SE3.identity(), k * 0.1)
        assert len(tracker.at(k * 0.1).boxes) <= 1


def test_tracker_works_in_the_map_frame() -> None:
    tracker = Tracker()
    for k in range(6):
        pose = SE3.from_yaw(0.3, np.array([100.0 + k, 5.0, 0.0]))
        seen = box(150.0, 20.0).transform(pose.inverse())
        tracker.update(seen, pose, k * 0.1)
    tracks = tracker.at(0.6)
    assert tracks.boxes.center_xyz_m[0, :2] == pytest.approx([150.0, 20.0], abs=1e-6)
    assert tracks.boxes.velocity_xy_mps[0] == pytest.approx([0.0, 0.0], abs=1e-6)


@settings(max_examples=60, deadline=None)
@given(*(st.floats(-4, 4) for _ in range(2)), *(st.floats(-3.2, 3.2) for _ in range(2)))
def test_contact_agrees_with_sampled_points(x: float, y: float, a: float, b: float) -> None:
    first, second = np.array([0, 0, 4.8, 1.9, a]), np.array([x, y, 2.0, 0.8, b])
    grid = np.stack(np.meshgrid(np.linspace(-1, 1, 41), np.linspace(-0.4, 0.4, 17)), -1).reshape(
        -1, 2
    )
    c, s = np.cos(b), np.sin(b)
    world = grid @ np.array([[c, s], [-s, c]]) + (x, y)
    c, s = np.cos(a), np.sin(a)
    local = world @ np.array([[c, -s], [s, c]])
    touching = ((np.abs(local[:, 0]) <= 2.4) & (np.abs(local[:, 1]) <= 0.95)).any()
    if touching:
        assert outlines_meet(first, second)
    assert outlines_meet(first, second) == outlines_meet(second, first)
    if outlines_meet(first, second) and not touching:
        gap = np.maximum(np.abs(local) - (2.4, 0.95), 0.0)
        assert np.hypot(*gap.T).min() < 0.12 or _corner_inside(first, second)


def _corner_inside(first: np.ndarray, second: np.ndarray) -> bool:
    corners = np.array([[1, 1], [1, -1], [-1, -1], [-1, 1]]) * first[2:4] / 2
    c, s = np.cos(first[4]), np.sin(first[4])
    world = corners @ np.array([[c, s], [-s, c]]) - second[:2]
    c, s = np.cos(second[4]), np.sin(second[4])
    local = np.abs(world @ np.array([[c, -s], [s, c]]))
    return bool(((local[:, 0] <= 1.0) & (local[:, 1] <= 0.4)).any())
