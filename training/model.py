"""The detector: pillar pictures, a dense backbone, a heat map of box centres.

Source: CenterPoint (Yin et al., CVPR 2021) with PillarNet's layout (Shi et al., ECCV 2022), dense
and small: no sparse convolution, no unique, no custom operator, so it exports as it is.
"""

from __future__ import annotations

import math
from typing import Final, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from training.config import TrainConfig
from training.pillars import Pillars, num_pillar_channels
from training.targets import NUM_CODES

_PRIOR: Final = 0.01  # first guess of every heat map cell (RetinaNet, Lin et al. 2017)
_BN_MOMENTUM: Final = 0.1  # 0.01 is wrong for runs of a few hundred steps


class Heads(NamedTuple):
    """What the network says about every cell.

    Attributes:
        heat: (B, C, X, Y) logits of a box centre by category.
        codes: (B, 10, X, Y) box codes, see `training.targets.NUM_CODES`.
    """

    heat: Tensor
    codes: Tensor


def _conv(inputs: int, outputs: int, stride: int = 1, kernel: int = 3) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, bias=False),
        nn.BatchNorm2d(outputs, momentum=_BN_MOMENTUM),
        nn.ReLU(inplace=True),
    )


class _Residual(nn.Module):
    """Two 3x3 convolutions beside a shortcut."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.first = _conv(channels, channels)
        self.second = nn.Sequential(
            nn.Conv2d(channels, channels, 3, 1, 1, bias=False),
            nn.BatchNorm2d(channels, momentum=_BN_MOMENTUM),
        )

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(x + self.second(self.first(x)))


class PillarNet(nn.Module):
    """Pillars, three stages at stride 2, 4 and 8, summed back to stride 2, two heads."""

    def __init__(self, config: TrainConfig) -> None:
        super().__init__()
        wide, wider, widest = config.channels
        self.pillars = Pillars(config)
        self.stage1 = nn.Sequential(
            _conv(num_pillar_channels(config), wide, stride=2), _Residual(wide)
        )
        self.stage2 = nn.Sequential(_conv(wide, wider, stride=2), _Residual(wider))
        self.stage3 = nn.Sequential(_conv(wider, widest, stride=2), _Residual(widest))
        self.from3 = _conv(widest, wider, kernel=1)
        self.from2 = _conv(wider, wide, kernel=1)
        self.join2 = _conv(wider, wider)
        self.shared = _conv(wide, wide)
        self.heat = nn.Conv2d(wide, len(config.categories), 1)
        self.codes = nn.Conv2d(wide, NUM_CODES, 1)
        nn.init.constant_(_bias(self.heat), -math.log((1 - _PRIOR) / _PRIOR))
        nn.init.zeros_(_bias(self.codes))

    def forward(self, points: Tensor, frame: Tensor, num_frames: int) -> Heads:
        """Return the heads for (N, 4) points of `num_frames` frames; see `Pillars`."""
        return self.look(self.pillars(points, frame, num_frames))

    def look(self, picture: Tensor) -> Heads:
        """Return the heads for a (B, C, X, Y) pillar picture."""
        fine = self.stage1(picture)
        middle = self.stage2(fine)
        coarse = self.stage3(middle)
        middle = self.join2(middle + F.interpolate(self.from3(coarse), scale_factor=2.0))
        shared = self.shared(fine + F.interpolate(self.from2(middle), scale_factor=2.0))
        return Heads(self.heat(shared), self.codes(shared))

    def reset_categories(self, indices: list[int]) -> None:
        """Forget what the heat map learned about some categories: they start from the prior.

        A category that the starting model never saw has been pressed to "never"; unlearning that
        costs more steps than learning it afresh.
        """
        with torch.no_grad():
            for index in indices:
                self.heat.weight[index].normal_(std=0.01)
                _bias(self.heat)[index] = -math.log((1 - _PRIOR) / _PRIOR)


def _bias(layer: nn.Conv2d) -> Tensor:
    if layer.bias is None:  # not reachable: both heads are made with a bias
        raise RuntimeError("head without bias")
    return layer.bias
