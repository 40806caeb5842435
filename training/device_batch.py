"""Raw frames and what chance decided for them; variation and targets are made on the device.

The host draws a few numbers a frame and chooses objects to paste; everything that touches points
is a torch operation, so that an accelerator does it. The same code runs on the CPU.

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
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from scene.box import Boxes
from scene.types import Float32, Int64, Mask
from training.augment import ObjectBank
from training.config import TrainConfig
from training.device_targets import aim
from training.loss import BatchTargets
from training.placing import place_objects
from training.targets import Targets, labels_of

_BOX_VALUES: Final = 9  # x, y, z, l, w, h, yaw, vx, vy
_PAD_POINTS: Final = 65_536  # sizes of batches come in such steps: few shapes, memory is reused
_SENSOR_M: Final = 1.8
_GROW_M: Final = 0.2  # around a pasted object, where other points go
_EDGE_M: Final = 0.05  # points so near to a box go along with it


class Sample(NamedTuple):
    """One frame before its variation, and what was drawn for it.

    Attributes:
        points: (N, 4 or 5) float32; points of pasted objects come last.
        owner: (N,) int16 index of the pasted box that a point belongs to, -1 for the frame's own.
        boxes: (M, 9) float32 x, y, z, l, w, h (m), yaw (rad), vx, vy (m/s); pasted ones last.
        labels: (M,) int64 category.
        seen: (M,) bool, enough lidar points.
        pasted: (M,) bool.
        draws: (6,) float32: mirrored (0 or 1), turn (rad), scale, shift x, y, z (m).
        light: factor of the intensities.
        moves: (M, 3) float32 turn (rad) and shift x, y (m) of every object.
    """

    points: Float32
    owner: NDArray[np.int16]
    boxes: Float32
    labels: Int64
    seen: Mask
    pasted: Mask
    draws: Float32
    light: float
    moves: Float32


@dataclass(frozen=True, slots=True)
class RawBatch:
    """B samples, boxes padded to the same number.

    Attributes:
        points, owner: (N, 4 or 5) and (N,) of all frames, one after the other.
        frame: (N,) int16.
        boxes: (B, M, 9); labels: (B, M) int64, -1 for padding; seen, pasted: (B, M) bool.
        draws: (B, 6); light: (B,); moves: (B, M, 3).
        extent_cells: no box reaches further from its centre than so many cells of the heat map.
    """

    points: Float32
    owner: NDArray[np.int16]
    frame: NDArray[np.int16]
    boxes: Float32
    labels: Int64
    seen: Mask
    pasted: Mask
    draws: Float32
    light: Float32
    moves: Float32
    extent_cells: int

    @property
    def num_frames(self) -> int:
        """B."""
        return len(self.draws)

    def slices(self) -> list[slice]:
        """Return where the points of each frame are: known here, so that no device is asked."""
        ends = np.cumsum(np.bincount(self.frame, minlength=self.num_frames)).tolist()
        return [slice(start, end) for start, end in zip([0, *ends], ends, strict=False)]


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
    owner = np.full(len(points), -1, np.int16)
    if bank is not None:
        placed, cuts, counts = place_objects(boxes, config, rng, bank)
        if len(placed):
            numbers = np.arange(own, own + len(placed), dtype=np.int16)
            points = np.concatenate([points, cuts])
            owner = np.concatenate([owner, np.repeat(numbers, counts)])
            boxes = Boxes.concatenate([boxes, placed])
    if len(points) > config.max_points:
        kept = np.sort(rng.permutation(len(points))[: config.max_points])
        points, owner = points[kept], owner[kept]
    turn = rng.uniform(-config.rotation_rad, config.rotation_rad)
    turn += np.pi * (rng.random() < config.reverse)
    scale = rng.uniform(1 - config.scale, 1 + config.scale)
    shift = rng.normal(0.0, 1.0, 3) * config.translation_m
    draws = [float(rng.random() < config.flip), turn, scale, *shift]
    moves = rng.uniform(-1, 1, (len(boxes), 3)) * [
        config.object_turn_rad, config.object_shift_m, config.object_shift_m,
    ]  # fmt: skip
    values = [boxes.center_xyz_m, boxes.size_lwh_m, boxes.yaw_rad[:, None], boxes.velocity_xy_mps]
    return Sample(
        points,
        owner,
        np.concatenate(values, axis=1).astype(np.float32),
        labels_of(boxes, config),
        (boxes.num_points < 0) | (boxes.num_points >= config.min_points),
        np.arange(len(boxes)) >= own,
        np.array(draws, dtype=np.float32),
        float(rng.uniform(1 - config.brightness, 1 + config.brightness)),
        moves.astype(np.float32),
    )


def join_samples(samples: Sequence[Sample], config: TrainConfig) -> RawBatch:
    """Return samples as one batch."""
    most = max(1, *(len(sample.boxes) for sample in samples))
    count = len(samples)
    boxes = np.zeros((count, most, _BOX_VALUES), dtype=np.float32)
    labels = np.full((count, most), -1, dtype=np.int64)
    seen, pasted = np.zeros((2, count, most), dtype=bool)
    moves = np.zeros((count, most, 3), dtype=np.float32)
    for i, sample in enumerate(samples):
        used = slice(len(sample.boxes))
        boxes[i, used], labels[i, used], moves[i, used] = sample.boxes, sample.labels, sample.moves
        seen[i, used], pasted[i, used] = sample.seen, sample.pasted
    reach = np.hypot(boxes[..., 3], boxes[..., 4]).max() / 2 * (1 + config.scale)
    return RawBatch(
        np.concatenate([sample.points for sample in samples]),
        np.concatenate([sample.owner for sample in samples]),
        np.repeat(np.arange(count, dtype=np.int16), [len(s.points) for s in samples]),
        boxes, labels, seen, pasted,
        np.stack([sample.draws for sample in samples]),
        np.array([sample.light for sample in samples], dtype=np.float32),
        moves,
        int(np.ceil(reach / config.cell_m)) + 1,
    )  # fmt: skip


def vary_and_aim(
    batch: RawBatch, config: TrainConfig, sizes: Tensor, device: torch.device
) -> tuple[Tensor, Tensor, BatchTargets]:
    """Return (N, 4 or 5) points, their (N,) frame (-1 for none) and the targets, on the device."""
    points, owner, frame, boxes, labels, seen, draws, light, moves = (
        _send(array, device)
        for array in (
            batch.points, batch.owner, batch.frame, batch.boxes, batch.labels, batch.seen,
            batch.draws, batch.light, batch.moves,
        )
    )  # fmt: skip
    frame = frame.long()  # sent in few bytes
    if device.type != "cpu":
        rows = -len(points) % _PAD_POINTS
        points = F.pad(points, (0, 0, 0, rows))
        owner, frame = F.pad(owner, (0, rows), value=-1), F.pad(frame, (0, rows), value=-1)
    if batch.pasted.any():
        frame = clear_places(points, owner, frame, boxes, batch)
    if batch.moves.any():
        points, boxes = move_objects(points, boxes, labels, moves, batch.slices())
    points, boxes = vary(points, frame, boxes, draws, light)
    targets = aim(boxes, labels, seen, config, sizes, batch.extent_cells)
    return points, frame, targets


def vary(
    points: Tensor, frame: Tensor, boxes: Tensor, draws: Tensor, light: Tensor
) -> tuple[Tensor, Tensor]:
    """Mirror, turn, scale and move points (N, 4 or 5) and boxes (B, M, 9) of B frames.

    Args:
        points: of all frames.
        frame: (N,) which frame; -1 for none.
        boxes: of all frames.
        draws: (B, 6), see `Sample`.
        light: (B,) factor of the intensities.
    """
    mirrored, turn, scale, shift = draws[:, 0], draws[:, 1], draws[:, 2], draws[:, 3:6]
    sign = 1 - 2 * mirrored
    cos, sin, zero = torch.cos(turn) * scale, torch.sin(turn) * scale, torch.zeros_like(turn)
    matrix = torch.stack(
        [cos, -sin * sign, zero, sin, cos * sign, zero, zero, zero, scale], dim=1
    ).view(-1, 3, 3)
    which = frame.clamp(min=0)
    xyz = (matrix[which] * points[:, None, :3]).sum(dim=2) + shift[which]
    bright = (points[:, 3:4] * light[which, None]).clamp(0.0, 1.0)
    points = torch.cat([xyz, bright, points[:, 4:]], dim=1)
    # Sums and not products of matrices: those may be rounded to ten bits on an accelerator.
    centre = (matrix[:, None] * boxes[..., None, :3]).sum(dim=3) + shift[:, None]
    velocity = (matrix[:, None, :2, :2] * boxes[..., None, 7:9]).sum(dim=3)
    yaw = boxes[..., 6:7] * sign[:, None, None] + turn[:, None, None]
    size = boxes[..., 3:6] * scale[:, None, None]
    return points, torch.cat([centre, size, yaw, velocity], dim=2)


def clear_places(
    points: Tensor, owner: Tensor, frame: Tensor, boxes: Tensor, batch: RawBatch
) -> Tensor:
    """Return (N,) frame, -1 for points that stand where an object was pasted, or behind it.

    The lidar looks from 1.8 m above the ego origin. An object hides what is farther away within
    its own window of azimuth and slope. `batch` tells which boxes were pasted.
    """
    frame = frame.clone()
    for number, part in enumerate(batch.slices()):  # a few frames; all objects of one at once
        added = np.flatnonzero(batch.pasted[number])
        if not len(added):
            continue
        index = _send(added, points.device)
        cloud, whose, objects = points[part], owner[part], boxes[number, index]
        grown = torch.cat([objects[:, :3], objects[:, 3:6] + 2 * _GROW_M, objects[:, 6:]], dim=1)
        gone = _gone(cloud, whose, grown, objects[:, :2], index)
        frame[part] = torch.where(gone, -1, frame[part])
    return frame


def _gone(cloud: Tensor, whose: Tensor, grown: Tensor, centre: Tensor, added: Tensor) -> Tensor:
    """Return (N,) whether a point of the frame makes room for one of the P pasted objects."""
    stands = _inside(cloud, grown, 0.0).any(dim=1)
    return (stands | _hidden(cloud, whose, centre, added)) & (whose < 0)


def _hidden(cloud: Tensor, whose: Tensor, centre: Tensor, added: Tensor) -> Tensor:
    """Return (N,) whether a point lies behind one of the P pasted objects."""
    distance = torch.hypot(cloud[:, 0], cloud[:, 1]).clamp(min=0.1)
    slope = (cloud[:, 2] - _SENSOR_M) / distance
    middle = torch.atan2(centre[:, 1], centre[:, 0])
    azimuth = torch.atan2(cloud[:, 1], cloud[:, 0])
    turn = torch.remainder(azimuth[:, None] - middle[None] + torch.pi, 2 * torch.pi) - torch.pi
    mine = whose[:, None] == added[None]
    low = torch.where(mine, turn, torch.inf).amin(dim=0)
    high = torch.where(mine, turn, -torch.inf).amax(dim=0)
    flat = torch.where(mine, slope[:, None], torch.inf).amin(dim=0)
    steep = torch.where(mine, slope[:, None], -torch.inf).amax(dim=0)
    near = torch.where(mine, distance[:, None], torch.inf).amin(dim=0)
    behind = (turn >= low) & (turn <= high) & (distance[:, None] > near)
    return (behind & (slope[:, None] >= flat) & (slope[:, None] <= steep)).any(dim=1)


def move_objects(
    points: Tensor, boxes: Tensor, labels: Tensor, moves: Tensor, slices: Sequence[slice]
) -> tuple[Tensor, Tensor]:
    """Turn every object about its centre and move it, with its points; see `Sample.moves`.

    An object that would come too near to another one stays as it is.
    """
    moves = torch.where((labels >= 0)[..., None], moves, torch.zeros_like(moves))
    reach = torch.hypot(boxes[..., 3], boxes[..., 4]) / 2
    there = boxes[..., :2] + moves[..., 1:]
    gap = (there[:, :, None] - there[:, None]).norm(dim=3)
    near = (gap < reach[:, :, None] + reach[:, None]) & (labels >= 0)[:, None]
    near &= ~torch.eye(boxes.shape[1], dtype=torch.bool, device=boxes.device)
    moves = torch.where(near.any(dim=2)[..., None], torch.zeros_like(moves), moves)
    points = points.clone()
    for number, part in enumerate(slices):
        real = labels[number] >= 0
        points[part, :2] = _moved(points[part], boxes[number], real, moves[number])
    cos, sin = torch.cos(moves[..., 0]), torch.sin(moves[..., 0])
    vx, vy = boxes[..., 7], boxes[..., 8]
    velocity = torch.stack([vx * cos - vy * sin, vx * sin + vy * cos], dim=2)
    place = torch.cat([boxes[..., :2] + moves[..., 1:], boxes[..., 2:6]], dim=2)
    return points, torch.cat([place, boxes[..., 6:7] + moves[..., :1], velocity], dim=2)


def _moved(cloud: Tensor, boxes: Tensor, real: Tensor, moves: Tensor) -> Tensor:
    """Return (N, 2) places of points that go along with the first of M boxes that they are in."""
    inside = _inside(cloud, boxes, _EDGE_M) & real
    which = inside.float().argmax(dim=1)
    turn, shift, centre = moves[which, 0], moves[which, 1:], boxes[which, :2]
    arm = cloud[:, :2] - centre
    cos, sin = torch.cos(turn), torch.sin(turn)
    x = arm[:, 0] * cos - arm[:, 1] * sin
    y = arm[:, 0] * sin + arm[:, 1] * cos
    moved = torch.stack([x, y], dim=1) + centre + shift
    return torch.where(inside.any(dim=1)[:, None], moved, cloud[:, :2])


def _inside(points: Tensor, boxes: Tensor, margin_m: float) -> Tensor:
    """Return (N, M) whether points are in boxes that are larger by a margin on every side."""
    offset = points[:, None, :3] - boxes[None, :, :3]
    cos, sin = torch.cos(boxes[:, 6]), torch.sin(boxes[:, 6])
    half = boxes[:, 3:6] / 2 + margin_m
    along = offset[..., 0] * cos + offset[..., 1] * sin
    across = offset[..., 1] * cos - offset[..., 0] * sin
    within = (along.abs() <= half[:, 0]) & (across.abs() <= half[:, 1])
    return within & (offset[..., 2].abs() <= half[:, 2])


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


def _send(array: Any, device: torch.device) -> Tensor:
    """Return an array on the device; the copy to an accelerator does not wait."""
    tensor = torch.from_numpy(array)
    if device.type == "cpu":
        return tensor
    return tensor.pin_memory().to(device, non_blocking=True)
