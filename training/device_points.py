"""What is done to all points of a batch on the device: one set of operations, whatever the batch.

Nothing here waits for the device, and no array of points times boxes is made: a point is compared
with the boxes that are listed where it lies (`training.nearby`), one place of the lists after the
other.
"""

from __future__ import annotations

from typing import Final, NamedTuple

import torch
from torch import Tensor

from training.device import constant
from training.nearby import AZIMUTHS, CELLS, SENSOR_M

GROW_M: Final = 0.2  # around a pasted object, where other points go
EDGE_M: Final = 0.05  # points so near to a box go along with it


class Points(NamedTuple):
    """The points of B frames, column by column: whole columns are what operations are done to.

    Attributes:
        columns: x, y, z (m), intensity and, of several sweeps, age (s); (N,) each.
        frame: (N,) int64, from 0 to B - 1; any of these for rows that only fill up.
    """

    columns: list[Tensor]
    frame: Tensor


class Met(NamedTuple):
    """What a point has to do with boxes.

    Attributes:
        box: (N,) row b * M + m of the first box that the point goes along with, B * M for none.
        stands: (N,) bool, in or near the place of a pasted object.
    """

    box: Tensor
    stands: Tensor


def meet(points: Points, boxes: Tensor, pasted: Tensor, by_cell: Tensor) -> Met:
    """Compare points with the boxes in whose cells they lie.

    Args:
        points: of B frames.
        boxes: (B, M, 9).
        pasted: (B, M) bool.
        by_cell: (K, B * CELLS * CELLS) int32, see `training.nearby.boxes_by_cell`.
    """
    x, y, z = points.columns[:3]
    last = CELLS - 1
    row, column = torch.floor(x).int() & last, torch.floor(y).int() & last
    cell = (points.frame * CELLS + row) * CELLS + column
    flat = boxes.flatten(0, 1).t()
    # One box more, which nothing is in.
    facts = _with_row(
        torch.cat(
            [
                flat[:3],
                torch.cos(flat[6:7]),
                torch.sin(flat[6:7]),
                flat[3:6] / 2,
                torch.where(pasted.flatten()[None], GROW_M, -torch.inf),
            ]
        ),
        (0, 0, 0, 1, 0, -torch.inf, -torch.inf, -torch.inf, -torch.inf),
    )
    box = torch.full_like(cell, facts.shape[1] - 1)
    stands = torch.zeros_like(cell, dtype=torch.bool)
    for listed in reversed(by_cell.unbind()):  # the first box of a list has the last word
        number = listed.index_select(0, cell)
        bx, by, bz, cos, sin, half_l, half_w, half_h, grow = facts.index_select(1, number).unbind()
        dx, dy = x - bx, y - by
        along = (dx * cos + dy * sin).abs_().sub_(half_l)
        across = (dy * cos - dx * sin).abs_().sub_(half_w)
        above = (z - bz).abs_().sub_(half_h)
        outside = torch.maximum(torch.maximum(along, across), above)
        stands |= outside <= grow
        box = torch.where(outside <= EDGE_M, number.long(), box)
    return Met(box, stands)


def hidden(points: Points, shadows: Tensor, by_azimuth: Tensor) -> Tensor:
    """Return (N,) whether a point lies behind a pasted object.

    Args:
        points: of B frames.
        shadows: (B, M, 6), see `training.nearby.cast_shadows`.
        by_azimuth: (K, B * AZIMUTHS) int32, see `training.nearby.shadows_by_azimuth`.
    """
    x, y, z = points.columns[:3]
    distance = torch.hypot(x, y).clamp_(min=0.1)
    slope = (z - SENSOR_M) / distance
    azimuth = torch.atan2(y, x)
    part = ((azimuth + torch.pi) * (AZIMUTHS / (2 * torch.pi))).int().clamp_(0, AZIMUTHS - 1)
    place = points.frame * AZIMUTHS + part
    facts = _with_row(shadows.flatten(0, 1).t(), (0, torch.inf, 0, 0, 0, 0))
    behind = torch.zeros_like(place, dtype=torch.bool)
    for listed in by_azimuth.unbind():
        number = listed.index_select(0, place)
        middle, low, high, flat, steep, near = facts.index_select(1, number).unbind()
        turn = torch.remainder(azimuth - middle + torch.pi, 2 * torch.pi) - torch.pi
        behind |= (
            (turn >= low) & (turn <= high) & (distance > near) & (slope >= flat) & (slope <= steep)
        )
    return behind


