"""Faults put into an otherwise perfect perception must be blamed on perception, and only there."""

from dataclasses import replace

import numpy as np
import pytest

from scene.box import Boxes
from scene.sweep import Sweep
from simulation import closed_loop
from simulation.closed_loop import run
from simulation.ego import VehicleModel
from simulation.rollout import Rollout, perfect
from simulation.scenario import HAZARD, SUITE, Scenario

BY_NAME = {scenario.name: scenario for scenario in SUITE}


class Faulty:
    """Ground truth through a lens: noise, misses, false alarms and blind spots."""

    def __init__(self, seed: int, dropped: str = "", reach_m: float = 60.0) -> None:
        self._rng = np.random.default_rng(seed)
        self._dropped, self._reach_m = dropped, reach_m

    def __call__(self, sweep: Sweep, truth: Boxes) -> Boxes:
        rng = self._rng
        seen = rng.random(len(truth)) < 0.85 * (1 - np.exp(-truth.num_points / 6.0))
        seen &= (truth.category != self._dropped) & (truth.range_m() < self._reach_m)
        found = truth.take(seen)
        place = found.center_xyz_m + rng.normal(0, [0.2, 0.2, 0.05], (len(found), 3))
        score = rng.uniform(0.35, 0.9, len(found))
        real = replace(found, center_xyz_m=place, score=score)
        count = rng.poisson(1.0)
        ghosts = Boxes.make(
            np.stack([rng.uniform(0, 50, count), rng.uniform(-25, 25, count), np.ones(count)], 1),
            np.full((count, 3), 0.8), np.zeros(count), ["pedestrian"] * count,
            score=rng.uniform(0.3, 0.5, count),
        )  # fmt: skip
        return Boxes.concatenate([real, ghosts])


def outcome(scenario: Scenario, perceive, seed: int = 0) -> Rollout:
    run = Rollout(scenario.build(seed), perceive, seed, scenario.duration_s)
    for _ in run.run():
        pass
    return run


@pytest.mark.slow
@pytest.mark.parametrize("name", ["crossing_pedestrian"])
def test_a_decent_detector_passes_and_one_without_the_class_collides(name: str) -> None:
    scenario = BY_NAME[name]
    assert outcome(scenario, Faulty(1)).contact is None
    blind_to_it = outcome(scenario, Faulty(1, dropped=scenario.hazard))
    assert blind_to_it.contact is not None
    assert blind_to_it.world.actors[blind_to_it.contact].track_id == HAZARD


def test_short_sight_collides_where_long_sight_passes() -> None:
    scenario = BY_NAME["stationary_vehicle"]
    assert outcome(scenario, Faulty(2, reach_m=9.0)).contact is not None


@pytest.mark.slow
def test_blame_goes_to_the_planner_when_the_truth_does_not_help(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    brakeless = VehicleModel(max_brake_mps2=0.5)

    def rollout(*args, **options):
        return Rollout(*args, vehicle=brakeless, **options)

    monkeypatch.setattr(closed_loop, "Rollout", rollout)
    result = run(BY_NAME["stationary_vehicle"], None)
    assert (result.verdict, result.collision) == ("planner_failure", True)
    assert not result.ground_truth_passes


@pytest.mark.integration
@pytest.mark.parametrize("name", BY_NAME)
def test_every_scenario_tolerates_a_decent_detector(name: str) -> None:
    scenario = BY_NAME[name]
    reference = outcome(scenario, perfect)
    for seed in range(2):
        run = outcome(scenario, Faulty(seed), seed=0)
        assert run.contact is None
        assert run.poses[-1][1].xy_m == pytest.approx(reference.poses[-1][1].xy_m, abs=15.0)
