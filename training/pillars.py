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
_MEANS: Final = 4  # mean dx, dy, z, intensity
_EXTRA: Final = _MEANS + 2  # + log count, distance from the ego origin
_FAR_M: Final = 50.0


def num_pillar_channels(config: TrainConfig) -> int:
    """Return the channels that `Pillars` makes."""
    return _SUB * _SUB * config.z_bins + _EXTRA


class Pillars(nn.Module):
    """(N, 4) points of B frames to a (B, C, X, Y) picture, channels last in memory.

    Channels: log(1 + count) by quarter of the pillar and height slice; then mean dx and dy from
    the pillar's middle (pillars), mean z (m), mean intensity, log(1 + count) of the pillar, and
    the distance of the pillar from the ego origin over 50 m.
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
        channel = sub * self.bins + level.floor().long()
        slices = _SUB * _SUB * self.bins
        counts = points.new_zeros(size * slices).index_add(0, pillar * slices + channel, weight)
        values = torch.stack(
            [
                cell_x - row - 0.5,
                cell_y - column - 0.5,
                torch.where(inside, points[:, 2], zero),
                torch.where(inside, points[:, 3], zero),
                torch.ones_like(zero),
            ],
            dim=1,
        )
        sums = points.new_zeros((size, _MEANS + 1)).index_add(0, pillar, values * weight[:, None])
        number = sums[:, _MEANS:]
        features = torch.cat(
            [
                torch.log1p(counts.view(size, slices)),
                sums[:, :_MEANS] / number.clamp(min=1.0),
                torch.log1p(number),
            ],
            dim=1,
        ).view(num_frames, self.rows, self.columns, slices + _EXTRA - 1)
        distance = self.range_map.expand(num_frames, -1, -1, -1)
        return torch.cat([features, distance], dim=3).permute(0, 3, 1, 2)
