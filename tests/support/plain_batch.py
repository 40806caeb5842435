"""What is done to the points of a frame before its last variation, in float64, box by box.

The reference of `training.device_points`: every point is tried against every box.
"""

from __future__ import annotations

import numpy as np

from scene.types import Float64, Int64, Mask

SENSOR_M = 1.8
GROW_M = 0.2
EDGE_M = 0.05


def inside(points: Float64, box: Float64, margin_m: float) -> Mask:
    """Return (N,) whether points are in a box (9,) that is larger by a margin on every side."""
    dx, dy, dz = (points[:, :3] - box[:3]).T
    cos, sin = np.cos(box[6]), np.sin(box[6])
    half = box[3:6] / 2 + margin_m
    along, across = np.abs(dx * cos + dy * sin), np.abs(dy * cos - dx * sin)
    return (along <= half[0]) & (across <= half[1]) & (np.abs(dz) <= half[2])


def behind(points: Float64, cut: Float64, box: Float64, slack: float) -> Mask:
    """Return (N,) whether points lie behind an object whose own points are `cut`.

    `slack` makes its window larger: beams of one lidar lie exactly on edges of such windows.
    """
    if not len(cut):
        return np.zeros(len(points), dtype=np.bool_)

    def seen(cloud: Float64) -> tuple[Float64, Float64, Float64]:
        distance = np.maximum(np.hypot(cloud[:, 0], cloud[:, 1]), 0.1)
        turn = np.arctan2(cloud[:, 1], cloud[:, 0]) - np.arctan2(box[1], box[0])
        slope = (cloud[:, 2] - SENSOR_M) / distance
        return (turn + np.pi) % (2 * np.pi) - np.pi, slope, distance

    turn, slope, distance = seen(cut)
    there, high, far = seen(points)
    within = (there >= turn.min() - slack) & (there <= turn.max() + slack)
    within &= (high >= slope.min() - slack) & (high <= slope.max() + slack)
    return within & (far > distance.min() - slack)


def cleared(
    points: Float64,
    cuts: Float64,
    owner: Int64,
    boxes: Float64,
    pasted: Mask,
    slack: float = 0.0,
) -> Mask:
    """Return (N,) whether a frame's own points make room for pasted objects.

    Args:
        points: (N, 4 or 5) of the frame itself.
        cuts: (P, 4 or 5) of pasted objects.
        owner: (P,) box of each.
        boxes: (M, 9).
        pasted: (M,).
        slack: by which places and windows are larger, m and rad.
    """
    gone = np.zeros(len(points), dtype=np.bool_)
    for m in np.flatnonzero(pasted):
        gone |= inside(points, boxes[m], GROW_M + slack)
        gone |= behind(points, cuts[owner == m], boxes[m], slack)
    return gone


def moved(points: Float64, boxes: Float64, moves: Float64) -> tuple[Float64, Float64]:
    """Return points and boxes after every object that has room was turned and moved.

    Args:
        points: (N, 4 or 5).
        boxes: (M, 9).
        moves: (M, 3) turn (rad), shift x, y (m).
    """
    reach = np.hypot(boxes[:, 3], boxes[:, 4]) / 2
    there = boxes[:, :2] + moves[:, 1:]
    result, placed = points.copy(), boxes.copy()
    for m in reversed(range(len(boxes))):  # of several boxes the first has the last word
        gap = np.hypot(*(there - there[m]).T)
        gap[m] = np.inf
        turn, *shift = np.zeros(3) if (gap < reach + reach[m]).any() else moves[m]
        matrix = np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])
        mine = inside(points, boxes[m], EDGE_M)
        centre = boxes[m, :2]
        result[mine, :2] = (points[mine, :2] - centre) @ matrix.T + centre + shift
        placed[m, :2] += shift
        placed[m, 6] += turn
        placed[m, 7:9] = matrix @ boxes[m, 7:9]
    return result, placed
