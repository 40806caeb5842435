"""The small detector: pillar pictures, a dense backbone, a heat map of box centres.

Source: CenterPoint (Yin et al., CVPR 2021) with PillarNet's layout (Shi et al., ECCV 2022), dense
and small: no sparse convolution, no unique, no custom operator, so it exports as it is.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import torch.nn.functional as F
from torch import Tensor, nn

from training.centerpoint import CenterPoint
from training.config import TrainConfig
from training.heads import NUM_CODES, PRIOR, Heads, Inputs, Picture, adopted_rows
from training.layers import Residual, conv
from training.pillars import Pillars, num_pillar_channels


class PillarNet(nn.Module):
    """Pillars, three stages at stride 2, 4 and 8, summed back to stride 2, two heads."""

    def __init__(self, config: TrainConfig) -> None:
        super().__init__()
        wide, wider, widest = config.channels
        self.categories = config.categories
        self.pillars = Pillars(config)
        self.stage1 = nn.Sequential(
            conv(num_pillar_channels(config), wide, stride=2), Residual(wide)
        )
        self.stage2 = nn.Sequential(conv(wide, wider, stride=2), Residual(wider))
        self.stage3 = nn.Sequential(conv(wider, widest, stride=2), Residual(widest))
        self.from3 = conv(widest, wider, kernel=1)
        self.from2 = conv(wider, wide, kernel=1)
        self.join2 = conv(wider, wider)
        self.shared = conv(wide, wide)
        self.heat = nn.Conv2d(wide, len(config.categories), 1)
        self.codes = nn.Conv2d(wide, NUM_CODES, 1)
        nn.init.constant_(_bias(self.heat), -math.log((1 - PRIOR) / PRIOR))
        nn.init.zeros_(_bias(self.codes))

    def forward(self, points: Tensor, frame: Tensor, num_frames: int) -> Heads:
        """Return the heads for (N, 4) points of `num_frames` frames; see `Pillars`."""
        return self.look(self.prepare(points, frame, num_frames))

    def prepare(self, points: Tensor, frame: Tensor, num_frames: int) -> Picture:
        """Return what `look` takes; needs no gradient. See `Pillars`."""
        return Picture(self.pillars(points, frame, num_frames))

    def look(self, inputs: Inputs) -> Heads:
        """Return the heads for a pillar picture."""
        if not isinstance(inputs, Picture):
            raise TypeError("this network looks at a picture")
        return self.look_from_above(inputs.picture)

    def look_from_above(self, picture: Tensor) -> Heads:
        """Return the heads for a (B, C, X, Y) picture."""
        fine = self.stage1(picture)
        middle = self.stage2(fine)
        coarse = self.stage3(middle)
        middle = self.join2(middle + F.interpolate(self.from3(coarse), scale_factor=2.0))
        shared = self.shared(fine + F.interpolate(self.from2(middle), scale_factor=2.0))
        return Heads(self.heat(shared), self.codes(shared))

    def adopt(
        self,
        weights: Mapping[str, Tensor],
        categories: list[str],
        groups: Sequence[Sequence[str]] | None = None,
    ) -> None:
        """Take over the weights of an earlier model; see `training.loop.Trainer.start_from`.

        Raises:
            RuntimeError, KeyError: if the networks do not fit.
        """
        del groups  # one head says it all
        adapted, own = dict(weights), self.state_dict()
        for name in ("heat.weight", "heat.bias"):
            adapted[name] = adopted_rows(own, weights, name, self.categories, categories)
        self.load_state_dict(adapted)


Network = PillarNet | CenterPoint


def build_network(config: TrainConfig) -> Network:
    """Return the network that the settings name, with fresh weights."""
    return CenterPoint(config) if config.network == "centerpoint" else PillarNet(config)


def _bias(layer: nn.Conv2d) -> Tensor:
    if layer.bias is None:  # not reachable: both heads are made with a bias
        raise RuntimeError("head without bias")
    return layer.bias
