"""Points to a picture from above: what stands at which height in every pillar.

A pillar is described by counts, not by a learned point network: occupancy by height slice at half
the pillar's side, and the mean of its points. One pass of scatter-adds, no sort and no gradient,
so the same code runs in training, on an accelerator and inside the exported graph.

Source of the idea: PIXOR (Yang et al., CVPR 2018) and PillarHist (Zhou et al., 2024).
"""

from __future__ import annotations

from typing import Final

import torch
from torch import Tensor, nn

from training.config import TrainConfig

_SUB: Final = 2  # occupancy cells per pillar along x and y
_MEANS: Final = 7  # dx, dy, z, intensity, dx^2, dy^2, z^2
_EXTRA: Final = _MEANS + 2  # + count, distance from the ego origin
_FAR_M: Final = 50.0


def num_pillar_channels(config: TrainConfig) -> int:
    """Return the channels that `Pillars` makes."""
    return (_SUB * _SUB + 1) * config.z_bins + _EXTRA


class Pillars(nn.Module):
    """(N, 4) points of B frames to a (B, C, X, Y) picture, channels last in memory.

    Channels: count by quarter of the pillar and height slice; mean intensity by height slice; then
    the mean over the pillar's points of dx and dy from its middle (pillars), z (m), intensity and
    the squares of the first three; count of the pillar; and its distance from the ego origin over
    50 m. Counts n are given as n / (n + 1): one point is news, the hundredth is not, and division
    is cheap where a logarithm is not.
    """

    range_map: Tensor

    def __init__(self, config: TrainConfig) -> None:
        super().__init__()
        self.rows, self.columns = config.grid_shape
        self.bins = config.z_bins
        self.x_min, self.y_min, self.z_min = config.x_min_m, config.y_min_m, config.z_min_m
        self.pillar = config.pillar_m
        self.bin_m = (config.z_max_m - config.z_min_m) / config.z_bins
        x = (torch.arange(self.rows) + 0.5) * self.pillar + self.x_min
        y = (torch.arange(self.columns) + 0.5) * self.pillar + self.y_min
        distance = torch.hypot(x[:, None], y[None]) / _FAR_M
        self.register_buffer("range_map", distance[None, :, :, None], persistent=False)

    def forward(self, points: Tensor, frame: Tensor, num_frames: int) -> Tensor:
        """Return the picture.

        Args:
            points: (N, 4) float32 x, y, z (ego, m), intensity. Points outside the area or not
                finite are ignored.
            frame: (N,) int64, which of the `num_frames` frames a point belongs to.
            num_frames: B.
        """
        cell_x = (points[:, 0] - self.x_min) / self.pillar
        cell_y = (points[:, 1] - self.y_min) / self.pillar
        level = (points[:, 2] - self.z_min) / self.bin_m
        inside = (
            (cell_x >= 0) & (cell_x < self.rows) & (cell_y >= 0) & (cell_y < self.columns)
            & (level >= 0) & (level < self.bins) & torch.isfinite(points[:, 3])
        )  # fmt: skip
        # Ignored points fall on pillar 0 with weight 0: shapes stay fixed, nothing is selected.
        zero = torch.zeros_like(cell_x)
        cell_x = torch.where(inside, cell_x, zero)
        cell_y = torch.where(inside, cell_y, zero)
        level = torch.where(inside, level, zero)
        weight = inside.to(points.dtype)
        row, column = cell_x.floor(), cell_y.floor()
        sub_row = ((cell_x - row) * _SUB).floor().long()
        sub = sub_row * _SUB + ((cell_y - column) * _SUB).floor().long()
        pillar = (frame * self.rows + row.long()) * self.columns + column.long()
        size = num_frames * self.rows * self.columns
        slices = _SUB * _SUB * self.bins
        height = level.floor().long()
        counts = points.new_zeros(size * slices).index_add_(
            0, pillar * slices + sub * self.bins + height, weight
        )
        intensity = torch.where(inside, points[:, 3], zero)
        z = torch.where(inside, points[:, 2], zero)
        bright = points.new_zeros((size * self.bins, 2)).index_add_(
            0, pillar * self.bins + height, torch.stack([intensity, weight], dim=1)
        )
        dx, dy = cell_x - row - 0.5, cell_y - column - 0.5
        values = torch.stack(
            [dx, dy, z, intensity, dx * dx, dy * dy, z * z, torch.ones_like(zero)], dim=1
        )
        sums = points.new_zeros((size, _MEANS + 1)).index_add_(0, pillar, values * weight[:, None])
        number = sums[:, _MEANS:]
        features = torch.cat(
            [
                counts.div_(counts + 1.0).view(size, slices),
                (bright[:, 0] / bright[:, 1].clamp(min=1.0)).view(size, self.bins),
                sums[:, :_MEANS] / number.clamp(min=1.0),
                number / (number + 1.0),
            ],
            dim=1,
        ).view(num_frames, self.rows, self.columns, slices + self.bins + _EXTRA - 1)
        distance = self.range_map.expand(num_frames, -1, -1, -1)
        return torch.cat([features, distance], dim=3).permute(0, 3, 1, 2)
