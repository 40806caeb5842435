"""The loss: penalty-reduced focal loss on the heat map, L1 on box codes at the centres.

Where the network predicts how well its box will fit, that is compared with how well it does.

Source: CornerNet (Law and Deng, ECCV 2018), CenterPoint (Yin et al., CVPR 2021); the predicted IoU
is that of CIA-SSD (Zheng et al., AAAI 2021).
"""

from __future__ import annotations

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from training.config import TrainConfig
from training.device import constant
from training.heads import NUM_CODES, Heads, box_of_codes
from training.iou import iou_3d


class BatchTargets(NamedTuple):
    """Targets of B frames on the device.

    Attributes:
        heatmap: (B, C, X, Y) float32.
        weight: (B, 1, X, Y) float32.
        cells: (M,) int64, flat index into (B, G, X, Y).
        codes: (M, 10) float32, NaN where unknown.
        labels: (M,) int64 category of each box; only needed for the predicted IoU.
        real: (M,) float32, 0 for rows that only fill up; None if all are boxes.
    """

    heatmap: Tensor
    weight: Tensor
    cells: Tensor
    codes: Tensor
    labels: Tensor | None = None
    real: Tensor | None = None


class Losses(NamedTuple):
    """Scalar tensors; `iou` is 0 where the network predicts none."""

    total: Tensor
    heat: Tensor
    box: Tensor
    iou: Tensor


def detection_loss(
    heads: Heads, targets: BatchTargets, config: TrainConfig, sizes: Tensor
) -> Losses:
    """Return the loss of heads of any float type; it is computed in float32.

    Unknown velocities (NaN in the targets) are masked, never taken as zero.

    Args:
        heads: of B frames.
        targets: of the same frames.
        config: weights, grid.
        sizes: (C, 3) usual length, width and height of the categories.
    """
    heat_loss = focal_loss(heads.heat.float(), targets.heatmap, targets.weight)
    picked = pick(heads.codes.float(), NUM_CODES, targets.cells)
    known = ~torch.isnan(targets.codes)
    wanted = torch.where(known, targets.codes, picked.detach())
    weights = (1.0,) * 8 + (config.velocity_weight,) * 2
    per_code = F.smooth_l1_loss(picked, wanted, reduction="none", beta=0.1)
    per_code = per_code * constant(weights, picked.device, picked.dtype)
    if targets.real is None:
        box_loss = per_code.sum() / max(len(targets.cells), 1)
    else:
        box_loss = (per_code * targets.real[:, None]).sum() / targets.real.sum().clamp(min=1.0)
    total = heat_loss + config.regression_weight * box_loss
    if heads.iou is None:
        return Losses(total, heat_loss, box_loss, torch.zeros_like(total))
    iou_loss = _iou_loss(pick(heads.iou.float(), 1, targets.cells)[:, 0], picked, targets, sizes)
    return Losses(total + iou_loss, heat_loss, box_loss, iou_loss)


def pick(maps: Tensor, values: int, cells: Tensor) -> Tensor:
    """Return (M, V) values of (B, G * V, X, Y) maps at (M,) flat indices into (B, G, X, Y)."""
    batch, channels, rows, columns = maps.shape
    by_group = maps.view(batch, channels // values, values, rows, columns)
    return by_group.permute(0, 1, 3, 4, 2).reshape(-1, values)[cells]


def _iou_loss(logits: Tensor, picked: Tensor, targets: BatchTargets, sizes: Tensor) -> Tensor:
    """Return the cross entropy of (M,) predicted and real overlap of predicted and true boxes.

    Where in the cell a box lies matters, but not which cell: both boxes are put into one.
    """
    if targets.labels is None:
        raise ValueError("targets without labels: needed for the predicted IoU")
    usual = sizes[targets.labels]
    with torch.no_grad():
        real = torch.ones_like(logits) if targets.real is None else targets.real
        codes = torch.where(real[:, None] > 0, targets.codes, picked)
        overlap = iou_3d(box_of_codes(picked, usual), box_of_codes(codes, usual))
    loss = F.binary_cross_entropy_with_logits(logits, overlap, reduction="none")
    return (loss * real).sum() / real.sum().clamp(min=1.0)


def focal_loss(logits: Tensor, heatmap: Tensor, weight: Tensor) -> Tensor:
    """Return the penalty-reduced focal loss (alpha 2, beta 4) per box centre."""
    log_yes, log_no = F.logsigmoid(logits), F.logsigmoid(-logits)
    score = torch.sigmoid(logits)
    peak = (heatmap == 1.0).to(logits.dtype)
    gain = log_yes * (1 - score) ** 2 * peak
    cost = log_no * score**2 * (1 - heatmap) ** 4 * (1 - peak)
    return -((gain + cost) * weight).sum() / peak.sum().clamp(min=1.0)
