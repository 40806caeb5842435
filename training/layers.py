"""The two building blocks of both networks."""

from __future__ import annotations

from typing import Final

import torch.nn.functional as F
from torch import Tensor, nn

_BN_MOMENTUM: Final = 0.1  # 0.01 is wrong for runs of a few hundred steps


def conv(inputs: int, outputs: int, stride: int = 1, kernel: int = 3) -> nn.Sequential:
    """Return a convolution that keeps the size (over `stride`), normalisation and ReLU."""
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, bias=False),
        nn.BatchNorm2d(outputs, momentum=_BN_MOMENTUM),
        nn.ReLU(inplace=True),
    )


class Residual(nn.Module):
    """Two 3x3 convolutions beside a shortcut."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.first = conv(channels, channels)
        self.second = nn.Sequential(
            nn.Conv2d(channels, channels, 3, 1, 1, bias=False),
            nn.BatchNorm2d(channels, momentum=_BN_MOMENTUM),
        )

    def forward(self, x: Tensor) -> Tensor:
        """Return what both say together."""
        return F.relu(x + self.second(self.first(x)))
