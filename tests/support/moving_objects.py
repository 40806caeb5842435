"""Objects that move as told, and what an imperfect detector makes of them, for tracking tests."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from scene.box import Boxes
from scene.pose import SE3
from scene.taxonomy import CATEGORY
from scene.types import Float64, Int64

START_NS = 1_700_000_000_000_000_000


@dataclass(frozen=True)
class Drive:
    """Truth in the ego frame of every frame.

    Attributes:
        truth: with track ids.
        timestamps_ns, map_SE3_ego: of the frames.
    """

    truth: list[Boxes]
    timestamps_ns: Int64
    map_SE3_ego: list[SE3]


def frame_times(count: int, period_s: float = 0.1) -> Int64:
    """Return times of frames."""
    return START_NS + (np.arange(count) * period_s * 1e9).astype(np.int64)


def drive_past(
    paths: dict[str, tuple[str, Float64]], period_s: float = 0.1, ego_speed_mps: float = 5.0
) -> Drive:
    """Return a drive straight on past objects.

    Args:
        paths: by track id, a category and (T, 3) x, y and yaw in the map frame; NaN while away.
        period_s: between frames.
        ego_speed_mps: along +x of the map.
    """
    count = len(next(iter(paths.values()))[1])
    poses = [SE3(np.eye(3), np.array([ego_speed_mps * period_s * i, 0, 0])) for i in range(count)]
    velocity = {n: np.gradient(path[:, :2], period_s, axis=0) for n, (_, path) in paths.items()}
    truth = []
    for i in range(count):
        here = [n for n, (_, path) in paths.items() if np.isfinite(path[i]).all()]
        rows = np.array([paths[n][1][i] for n in here]).reshape(-1, 3)
        names = [paths[n][0] for n in here]
        size = np.array([CATEGORY[n].size_lwh_m for n in names]).reshape(-1, 3)
        center = np.column_stack([rows[:, :2], size[:, 2] / 2])
        moving = np.array([velocity[n][i] for n in here]).reshape(-1, 2)
        boxes = Boxes.make(center, size, rows[:, 2], names, moving, track_id=here)
        truth.append(boxes.transform(poses[i].inverse()))
    return Drive(truth, frame_times(count, period_s), poses)


def detect(
    truth: Sequence[Boxes],
    rng: np.random.Generator,
    *,
    miss: float = 0.2,
    noise_m: float = 0.25,
    flip: float = 0.05,
    clutter: float = 0.0,
    region_m: float = 40.0,
) -> list[Boxes]:
    """Return the truth as a detector might see it: without ids and velocities, boxes missing.

    Args:
        truth: boxes of each frame.
        rng: source of all errors.
        miss: share of boxes not found.
        noise_m: standard deviation of centres in the ground plane.
        flip: share of headings that are half a turn off.
        clutter: mean number of invented boxes a frame.
        region_m: clutter lies within this distance, ahead and aside.
    """
    result = []
    for boxes in truth:
        kept = boxes.take(rng.random(len(boxes)) >= miss)
        count = len(kept)
        turned = np.where(rng.random(count) < flip, np.pi, 0.0)
        found = Boxes.make(
            kept.center_xyz_m + rng.normal(0, noise_m, (count, 3)) * [1, 1, 0.3],
            kept.size_lwh_m * np.exp(rng.normal(0, 0.1, (count, 3))),
            kept.yaw_rad + rng.normal(0, 0.1, count) + turned,
            kept.category,
            score=rng.beta(5, 2, count),
        )
        extra = int(rng.poisson(clutter))
        names = rng.choice(["car", "pedestrian"], extra)
        size = np.array([CATEGORY[str(n)].size_lwh_m for n in names]).reshape(-1, 3)
        place = rng.uniform(-region_m, region_m, (extra, 2))
        invented = Boxes.make(
            np.column_stack([place, size[:, 2] / 2]),
            size,
            rng.uniform(-np.pi, np.pi, extra),
            names,
            score=rng.beta(2, 3, extra),
        )
        result.append(Boxes.concatenate([found, invented]))
    return result


def without(boxes: Sequence[Boxes], track: str, frames: range) -> list[Boxes]:
    """Return the truth with one object hidden in some frames."""
    return [
        b.take((b.track_id != track) | np.full(len(b), i not in frames))
        for i, b in enumerate(boxes)
    ]
