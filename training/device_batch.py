"""Raw frames and what chance decided for them; variation and targets are made on the device.

The host draws a few numbers a frame, chooses objects to paste and lists which boxes are where;
everything that touches all points is a torch operation over the whole batch
(`training.device_points`), so that an accelerator does it. The same code runs on the CPU.

What is done to a frame, in order: objects of other frames are pasted (what stood in their place
and what they hide goes), every object is turned and moved a little, the frame is mirrored, turned,
scaled and moved, intensities are scaled. `training.augment` is the numpy form of the last step.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from scene.box import Boxes
from scene.types import Float32, Int64, Mask
from training.augment import ObjectBank
from training.config import TrainConfig
from training.device_points import (
    GROW_M,
    Points,
    free_moves,
    go_along,
    hidden,
    meet,
    move_boxes,
    vary_boxes,
    vary_points,
)
from training.device_targets import aim
from training.loss import BatchTargets
from training.nearby import NUM_SHADOW_VALUES, boxes_by_cell, cast_shadows, shadows_by_azimuth
from training.placing import place_objects
from training.targets import Targets, labels_of

_BOX_VALUES: Final = 9  # x, y, z, l, w, h, yaw, vx, vy
_PAD_POINTS: Final = 65_536  # sizes of batches come in such steps: few shapes, memory is reused
_PAD_BOXES: Final = 16


class Sample(NamedTuple):
    """One frame before its variation, and what was drawn for it.

    Attributes:
        points: (N, 4 or 5) float32 of the frame itself.
        cuts: (P, 4 or 5) float32 of pasted objects.
        boxes: (M, 9) float32 x, y, z, l, w, h (m), yaw (rad), vx, vy (m/s); pasted ones last.
        labels: (M,) int64 category.
        seen: (M,) bool, enough lidar points.
        shadows: (M, 6) float32 of the pasted ones, see `training.nearby.cast_shadows`.
        pasted: (M,) bool.
        draws: (6,) float32: mirrored (0 or 1), turn (rad), scale, shift x, y, z (m).
        light: factor of the intensities.
        moves: (M, 3) float32 turn (rad) and shift x, y (m) of every object.
    """

    points: Float32
    cuts: Float32
    boxes: Float32
    labels: Int64
    seen: Mask
    shadows: Float32
    pasted: Mask
    draws: Float32
    light: float
    moves: Float32


@dataclass(frozen=True, slots=True)
class RawBatch:
    """B samples, boxes padded to the same number.

    Attributes:
        clouds: (N, 4 or 5) of every frame: its own points, then those of pasted objects, in turn.
        boxes: (B, M, 9); labels: (B, M) int64, -1 for padding; seen, pasted: (B, M) bool.
        draws: (B, 6); light: (B,); moves: (B, M, 3).
        shadows: (B, M, 6).
        by_cell, by_azimuth: see `training.nearby`.
        extent_cells: no box, and no peak, reaches further from its centre than so many cells of
            the heat map.
    """

    clouds: tuple[Float32, ...]
    boxes: Float32
    labels: Int64
    seen: Mask
    pasted: Mask
    draws: Float32
    light: Float32
    moves: Float32
    shadows: Float32
    by_cell: NDArray[np.int32]
    by_azimuth: NDArray[np.int32]
    extent_cells: int

    @property
    def num_frames(self) -> int:
        """B."""
        return len(self.draws)

    @property
    def num_points(self) -> int:
        """Points of all frames, pasted ones included."""
        return sum(len(cloud) for cloud in self.clouds)


def draw_sample(
    points: Float32,
    boxes: Boxes,
    config: TrainConfig,
    rng: np.random.Generator,
    bank: ObjectBank | None,
) -> Sample:
    """Decide what happens to a frame."""
    boxes = boxes.take(np.isin(boxes.category, config.categories))
    own = len(boxes)
    cuts, owner = points[:0], np.zeros(0, np.int64)
    if bank is not None:
        placed, found, counts = place_objects(boxes, config, rng, bank)
        if len(placed):
            cuts, owner = found, np.repeat(np.arange(own, own + len(placed)), counts)
            boxes = Boxes.concatenate([boxes, placed])
    if len(points) + len(cuts) > config.max_points:
        kept = np.sort(rng.permutation(len(points) + len(cuts))[: config.max_points])
        of_frame = np.searchsorted(kept, len(points))
        later = kept[of_frame:] - len(points)
        points, cuts, owner = points[kept[:of_frame]], cuts[later], owner[later]
    turn = rng.uniform(-config.rotation_rad, config.rotation_rad)
    turn += np.pi * (rng.random() < config.reverse)
    scale = rng.uniform(1 - config.scale, 1 + config.scale)
    shift = rng.normal(0.0, 1.0, 3) * config.translation_m
    draws = [float(rng.random() < config.flip), turn, scale, *shift]
    moves = rng.uniform(-1, 1, (len(boxes), 3)) * [
        config.object_turn_rad, config.object_shift_m, config.object_shift_m,
    ]  # fmt: skip
    parts = [boxes.center_xyz_m, boxes.size_lwh_m, boxes.yaw_rad[:, None], boxes.velocity_xy_mps]
    values = np.concatenate(parts, axis=1).astype(np.float32)
    return Sample(
        points,
        cuts,
        values,
        labels_of(boxes, config),
        (boxes.num_points < 0) | (boxes.num_points >= config.min_points),
        cast_shadows(cuts, owner, values),
        np.arange(len(boxes)) >= own,
        np.array(draws, dtype=np.float32),
        float(rng.uniform(1 - config.brightness, 1 + config.brightness)),
        moves.astype(np.float32),
    )


def join_samples(samples: Sequence[Sample], config: TrainConfig) -> RawBatch:
    """Return samples as one batch."""
    count = len(samples)
    most = max(1, *(len(sample.boxes) for sample in samples))
    most += -most % _PAD_BOXES
    boxes = np.zeros((count, most, _BOX_VALUES), dtype=np.float32)
    labels = np.full((count, most), -1, dtype=np.int64)
    seen, pasted = np.zeros((2, count, most), dtype=bool)
    moves = np.zeros((count, most, 3), dtype=np.float32)
    shadows = np.full((count, most, NUM_SHADOW_VALUES), np.inf, dtype=np.float32)
    shadows[..., 2] = -np.inf  # an empty window
    for i, sample in enumerate(samples):
        used = slice(len(sample.boxes))
        boxes[i, used], labels[i, used], moves[i, used] = sample.boxes, sample.labels, sample.moves
        seen[i, used], pasted[i, used] = sample.seen, sample.pasted
        shadows[i, used] = sample.shadows
    reach = np.hypot(boxes[..., 3], boxes[..., 4]).max() / 2 * (1 + config.scale)
    return RawBatch(
        tuple(cloud for sample in samples for cloud in (sample.points, sample.cuts)),
        boxes, labels, seen, pasted,
        np.stack([sample.draws for sample in samples]),
        np.array([sample.light for sample in samples], dtype=np.float32),
        moves,
        shadows,
        boxes_by_cell(boxes, labels >= 0, GROW_M),
        shadows_by_azimuth(shadows),
        max(int(np.ceil(reach / config.cell_m)) + 1, config.least_radius),
    )  # fmt: skip


def vary_and_aim(
    batch: RawBatch, config: TrainConfig, sizes: Tensor, device: torch.device
) -> tuple[Tensor, Tensor, BatchTargets]:
    """Return (N, 4 or 5) points, their (N,) frame (-1 for none) and the targets, on the device."""
    values, part = _send_clouds(batch.clouds, device)
    boxes, labels, seen, pasted, draws, light, moves, shadows, by_cell, by_azimuth = (
        _send(array, device)
        for array in (
            batch.boxes, batch.labels, batch.seen, batch.pasted, batch.draws, batch.light,
            batch.moves, batch.shadows, batch.by_cell, batch.by_azimuth,
        )
    )  # fmt: skip
    frame = torch.div(part, 2, rounding_mode="floor")
    points = Points(list(values.unbind(1)), frame.clamp(max=batch.num_frames - 1))
    gone = part == 2 * batch.num_frames  # rows that only fill up
    pastes = bool(batch.pasted.any())
    if pastes or batch.moves.any():
        met = meet(points, boxes, pasted, by_cell)
        if pastes:
            gone |= (met.stands | hidden(points, shadows, by_azimuth)) & (part % 2 == 0)
        free = free_moves(boxes, labels, moves)
        points = go_along(points, met.box, boxes, free)
        boxes = move_boxes(boxes, free)
    targets = aim(vary_boxes(boxes, draws), labels, seen, config, sizes, batch.extent_cells)
    return vary_points(points, draws, light), torch.where(gone, -1, points.frame), targets


def join_targets(targets: Sequence[Targets], device: torch.device) -> BatchTargets:
    """Return the targets of frames, made in numpy, as those of a batch on the device."""
    per_frame = targets[0].num_cells
    cells = [t.cells + i * per_frame for i, t in enumerate(targets)]
    parts = (
        np.stack([t.heatmap for t in targets]),
        np.stack([t.weight[None] for t in targets]),
        np.concatenate(cells),
        np.concatenate([t.codes for t in targets]),
        np.concatenate([t.labels for t in targets]),
    )
    return BatchTargets(*(torch.from_numpy(part).to(device) for part in parts))


def _send_clouds(clouds: Sequence[Float32], device: torch.device) -> tuple[Tensor, Tensor]:
    """Return the points of all clouds on the device, and (N,) which cloud each belongs to.

    Clouds are joined in memory that an accelerator reads by itself; rows of zeros, of a cloud
    behind the last one, fill up.
    """
    counts = [len(cloud) for cloud in clouds]
    total = sum(counts)
    rows = total if device.type == "cpu" else total + -total % _PAD_POINTS
    buffer = torch.empty((rows, clouds[0].shape[1]), pin_memory=device.type != "cpu")
    end = 0
    for cloud, count in zip(clouds, counts, strict=True):
        buffer[end : end + count].copy_(torch.from_numpy(cloud))  # by all threads that torch has
        end += count
    buffer[total:] = 0.0
    lengths = _send(np.array([*counts, rows - total]), device)
    part = torch.repeat_interleave(lengths, output_size=rows)
    return buffer.to(device, non_blocking=True), part


def _send(array: Any, device: torch.device) -> Tensor:
    """Return an array on the device; the copy to an accelerator does not wait."""
    tensor = torch.from_numpy(array)
    if device.type == "cpu":
        return tensor
    return tensor.pin_memory().to(device, non_blocking=True)
