from __future__ import annotations

import numpy as np
import pytest

from curation.clusters import Clusters
from curation.triggers import (
    DEFAULT_TRIGGERS,
    DenseTraffic,
    Drive,
    HardBrake,
    LowPointDensity,
    SharpTurn,
    ego_path,
    events_to_arrow,
    fire_all,
)
from scene.errors import FrameError, ShapeError
from scene.pose import Trajectory
from storage.schemas import EVENTS

NS = 1_000_000_000


def trajectory(speed_mps, yaw_rate_rad_s, hz: float = 50.0, noise_m: float = 0.0) -> Trajectory:
    """Integrate speeds and yaw rates given at `hz`."""
    speed, rate = np.broadcast_arrays(np.asarray(speed_mps, float), yaw_rate_rad_s)
    heading = np.cumsum(rate) / hz
    x = np.cumsum(speed * np.cos(heading)) / hz
    y = np.cumsum(speed * np.sin(heading)) / hz
    noise = np.random.default_rng(0).normal(0, noise_m, (2, len(x)))
    times = 10 * NS + (np.arange(len(x)) * NS / hz).astype(np.int64)
    zero = np.zeros(len(x))
    quat = np.stack([np.cos(heading / 2), zero, zero, np.sin(heading / 2)], 1)
    return Trajectory(times, quat, np.stack([x + noise[0], y + noise[1], zero], 1))


def drive(path: Trajectory, clusters: Clusters | None = None, num_points=None) -> Drive:
    times = path.timestamps_ns[::10]
    counts = np.full(len(times), 20_000) if num_points is None else np.asarray(num_points)
    return Drive("r", path, times, counts, clusters or Clusters.empty())


def braking(decel: float, noise_m: float = 0.0) -> Drive:
    """3 s at 12 m/s, then braking to standstill, then 2 s of standing."""
    down = 12.0 - decel * np.arange(0, 12.0 / decel, 0.02)
    return drive(
        trajectory(np.concatenate([np.full(150, 12.0), down, np.zeros(100)]), 0.0, 50, noise_m)
    )


@pytest.mark.parametrize("noise_m", [0.0, 0.01])
def test_hard_brake_is_found_when_and_as_hard_as_it_was(noise_m):
    (event,) = HardBrake().fire(braking(6.0, noise_m))
    assert event.start_ns == pytest.approx(13 * NS, abs=0.4 * NS)
    assert event.end_ns == pytest.approx(15 * NS, abs=0.4 * NS)
    assert event.strength == pytest.approx(6.0, rel=0.15)
    assert "from 12" in event.detail


def test_gentle_braking_does_not_fire():
    assert HardBrake().fire(braking(2.0, 0.01)) == []


def test_sharp_turn():
    rate = np.zeros(400)
    rate[150:250] = 0.6
    (event,) = SharpTurn().fire(drive(trajectory(5.0, rate)))
    assert event.strength == pytest.approx(0.6, abs=0.05)
    assert event.start_ns == pytest.approx(13 * NS, abs=0.3 * NS)
    assert SharpTurn().fire(drive(trajectory(5.0, rate / 3))) == []
    assert SharpTurn().fire(drive(trajectory(0.5, rate))) == [], "slow manoeuvring is no turn"


def test_dense_traffic_counts_only_what_is_close_to_the_path():
    path = trajectory(np.full(300, 5.0), 0.0)
    at = path.timestamps_ns[50]  # one sweep

    def crowd(count: int, path_distance_m: float) -> Clusters:
        center = np.stack([np.linspace(5, 30, count), np.zeros(count), np.ones(count)], 1)
        return Clusters(
            np.full(count, at), center, np.tile([1.8, 0.6, 1.6], (count, 1)), np.zeros(count),
            np.full(count, 30), np.full(count, path_distance_m),
        )  # fmt: skip

    (event,) = DenseTraffic().fire(drive(path, crowd(8, 2.0)))
    assert (event.start_ns, event.end_ns, event.strength) == (at, at, 8.0)
    assert DenseTraffic().fire(drive(path, crowd(5, 2.0))) == []
    assert DenseTraffic().fire(drive(path, crowd(20, 9.0))) == []


def test_low_point_density_against_the_drives_own_median():
    path = trajectory(np.full(300, 5.0), 0.0)
    counts = np.full(30, 20_000)
    counts[12:15] = [9_000, 4_000, 10_000]
    (event,) = LowPointDensity().fire(drive(path, num_points=counts))
    times = path.timestamps_ns[::10]
    assert (event.start_ns, event.end_ns) == (times[12], times[14])
    assert event.strength == pytest.approx(0.8)
    assert LowPointDensity().fire(drive(path, num_points=np.full(30, 20_000))) == []
    assert len(LowPointDensity().fire(drive(path, num_points=np.full(30, 800)))) == 1


def test_ego_path_follows_the_drive_and_goes_on_where_it_ends():
    bend = trajectory(np.full(500, 8.0), 0.2)
    path = ego_path(bend, int(bend.timestamps_ns[100]), 30.0)
    radius = 8.0 / 0.2
    assert path[0] == pytest.approx([0, 0])
    assert np.hypot(path[:, 0], path[:, 1] - radius) == pytest.approx(radius, abs=0.1)
    assert np.hypot(*np.diff(path, axis=0).T).sum() == pytest.approx(30.0, abs=0.6)
    still = braking(6.0).trajectory
    path = ego_path(still, int(still.timestamps_ns[150]), 40.0)
    assert path[-1] == pytest.approx([40.0, 0.0], abs=0.6), "straight on after the stop at 12 m"
    with pytest.raises(FrameError):
        ego_path(bend, 0, 30.0)


def test_events_become_rows_and_short_drives_are_fine():
    events = fire_all(braking(6.0))
    table = events_to_arrow({"r": events, "a": []})
    assert table.schema.equals(EVENTS)
    assert table.column("trigger").to_pylist() == ["hard_brake"]
    assert events_to_arrow({}).schema.equals(EVENTS)
    one = drive(trajectory([1.0], 0.0))
    assert [t.fire(one) for t in DEFAULT_TRIGGERS] == [[]] * len(DEFAULT_TRIGGERS)
    with pytest.raises(ShapeError, match="recording r"):
        Drive("r", one.trajectory, np.zeros(2, np.int64), np.zeros(3, np.int64), Clusters.empty())
