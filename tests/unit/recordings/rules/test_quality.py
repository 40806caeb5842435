from __future__ import annotations

import numpy as np

from recordings.recording import empty_trajectory, identity_trajectory
from recordings.rules.quality import RULES, Facts, Finding, QualityCheck
from scene.calibration import Calibration
from scene.pose import SE3, Trajectory
from scene.sweep import Sweep

PERIOD = 100_000_000
START = 1_700_000_000_000_000_000
KNOWN = Calibration({"lidar": SE3.identity()})


def sweep(time: int, *, num: int = 900, ground_m: float = 0.0, seed: int | None = None) -> Sweep:
    """A flat ground with a wall."""
    rng = np.random.default_rng(time if seed is None else seed)
    points = np.stack(
        [rng.uniform(-14, 14, num), rng.uniform(-14, 14, num), rng.normal(ground_m, 0.02, num)], 1
    ).astype(np.float32)
    intensity = rng.uniform(0, 1, num).astype(np.float32)
    return Sweep(START + time, points, intensity, np.zeros(num, np.int32))


def findings(
    sweeps: list[Sweep], trajectory: Trajectory | None = None, calibration: Calibration = KNOWN
) -> dict[str, Finding]:
    times = [one.timestamp_ns for one in sweeps]
    if trajectory is None:
        trajectory = identity_trajectory(times) if times else empty_trajectory()
    check = QualityCheck(Facts(trajectory, calibration, "lidar"))
    for one in sweeps:
        check.add(one)
    found = check.finish()
    assert all(finding.message and finding.remedy for finding in found)
    assert all(finding.remedy == RULES[finding.code].remedy for finding in found)
    return {finding.code: finding for finding in found}


def regular(num: int = 10) -> list[Sweep]:
    return [sweep(i * PERIOD) for i in range(num)]


def test_a_good_recording_has_no_findings() -> None:
    assert findings(regular()) == {}


def test_no_sweeps() -> None:
    assert findings([])["REC001"].severity == "error"


def test_empty_sweeps() -> None:
    some = findings([*regular(4), sweep(4 * PERIOD, num=0)])
    assert some["REC003"].severity == "warning"
    assert "1 of 5" in some["REC003"].message
    every = findings([sweep(i * PERIOD, num=0) for i in range(3)])
    assert every["REC002"].severity == "error"


def test_points_that_are_not_finite() -> None:
    bad = sweep(0)
    bad.points_ego_m[3, 1] = np.nan
    bad.points_ego_m[7] = np.inf
    found = findings([bad, sweep(PERIOD)])
    assert "2 points are NaN" in found["REC004"].message


def test_time_order_and_gaps() -> None:
    back = findings([sweep(0), sweep(2 * PERIOD), sweep(PERIOD)])
    assert back["REC005"].severity == "error"
    assert f"sweep 2 at {START + PERIOD} ns" in back["REC005"].message
    gap = findings([*regular(8), sweep(12 * PERIOD)])
    assert "rate of 10.0 Hz, the longest 0.50 s" in gap["REC006"].message


def test_assumptions() -> None:
    assumed = Calibration({"lidar": SE3.identity()}, frozenset({"lidar", "map", "clock"}))
    found = findings(regular(), calibration=assumed)
    assert sorted(found) == ["REC007", "REC008", "REC011"]
    assert "for lidar" in found["REC007"].message


def test_sweeps_outside_the_poses() -> None:
    found = findings(regular(), identity_trajectory([START, START + 2 * PERIOD]))
    assert found["REC009"].severity == "error"
    assert "6 sweeps lie up to 0.70 s outside" in found["REC009"].message
    assert "no ego poses" in findings(regular(), empty_trajectory())["REC009"].message


def test_a_driver_that_hangs() -> None:
    found = findings([sweep(i * PERIOD, seed=i // 2) for i in range(4)])
    assert "2 sweeps repeat" in found["REC010"].message


def test_poses_that_jump() -> None:
    times = START + np.arange(10, dtype=np.int64) * PERIOD
    place = np.zeros((10, 3))
    place[6:, 0] = 40.0
    quat = np.tile([1.0, 0, 0, 0], (10, 1))
    found = findings(regular(), Trajectory(times, quat, place))
    assert f"jumps 1 times, by up to 40.0 m at {START + 6 * PERIOD} ns" in found["REC012"].message
    place[6:, 0] = 8.0  # 80 m/s is fast, not a jump
    assert findings(regular(), Trajectory(times, quat, place)) == {}


def test_a_lidar_taken_for_the_ground() -> None:
    found = findings([sweep(i * PERIOD, ground_m=-1.8) for i in range(3)])
    assert "z = -1.8" in found["REC013"].message


def test_constant_intensity() -> None:
    dark = [
        Sweep(s.timestamp_ns, s.points_ego_m, np.zeros(len(s), np.float32), s.offset_ns)
        for s in regular(3)
    ]
    assert "intensity is 0 at every point" in findings(dark)["REC014"].message


def test_errors_come_first() -> None:
    assumed = Calibration({"lidar": SE3.identity()}, frozenset({"lidar"}))
    check = QualityCheck(Facts(empty_trajectory(), assumed, "lidar"))
    codes = [finding.code for finding in check.finish()]
    assert codes == ["REC001", "REC007"]
