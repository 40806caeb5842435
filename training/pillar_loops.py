"""Fused loops over points for `training.pillar_max`, where Triton compiles for the device.

Triton comes with PyTorch's builds for accelerators; without it `fit` says no. A point's answer is
made where it is needed and never written: what is left to move are the points and the pillars.
"""

from __future__ import annotations

import logging
from functools import lru_cache
from importlib.util import find_spec
from typing import Final

import torch
from torch import Tensor

_LOG: Final = logging.getLogger(__name__)
_BLOCK: Final = 64  # points at a time
_PROGRAMS: Final = 2048  # of the backward loop, each with a sum of its own
_COLUMNS: Final = 16  # D columns, one of ones for the shift, and zeros
_NEAR: Final = 1e-6  # two compiled loops may round an answer differently

ON_PROCESSOR = False
"""Whether the loops run on a processor too: for tests, with Triton's interpreter."""


def fit(described: Tensor, weight: Tensor) -> bool:
    """Tell whether the loops can do it: on this device, in these shapes."""
    channels, columns = weight.shape
    return (
        (ON_PROCESSOR or described.device.type == "cuda")
        and find_spec("triton") is not None
        and described.dtype == torch.float32
        and columns < _COLUMNS <= channels <= 256
        and channels & (channels - 1) == 0
        and _work(described.device, channels, columns)
    )


@lru_cache
def _work(device: torch.device, channels: int, columns: int) -> bool:
    """Compile the loops and try them: what a device cannot do must not stop a training."""
    described = torch.linspace(-1, 1, 3 * columns, device=device).view(3, columns)
    weight = torch.linspace(-1, 2, channels * columns, device=device).view(channels, columns)
    shift, pillar = described.new_ones(channels), torch.tensor([1, 1, 2], device=device)
    canvas = described.new_zeros((3, channels))
    try:
        raise_to_largest(described, weight, shift, pillar, canvas)
        _, counted = learn(described, weight, shift, pillar, canvas, torch.ones_like(canvas[:2]))
    except Exception as error:
        _LOG.warning("points go through plain operations, fused loops fail here: %s", error)
        return False
    answers = (described[:2] @ weight.t() + shift).amax(dim=0).clamp(min=0)
    right = torch.allclose(canvas[1], answers, rtol=2e-2, atol=2e-2)
    right &= bool((counted[answers > 0.1] > 0).all()) and not bool(canvas[[0, 2]].any())
    if not right:
        _LOG.warning("points go through plain operations: fused loops are wrong on %s", device)
    return right


def raise_to_largest(
    described: Tensor, weight: Tensor, shift: Tensor, pillar: Tensor, canvas: Tensor
) -> None:
    """Raise a canvas to the largest answers of its points; see `pillar_max`.

    Args:
        described: (N, D).
        weight: (P, D).
        shift: (P,).
        pillar: (N,) int64.
        canvas: (size + 1, P) of zeros; the last row stays.
    """
    from training.kernels import pillar_loops as loops

    count, channels = len(described), len(weight)
    grid = (-(-count // _BLOCK),)
    loops.raise_to_largest[grid](  # pyright: ignore[reportIndexIssue]
        described.contiguous(), weight.contiguous(), shift, pillar, canvas.view(torch.int32),
        count, len(canvas) - 1, described.shape[1], channels, _BLOCK,
    )  # fmt: skip


def learn(
    described: Tensor,
    weight: Tensor,
    shift: Tensor,
    pillar: Tensor,
    canvas: Tensor,
    upstream: Tensor,
) -> tuple[Tensor, Tensor]:
    """Return the gradients (P, D) of the weight and (P,) of the shift.

    Args:
        described: (N, D).
        weight: (P, D).
        shift: (P,).
        pillar: (N,) int64.
        canvas: (size + 1, P) largest answers.
        upstream: (size, P) gradient of the first rows, of any float type.
    """
    from training.kernels import pillar_loops as loops

    count, (channels, columns) = len(described), weight.shape
    blocks = -(-count // _BLOCK)
    programs = max(1, min(blocks, _PROGRAMS))
    sums = described.new_empty((programs, channels, _COLUMNS))
    loops.learn[(programs,)](  # pyright: ignore[reportIndexIssue]
        described.contiguous(), weight.contiguous(), shift, pillar, canvas, upstream.contiguous(),
        sums, count, len(canvas) - 1, -(-blocks // programs), columns, channels, _COLUMNS, _BLOCK,
        _NEAR,
    )  # fmt: skip
    total = sums.sum(dim=0, dtype=torch.float64).to(weight.dtype)
    return total[:, :columns].contiguous(), total[:, columns].contiguous()
