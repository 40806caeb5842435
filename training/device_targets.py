"""Targets of a batch as torch operations: the same as `training.targets`, on the device."""

from __future__ import annotations

import torch
from torch import Tensor

from training.config import TrainConfig
from training.device import constant
from training.loss import BatchTargets
from training.targets import group_of_categories

_OVERLAP = 0.1  # see `training.targets.gaussian_radius`


def aim(
    boxes: Tensor,
    labels: Tensor,
    seen: Tensor,
    config: TrainConfig,
    sizes: Tensor,
    extent_cells: int,
) -> BatchTargets:
    """Return the targets of B frames; shapes depend on those of the arguments alone.

    Args:
        boxes: (B, M, 9) float32 x, y, z, l, w, h (m), yaw (rad), vx, vy (m/s), NaN where unknown.
        labels: (B, M) int64 category; -1 for rows that only fill up.
        seen: (B, M) bool; boxes that are not seen are neither truth nor background.
        config: area and grid.
        sizes: (C, 3) usual sizes.
        extent_cells: no box reaches further from its centre.
    """
    batch, most = labels.shape
    rows, columns = config.output_shape
    low = constant((config.x_min_m, config.y_min_m), boxes.device, boxes.dtype)
    position = (boxes[..., :2] - low) / config.cell_m
    cell = torch.floor(position)
    limit = constant((rows, columns), boxes.device, boxes.dtype)
    inside = (labels >= 0) & ((cell >= 0) & (cell < limit)).all(dim=2)
    real = inside & seen
    number = torch.where(inside[..., None], cell, torch.zeros_like(cell)).long()
    label = labels.clamp(min=0)
    size_cells = boxes[..., 3:5] / config.cell_m
    radius = _radius(size_cells, config.least_radius)
    frame = torch.arange(batch, device=boxes.device)[:, None].expand(-1, most)
    plane = frame * len(config.categories) + label
    bell, place = _windows(number, radius, plane, real, extent_cells, (rows, columns))
    size = batch * len(config.categories) * rows * columns
    heatmap = boxes.new_zeros(size + 1).scatter_reduce(
        0, torch.where(place >= 0, place, size).flatten(), bell.flatten(), "amax"
    )[:size]
    reach = torch.ceil(size_cells.amax(dim=2) / 2)
    flat, hidden = _windows(number, reach, frame, inside & ~seen, extent_cells, (rows, columns))
    size = batch * rows * columns
    weight = boxes.new_ones(size + 1).scatter(
        0, torch.where(hidden >= 0, hidden, size).flatten(), torch.zeros_like(flat).flatten()
    )
    flat_cell = number[..., 0] * columns + number[..., 1]
    # A true peak counts even inside the window of an unseen box.
    peak = torch.where(real, frame * rows * columns + flat_cell, size)
    weight = weight.index_fill(0, peak.flatten(), 1.0)[:size]
    group = constant(tuple(group_of_categories(config)), boxes.device, torch.int64)
    num_groups = len(config.head_groups)
    cells = (frame * num_groups + group[label]) * rows * columns + flat_cell
    return BatchTargets(
        heatmap.view(batch, len(config.categories), rows, columns),
        weight.view(batch, 1, rows, columns),
        torch.where(real, cells, torch.zeros_like(cells)).flatten(),
        _codes(boxes, position - number - 0.5, sizes[label]).flatten(0, 1),
        label.flatten(),
        real.float().flatten(),
    )


def _codes(boxes: Tensor, offset: Tensor, usual: Tensor) -> Tensor:
    """Return (B, M, 10) codes, see `training.targets.NUM_CODES`."""
    yaw = boxes[..., 6:7]
    return torch.cat(
        [
            offset,
            boxes[..., 2:3] - usual[..., 2:3] / 2,
            torch.log(boxes[..., 3:6].clamp(min=0.05) / usual),
            torch.sin(yaw),
            torch.cos(yaw),
            boxes[..., 7:9],
        ],
        dim=2,
    )


def _radius(size_cells: Tensor, least: int) -> Tensor:
    """Return (B, M) radius in cells, see `training.targets.gaussian_radius`."""
    length, width = size_cells[..., 0], size_cells[..., 1]
    b = length + width
    c = length * width * (1 - _OVERLAP) / (1 + _OVERLAP)
    radius = (b - torch.sqrt((b * b - 4 * c).clamp(min=0.0))) / 2
    return torch.floor(radius).clamp(min=least)


def _windows(
    cell: Tensor,
    radius: Tensor,
    plane: Tensor,
    use: Tensor,
    extent: int,
    shape: tuple[int, int],
) -> tuple[Tensor, Tensor]:
    """Return (B, M, W, W) gaussians and flat places in (plane, X, Y), -1 where there is nothing."""
    rows, columns = shape
    reach = torch.arange(-extent, extent + 1, device=cell.device)
    wide = radius[..., None, None]
    dx, dy = reach[:, None], reach[None]
    x, y = cell[..., 0, None, None] + dx, cell[..., 1, None, None] + dy
    within = (dx.abs() <= wide) & (dy.abs() <= wide) & use[..., None, None]
    within = within & (x >= 0) & (x < rows) & (y >= 0) & (y < columns)
    sigma = (2 * wide + 1) / 6
    bell = torch.exp(-(dx * dx + dy * dy) / (2 * sigma * sigma))
    place = (plane[..., None, None] * rows + x) * columns + y
    return torch.where(within, bell, torch.zeros_like(bell)), torch.where(within, place, -1)
