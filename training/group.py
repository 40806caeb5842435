"""Joining the other workers of a training, as torchrun and Ray announce them."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta

import torch
import torch.distributed as dist
from torch.distributed import Store  # pyright: ignore[reportPrivateImportUsage]

from training.parallel import Group


@contextmanager
def open_group(shards: int, device: torch.device, timeout_s: float) -> Iterator[Group]:
    """Yield the group that RANK and WORLD_SIZE tell of; without them, this process alone.

    Where the workers have met already, as Ray's have, they stay together.

    Raises:
        ConfigError: if the shards cannot be divided among the workers.
    """
    world_size = int(os.environ.get("WORLD_SIZE", "1"))
    group = Group(int(os.environ.get("RANK", "0")), world_size, shards)
    if world_size == 1 or dist.is_initialized():
        yield group
        return
    dist.init_process_group(backend_for(device), timeout=timedelta(seconds=timeout_s))
    try:
        yield group
    finally:
        dist.destroy_process_group()


def join(group: Group, store: Store, device: torch.device, timeout: timedelta) -> None:
    """Meet the other workers at a store made for this attempt alone."""
    dist.init_process_group(
        backend_for(device), store=store, rank=group.rank, world_size=group.world_size,
        timeout=timeout,
    )  # fmt: skip


def backend_for(device: torch.device) -> str:
    """Return the library that exchanges tensors of a device: gloo, nccl, hccl, ..."""
    return dist.get_default_backend_for_device(device)
