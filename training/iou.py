"""Overlap of rotated boxes in torch, box by box: on the device, for the loss and for the NMS.

The reference is `scene.overlap` (numpy, float64), to which this is compared in tests.
"""

from __future__ import annotations

from typing import Final

import torch
from torch import Tensor

from training.device import constant

_EDGE: Final = 1e-6  # a corner on an edge is inside, whatever rounding says
_LEAST: Final = 1e-9


def iou_3d(first: Tensor, second: Tensor) -> Tensor:
    """Return (M,) intersection over union of cuboids (M, 7) x, y, z, l, w, h (m), yaw (rad)."""
    top = torch.minimum(first[:, 2] + first[:, 5] / 2, second[:, 2] + second[:, 5] / 2)
    bottom = torch.maximum(first[:, 2] - first[:, 5] / 2, second[:, 2] - second[:, 5] / 2)
    shared = intersection_bev(first, second) * (top - bottom).clamp(min=0.0)
    union = first[:, 3:6].prod(dim=1) + second[:, 3:6].prod(dim=1) - shared
    return (shared / union.clamp(min=_LEAST)).clamp(0.0, 1.0)


def iou_bev(first: Tensor, second: Tensor) -> Tensor:
    """Return (M,) intersection over union of the footprints of (M, 7) boxes."""
    shared = intersection_bev(first, second)
    union = first[:, 3:5].prod(dim=1) + second[:, 3:5].prod(dim=1) - shared
    return (shared / union.clamp(min=_LEAST)).clamp(0.0, 1.0)


def intersection_bev(first: Tensor, second: Tensor) -> Tensor:
    """Return (M,) square meters that the footprints of (M, 7) boxes share.

    The corners of the intersection are corners of one inside the other and crossings of edges; in
    order of angle around their mean they make a convex polygon.
    """
    middle = first[:, :2]  # near the origin, so that rounding stays small
    one, two = _corners(first, middle), _corners(second, middle)
    crossing, crosses = _crossings(one, two)
    points = torch.cat([one, two, crossing], dim=1)
    valid = torch.cat([_inside(one, two), _inside(two, one), crosses], dim=1)
    count = valid.sum(dim=1, keepdim=True)
    weight = valid.to(points.dtype)[..., None]
    centre = (points * weight).sum(dim=1) / count.clamp(min=1)
    arm = torch.where(valid[..., None], points - centre[:, None], torch.zeros_like(points))
    angle = torch.atan2(arm[..., 1], arm[..., 0])
    order = torch.where(valid, angle, torch.full_like(angle, 4.0)).argsort(dim=1)
    arm = torch.gather(arm, 1, order[..., None].expand(-1, -1, 2))
    # Places that are not used repeat the first corner: they add no area.
    used = torch.arange(arm.shape[1], device=arm.device)[None] < count
    arm = torch.where(used[..., None], arm, arm[:, :1])
    after = torch.roll(arm, -1, dims=1)
    area = (arm[..., 0] * after[..., 1] - arm[..., 1] * after[..., 0]).sum(dim=1) / 2
    return torch.where(count[:, 0] > 2, area.clamp(min=0.0), torch.zeros_like(area))


def _corners(boxes: Tensor, origin: Tensor) -> Tensor:
    """Return (M, 4, 2) corners, counter-clockwise."""
    cos, sin = torch.cos(boxes[:, 6]), torch.sin(boxes[:, 6])
    x = constant((0.5, -0.5, -0.5, 0.5), boxes.device, boxes.dtype) * boxes[:, 3:4]
    y = constant((0.5, 0.5, -0.5, -0.5), boxes.device, boxes.dtype) * boxes[:, 4:5]
    turned = [x * cos[:, None] - y * sin[:, None], x * sin[:, None] + y * cos[:, None]]
    return torch.stack(turned, dim=2) + (boxes[:, :2] - origin)[:, None]


def _inside(points: Tensor, polygon: Tensor) -> Tensor:
    """Return (M, 4) whether points (M, 4, 2) lie in counter-clockwise rectangles (M, 4, 2)."""
    edge = torch.roll(polygon, -1, dims=1) - polygon
    arm = points[:, :, None] - polygon[:, None]
    side = edge[:, None, :, 0] * arm[..., 1] - edge[:, None, :, 1] * arm[..., 0]
    return (side >= -_EDGE).all(dim=2)


def _crossings(one: Tensor, two: Tensor) -> tuple[Tensor, Tensor]:
    """Return (M, 16, 2) crossings of edges of two rectangles and (M, 16) whether they cross."""
    start, along = one[:, :, None], (torch.roll(one, -1, dims=1) - one)[:, :, None]
    other, across = two[:, None], (torch.roll(two, -1, dims=1) - two)[:, None]
    gap = other - start
    turn = along[..., 0] * across[..., 1] - along[..., 1] * across[..., 0]
    safe = torch.where(turn.abs() < _LEAST, torch.ones_like(turn), turn)
    s = (gap[..., 0] * across[..., 1] - gap[..., 1] * across[..., 0]) / safe
    t = (gap[..., 0] * along[..., 1] - gap[..., 1] * along[..., 0]) / safe
    hit = (turn.abs() >= _LEAST) & (s >= 0) & (s <= 1) & (t >= 0) & (t <= 1)
    place = start + s[..., None] * along
    return place.flatten(1, 2), hit.flatten(1, 2)
