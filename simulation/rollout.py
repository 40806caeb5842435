"""Runs a world: 100 Hz truth, 10 Hz lidar and perception, 20 Hz planner."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import numpy as np

from scene.box import Boxes
from scene.sweep import Sweep
from simulation.actors import Cast, CastState
from simulation.contact import first_contact
from simulation.ego import VehicleModel
from simulation.lidar import EgoMotion, LidarModel
from simulation.planner import HORIZON_S, Planner, PlannerConfig, project, time_to_collision_s
from simulation.tracker import Tracker, Tracks
from simulation.world import World, observe

STEP_S = 0.01
PLAN_EVERY = 5
SWEEP_EVERY = 10
POSE_EVERY = 2

Perception = Callable[[Sweep, Boxes], Boxes]


def perfect(sweep: Sweep, truth: Boxes) -> Boxes:
    """Ground-truth perception: every road user with at least one point, exactly where it is."""
    return truth.take(truth.num_points > 0)


@dataclass(frozen=True, slots=True)
class Tick:
    """What happened at one revolution of the lidar.

    Attributes:
        time_s: start of the revolution after the start of the world.
        sweep: its points.
        truth: exact boxes of all actors with `num_points`, ego frame.
        found: what perception made of it, ego frame.
        ego: pose and motion of the ego.
        tracks: what the planner knew at this time, map frame.
    """

    time_s: float
    sweep: Sweep
    truth: Boxes
    found: Boxes
    ego: EgoMotion
    tracks: Tracks


@dataclass(slots=True)
class Rollout:
    """One run of a world.

    Attributes:
        world: what is run.
        perceive: points (and, for ground truth, boxes) to boxes; it is heard one sweep later.
        seed: of the lidar's noise.
        duration_s: how long.
        start_ns: time stamp of the first sweep.
        score_threshold: the tracker ignores weaker detections.
        stop_on_contact: end the run with the first collision.
        poses: (time_s, ego) every 20 ms, filled while running.
        contact: index of the actor the ego drove into, if it did.
        impact_speed_mps: closing speed then.
        min_ttc_s: smallest time to collision on true positions; at most the planner's horizon.
    """

    world: World
    perceive: Perception
    seed: int
    duration_s: float
    start_ns: int = 0
    lidar: LidarModel = field(default_factory=LidarModel)
    vehicle: VehicleModel = field(default_factory=VehicleModel)
    config: PlannerConfig = field(default_factory=PlannerConfig)
    score_threshold: float = 0.3
    stop_on_contact: bool = True
    poses: list[tuple[float, EgoMotion]] = field(default_factory=list)
    contact: int | None = None
    contact_s: float | None = None
    impact_speed_mps: float = 0.0
    min_ttc_s: float = HORIZON_S

    def run(self) -> Iterator[Tick]:
        """Run to the end or to the first contact, one tick a revolution."""
        world = self.world
        cast, ego = world.make_cast(), world.make_ego(self.vehicle)
        planner = Planner(
            self.config, self.vehicle, world.road, world.lane_d_m, world.desired_speed_mps
        )
        tracker = Tracker(self.score_threshold)
        heard: Tick | None = None
        command = 0.0
        for step in range(round(self.duration_s / STEP_S)):
            time = step * STEP_S
            motion = ego.motion
            cast.notice(time, self._front_s(motion))
            state = cast.at(time)
            if step % POSE_EVERY == 0:
                self.poses.append((time, motion))
            if step % SWEEP_EVERY == 0:
                self._tell(tracker, heard)
                heard = self._look(step, cast, state, motion, tracker)
                yield heard
            if step % PLAN_EVERY == 0:
                command = planner.plan(tracker.at(time), motion)
                self._measure(cast.boxes(state), motion)
            self._feel(first_contact(ego.outline, cast, state), state, motion, time)
            if self.stop_on_contact and self.contact is not None:
                return
            ego.step(command, world.road, world.lane_d_m, STEP_S)

    def _tell(self, tracker: Tracker, heard: Tick | None) -> None:
        """Hand the last sweep's detections to the tracker: perception takes one sweep of time."""
        if heard is not None:
            seen = heard.time_s + self.lidar.period_s / 2
            tracker.update(heard.found, heard.ego.map_SE3_ego, seen)

    def _look(
        self, step: int, cast: Cast, state: CastState, motion: EgoMotion, tracker: Tracker
    ) -> Tick:
        """Scan and perceive."""
        time = step * STEP_S
        stamp = self.start_ns + round(time * 1e9)
        rng = np.random.default_rng([self.seed, step])
        scan, truth = observe(self.world, self.lidar, cast, state, motion, stamp, rng)
        found = self.perceive(scan.sweep, truth)
        return Tick(time, scan.sweep, truth, found, motion, tracker.at(time))

    def _front_s(self, motion: EgoMotion) -> float:
        """How far along the road the front bumper is."""
        s, _ = self.world.road.to_road(motion.xy_m[None])
        return float(s[0]) + self.vehicle.front_m

    def _measure(self, boxes: Boxes, motion: EgoMotion) -> None:
        """Keep the smallest time to collision while the ego moves."""
        if motion.speed_mps < 0.3 or not len(boxes):
            return
        view = project(boxes, motion, self.world.road, self.world.lane_d_m, self.vehicle)
        ttc = time_to_collision_s(view, motion.speed_mps, self.vehicle.width_m / 2)
        self.min_ttc_s = min(self.min_ttc_s, float(ttc.min()))

    def _feel(self, actor: int | None, state: CastState, motion: EgoMotion, time: float) -> None:
        """Note the first contact; one that a standing ego suffers is not the ego's."""
        if actor is None or self.contact is not None or motion.speed_mps < 0.3:
            return
        heading = np.array([np.cos(motion.yaw_rad), np.sin(motion.yaw_rad)])
        self.contact, self.contact_s = actor, time
        along = float(state.velocity_xy_mps[actor] @ heading)
        self.impact_speed_mps = max(0.0, motion.speed_mps - along)
