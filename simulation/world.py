"""A world: road, scenery, road users and where the ego starts."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from scene.box import Boxes
from simulation.actors import Actor, Cast, CastState
from simulation.ego import Ego, VehicleModel
from simulation.lidar import EgoMotion, LidarModel, Scan, boxes_as_seen, scan
from simulation.primitives import Primitives
from simulation.road import Road

LABEL_MARGIN_M = 0.04  # two standard deviations of the range: a label encloses noisy points


@dataclass(frozen=True, slots=True)
class World:
    """Everything needed to run; building it again from the same seed gives the same world.

    Attributes:
        road: the road; it is also the route the planner knows.
        scenery: what never moves, map frame.
        actors: all other road users.
        lane_d_m: where the ego drives beside the centre line.
        start_s_m: where the ego origin starts along the road.
        start_speed_mps: its speed at the start.
        desired_speed_mps: its speed on a free road.
    """

    road: Road
    scenery: Primitives
    actors: tuple[Actor, ...]
    lane_d_m: float
    start_s_m: float
    start_speed_mps: float
    desired_speed_mps: float

    def make_cast(self) -> Cast:
        """Return the road users, ready to move."""
        return Cast(self.actors, self.road)

    def make_ego(self, model: VehicleModel) -> Ego:
        """Return the ego at its start."""
        xy, heading = self.road.to_map(np.array(self.start_s_m), np.array(self.lane_d_m))
        turn = 1.0 / (1.0 - self.road.curvature_1pm * self.lane_d_m)
        steer = np.arctan(model.wheelbase_m * self.road.curvature_1pm * turn)
        return Ego(model, xy, float(heading), self.start_speed_mps, steer_rad=float(steer))


def observe(
    world: World,
    lidar: LidarModel,
    cast: Cast,
    state: CastState,
    ego: EgoMotion,
    timestamp_ns: int,
    rng: np.random.Generator,
) -> tuple[Scan, Boxes]:
    """Scan the world once.

    Returns:
        The scan, and the exact boxes of all actors in the ego frame at the start of the
        revolution, drawn where the beam met them and `LABEL_MARGIN_M` larger on each side, with
        `num_points` counted from their echoes.
    """
    solids = Primitives.concatenate([world.scenery, cast.solids(state)])
    result = scan(
        lidar, world.road, solids, state.xy_m, state.velocity_xy_mps, ego, timestamp_ns, rng
    )
    boxes = boxes_as_seen(cast.boxes(state), result.seen_s)
    boxes = boxes.transform(ego.map_SE3_ego.inverse())
    counted = Boxes.make(
        boxes.center_xyz_m, boxes.size_lwh_m + 2 * LABEL_MARGIN_M, boxes.yaw_rad, boxes.category,
        boxes.velocity_xy_mps, boxes.track_id, None, result.hits(len(boxes)),
    )  # fmt: skip
    return result, counted