def free_moves(boxes: Tensor, labels: Tensor, moves: Tensor) -> Tensor:
    """Return (B, M, 3) moves of the objects that would not come too near to another one."""
    real = labels >= 0
    reach = torch.hypot(boxes[..., 3], boxes[..., 4]) / 2
    there = boxes[..., :2] + torch.where(real[..., None], moves[..., 1:], 0.0)
    gap = (there[:, :, None] - there[:, None]).norm(dim=3)
    near = (gap < reach[:, :, None] + reach[:, None]) & real[:, None]
    near &= ~torch.eye(boxes.shape[1], dtype=torch.bool, device=boxes.device)
    return torch.where((real & ~near.any(dim=2))[..., None], moves, 0.0)


def go_along(points: Points, box: Tensor, boxes: Tensor, moves: Tensor) -> Points:
    """Turn and move the points that go along with a box.

    Args:
        points: of B frames.
        box: (N,), see `Met`.
        boxes: (B, M, 9) before they are moved.
        moves: (B, M, 3) turn (rad) about each box's centre and shift x, y (m).
    """
    turn, *shift = moves.flatten(0, 1).t().unbind()
    centre = boxes.flatten(0, 1).t()[:2]
    facts = torch.stack([torch.cos(turn), torch.sin(turn), *shift])
    facts = _with_row(torch.cat([facts, centre]), (1, 0, 0, 0, 0, 0))
    cos, sin, shift_x, shift_y, center_x, center_y = facts.index_select(1, box).unbind()
    x, y, *others = points.columns
    x, y = x - center_x, y - center_y
    turned_x = (x * cos - y * sin).add_(center_x).add_(shift_x)
    turned_y = (x * sin + y * cos).add_(center_y).add_(shift_y)
    return Points([turned_x, turned_y, *others], points.frame)


def move_boxes(boxes: Tensor, moves: Tensor) -> Tensor:
    """Return (B, M, 9) boxes turned about their centres and moved."""
    cos, sin = torch.cos(moves[..., 0]), torch.sin(moves[..., 0])
    vx, vy = boxes[..., 7], boxes[..., 8]
    velocity = torch.stack([vx * cos - vy * sin, vx * sin + vy * cos], dim=2)
    place = torch.cat([boxes[..., :2] + moves[..., 1:], boxes[..., 2:6]], dim=2)
    return torch.cat([place, boxes[..., 6:7] + moves[..., :1], velocity], dim=2)


def vary_points(points: Points, draws: Tensor, light: Tensor) -> Tensor:
    """Return (N, 4 or 5) points, mirrored, turned, scaled and moved by frame.

    Args:
        points: of B frames.
        draws: (B, 6), see `training.device_batch.Sample`.
        light: (B,) factor of the intensities.
    """
    sign, cos, sin = _turns(draws)
    scale, shift = draws[:, 2], draws[:, 3:6].unbind(1)
    facts = torch.stack([cos, -sin * sign, sin, cos * sign, scale, *shift, light])
    xx, xy, yx, yy, zz, tx, ty, tz, bright = facts.index_select(1, points.frame).unbind()
    x, y, z, intensity, *age = points.columns
    return torch.stack(
        [
            (xx * x).add_(xy * y).add_(tx),
            (yx * x).add_(yy * y).add_(ty),
            (zz * z).add_(tz),
            (intensity * bright).clamp_(0.0, 1.0),
            *age,
        ],
        dim=1,
    )


def vary_boxes(boxes: Tensor, draws: Tensor) -> Tensor:
    """Return (B, M, 9) boxes, mirrored, turned, scaled and moved by frame; see `vary_points`."""
    sign, cos, sin = (values[:, None] for values in _turns(draws))
    scale, shift = draws[:, 2, None, None], draws[:, None, 3:6]
    x, y, vx, vy = (boxes[..., i] for i in (0, 1, 7, 8))
    # Sums and not products of matrices: those may be rounded to ten bits on an accelerator.
    centre = torch.stack(
        [cos * x - sin * sign * y, sin * x + cos * sign * y, draws[:, None, 2] * boxes[..., 2]],
        dim=2,
    )
    velocity = torch.stack([cos * vx - sin * sign * vy, sin * vx + cos * sign * vy], dim=2)
    yaw = boxes[..., 6:7] * sign[..., None] + draws[:, 1, None, None]
    return torch.cat([centre + shift, boxes[..., 3:6] * scale, yaw, velocity], dim=2)


def _turns(draws: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return (B,) each: -1 where a frame is mirrored, scaled cosine and sine of its turn."""
    return (
        1 - 2 * draws[:, 0],
        torch.cos(draws[:, 1]) * draws[:, 2],
        torch.sin(draws[:, 1]) * draws[:, 2],
    )


def _with_row(facts: Tensor, of_none: tuple[float, ...]) -> Tensor:
    """Return (F, R + 1): what is known of R boxes, and last what stands for none."""
    return torch.cat([facts, constant(of_none, facts.device, facts.dtype)[:, None]], dim=1)
