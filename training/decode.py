"""Heads to boxes: a peak of the heat map is a box. Runs in torch and in the exported graph."""

from __future__ import annotations

from typing import Final, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from training.config import TrainConfig
from training.model import Heads, PillarNet
from training.targets import NUM_CODES, usual_sizes

_NMS_CELLS: Final = 3
_MAX_LOG_SIZE: Final = 2.0  # a box is at most e^2 times the usual size: keeps exp finite


class Decoded(NamedTuple):
    """The K best predictions of one frame, best first.

    Attributes:
        boxes: (K, 9) float32 x, y, z, l, w, h (m), yaw (rad), vx, vy (m/s), ego frame.
        scores: (K,) float32 in [0, 1].
        labels: (K,) int64, index into the categories.
    """

    boxes: Tensor
    scores: Tensor
    labels: Tensor


class Decoder(nn.Module):
    """Turns heads into boxes with a fixed number of rows."""

    sizes: Tensor

    def __init__(self, config: TrainConfig) -> None:
        super().__init__()
        self.config = config
        usual = torch.from_numpy(usual_sizes(config)).float()
        self.register_buffer("sizes", usual, persistent=False)

    def forward(self, heads: Heads) -> Decoded:
        """Return the predictions of the first frame of the heads.

        Neighbouring cells of one category compete (a 3x3 max-pool), as in CenterNet.
        """
        rows, columns = self.config.output_shape
        score = torch.sigmoid(heads.heat[:1].float())
        best = F.max_pool2d(score, _NMS_CELLS, stride=1, padding=_NMS_CELLS // 2)
        score = torch.where(score >= best, score, torch.zeros_like(score))
        scores, index = torch.topk(score.flatten(), self.config.max_boxes, sorted=True)
        cells = rows * columns
        labels = torch.div(index, cells, rounding_mode="floor")
        cell = index - labels * cells
        row = torch.div(cell, columns, rounding_mode="floor")
        column = cell - row * columns
        codes = heads.codes[0].float().permute(1, 2, 0).reshape(cells, NUM_CODES)[cell]
        usual = self.sizes[labels]
        x = (row.float() + 0.5 + codes[:, 0]) * self.config.cell_m + self.config.x_min_m
        y = (column.float() + 0.5 + codes[:, 1]) * self.config.cell_m + self.config.y_min_m
        z = codes[:, 2] + usual[:, 2] / 2
        size = torch.exp(codes[:, 3:6].clamp(-_MAX_LOG_SIZE, _MAX_LOG_SIZE)) * usual
        yaw = torch.atan2(codes[:, 6], codes[:, 7])
        place = torch.stack([x, y, z], dim=1)
        boxes = torch.cat([place, size, yaw[:, None], codes[:, 8:10]], dim=1)
        return Decoded(boxes, scores, labels)


class FrameDetector(nn.Module):
    """The whole detector for one frame: what is exported."""

    def __init__(self, net: PillarNet, config: TrainConfig) -> None:
        super().__init__()
        self.net = net
        self.decoder = Decoder(config)

    def forward(self, points: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return boxes (K, 9), scores (K,), labels (K,) of (N, 4) points."""
        frame = torch.zeros_like(points[:, 0], dtype=torch.int64)
        decoded = self.decoder(self.net(points, frame, 1))
        return decoded.boxes, decoded.scores, decoded.labels
