"""A street seen by an analytic 32-beam lidar: parked cars, clutter, one person stepping out."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import pytest

from curation.clusters import Clusters, find_clusters
from curation.triggers import Drive, ego_path
from scene.box import Boxes
from scene.pose import SE3, Trajectory, wrap_angle

LIDAR_M = np.array([1.0, 0.0, 1.84])
ELEVATION = np.deg2rad(np.linspace(-30.67, 10.67, 32))
START_NS = 1_700_000_000_000_000_000


@dataclass(frozen=True)
class World:
    """Things in the map frame. Boxes are upright; cylinders are x, y, radius, height."""

    boxes: Boxes
    cylinders: np.ndarray
    slope: float = 0.0  # the ground is z = slope * x


def scan(world: World, map_SE3_ego: SE3, columns: int = 720, noise_m: float = 0.015) -> np.ndarray:
    """Return (N, 3) float32 points in the ego frame: nearest hit of every ray within 70 m."""
    azimuth = np.linspace(-np.pi, np.pi, columns, endpoint=False)
    azimuth = azimuth[np.abs(azimuth) < 2.0]  # nothing in these tests is behind
    az, el = (a.ravel() for a in np.meshgrid(azimuth, ELEVATION, indexing="ij"))
    ray = np.stack([np.cos(el) * np.cos(az), np.cos(el) * np.sin(az), np.sin(el)], -1)
    way = ray @ map_SE3_ego.rotation.T
    eye = map_SE3_ego.transform_points(LIDAR_M[None])[0]
    ahead = map_SE3_ego.yaw_rad + az
    with np.errstate(divide="ignore", invalid="ignore"):
        hit = (world.slope * eye[0] - eye[2]) / (way[:, 2] - world.slope * way[:, 0])
        best = np.where(hit > 0, hit, np.inf)
        for box in (world.boxes.take(np.array([i])) for i in range(len(world.boxes))):
            rays = _towards(eye, ahead, box.center_xyz_m[0, :2], 2.5)
            best[rays] = np.fmin(best[rays], _hit_box(eye, way[rays], box))
        for x, y, radius, height in world.cylinders:
            rays = _towards(eye, ahead, (x, y), radius)
            base = world.slope * x
            hit = _hit_cylinder(eye, way[rays], x, y, radius, base, base + height)
            best[rays] = np.fmin(best[rays], hit)
    best += np.random.default_rng(int(abs(eye[0]) * 1e3)).normal(0, noise_m, len(best))
    seen = best < 70.0
    return (LIDAR_M + ray[seen] * best[seen, None]).astype(np.float32)


def _towards(eye, ahead, center, radius) -> np.ndarray:
    """Return the rays whose bearing meets a circle."""
    offset = np.asarray(center) - eye[:2]
    half = np.arcsin(min(1.0, radius / np.hypot(*offset)))
    return np.flatnonzero(np.abs(wrap_angle(ahead - np.arctan2(*offset[::-1]))) <= half + 0.01)


def _hit_box(eye, way, box):
    cos, sin = np.cos(box.yaw_rad[0]), np.sin(box.yaw_rad[0])
    turn = np.array([[cos, sin, 0], [-sin, cos, 0], [0, 0, 1]])
    start, step = turn @ (eye - box.center_xyz_m[0]), way @ turn.T
    half = box.size_lwh_m[0] / 2
    one, two = (-half - start) / step, (half - start) / step
    enter, leave = np.minimum(one, two).max(1), np.maximum(one, two).min(1)
    return np.where((enter > 0) & (enter <= leave), enter, np.inf)


def _hit_cylinder(eye, way, x, y, radius, low, high):
    offset = eye[:2] - (x, y)
    a, b = (way[:, :2] ** 2).sum(1), way[:, :2] @ offset
    root = np.sqrt(b * b - a * (offset @ offset - radius**2))
    hit = (-b - root) / a
    z = eye[2] + hit * way[:, 2]
    return np.where((hit > 0) & (z > low) & (z < high), hit, np.inf)


def cars(*places: tuple[float, float, float]) -> Boxes:
    """Return parked cars at (x, y, yaw) of the map, slightly off the ground like bodies are."""
    count = len(places)
    center = np.array([[x, y, 0.95] for x, y, _ in places]).reshape(count, 3)
    size = np.tile([4.5, 1.85, 1.5], (count, 1))
    return Boxes.make(center, size, np.array([p[2] for p in places]), ["car"] * count)


PARKED = cars(*((x, side * 4.2, 0.02 * x) for x in (18.0, 25.0, 32.0, 39.0) for side in (-1, 1)))
CLUTTER = np.array(
    [
        *((x, 6.3, 0.06, 5.5) for x in (14.0, 28.5, 43.0)),  # lamp posts
        *((x, -6.0, 0.09, 2.1) for x in (21.5, 35.5)),  # road signs, as tall as a person
        (28.4, -5.2, 0.15, 0.8), (21.6, 5.3, 0.15, 0.8),  # hydrants
        (35.3, 5.4, 0.35, 1.3), (14.5, -5.6, 0.3, 1.15),  # bins
    ]
)  # fmt: skip
PERSON_X, WALK_MPS = 28.5, 1.4  # between the second and the third parked car on the right


class Person(NamedTuple):
    """Where the person is in the ego frame, and how many points lie on them."""

    x_m: float
    y_m: float
    num_points: int


def person_at(second: float) -> tuple[float, float] | None:
    """Return where the person is: comes from the right at 2.4 s, crosses the road."""
    return (PERSON_X, -6.8 + WALK_MPS * (second - 2.0)) if second >= 2.0 else None


@pytest.fixture(scope="session")
def street() -> Callable[..., tuple[Drive, dict[int, Person]]]:
    """Return a function that drives down the street and says where the person was."""

    @functools.cache
    def drive(with_person: bool, speed_mps: float = 3.0, sweeps: int = 24):
        times = START_NS + 3_200_000_000 + np.arange(sweeps * 4) * 50_000_000
        places = np.zeros((len(times), 3))
        places[:, 0] = speed_mps * (times - START_NS) / 1e9
        pose = Trajectory(times, np.tile([1.0, 0, 0, 0], (len(times), 1)), places)
        parts, truth, counts = [], {}, []
        for time in times[::4].tolist():
            where = person_at((time - START_NS) / 1e9) if with_person else None
            body = [(*where, 0.24, 1.72)] if where else []
            cylinders = np.concatenate([CLUTTER, np.array(body).reshape(-1, 4)])
            points = scan(World(PARKED, cylinders), pose.at(time))
            parts.append(find_clusters(points, time, ego_path(pose, time, 40.0)))
            counts.append(len(points))
            if where:
                x, y = where[0] - pose.at(time).translation_m[0], where[1]
                on = np.hypot(points[:, 0] - x, points[:, 1] - y) < 0.4
                truth[time] = Person(x, y, int((on & (points[:, 2] > 0.3)).sum()))
        clusters = Clusters.concatenate(parts)
        found = Drive("street", pose, times[::4], np.array(counts), clusters)
        return found, truth

    return drive
