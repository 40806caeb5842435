"""The largest answer of a linear layer in every pillar, without keeping an answer a point.

What automatic differentiation keeps of a point network is several arrays of points times channels,
gigabytes a batch, and reading them takes longer than all convolutions. Here the answers are made
again in the backward pass: a product with ten columns costs less than its own memory traffic.

Where the device is one that Triton compiles for, two fused loops do it (`training.pillar_loops`)
and no answer is written at all; everywhere else these are plain operations.
"""

from __future__ import annotations

from typing import Any, Final

import torch
from torch import Tensor

from training import pillar_loops

_ROWS: Final = 2048  # of a tall matrix that are multiplied as one


def pillar_max(
    described: Tensor,
    weight: Tensor,
    shift: Tensor,
    pillar: Tensor,
    size: int,
    dtype: torch.dtype = torch.float32,
) -> Tensor:
    """Return (size, P) max(0, largest of weight @ point + shift) of the points of every pillar.

    Args:
        described: (N, D) what is known of every point; has no gradient.
        weight: (P, D).
        shift: (P,).
        pillar: (N,) int64 from 0 to `size`; points of pillar `size` are left out.
        size: number of pillars.
        dtype: of the result, which is found in float32.
    """
    if torch.is_grad_enabled() and weight.requires_grad:
        return _PillarMax.apply(described, weight, shift, pillar, size, dtype)  # pyright: ignore[reportReturnType]
    return _largest(described, weight, shift, pillar, size)[:size].to(dtype)


def tall_product(one: Tensor, other: Tensor) -> Tensor:
    """Return (A, D) one.t() @ other of (N, A) and (N, D), where N is far larger than A and D.

    Slices of N are multiplied side by side: one product as it stands keeps few of an
    accelerator's many units busy.
    """
    slices = len(one) // _ROWS
    if one.device.type == "cpu" or slices < 2:
        return one.t() @ other
    used = slices * _ROWS
    parts = torch.bmm(
        one[:used].view(slices, _ROWS, -1).transpose(1, 2), other[:used].view(slices, _ROWS, -1)
    )
    return parts.sum(dim=0) + one[used:].t() @ other[used:]


def _largest(described: Tensor, weight: Tensor, shift: Tensor, pillar: Tensor, size: int) -> Tensor:
    """Return (size + 1, P): zero where there is no point or no positive answer, last row too."""
    canvas = described.new_zeros((size + 1, len(weight)))
    if pillar_loops.fit(described, weight):
        pillar_loops.raise_to_largest(described, weight, shift, pillar, canvas)
        return canvas
    answers = torch.addmm(shift, described, weight.t())
    index = pillar[:, None].expand_as(answers)
    canvas = canvas.scatter_reduce(0, index, answers, "amax", include_self=True)
    canvas[size] = 0.0
    return canvas


class _PillarMax(torch.autograd.Function):
    """Points that tie for the largest answer all learn: they are copies of one another."""

    @staticmethod
    def forward(
        ctx: Any,
        described: Tensor,
        weight: Tensor,
        shift: Tensor,
        pillar: Tensor,
        size: int,
        dtype: torch.dtype,
    ) -> Tensor:
        """See `pillar_max`."""
        canvas = _largest(described, weight, shift, pillar, size)
        ctx.save_for_backward(described, weight, shift, pillar, canvas)
        return canvas[:size].to(dtype)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        """Return the gradients of weight and shift."""
        described, weight, shift, pillar, canvas = ctx.saved_tensors
        if pillar_loops.fit(described, weight):
            learned = pillar_loops.learn(described, weight, shift, pillar, canvas, grads[0])
            return None, *learned, None, None, None
        answers = torch.addmm(shift, described, weight.t())  # the same bits as in the forward pass
        top = canvas.index_select(0, pillar)
        won = (answers == top) & (top > 0)  # never in the last row, which is zero
        upstream = grads[0].index_select(0, pillar.clamp(max=len(canvas) - 2))
        share = torch.where(won, upstream.to(answers.dtype), 0.0)
        return None, tall_product(share, described), share.sum(dim=0), None, None, None
