"""What networks take and what they answer, whatever they are made of."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final, NamedTuple

import torch
from torch import Tensor

from training.targets import NUM_CODES

__all__ = [
    "NUM_CODES", "PRIOR", "Heads", "Inputs", "Picture", "PointInputs", "adopted_rows",
    "box_of_codes",
]  # fmt: skip

_MAX_LOG_SIZE: Final = 2.0  # a box is at most e^2 times the usual size: keeps exp finite

PRIOR: Final = 0.01
"""First guess of every heat map cell (RetinaNet, Lin et al. 2017)."""


class Picture(NamedTuple):
    """B frames as the small network takes them.

    Attributes:
        picture: (B, C, X, Y) pillar picture.
    """

    picture: Tensor


class PointInputs(NamedTuple):
    """B frames as the point network takes them: points with the pillar they fall into.

    Attributes:
        points: (N, 4 or 5) float32 x, y, z (ego, m), intensity and, of several sweeps, age (s).
        pillar: (N,) int64 flat index into (B, X, Y); B * X * Y for points that are not looked at.
        num_frames: B.
    """

    points: Tensor
    pillar: Tensor
    num_frames: int


Inputs = Picture | PointInputs


class Heads(NamedTuple):
    """What the network says about every cell, for G groups of categories.

    Attributes:
        heat: (B, C, X, Y) logits of a box centre by category.
        codes: (B, G * 10, X, Y) box codes by group, see `training.targets.NUM_CODES`.
        iou: (B, G, X, Y) logits of the overlap that the box will have with the truth, or None.
    """

    heat: Tensor
    codes: Tensor
    iou: Tensor | None = None


def box_of_codes(codes: Tensor, usual: Tensor) -> Tensor:
    """Return (M, 7) dx, dy (cells from the cell's middle), z, l, w, h (m), yaw (rad) of codes.

    Args:
        codes: (M, 10), see `training.targets.NUM_CODES`.
        usual: (M, 3) usual length, width and height of each box's category.
    """
    z = codes[:, 2:3] + usual[:, 2:3] / 2
    size = torch.exp(codes[:, 3:6].clamp(-_MAX_LOG_SIZE, _MAX_LOG_SIZE)) * usual
    yaw = torch.atan2(codes[:, 6], codes[:, 7])
    return torch.cat([codes[:, :2], z, size, yaw[:, None]], dim=1)


def adopted_rows(
    own: Mapping[str, Tensor],
    weights: Mapping[str, Tensor],
    name: str,
    categories: Sequence[str],
    learned: Sequence[str],
) -> Tensor:
    """Return one tensor of our heat map's weights with the rows that an earlier model learned.

    Args:
        own: our weights.
        weights: those of the earlier model.
        name: of the tensor.
        categories: for each of our rows, what it looks for.
        learned: for each row of the earlier model the same, or "" for one it never learned.
    """
    rows = own[name].clone()
    for row, category in enumerate(categories):
        if category in learned:  # the others start afresh
            rows[row] = weights[name][learned.index(category)]
    return rows
