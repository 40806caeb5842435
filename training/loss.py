"""The loss: penalty-reduced focal loss on the heat map, L1 on box codes at the centres.

Source: CornerNet (Law and Deng, ECCV 2018) and CenterPoint (Yin et al., CVPR 2021).
"""

from __future__ import annotations

from typing import Final, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from training.targets import NUM_CODES

# dx, dy, dz, log l, w, h, sin, cos, vx, vy. One sweep says little about velocity.
_CODE_WEIGHTS: Final = (1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 0.05, 0.05)


class BatchTargets(NamedTuple):
    """Targets of B frames on the device.

    Attributes:
        heatmap: (B, C, X, Y) float32.
        weight: (B, 1, X, Y) float32.
        cells: (M,) int64, flat index into (B, X, Y).
        codes: (M, 10) float32, NaN where unknown.
    """

    heatmap: Tensor
    weight: Tensor
    cells: Tensor
    codes: Tensor


class Losses(NamedTuple):
    """Scalar tensors."""

    total: Tensor
    heat: Tensor
    box: Tensor


def detection_loss(
    heat: Tensor, codes: Tensor, targets: BatchTargets, regression_weight: float
) -> Losses:
    """Return the loss of heads (B, C, X, Y) and (B, 10, X, Y), both float32.

    Unknown velocities (NaN in the targets) are masked, never taken as zero.
    """
    heat_loss = focal_loss(heat, targets.heatmap, targets.weight)
    picked = codes.permute(0, 2, 3, 1).reshape(-1, NUM_CODES)[targets.cells]
    known = ~torch.isnan(targets.codes)
    wanted = torch.where(known, targets.codes, picked.detach())
    weights = torch.tensor(_CODE_WEIGHTS, device=codes.device)
    per_code = F.smooth_l1_loss(picked, wanted, reduction="none", beta=0.1) * weights
    box_loss = per_code.sum() / max(len(targets.cells), 1)
    return Losses(heat_loss + regression_weight * box_loss, heat_loss, box_loss)


def focal_loss(logits: Tensor, heatmap: Tensor, weight: Tensor) -> Tensor:
    """Return the penalty-reduced focal loss (alpha 2, beta 4) per box centre."""
    log_yes, log_no = F.logsigmoid(logits), F.logsigmoid(-logits)
    score = torch.sigmoid(logits)
    peak = (heatmap == 1.0).to(logits.dtype)
    gain = log_yes * (1 - score) ** 2 * peak
    cost = log_no * score**2 * (1 - heatmap) ** 4 * (1 - peak)
    return -((gain + cost) * weight).sum() / peak.sum().clamp(min=1.0)
