"""The trained point network of `training.centerpoint` on a processor, in one compiled pass."""

from __future__ import annotations

import numpy as np

from scene.types import Float32
from training.centerpoint import EPS, PointNet
from training.kernels.pillars import PillarGrid, PointMax, largest_answers


def fold(net: PointNet) -> tuple[Float32, Float32]:
    """Return (F, C) weight and (C,) bias: the linear layer with its normalisation folded in."""
    scale = net.weight.detach() / (net.running_var + EPS).sqrt()
    weight = net.linear.weight.detach() * scale[:, None]
    bias = net.bias.detach() - net.running_mean * scale
    return weight.T.contiguous().cpu().numpy(), bias.cpu().numpy()


def look_down(net: PointNet, points: Float32) -> PointMax:
    """Return what `net` in evaluation mode makes of one frame, for the pillars that have points.

    Args:
        net: trained, its values as many as the points have columns.
        points: (N, 4) or (N, 5) float32, see `training.frames.TrainFrame`.
    """
    grid = PillarGrid(net.x_min, net.y_min, net.z_min, net.z_max, net.pillar, net.rows, net.columns)
    return largest_answers(np.ascontiguousarray(points), grid, *fold(net))
