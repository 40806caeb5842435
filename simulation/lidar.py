"""A 32-beam spinning lidar: what it hits, how far it says that is, and what never comes back."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from scene.box import Boxes
from scene.pose import SE3
from scene.sweep import Sweep
from scene.types import Float64, Int64
from simulation.echo import echoes
from simulation.primitives import Primitives
from simulation.raycast import cast
from simulation.road import Road


@dataclass(frozen=True, slots=True)
class LidarModel:
    """A spinning lidar after the data sheet of the Velodyne HDL-32E.

    Attributes:
        elevation_rad: ascending beam elevations; HDL-32E: -30.67 to +10.67 degrees.
        num_columns: firings a revolution.
        period_s: one revolution. It starts behind the vehicle, so that no cut runs ahead of it.
        position_ego_m: where it stands on the vehicle.
        min_range_m, max_range_m: no echo outside.
        range_noise_m: standard deviation along the beam.
        range_step_m: resolution of the range.
        ground_noise_m: roughness of the ground.
    """

    elevation_rad: tuple[float, ...] = tuple(np.deg2rad(np.linspace(-30.67, 10.67, 32)).tolist())
    num_columns: int = 720
    period_s: float = 0.05
    position_ego_m: tuple[float, float, float] = (0.94, 0.0, 1.84)
    min_range_m: float = 1.0
    max_range_m: float = 80.0
    range_noise_m: float = 0.02
    range_step_m: float = 0.002
    ground_noise_m: float = 0.008

    @property
    def ego_SE3_lidar(self) -> SE3:
        """Where the lidar stands; its axes are those of the vehicle."""
        return SE3(np.eye(3), np.array(self.position_ego_m))


@dataclass(frozen=True, slots=True)
class EgoMotion:
    """Pose and motion of the ego at the start of a revolution.

    Attributes:
        xy_m: (2,) map position of the ego origin.
        yaw_rad: heading.
        speed_mps: along the heading.
        yaw_rate_radps: turning to the left.
    """

    xy_m: Float64
    yaw_rad: float
    speed_mps: float
    yaw_rate_radps: float

    @property
    def map_SE3_ego(self) -> SE3:
        """The pose."""
        return SE3.from_yaw(self.yaw_rad, np.array([self.xy_m[0], self.xy_m[1], 0.0]))


@dataclass(frozen=True, slots=True)
class Scan:
    """One revolution and what only a simulator knows.

    Attributes:
        sweep: the points, ego frame at the start of the revolution. As the drivers of such
            sensors do, the ego's own motion is taken out; that of other road users is not.
        owner: (N,) actor each point lies on, negative for scenery and ground.
        seen_s: (A,) when the beam passed the middle of each actor, seconds after the start.
    """

    sweep: Sweep
    owner: Int64
    seen_s: Float64

    def hits(self, num_actors: int) -> Int64:
        """Return (A,) how many points lie on each actor."""
        return np.bincount(self.owner[self.owner >= 0], minlength=num_actors).astype(np.int64)


def scan(
    lidar: LidarModel,
    road: Road,
    solids: Primitives,
    actor_xy_m: Float64,
    actor_velocity_mps: Float64,
    ego: EgoMotion,
    timestamp_ns: int,
    rng: np.random.Generator,
) -> Scan:
    """Simulate one revolution.

    Args:
        lidar: the sensor.
        road: where lane markings are painted on the ground.
        solids: everything, map frame, at `timestamp_ns`; actors' parts know their owner.
        actor_xy_m: (A, 2) positions of the actors.
        actor_velocity_mps: (A, 2) velocities of the actors.
        ego: pose and motion of the ego at `timestamp_ns`.
        timestamp_ns: start of the revolution.
        rng: source of noise and drop-outs; the same state gives the same sweep.
    """
    heading = np.array([np.cos(ego.yaw_rad), np.sin(ego.yaw_rad)])
    mount = lidar.position_ego_m
    left = np.array([-heading[1], heading[0]])
    origin = ego.xy_m + heading * mount[0] + left * mount[1]
    velocity = heading * ego.speed_mps + left * mount[0] * ego.yaw_rate_radps
    column_s = lidar.period_s / lidar.num_columns
    step = 2 * np.pi / lidar.num_columns + ego.yaw_rate_radps * column_s
    first = ego.yaw_rad - np.pi
    moving = np.where(
        (solids.owner >= 0)[:, None], actor_velocity_mps[solids.owner], 0.0
    ) if len(actor_velocity_mps) else np.zeros((len(solids), 2))  # fmt: skip
    tangent = np.tan(np.array(lidar.elevation_rad))
    ground_m, solid, cosine = cast(
        solids, moving, np.append(origin, mount[2]), velocity, first, step, column_s,
        lidar.num_columns, tangent, lidar.max_range_m,
    )  # fmt: skip
    points, intensity, column, beam, owner = echoes(
        ground_m, solid, cosine, tangent, solids.reflectivity, solids.surface, solids.owner,
        rng.standard_normal((*solid.shape, 3), dtype=np.float32),
        rng.random((*solid.shape, 3), dtype=np.float32),
        np.array([*origin, mount[2]]), velocity, first, step, column_s,
        np.array([*ego.xy_m, ego.yaw_rad]),
        np.array([road.x_m, road.y_m, road.yaw_rad, road.curvature_1pm, road.lane_width_m]),
        road.num_lanes,
        np.array([lidar.min_range_m, lidar.max_range_m, lidar.range_noise_m,
                  lidar.range_step_m, lidar.ground_noise_m]),
    )  # fmt: skip
    offset_ns = np.rint(column * (column_s * 1e9)).astype(np.int32)
    sweep = Sweep(timestamp_ns, points, intensity, offset_ns, beam)
    return Scan(sweep, owner, _seen_s(lidar, origin, first, actor_xy_m))


def _seen_s(
    lidar: LidarModel, origin_xy_m: Float64, first_rad: float, actor_xy_m: Float64
) -> Float64:
    """Return (A,) when the beam passes each actor, seconds after the start."""
    offset = actor_xy_m.reshape(-1, 2) - origin_xy_m
    turned = np.mod(np.arctan2(offset[:, 1], offset[:, 0]) - first_rad, 2 * np.pi)
    return turned / (2 * np.pi) * lidar.period_s


def boxes_as_seen(boxes_map: Boxes, seen_s: Float64) -> Boxes:
    """Move map-frame boxes to where they were when the beam passed them.

    A person draws a box around the points, so this is where an annotation would be.
    """
    moved = boxes_map.center_xyz_m.copy()
    moved[:, :2] += boxes_map.velocity_xy_mps * seen_s[:, None]
    return Boxes.make(
        moved, boxes_map.size_lwh_m, boxes_map.yaw_rad, boxes_map.category,
        boxes_map.velocity_xy_mps, boxes_map.track_id, boxes_map.score, boxes_map.num_points,
    )  # fmt: skip
