"""Variations of a training frame: mirrored, turned, scaled, with objects of other frames.

Source: SECOND (Yan et al., Sensors 2018) for the pasted objects; shadows are ours: what lies
behind a pasted object is removed, since the lidar could not have seen it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

import numpy as np

from scene.box import Boxes, points_in_boxes
from scene.pose import SE3, wrap_angle
from scene.types import Float32, Mask
from training.config import TrainConfig

_GAP_M: Final = 0.4  # free ground around a pasted object
_TRIES: Final = 6
_LEAST_POINTS: Final = 5


@dataclass(frozen=True, slots=True)
class ObjectBank:
    """Points and boxes of labelled objects, by category.

    Attributes:
        objects: category to a list of ((N, 4) points, one box), where they were seen.
    """

    objects: dict[str, list[tuple[Float32, Boxes]]]

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
        for category, count in config.paste:
            for _ in range(count):
                points, boxes = _paste(points, boxes, bank.objects.get(category, []), rng)
    points = points.copy()
    if rng.random() < config.flip:
        points, boxes = mirror(points, boxes)
    turn = rng.uniform(-config.rotation_rad, config.rotation_rad)
    if rng.random() < config.reverse:
        turn += np.pi
    scale = rng.uniform(1 - config.scale, 1 + config.scale)
    points, boxes = turn_and_scale(points, boxes, turn, scale)
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
    sign = np.array([1, -1, 1, 1], dtype=np.float32)
    return points * sign, replace(
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


def _paste(
    points: Float32,
    boxes: Boxes,
    objects: Sequence[tuple[Float32, Boxes]],
    rng: np.random.Generator,
) -> tuple[Float32, Boxes]:
    """Put one object at its own distance in another direction, where there is free ground."""
    if not objects:
        return points, boxes
    for _ in range(_TRIES):
        cut, box = objects[int(rng.integers(len(objects)))]
        cut, box = turn_and_scale(cut, box, float(rng.uniform(-np.pi, np.pi)), 1.0)
        if _is_free(points, boxes, box) and _hides_nobody(boxes, box) and _is_visible(points, cut):
            keep = ~(_shadow(points, cut) | points_in_boxes(points[:, :3], box)[0])
            merged = np.concatenate([points[keep], cut.astype(np.float32)])
            return merged, Boxes.concatenate([boxes, box])
    return points, boxes


def _is_free(points: Float32, boxes: Boxes, box: Boxes) -> bool:
    """Tell whether no other box is near and nothing stands where the object would."""
    radius = np.hypot(*box.size_lwh_m[0, :2]) / 2
    others = np.hypot(boxes.size_lwh_m[:, 0], boxes.size_lwh_m[:, 1]) / 2
    distance = np.hypot(*(boxes.center_xyz_m[:, :2] - box.center_xyz_m[0, :2]).T)
    if (distance < radius + others + _GAP_M).any():
        return False
    bottom = box.center_xyz_m[0, 2] - box.size_lwh_m[0, 2] / 2
    near = (np.abs(points[:, :2] - box.center_xyz_m[0, :2]) < radius + _GAP_M).all(axis=1)
    return not (points[near, 2] > bottom + 0.3).any()


def _hides_nobody(boxes: Boxes, box: Boxes) -> bool:
    """Tell whether no labelled object lies behind, so that all point counts stay true."""
    direction = np.arctan2(boxes.center_xyz_m[:, 1], boxes.center_xyz_m[:, 0])
    mine = np.arctan2(box.center_xyz_m[0, 1], box.center_xyz_m[0, 0])
    reach = np.hypot(boxes.size_lwh_m[:, 0], boxes.size_lwh_m[:, 1]) / 2
    half = np.arctan2(reach, boxes.range_m())
    my_half = np.arctan2(np.hypot(*box.size_lwh_m[0, :2]) / 2, box.range_m()[0])
    overlap = np.abs(wrap_angle(direction - mine)) < half + my_half
    return not (overlap & (boxes.range_m() > box.range_m()[0])).any()


def _is_visible(points: Float32, cut: Float32) -> bool:
    """Tell whether little of the frame lies in front of the object."""
    return bool(_window(points, cut, nearer=True).sum() < 0.1 * len(cut))


def _shadow(points: Float32, cut: Float32) -> Mask:
    """Return which points the object hides."""
    return _window(points, cut, nearer=False)


def _window(points: Float32, cut: Float32, nearer: bool) -> Mask:
    """Return the points in the object's angular window, nearer or farther than it.

    Angles are seen from above the ego origin at 1.8 m, about where a roof lidar sits.
    """
    middle = np.arctan2(cut[:, 1].mean(), cut[:, 0].mean())
    azimuth = wrap_angle(np.arctan2(cut[:, 1], cut[:, 0]) - middle)
    distance = np.hypot(cut[:, 0], cut[:, 1])
    slope = (cut[:, 2] - 1.8) / distance
    far = np.hypot(points[:, 0], points[:, 1])
    in_range = far < distance.min() - 0.3 if nearer else far > distance.max()
    index = np.flatnonzero(in_range & (far > 0.5))
    turned = wrap_angle(np.arctan2(points[index, 1], points[index, 0]) - middle)
    slopes = (points[index, 2] - 1.8) / far[index]
    hit = (turned >= azimuth.min()) & (turned <= azimuth.max())
    hit &= (slopes >= slope.min()) & (slopes <= slope.max())
    mask = np.zeros(len(points), dtype=bool)
    mask[index[hit]] = True
    return mask
