"""Where objects of other frames may stand: all that are wanted of a frame are placed at once."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from scene.box import Boxes
from scene.pose import wrap_angle
from scene.types import Float32, Int64
from training.augment import TRIES, ObjectBank
from training.config import TrainConfig


def place_objects(
    boxes: Boxes, config: TrainConfig, rng: np.random.Generator, bank: ObjectBank
) -> tuple[Boxes, Float32, Int64]:
    """Choose objects of other frames that stand free, each at its distance, anywhere around.

    Every object that `config.paste` asks for gets six tries with another object and direction;
    the first that stands free of the frame's boxes and of what was placed before stays.

    Args:
        boxes: of the frame.
        config: how many of which category.
        rng: chance.
        bank: what there is to place.

    Returns:
        The P placed boxes, their points (N, 4 or 5), and how many points each has, (P,).
    """
    from training.kernels.placing import first_free

    wanted = [(name, count) for name, count in config.paste if count and bank.objects.get(name)]
    # one draw for all: number of the object within its category, and direction
    slots = [bank.start[name] for name, count in wanted for _ in range(count)]
    sizes = [len(bank.objects[name]) for name, count in wanted for _ in range(count)]
    shape = (len(slots), TRIES)
    number = (rng.random(shape) * np.array(sizes)[:, None]).astype(np.int64) if slots else None
    turn = rng.uniform(-config.paste_turn_rad, config.paste_turn_rad, shape)
    if number is None:
        return Boxes.empty(), np.zeros((0, 4), np.float32), np.zeros(0, np.int64)
    number += np.array(slots)[:, None]
    drawn = bank.boxes.take(number.reshape(-1))
    x, y = _turned(drawn.center_xyz_m[:, 0], drawn.center_xyz_m[:, 1], turn.reshape(-1))
    chosen = np.empty(len(slots), np.int64)
    first_free(
        np.stack([boxes.center_xyz_m[:, 0], boxes.center_xyz_m[:, 1], _reach(boxes)], axis=1),
        np.stack([x, y, _reach(drawn)], axis=1),
        TRIES,
        chosen,
    )
    chosen = chosen[chosen >= 0]
    clouds = [bank.cuts[index] for index in number.reshape(-1)[chosen]]
    counts = np.array([len(cloud) for cloud in clouds], dtype=np.int64)
    if not len(counts):
        return Boxes.empty(), np.zeros((0, 4), np.float32), counts
    turn = turn.reshape(-1)[chosen]
    points = np.concatenate(clouds)
    points[:, 0], points[:, 1] = _turned(points[:, 0], points[:, 1], np.repeat(turn, counts))
    return _turned_boxes(drawn.take(chosen), turn), points, counts


def _reach(boxes: Boxes) -> np.ndarray:
    """Return the radius of the circle around each box, m."""
    return np.hypot(boxes.size_lwh_m[:, 0], boxes.size_lwh_m[:, 1]) / 2


def _turned(x: np.ndarray, y: np.ndarray, turn: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    cos, sin = np.cos(turn), np.sin(turn)
    return x * cos - y * sin, x * sin + y * cos


def _turned_boxes(boxes: Boxes, turn: np.ndarray) -> Boxes:
    """Return the boxes, each turned about the ego's vertical axis by its own angle."""
    x, y = _turned(boxes.center_xyz_m[:, 0], boxes.center_xyz_m[:, 1], turn)
    vx, vy = _turned(boxes.velocity_xy_mps[:, 0], boxes.velocity_xy_mps[:, 1], turn)
    return replace(
        boxes,
        center_xyz_m=np.stack([x, y, boxes.center_xyz_m[:, 2]], axis=1),
        yaw_rad=wrap_angle(boxes.yaw_rad + turn),
        velocity_xy_mps=np.stack([vx, vy], axis=1),
    )
