"""Variations of a training frame: mirrored, turned, scaled, with objects of other frames.

Source: SECOND (Yan et al., Sensors 2018) for the pasted objects; shadows are ours: what lies
behind a pasted object is removed, since the lidar could not have seen it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from functools import cached_property
from typing import Final

import numpy as np

from scene.box import Boxes, points_in_boxes
from scene.pose import SE3, wrap_angle
from scene.types import Float32, Int64, Mask
from training.config import TrainConfig

GAP_M: Final = 0.4  # free ground around a pasted object
TRIES: Final = 6
_LEAST_POINTS: Final = 5


@dataclass(frozen=True)
class ObjectBank:
    """Points and boxes of labelled objects, by category.

    Attributes:
        objects: category to a list of ((N, 4) points, one box), where they were seen.
    """

    objects: dict[str, list[tuple[Float32, Boxes]]]

    @cached_property
    def boxes(self) -> Boxes:
        """Boxes of all objects, category by category."""
        found = [box for objects in self.objects.values() for _, box in objects]
        return Boxes.concatenate(found) if found else Boxes.empty()

    @cached_property
    def cuts(self) -> list[Float32]:
        """Points of all objects, in the order of `boxes`."""
        return [points for objects in self.objects.values() for points, _ in objects]

    @cached_property
    def start(self) -> dict[str, int]:
        """Where the objects of each category begin in `boxes`."""
        ends = np.cumsum([0, *(len(objects) for objects in self.objects.values())]).tolist()
        return dict(zip(self.objects, ends, strict=False))

    @classmethod
    def build(cls, frames: Sequence[tuple[Float32, Boxes]], config: TrainConfig) -> ObjectBank:
        """Cut out the objects of the categories that `config.paste` names."""
        objects: dict[str, list[tuple[Float32, Boxes]]] = {
            name: [] for name, _ in config.paste if name in config.categories
        }
        for points, boxes in frames:
            wanted = np.isin(boxes.category, list(objects)) & (boxes.num_points >= _LEAST_POINTS)
            chosen = boxes.take(wanted)
            inside = points_in_boxes(points[:, :3], chosen, 0.05)
            for i in range(len(chosen)):
                if inside[i].sum() >= _LEAST_POINTS:
                    box = chosen.take(np.array([i]))
                    objects[str(box.category[0])].append((points[inside[i]], box))
        return cls(objects)


def augment(
    points: Float32,
    boxes: Boxes,
    config: TrainConfig,
    rng: np.random.Generator,
    bank: ObjectBank | None,
) -> tuple[Float32, Boxes]:
    """Return a variation of (N, 4) points and their boxes inside the detector's area."""
    if bank is not None:
        points, boxes = paste(points, boxes, config, rng, bank)
    points = points.copy()
    if rng.random() < config.flip:
        points, boxes = mirror(points, boxes)
    turn = rng.uniform(-config.rotation_rad, config.rotation_rad)
    if rng.random() < config.reverse:
        turn += np.pi
    scale = rng.uniform(1 - config.scale, 1 + config.scale)
    points, boxes = turn_and_scale(points, boxes, turn, scale)
    light = rng.uniform(1 - config.brightness, 1 + config.brightness)
    points[:, 3] = np.clip(points[:, 3] * np.float32(light), 0.0, 1.0)
    points = points[in_area(points, config)]
    if len(points) > config.max_points:
        points = points[np.sort(rng.permutation(len(points))[: config.max_points])]
    return points, boxes


def in_area(points: Float32, config: TrainConfig) -> Mask:
    """Return which of (N, 4) points the detector looks at."""
    x, y, z = points[:, 0], points[:, 1], points[:, 2]
    return (
        (x >= config.x_min_m) & (x < config.x_max_m) & (y >= config.y_min_m)
        & (y < config.y_max_m) & (z >= config.z_min_m) & (z < config.z_max_m)
    )  # fmt: skip


def mirror(points: Float32, boxes: Boxes) -> tuple[Float32, Boxes]:
    """Swap left and right."""
    sign = np.array([1, -1, 1, 1, 1], dtype=np.float32)
    return points * sign[: points.shape[1]], replace(
        boxes,
        center_xyz_m=boxes.center_xyz_m * sign[:3],
        yaw_rad=wrap_angle(-boxes.yaw_rad),
        velocity_xy_mps=boxes.velocity_xy_mps * sign[:2],
    )


def turn_and_scale(
    points: Float32, boxes: Boxes, turn_rad: float, scale: float
) -> tuple[Float32, Boxes]:
    """Turn about the ego's vertical axis, then scale everything but the intensity."""
    pose = SE3.from_yaw(turn_rad, np.zeros(3))
    matrix = (pose.rotation * scale).astype(np.float32)
    turned = np.concatenate([points[:, :3] @ matrix.T, points[:, 3:]], axis=1)
    boxes = boxes.transform(pose)
    return turned, replace(
        boxes,
        center_xyz_m=boxes.center_xyz_m * scale,
        size_lwh_m=boxes.size_lwh_m * scale,
        velocity_xy_mps=boxes.velocity_xy_mps * scale,
    )


