import json
from dataclasses import replace

import numpy as np
import pytest

from scene.box import Boxes, count_points
from scene.types import Float32
from simulation.closed_loop import ScenarioResult, run
from simulation.scenario import HAZARD, SUITE, Scenario, suite_digest

BY_NAME = {scenario.name: scenario for scenario in SUITE}


class Blind:
    """Sees nothing."""

    digest = "blind"

    def detect(self, points_ego_m: Float32, intensity: Float32) -> Boxes:
        return Boxes.empty()


class Ghosts:
    """Sees a car right ahead that is not there."""

    digest = "ghosts"

    def detect(self, points_ego_m: Float32, intensity: Float32) -> Boxes:
        return Boxes.make(
            np.array([[5.5, 0.0, 0.8]]), np.array([[4.5, 1.9, 1.6]]), np.zeros(1), ["car"],
            score=np.array([0.8]),
        )  # fmt: skip


def blind_and_sighted(scenario: Scenario) -> tuple[ScenarioResult, ScenarioResult]:
    return run(scenario, Blind()), run(scenario, None)


def check(scenario: Scenario) -> None:
    blind, sighted = blind_and_sighted(scenario)
    assert sighted.verdict == "pass"
    assert sighted.min_ttc_s > 0.9
    assert not sighted.critical
    assert (blind.verdict, blind.collision, blind.missed) == ("perception_failure", True, HAZARD)
    assert blind.impact_speed_mps > 4.0
    assert blind.ground_truth_passes
    assert blind.first_failed_frame is not None
    assert blind.first_failed_ns == blind.first_failed_frame * 100_000_000
    assert 4 <= len(blind.critical) <= 12
    for frame in blind.critical:
        hazard = frame.boxes.take(frame.boxes.track_id == HAZARD)
        points = frame.sweep.points_ego_m
        counted = count_points(points[points[:, 2] > 0.1], hazard)  # without the ground below
        assert (np.abs(counted.num_points - hazard.num_points) <= 3 + hazard.num_points * 0.3).all()
    seen = [HAZARD in frame.boxes.track_id for frame in blind.critical]
    assert all(seen)


def test_suite_holds_what_is_promised() -> None:
    assert {
        "lead_vehicle_braking", "stationary_vehicle", "cut_in", "crossing_pedestrian",
        "pedestrian_from_behind_parked_vehicle", "crossing_bicycle",
    } <= set(BY_NAME)  # fmt: skip
    assert len(BY_NAME) == len(SUITE)
    assert suite_digest(SUITE) == suite_digest(tuple(SUITE))
    assert suite_digest(SUITE) != suite_digest(SUITE[1:])


@pytest.mark.slow
def test_pedestrian_from_behind_parked_vehicle() -> None:
    check(BY_NAME["pedestrian_from_behind_parked_vehicle"])


@pytest.mark.slow
def test_results_repeat_and_become_json() -> None:
    scenario = replace(BY_NAME["cut_in"], duration_s=4.5)
    first, second = run(scenario, Blind()), run(scenario, Blind())
    assert json.dumps(first.to_dict(), allow_nan=False) == json.dumps(second.to_dict())
    assert "critical" not in first.to_dict()
    for a, b in zip(first.critical, second.critical, strict=True):
        assert np.array_equal(a.sweep.points_ego_m, b.sweep.points_ego_m)


@pytest.mark.slow
def test_standing_still_for_nothing_is_a_failure() -> None:
    result = run(replace(BY_NAME["stationary_vehicle"], duration_s=7.0), Ghosts())
    assert (result.verdict, result.collision) == ("perception_failure", False)
    assert result.progress < 0.5
    assert result.first_failed_frame is not None


@pytest.mark.integration
@pytest.mark.parametrize("name", BY_NAME)
def test_blind_collides_and_sighted_passes(name: str) -> None:
    check(BY_NAME[name])
