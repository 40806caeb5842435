"""The largest answer of a linear layer in every pillar, without keeping an answer a point.

What automatic differentiation keeps of a point network is several arrays of points times channels,
gigabytes a batch, and reading them takes longer than all convolutions. Here the answers are made
again in the backward pass: a product with ten columns costs less than its own memory traffic.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor


def pillar_max(
    described: Tensor, weight: Tensor, shift: Tensor, pillar: Tensor, size: int
) -> Tensor:
    """Return (size, P) max(0, largest of weight @ point + shift) of the points of every pillar.

    Args:
        described: (N, D) what is known of every point; has no gradient.
        weight: (P, D).
        shift: (P,).
        pillar: (N,) int64 from 0 to `size`; points of pillar `size` are left out.
        size: number of pillars.
    """
    if torch.is_grad_enabled() and weight.requires_grad:
        return _PillarMax.apply(described, weight, shift, pillar, size)  # pyright: ignore[reportReturnType]
    return _largest(torch.addmm(shift, described, weight.t()), pillar, size)[:size]


def _largest(answers: Tensor, pillar: Tensor, size: int) -> Tensor:
    """Return (size + 1, P): zero where there is no point or no positive answer."""
    index = pillar[:, None].expand_as(answers)
    canvas = answers.new_zeros((size + 1, answers.shape[1]))
    return canvas.scatter_reduce(0, index, answers, "amax", include_self=True)


class _PillarMax(torch.autograd.Function):
    """Points that tie for the largest answer all learn: they are copies of one another."""

    @staticmethod
    def forward(
        ctx: Any, described: Tensor, weight: Tensor, shift: Tensor, pillar: Tensor, size: int
    ) -> Tensor:
        """See `pillar_max`."""
        canvas = _largest(torch.addmm(shift, described, weight.t()), pillar, size)
        ctx.save_for_backward(described, weight, shift, pillar, canvas)
        return canvas[:size]

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        """Return the gradients of weight and shift."""
        described, weight, shift, pillar, canvas = ctx.saved_tensors
        size = len(canvas) - 1
        upstream = torch.where(canvas[:size] > 0, grads[0], 0.0)
        upstream = torch.cat([upstream, upstream.new_zeros((1, upstream.shape[1]))])
        answers = torch.addmm(shift, described, weight.t())  # the same bits as in the forward pass
        won = answers == canvas[pillar]
        share = torch.where(won, upstream[pillar], 0.0)
        return None, share.t() @ described, share.sum(dim=0), None, None
