"""What the network should answer for a frame: heat maps with a peak a box, and box codes.

Source: Yin et al., "Center-based 3D object detection and tracking" (CVPR 2021); the radius is
that of CornerNet (Law and Deng, ECCV 2018).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np

from scene.box import Boxes
from scene.taxonomy import CATEGORY
from scene.types import Float32, Float64, Int64
from training.config import TrainConfig
from training.kernels.peaks import paint_peaks

NUM_CODES: Final = 10
"""dx, dy (cells), dz (m), log length, width, height over the usual size, sin, cos, vx, vy."""


@dataclass(frozen=True, slots=True)
class Targets:
    """Targets of one frame.

    Attributes:
        heatmap: (C, X, Y) float32 in [0, 1], 1 exactly at the cell of a box centre.
        weight: (X, Y) float32, 0 on cells that neither punish nor reward.
        cells: (M,) int64, flat index of each box into (G, X, Y), G being its category's head group.
        codes: (M, 10) float32; velocity is NaN where unknown.
        labels: (M,) int64 category of each box.
        num_cells: G * X * Y.
    """

    heatmap: Float32
    weight: Float32
    cells: Int64
    codes: Float32
    labels: Int64
    num_cells: int


def usual_sizes(config: TrainConfig) -> Float64:
    """Return (C, 3) usual length, width and height of the categories, meters."""
    return np.array([CATEGORY[name].size_lwh_m for name in config.categories])


def group_of_categories(config: TrainConfig) -> Int64:
    """Return (C,) index of the centre head that each category belongs to."""
    return np.array(
        [
            next(i for i, group in enumerate(config.head_groups) if name in group)
            for name in config.categories
        ],
        dtype=np.int64,
    )


def make_targets(boxes: Boxes, config: TrainConfig) -> Targets:
    """Return the targets of one frame; boxes of other categories or places are left out.

    Boxes with `num_points` known and below `config.min_points` get weight 0 and no peak.
    """
    rows, columns = config.output_shape
    known = np.isin(boxes.category, config.categories)
    position = (
        boxes.center_xyz_m[:, :2] - np.array([config.x_min_m, config.y_min_m])
    ) / config.cell_m
    cell = np.floor(position).astype(np.int64)
    inside = (cell >= 0).all(1) & (cell < np.array([rows, columns])).all(1)
    unseen = (boxes.num_points >= 0) & (boxes.num_points < config.min_points)
    use = known & inside & ~unseen
    heatmap = np.zeros((len(config.categories), rows, columns), dtype=np.float32)
    weight = np.ones((rows, columns), dtype=np.float32)
    ignored = np.flatnonzero(known & inside & unseen)
    for i in ignored:
        reach = np.ceil(boxes.size_lwh_m[i, :2].max() / config.cell_m / 2).astype(int)
        low, high = np.maximum(cell[i] - reach, 0), cell[i] + reach + 1
        weight[low[0] : high[0], low[1] : high[1]] = 0.0
    labels = labels_of(boxes, config)
    radius = gaussian_radius(boxes.size_lwh_m[:, :2] / config.cell_m, least=config.least_radius)
    paint_peaks(heatmap, labels[use], cell[use], radius[use].astype(np.int64))
    # A true peak counts even inside the window of an unseen box.
    weight[cell[use, 0], cell[use, 1]] = 1.0
    chosen = boxes.take(use)
    codes = encode_boxes(chosen, labels[use], position[use] - cell[use] - 0.5, config)
    group = group_of_categories(config)[labels[use]]
    cells = (group * rows + cell[use, 0]) * columns + cell[use, 1]
    return Targets(
        heatmap, weight, cells, codes, labels[use], len(config.head_groups) * rows * columns
    )


def encode_boxes(
    boxes: Boxes, labels: Int64, offset_cells: Float64, config: TrainConfig
) -> Float32:
    """Return (M, 10) codes of boxes whose centres lie `offset_cells` from their cell's middle."""
    usual = usual_sizes(config)[labels]
    codes = np.concatenate(
        [
            offset_cells,
            boxes.center_xyz_m[:, 2:3] - usual[:, 2:3] / 2,
            np.log(np.maximum(boxes.size_lwh_m, 0.05) / usual),
            np.sin(boxes.yaw_rad)[:, None],
            np.cos(boxes.yaw_rad)[:, None],
            boxes.velocity_xy_mps,
        ],
        axis=1,
    )
    return codes.astype(np.float32)


def labels_of(boxes: Boxes, config: TrainConfig) -> Int64:
    """Return (N,) index into the categories, 0 for names that are not among them."""
    order = np.argsort(config.categories)
    names = np.array(config.categories)[order]
    at = np.clip(np.searchsorted(names, boxes.category), 0, len(names) - 1)
    return np.where(names[at] == boxes.category, order[at], 0)


def gaussian_radius(size_cells: Float64, overlap: float = 0.1, least: int = 1) -> Float64:
    """Return (N,) radius in cells within which a box still overlaps the truth by `overlap`.

    Source: CornerNet's first case with CenterPoint's overlap. The least radius is 1 by default and
    not CenterPoint's 2: where a cell is 0.8 m, a pedestrian must not paint its neighbour.
    """
    length, width = size_cells[:, 0], size_cells[:, 1]
    b = length + width
    c = length * width * (1 - overlap) / (1 + overlap)
    radius = (b - np.sqrt(np.maximum(b * b - 4 * c, 0.0))) / 2
    return np.maximum(np.floor(radius), least)