def paste(
    points: Float32,
    boxes: Boxes,
    config: TrainConfig,
    rng: np.random.Generator,
    bank: ObjectBank,
) -> tuple[Float32, Boxes]:
    """Put objects at their own distance in other directions, where there is free ground.

    What they hide is removed. An object for which no free place is found soon is left out.
    """
    view = _View.of(points)
    for category, count in config.paste:
        objects = bank.objects.get(category, [])
        for _ in range(count if objects else 0):
            for _ in range(TRIES):
                cut, box = objects[int(rng.integers(len(objects)))]
                cut, box = turn_and_scale(cut, box, float(rng.uniform(-np.pi, np.pi)), 1.0)
                added = _View.of(cut)
                if not stands_free(boxes, box) or not _is_seen(view, added, box):
                    continue
                view = view.without(_window(view, added, nearer=False)).join(added)
                boxes = Boxes.concatenate([boxes, box])
                break
    return view.points, boxes


@dataclass(frozen=True, slots=True)
class _View:
    """Points as the lidar sees them, from 1.8 m above the ego origin.

    Attributes:
        points: (N, 4).
        azimuth: (N,) rad.
        distance: (N,) m from above.
        slope: (N,) height over distance.
    """

    points: Float32
    azimuth: Float32
    distance: Float32
    slope: Float32

    @classmethod
    def of(cls, points: Float32) -> _View:
        distance = np.maximum(np.hypot(points[:, 0], points[:, 1]), np.float32(0.1))
        azimuth = np.arctan2(points[:, 1], points[:, 0])
        slope = ((points[:, 2] - 1.8) / distance).astype(np.float32)
        return cls(points, azimuth, distance, slope)

    def without(self, hidden: Int64) -> _View:
        """Return the view without the points of some indices."""
        return _View(*(np.delete(getattr(self, f.name), hidden, axis=0) for f in fields(self)))

    def join(self, other: _View) -> _View:
        """Return both."""
        return _View(
            *(np.concatenate([getattr(self, f.name), getattr(other, f.name)]) for f in fields(self))
        )


def stands_free(boxes: Boxes, box: Boxes) -> bool:
    """Tell whether the object touches no other and hides none: point counts must stay true."""
    radius = np.hypot(*box.size_lwh_m[0, :2]) / 2
    others = np.hypot(boxes.size_lwh_m[:, 0], boxes.size_lwh_m[:, 1]) / 2
    offset = boxes.center_xyz_m[:, :2] - box.center_xyz_m[0, :2]
    if (np.hypot(offset[:, 0], offset[:, 1]) < radius + others + GAP_M).any():
        return False
    distance, own = boxes.range_m(), box.range_m()[0]
    direction = np.arctan2(boxes.center_xyz_m[:, 1], boxes.center_xyz_m[:, 0])
    turn = wrap_angle(direction - np.arctan2(box.center_xyz_m[0, 1], box.center_xyz_m[0, 0]))
    overlap = np.abs(turn) < np.arctan2(others, distance) + np.arctan2(radius, own)
    return not (overlap & (distance > own)).any()


def _is_seen(view: _View, added: _View, box: Boxes) -> bool:
    """Tell whether nothing stands in the object's place and little stands in front of it."""
    bottom = box.center_xyz_m[0, 2] - box.size_lwh_m[0, 2] / 2
    reach = np.hypot(*box.size_lwh_m[0, :2]) / 2 + GAP_M
    x, y = view.points[:, 0], view.points[:, 1]
    near = np.flatnonzero(np.abs(x - np.float32(box.center_xyz_m[0, 0])) < reach)
    near = near[np.abs(y[near] - np.float32(box.center_xyz_m[0, 1])) < reach]
    if (view.points[near, 2] > bottom + 0.3).any():
        return False
    return len(_window(view, added, nearer=True)) < 0.1 * len(added.points)


def _window(view: _View, added: _View, nearer: bool) -> Int64:
    """Return the indices of points in the object's angular window, in front of or behind it."""
    middle = added.azimuth[0]
    own = wrap_angle(added.azimuth - middle)
    turn = np.abs(view.azimuth - middle)
    turn = np.minimum(turn, np.float32(2 * np.pi) - turn)
    index = np.flatnonzero(turn <= np.abs(own).max())
    turned = wrap_angle(view.azimuth[index] - middle)
    slope, distance = view.slope[index], view.distance[index]
    hit = (turned >= own.min()) & (turned <= own.max())
    hit &= (slope >= added.slope.min()) & (slope <= added.slope.max())
    hit &= distance < added.distance.min() - 0.3 if nearer else distance > added.distance.min()
    return index[hit]
