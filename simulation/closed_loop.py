"""Runs a detector in the loop and says whose fault a failure is."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np

from scene.box import Boxes
from scene.detector import Detector
from scene.pose import SE3
from scene.sweep import Sweep
from scene.taxonomy import CATEGORY
from scene.types import Mask
from simulation.rollout import Perception, Rollout, Tick, perfect
from simulation.scenario import HAZARD, Scenario
from simulation.world import World

Verdict = Literal["pass", "perception_failure", "planner_failure"]

MATCH_M = 2.0  # a detection this near an object's centre counts as having seen it
MIN_POINTS = 5  # fewer points on an object excuse a miss
MIN_PROGRESS = 0.5  # of the way ground-truth perception gets; less is standing still for nothing


@dataclass(frozen=True, slots=True)
class CriticalFrame:
    """One simulated frame around a failure, ready to be learned from.

    Attributes:
        sweep: points, ego frame.
        boxes: exact boxes of everything with at least one point, ego frame.
        map_SE3_ego: pose.
    """

    sweep: Sweep
    boxes: Boxes
    map_SE3_ego: SE3


@dataclass(frozen=True, slots=True)
class ScenarioResult:
    """How one scenario ended.

    Attributes:
        scenario: its name.
        verdict: `perception_failure` if ground-truth perception does better in the same world,
            `planner_failure` if even that collides.
        collision: the ego drove into somebody.
        impact_speed_mps: closing speed then, 0 without a collision.
        min_ttc_s: smallest time to collision on true positions, at most the planner's horizon.
        first_failed_frame, first_failed_ns: first sweep in which perception failed.
        ground_truth_passes: whether ground-truth perception passes.
        num_ticks: sweeps run.
        progress: way driven relative to the way under ground-truth perception.
        missed: track id of what was missed or hit, empty if nothing was.
        detection_s: mean time of a detection.
        critical: frames from when the hazard first showed to the last moment to brake.
    """

    scenario: str
    verdict: Verdict
    collision: bool
    impact_speed_mps: float
    min_ttc_s: float
    first_failed_frame: int | None
    first_failed_ns: int | None
    ground_truth_passes: bool
    num_ticks: int
    progress: float = 1.0
    missed: str = ""
    detection_s: float = field(default=0.0, compare=False)
    critical: list[CriticalFrame] = field(default_factory=list, compare=False, repr=False)

    def to_dict(self) -> dict[str, Any]:
        """Return all but the points and what depends on the machine's speed."""
        left_out = {"critical", "detection_s"}
        return {k: getattr(self, k) for k in self.__slots__ if k not in left_out}


def run(
    scenario: Scenario, detector: Detector | None, *, seed: int = 0, keep_frames: int = 12
) -> ScenarioResult:
    """Run a scenario with a detector that sees only points, and once more with the truth.

    Args:
        scenario: what happens.
        detector: the model under test; None is ground-truth perception itself.
        seed: of the street, the bodies and the lidar's noise.
        keep_frames: how many critical frames to keep of a failure.
    """
    world = scenario.build(seed)
    reference = _Arm(world, scenario, seed, perfect)
    eyes = None if detector is None else _Eyes(detector)
    arm = reference if eyes is None else _Arm(world, scenario, seed, eyes)
    progress = arm.way_m / max(reference.way_m, 1e-6)
    stalled = progress < MIN_PROGRESS
    verdict: Verdict = "pass"
    if arm.collision or stalled:
        verdict = "planner_failure" if reference.collision else "perception_failure"
    failed = arm.first_failure(stalled) if verdict == "perception_failure" else None
    return ScenarioResult(
        scenario=scenario.name,
        verdict=verdict,
        collision=arm.collision,
        impact_speed_mps=round(arm.rollout.impact_speed_mps, 3),
        min_ttc_s=round(arm.rollout.min_ttc_s, 3),
        first_failed_frame=failed,
        first_failed_ns=None if failed is None else arm.ticks[failed].sweep.timestamp_ns,
        ground_truth_passes=not reference.collision,
        num_ticks=len(arm.ticks),
        progress=round(progress, 3),
        missed=arm.subject if verdict != "pass" else "",
        detection_s=0.0 if eyes is None else eyes.mean_s,
        critical=arm.critical(keep_frames) if verdict != "pass" else [],
    )


def run_suite(
    suite: Sequence[Scenario],
    detector: Detector | None,
    *,
    seed: int,
    progress: Callable[[int, int, ScenarioResult], None] | None = None,
) -> list[ScenarioResult]:
    """Run all scenarios; `progress` is called with (done, total, result) after each."""
    results = []
    for done, scenario in enumerate(suite, start=1):
        results.append(run(scenario, detector, seed=seed))
        if progress is not None:
            progress(done, len(suite), results[-1])
    return results


