"""The usual detector step, for comparison: padded voxels, float32, eager, channels first.

As OpenPCDet's CenterPoint-Pillar does it: at most 32 points a pillar in a (P, 32, C) array, a
linear layer with batch normalisation over all places, a maximum, and a scatter to the canvas. The
dense part, the heads, the loss and the optimiser are ours, so that the two differ in nothing else.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from training.centerpoint import CenterPoint, PointInputs
from training.config import TrainConfig
from training.loop import Prepared
from training.loss import BatchTargets, detection_loss
from training.targets import usual_sizes

MOST_POINTS = 32


class Voxels(NamedTuple):
    """Points of a batch in padded pillars.

    Attributes:
        points: (P, 32, 4 or 5), zeros where there are fewer.
        count: (P,) int64.
        cell: (P,) int64 flat index into (B, X, Y).
        num_frames: B.
    """

    points: Tensor
    count: Tensor
    cell: Tensor
    num_frames: int


def pad(inputs: PointInputs, config: TrainConfig) -> Voxels:
    """Put the points that lie in the area into padded pillars; later points of a full one go."""
    rows, columns = config.grid_shape
    inside = inputs.pillar < inputs.num_frames * rows * columns
    points, pillar = inputs.points[inside], inputs.pillar[inside]
    order = torch.argsort(pillar, stable=True)
    points, pillar = points[order], pillar[order]
    cell, voxel, count = torch.unique_consecutive(pillar, return_inverse=True, return_counts=True)
    place = torch.arange(len(points), device=points.device) - (count.cumsum(0) - count)[voxel]
    kept = place < MOST_POINTS
    padded = points.new_zeros(len(cell), MOST_POINTS, points.shape[1])
    padded[voxel[kept], place[kept]] = points[kept]
    return Voxels(padded, count.clamp(max=MOST_POINTS), cell, inputs.num_frames)


class PaddedNet(nn.Module):
    """Padded pillars, then the dense part of `CenterPoint` in its usual memory layout."""

    def __init__(self, config: TrainConfig) -> None:
        super().__init__()
        self.config = config
        self.rest = CenterPoint(config)
        values = self.rest.points.values
        self.linear = nn.Linear(values + 6, config.point_channels, bias=False)
        self.norm = nn.BatchNorm1d(config.point_channels, eps=1e-3, momentum=0.01)

    def forward(self, voxels: Voxels) -> tuple[Tensor, ...]:
        """Return the heads of a batch."""
        config = self.config
        rows, columns = config.grid_shape
        points = voxels.points
        within = voxels.cell % (rows * columns)
        row, column = within // columns, within % columns
        middle = torch.stack([row, column, torch.zeros_like(row)], 1).to(points.dtype) + 0.5
        middle = middle * config.pillar_m + points.new_tensor(
            [config.x_min_m, config.y_min_m, (config.z_min_m + config.z_max_m) / 2]
        )
        mean = points[..., :3].sum(1, keepdim=True) / voxels.count[:, None, None]
        offsets = [points[..., :3] - mean, points[..., :3] - middle[:, None]]
        features = torch.cat([points, *offsets], dim=2)
        places = torch.arange(MOST_POINTS, device=points.device)
        features = features * (places[None] < voxels.count[:, None])[..., None]
        answer = self.linear(features)
        answer = self.norm(answer.permute(0, 2, 1)).permute(0, 2, 1)
        pillars = F.relu(answer).max(dim=1).values
        canvas = pillars.new_zeros(voxels.num_frames * rows * columns, config.point_channels)
        canvas[voxels.cell] = pillars
        picture = canvas.view(voxels.num_frames, rows, columns, -1).permute(0, 3, 1, 2)
        return self.rest.look_from_above(picture.contiguous())


class PaddedTrainer:
    """Steps of the padded network with AdamW and clipped gradients."""

    def __init__(self, config: TrainConfig, device: torch.device) -> None:
        torch.manual_seed(config.seed)
        self.config = config
        self.net = PaddedNet(config).to(device)
        self._optimizer = torch.optim.AdamW(
            self.net.parameters(), lr=1e-4, weight_decay=config.weight_decay
        )
        self._sizes = torch.from_numpy(usual_sizes(config)).float().to(device)

    def prepare(self, batch: Prepared) -> tuple[Voxels, BatchTargets]:
        """Return padded voxels of a prepared batch: ours is given them, it need not make them."""
        inputs = batch.inputs
        assert isinstance(inputs, PointInputs)
        return pad(inputs, self.config), batch.targets

    def train_step(self, voxels: Voxels, targets: BatchTargets) -> Tensor:
        """Do one optimiser step; return the loss."""
        self.net.train()
        heads = self.net(voxels)
        loss = detection_loss(heads, targets, self.config, self._sizes).total
        self._optimizer.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.net.parameters(), 10.0)
        self._optimizer.step()
        return loss.detach()
