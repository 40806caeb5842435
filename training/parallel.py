"""Data-parallel training whose outcome does not depend on how many workers share the work.

A batch is cut into `config.shards` parts. Each worker makes the gradients of its parts, all workers
gather all of them and add them up in the order of the parts. So one worker and four give the same
bits, a group can go on smaller after a fault, and a resumed training equals an undisturbed one.
Plain DDP adds in an order that depends on the number of workers.
"""

from __future__ import annotations

import math
import zlib
from dataclasses import dataclass
from typing import Final

import torch
import torch.distributed as dist
from torch import Tensor

from scene.errors import ConfigError
from training.device import copy_all
from training.loop import Prepared, Trainer

_EXTRA: Final = 2  # loss and the wish to stop travel with the gradients


@dataclass(frozen=True, slots=True)
class Outcome:
    """What all workers know of a step before its update.

    Attributes:
        losses: loss of each shard.
        norm: L2 norm of the averaged gradients.
        stop: whether any worker was asked to stop.
    """

    losses: tuple[float, ...]
    norm: float
    stop: bool

    @property
    def loss(self) -> float:
        """Mean over the shards."""
        return sum(self.losses) / len(self.losses)

    @property
    def is_finite(self) -> bool:
        """Whether loss and gradients are numbers."""
        return math.isfinite(self.loss) and math.isfinite(self.norm)


class Group:
    """The workers of one training, as one of them sees it.

    Attributes:
        rank: number of this worker.
        world_size: number of workers.
        shards: parts of a batch.
        mine: the parts that this worker makes.
    """

    def __init__(self, rank: int = 0, world_size: int = 1, shards: int = 1) -> None:
        """Divide the shards.

        Raises:
            ConfigError: if they cannot be divided evenly.
        """
        if shards % world_size:
            raise ConfigError(
                f"{world_size} workers cannot share {shards} shards evenly; use a number of "
                "workers that divides them"
            )
        self.rank, self.world_size, self.shards = rank, world_size, shards
        self.mine = range(rank, shards, world_size)

    def exchange(self, trainer: Trainer, packets: list[Tensor]) -> Outcome:
        """Leave the average of all shards' gradients and buffers in the network.

        Args:
            trainer: holds the network.
            packets: of `self.mine`, see `pack`.
        """
        own = torch.stack(packets)
        if self.world_size > 1:
            gathered = own.new_empty(self.world_size * own.numel())
            dist.all_gather_single(gathered, own.flatten())
            parts = gathered.view(self.world_size, len(packets), -1)
            ordered = parts.transpose(0, 1).reshape(self.shards, -1)
        else:
            ordered = own
        total = ordered[0].clone()
        for part in ordered[1:]:  # always in this order
            total += part
        total /= self.shards
        gradients = [p.grad for p in trainer.net.parameters() if p.grad is not None]
        buffers = averaged_buffers(trainer)
        spread(total[:-_EXTRA], [*gradients, *buffers])
        num_values = sum(g.numel() for g in gradients)
        norm = float(torch.linalg.vector_norm(total[:num_values]))
        extra = ordered[:, -_EXTRA:].double().cpu()
        return Outcome(tuple(extra[:, 0].tolist()), norm, bool(extra[:, 1].any()))


def averaged_buffers(trainer: Trainer) -> list[Tensor]:
    """Return the buffers that a step changes and shards average: running means and variances."""
    return [b for b in trainer.net.buffers() if b.is_floating_point()]


def pack(trainer: Trainer, batch: Prepared, *, stop: bool) -> Tensor:
    """Make the gradients of one shard; return them with buffers, loss and the wish to stop."""
    loss = trainer.backward(batch)
    gradients = [p.grad for p in trainer.net.parameters() if p.grad is not None]
    flat = [t.reshape(-1).float() for t in (*gradients, *averaged_buffers(trainer))]
    return torch.cat([*flat, flat[0].new_tensor([loss, float(stop)])])


def spread(flat: Tensor, tensors: list[Tensor]) -> None:
    """Copy a flat vector into tensors, one after the other."""
    pieces = flat.split([t.numel() for t in tensors])
    views = [piece.view(t.shape) for piece, t in zip(pieces, tensors, strict=True)]
    copy_all(tensors, views)


def digest(packet: Tensor) -> int:
    """Return a checksum of a packet without its last value, the wish to stop."""
    return zlib.crc32(packet[:-1].cpu().numpy().tobytes())
