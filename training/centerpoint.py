"""The detector for real data, from points to what every cell of the ground says about boxes.

    points (N, 4 or 5) -> point network -> pillars (B, P, X, Y) -> residual stages at stride 2, 4,
    8 (and 16) -> summed back to the output stride -> one centre head a group of categories

Source: CenterPoint (Yin et al., CVPR 2021) for the heads, PointPillars (Lang et al., CVPR 2019)
and MVF (Zhou et al., CoRL 2019) for pillars without padding, PillarNet (Shi et al., ECCV 2022) for
the residual backbone, here with dense convolutions, CIA-SSD (Zheng et al., AAAI 2021) for the
predicted IoU. Every shape depends on the settings and the number of points alone: no sort, no
unique, no custom operator, so that it runs on any device, compiles and exports as it is.

`training.decode` makes boxes of the heads.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Final

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from training.config import TrainConfig
from training.frames import num_point_columns
from training.heads import NUM_CODES, PRIOR, Heads, Inputs, PointInputs, adopted_rows
from training.joined_heads import join_heads
from training.layers import Residual, conv
from training.pillar_max import pillar_max, tall_product

_FAR_M: Final = 50.0
EPS: Final = 1e-3
_MOMENTUM: Final = 0.1  # 0.01 is wrong for runs of a few hundred steps
_OFFSETS: Final = 5  # from the pillar's mean (x, y, z) and from its middle (x, y)


class PointNet(nn.Module):
    """(N, 4 or 5) points to (B, P, X, Y): every pillar keeps the largest answer of its points.

    A point is described by its own values, its offset from the mean of its pillar's points and its
    offset from the pillar's middle; one linear layer, batch normalisation and ReLU answer.
    """

    running_mean: Tensor
    running_var: Tensor

    def __init__(self, config: TrainConfig) -> None:
        super().__init__()
        self.values = num_point_columns(config)
        self.rows, self.columns = config.grid_shape
        self.x_min, self.y_min = config.x_min_m, config.y_min_m
        self.z_min, self.z_max = config.z_min_m, config.z_max_m
        self.pillar = config.pillar_m
        self.channels = config.point_channels
        self.linear = nn.Linear(self.values + _OFFSETS, self.channels, bias=False)
        self.weight = nn.Parameter(torch.ones(self.channels))
        self.bias = nn.Parameter(torch.zeros(self.channels))
        self.register_buffer("running_mean", torch.zeros(self.channels))
        self.register_buffer("running_var", torch.ones(self.channels))

    def locate(self, points: Tensor, frame: Tensor, num_frames: int) -> PointInputs:
        """Return the points with their pillars.

        Args:
            points: (N, 4 or 5); those outside the area or not finite go to the pillar behind the
                last one, which is thrown away. A missing age is 0.
            frame: (N,) int64, which of the `num_frames` frames a point belongs to; negative for
                none.
            num_frames: B.
        """
        zero = torch.zeros_like(points[:, :1])
        points = torch.cat([points, zero], dim=1)[:, : self.values]
        row = torch.floor((points[:, 0] - self.x_min) / self.pillar)
        column = torch.floor((points[:, 1] - self.y_min) / self.pillar)
        inside = (
            (row >= 0) & (row < self.rows) & (column >= 0) & (column < self.columns)
            & (points[:, 2] >= self.z_min) & (points[:, 2] < self.z_max)
            & torch.isfinite(points[:, 3]) & torch.isfinite(points[:, -1]) & (frame >= 0)
        )  # fmt: skip
        points = torch.where(inside[:, None], points, zero)
        row = torch.where(inside, row, zero[:, 0]).long()
        column = torch.where(inside, column, zero[:, 0]).long()
        pillar = (frame * self.rows + row) * self.columns + column
        trash = num_frames * self.rows * self.columns
        return PointInputs(points, torch.where(inside, pillar, trash), num_frames)

    def forward(self, inputs: PointInputs, dtype: torch.dtype = torch.float32) -> Tensor:
        """Return the (B, P, X, Y) picture, channels last in memory; it is made in float32."""
        points, pillar, num_frames = inputs
        size = num_frames * self.rows * self.columns
        described = self.describe(points, pillar, size)
        weight, shift = self._normalised(described, pillar < size)
        picture = pillar_max(described, weight, shift, pillar, size, dtype)
        return picture.view(num_frames, self.rows, self.columns, -1).permute(0, 3, 1, 2)

    def describe(self, points: Tensor, pillar: Tensor, size: int) -> Tensor:
        """Return (N, 4 or 5 + 5) what the linear layer sees of every point; offsets in pillars."""
        xyz = points[:, :3]
        ones = torch.ones_like(points[:, :1])
        sums = points.new_zeros((size + 1, 4)).index_add_(0, pillar, torch.cat([xyz, ones], 1))
        mean = (sums[:, :3] / sums[:, 3:].clamp(min=1.0))[pillar]
        corner = torch.stack(
            [(points[:, 0] - self.x_min), (points[:, 1] - self.y_min)], dim=1
        ) / self.pillar  # fmt: skip
        return torch.cat(
            [
                points[:, :2] / _FAR_M,
                points[:, 2:],
                (xyz[:, :2] - mean[:, :2]) / self.pillar,
                xyz[:, 2:] - mean[:, 2:],
                corner - torch.floor(corner) - 0.5,
            ],
            dim=1,
        )

    def _normalised(self, described: Tensor, counts: Tensor) -> tuple[Tensor, Tensor]:
        """Return (P, D) weight and (P,) shift of the linear layer with its normalisation.

        Mean and variance of a linear layer's answers follow from mean and covariance of what it is
        given, so no answer needs to be made to know them. Only points that count have a say.
        """
        weight = self.linear.weight
        if self.training:
            mean, covariance = _moments(described, counts)
            mean, var = weight @ mean, ((weight @ covariance) * weight).sum(dim=1)
            with torch.no_grad():
                self.running_mean.lerp_(mean.detach(), _MOMENTUM)
                self.running_var.lerp_(var.detach(), _MOMENTUM)
        else:
            mean, var = self.running_mean, self.running_var
        scale = torch.rsqrt(var + EPS) * self.weight
        return weight * scale[:, None], self.bias - mean * scale


@torch.no_grad()
def _moments(described: Tensor, counts: Tensor) -> tuple[Tensor, Tensor]:
    """Return (D,) mean and (D, D) covariance of the points that count; summed in float64."""
    share = counts.double()[:, None]
    values = described.double() * share
    number = share.sum().clamp(min=1.0)
    mean = values.sum(dim=0) / number
    covariance = tall_product(values, values) / number - mean[:, None] * mean
    return mean.float(), covariance.float()


class Backbone(nn.Module):
    """ResNet-18's shape from above: two residual blocks a stage, each stage at half the size.

    The stages are summed back, coarse to fine, up to the output stride.
    """

    def __init__(self, config: TrainConfig) -> None:
        super().__init__()
        inputs = [config.point_channels, *config.channels[:-1]]
        self.stages = nn.ModuleList(
            nn.Sequential(conv(before, after, stride=2), Residual(after), Residual(after))
            for before, after in zip(inputs, config.channels, strict=True)
        )
        self.first = int(math.log2(config.output_stride)) - 1  # the finest stage that is used
        used = config.channels[self.first :]
        self.sideways = nn.ModuleList(conv(c, config.head_channels, kernel=1) for c in used)
        self.joined = nn.ModuleList(
            conv(config.head_channels, config.head_channels) for _ in used[1:]
        )

    def forward(self, picture: Tensor) -> Tensor:
        """Return (B, H, X / stride, Y / stride) of a (B, P, X, Y) picture."""
        levels = []
        for number, stage in enumerate(self.stages):
            picture = stage(picture)
            if number >= self.first:
                levels.append(self.sideways[number - self.first](picture))
        result = levels[-1]
        for fine, join in zip(levels[-2::-1], self.joined, strict=True):
            result = join(fine + F.interpolate(result, scale_factor=2.0))
        return result


class CentreHead(nn.Module):
    """Heat map, box codes and IoU of the categories of one group."""

    def __init__(self, inputs: int, num_categories: int, with_iou: bool) -> None:
        super().__init__()
        self.look_for = conv(inputs, inputs)
        self.measure = conv(inputs, inputs)
        self.heat = nn.Conv2d(inputs, num_categories, 1)
        self.codes = nn.Conv2d(inputs, NUM_CODES, 1)
        self.iou = nn.Conv2d(inputs, 1, 1) if with_iou else None
        if self.heat.bias is not None and self.codes.bias is not None:
            nn.init.constant_(self.heat.bias, -math.log((1 - PRIOR) / PRIOR))
            nn.init.zeros_(self.codes.bias)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor | None]:
        """Return (B, C, X, Y) logits, (B, 10, X, Y) codes and (B, 1, X, Y) logits of the IoU."""
        measured = self.measure(x)
        iou = None if self.iou is None else self.iou(measured)
        return self.heat(self.look_for(x)), self.codes(measured), iou


class CenterPoint(nn.Module):
    """Point network, backbone and centre heads; see the module's text for the way through.

    Attributes:
        joined: a training step makes all heads at once, which pays on an accelerator.
    """

    order: Tensor

    def __init__(self, config: TrainConfig) -> None:
        super().__init__()
        self.config = config
        self.joined = False
        self.points = PointNet(config)
        self.backbone = Backbone(config)
        self.heads = nn.ModuleList(
            CentreHead(config.head_channels, len(group), config.iou_power > 0)
            for group in config.head_groups
        )
        by_group = [name for group in config.head_groups for name in group]
        order = torch.tensor([by_group.index(name) for name in config.categories])
        self.register_buffer("order", order, persistent=False)

    def prepare(self, points: Tensor, frame: Tensor, num_frames: int) -> PointInputs:
        """Return what `look` takes; needs no gradient. See `PointNet.locate`."""
        return self.points.locate(points, frame, num_frames)

    def look(self, inputs: Inputs) -> Heads:
        """Return the heads of B frames."""
        if not isinstance(inputs, PointInputs):
            raise TypeError("this network looks at points")
        device, dtype = inputs.points.device.type, torch.float32
        if self.training and torch.is_autocast_enabled(device):
            dtype = torch.get_autocast_dtype(device)
        with torch.autocast(device, enabled=False):
            picture = self.points(inputs, dtype)  # sums and maxima over points are in float32
        return self.look_from_above(picture)

    def look_from_above(self, picture: Tensor) -> Heads:
        """Return the heads for a (B, P, X, Y) picture: the dense part, of fixed shapes."""
        shared = self.backbone(picture)
        if self.joined and self.training:
            said = join_heads(list(self.heads), shared)
        else:
            said = [head(shared) for head in self.heads]
        heat, codes, iou = zip(*said, strict=True)
        heat = torch.cat(heat, dim=1)[:, self.order]
        return Heads(
            heat, torch.cat(codes, dim=1), torch.cat(iou, 1) if iou[0] is not None else None
        )

    def forward(self, points: Tensor, frame: Tensor, num_frames: int) -> Heads:
        """Return the heads of (N, 4 or 5) points of B frames."""
        return self.look(self.prepare(points, frame, num_frames))

    def adopt(
        self,
        weights: Mapping[str, Tensor],
        categories: list[str],
        groups: Sequence[Sequence[str]] | None = None,
    ) -> None:
        """Take over the weights of an earlier model; see `training.loop.Trainer.start_from`.

        A category that was in another group starts afresh too: its row there belongs to what that
        head looks for.

        Raises:
            RuntimeError, KeyError: if the networks do not fit.
        """
        adapted = dict(weights)
        own = self.state_dict()
        before = self.config.head_groups if groups is None else groups
        for number, group in enumerate(self.config.head_groups):
            old = before[number] if number < len(before) else ()
            learned = [category if category in categories else "" for category in old]
            for part in ("weight", "bias"):
                name = f"heads.{number}.heat.{part}"
                adapted[name] = adopted_rows(own, weights, name, group, learned)
        self.load_state_dict(adapted)