class _Eyes:
    """A detector as perception: it gets the points and nothing else."""

    def __init__(self, detector: Detector) -> None:
        self._detector = detector
        self._spent_s, self._calls = 0.0, 0

    def __call__(self, sweep: Sweep, truth: Boxes) -> Boxes:
        start = time.perf_counter()
        found = self._detector.detect(sweep.points_ego_m, sweep.intensity)
        self._spent_s += time.perf_counter() - start
        self._calls += 1
        return found

    @property
    def mean_s(self) -> float:
        """Mean time of a detection."""
        return self._spent_s / max(self._calls, 1)


class _Arm:
    """One run of a scenario with one kind of perception."""

    def __init__(self, world: World, scenario: Scenario, seed: int, perceive: Perception) -> None:
        self.rollout = Rollout(world, perceive, seed, scenario.duration_s)
        self.ticks: list[Tick] = list(self.rollout.run())
        self.collision = self.rollout.contact is not None
        hit = self.rollout.contact
        self.subject = HAZARD if hit is None else world.actors[hit].track_id
        self._vehicle = self.rollout.vehicle

    @property
    def way_m(self) -> float:
        """Way driven."""
        start, end = self.rollout.poses[0][1].xy_m, self.rollout.poses[-1][1].xy_m
        return float(np.hypot(*(end - start)))

    def first_failure(self, stalled: bool) -> int | None:
        """Return the first sweep of the failure.

        After a collision: the first sweep in which what was hit had enough points and no
        detection, even though it was seen later. Seen all the time: the sweep where braking
        would just have been in time. Standing still for nothing: the sweep with the first
        braking.
        """
        if stalled and not self.collision:
            speed = np.array([t.ego.speed_mps for t in self.ticks])
            slower = np.flatnonzero(speed < speed[0] - 1.0)
            return int(slower[0]) if len(slower) else 0
        visible = self._visible(MIN_POINTS)
        missed = visible & ~np.array([self._found(t) for t in self.ticks])
        if missed.any():
            return int(missed.argmax())
        return self._last_chance() if visible.any() else None

    def critical(self, keep: int) -> list[CriticalFrame]:
        """Return up to `keep` frames that show the subject before the last moment to brake.

        If it showed too late for so many, the frames up to the contact are taken as well.
        """
        shown = np.flatnonzero(self._visible(MIN_POINTS))
        if not len(shown):
            shown = np.flatnonzero(self._visible(1))
        if not len(shown):
            shown = np.arange(len(self.ticks))
        last = max(self._last_chance(), int(shown[min(keep, len(shown)) - 1]))
        shown = shown[shown <= last]
        chosen = shown[np.unique(np.linspace(0, len(shown) - 1, keep).round().astype(int))]
        frames = (self.ticks[i] for i in chosen)
        return [
            CriticalFrame(t.sweep, t.truth.take(t.truth.num_points > 0), t.ego.map_SE3_ego)
            for t in frames
        ]

    def _visible(self, min_points: int) -> Mask:
        """Return in which sweeps the subject had so many points, near enough to be judged."""
        hits = [t.truth.take(t.truth.track_id == self.subject) for t in self.ticks]
        reach = CATEGORY[str(hits[0].category[0])].max_range_m if len(hits[0]) else 0.0
        return np.array(
            [bool(h.num_points[0] >= min_points and h.range_m()[0] <= reach) for h in hits]
        )

    def _found(self, tick: Tick) -> bool:
        """Return whether a detection the planner would have used lies on the subject."""
        place = tick.truth.center_xyz_m[tick.truth.track_id == self.subject, :2]
        sure = np.nan_to_num(tick.found.score, nan=1.0) >= self.rollout.score_threshold
        apart = np.linalg.norm(tick.found.center_xyz_m[sure, :2] - place, axis=1)
        return bool((apart <= MATCH_M).any())

    def _last_chance(self) -> int:
        """Return the last sweep in which full braking would still have avoided the contact."""
        if not self.collision or self.rollout.contact_s is None:
            return len(self.ticks) - 1
        poses = np.array([t.ego.xy_m for t in self.ticks])
        end = self.rollout.poses[-1][1].xy_m
        left = np.hypot(*(end - poses).T)
        need = [self._vehicle.stopping_distance_m(t.ego.speed_mps) for t in self.ticks]
        in_time = np.flatnonzero(left > need)
        return int(in_time[-1]) if len(in_time) else 0
