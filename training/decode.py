"""Heads to boxes: a peak of the heat map is a box. Runs in torch and in the exported graph."""

from __future__ import annotations

from typing import Final, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from training.config import TrainConfig
from training.heads import NUM_CODES, Heads, box_of_codes
from training.loss import pick
from training.model import Network
from training.targets import group_of_categories, usual_sizes

_NMS_CELLS: Final = 3


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
    group: Tensor

    def __init__(self, config: TrainConfig) -> None:
        super().__init__()
        self.config = config
        usual = torch.from_numpy(usual_sizes(config)).float()
        self.register_buffer("sizes", usual, persistent=False)
        group = torch.from_numpy(group_of_categories(config))
        self.register_buffer("group", group, persistent=False)

    def forward(self, heads: Heads) -> Decoded:
        """Return the predictions of the first frame of the heads.

        Neighbouring cells of one category compete (a 3x3 max-pool), as in CenterNet.
        """
        rows, columns = self.config.output_shape
        score = self.rectify(heads)
        best = F.max_pool2d(score, _NMS_CELLS, stride=1, padding=_NMS_CELLS // 2)
        score = torch.where(score >= best, score, torch.zeros_like(score))
        scores, index = torch.topk(score.flatten(), self.config.max_boxes, sorted=True)
        cells = rows * columns
        labels = torch.div(index, cells, rounding_mode="floor")
        cell = index - labels * cells
        row = torch.div(cell, columns, rounding_mode="floor")
        column = cell - row * columns
        codes = pick(heads.codes[:1].float(), NUM_CODES, self.group[labels] * cells + cell)
        box = box_of_codes(codes, self.sizes[labels])
        x = (row.float() + 0.5 + box[:, 0]) * self.config.cell_m + self.config.x_min_m
        y = (column.float() + 0.5 + box[:, 1]) * self.config.cell_m + self.config.y_min_m
        place = torch.stack([x, y], dim=1)
        return Decoded(torch.cat([place, box[:, 2:], codes[:, 8:10]], dim=1), scores, labels)

    def rectify(self, heads: Heads) -> Tensor:
        """Return (1, C, X, Y) scores of the first frame, heat and predicted IoU together.

        Source: CIA-SSD (Zheng et al., AAAI 2021), `heat ** (1 - a) * iou ** a`.
        """
        score = torch.sigmoid(heads.heat[:1].float())
        if heads.iou is None:
            return score
        power = self.config.iou_power
        fit = torch.sigmoid(heads.iou[:1].float())[:, self.group]
        return score ** (1 - power) * fit**power


class FrameDetector(nn.Module):
    """The whole detector for one frame: what is exported."""

    def __init__(self, net: Network, config: TrainConfig) -> None:
        super().__init__()
        self.net = net
        self.decoder = Decoder(config)

    def forward(self, points: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return boxes (K, 9), scores (K,), labels (K,) of (N, 4 or 5) points."""
        frame = torch.zeros_like(points[:, 0], dtype=torch.int64)
        decoded = self.decoder(self.net(points, frame, 1))
        return decoded.boxes, decoded.scores, decoded.labels
