"""All centre heads of a training step as two wide layers: the same weights, far fewer kernels.

The first layers of all heads look at the same picture, so that they are one convolution with as
many channels as all of them have together. Their last layers have one to ten channels each, which
the matrix units of an accelerator are not made for: they become one product a head, all of the same
padded width, side by side.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

_WIDTH: Final = 8  # outputs are padded to a multiple of it
_PIXELS: Final = 1024  # of a frame that are multiplied as one


def join_heads(heads: Sequence[Any], shared: Tensor) -> list[tuple[Tensor, Tensor, Tensor | None]]:
    """Return what `CentreHead.forward` says of each head, in training.

    Args:
        heads: of the groups of categories.
        shared: (B, H, X, Y).
    """
    firsts = [cast("nn.Sequential", branch) for h in heads for branch in (h.look_for, h.measure)]
    lasts = [
        layers
        for h in heads
        for layers in ([h.heat], [h.codes, *([h.iou] if h.iou is not None else [])])
    ]
    convolutions = [cast("nn.Conv2d", first[0]) for first in firsts]
    norms = [cast("nn.BatchNorm2d", first[1]) for first in firsts]
    hidden = F.relu(_normalised(norms, _convolved(convolutions, shared)))
    answers = _answered(lasts, hidden)
    found = []
    for number, head in enumerate(heads):
        heat, measured = answers[2 * number], answers[2 * number + 1]
        codes = head.codes.out_channels
        iou = None if head.iou is None else measured[:, codes : codes + 1]
        found.append((heat[:, : head.heat.out_channels], measured[:, :codes], iou))
    return found


def _convolved(layers: Sequence[nn.Conv2d], shared: Tensor) -> Tensor:
    """Return (B, L * H, X, Y) of L convolutions without bias."""
    weight = torch.cat([layer.weight for layer in layers])
    weight = weight.contiguous(memory_format=torch.channels_last)
    return F.conv2d(shared, weight, padding=layers[0].padding)  # pyright: ignore[reportArgumentType]


def _normalised(norms: Sequence[nn.BatchNorm2d], picture: Tensor) -> Tensor:
    """Normalise the channels of L norms at once; their running statistics follow."""
    means, variances = (
        [cast("Tensor", getattr(n, name)) for n in norms]
        for name in ("running_mean", "running_var")
    )
    mean, variance = torch.cat(means), torch.cat(variances)
    result = F.batch_norm(
        picture, mean, variance,
        torch.cat([n.weight for n in norms]), torch.cat([n.bias for n in norms]),
        training=True, momentum=cast("float", norms[0].momentum), eps=norms[0].eps,
    )  # fmt: skip
    with torch.no_grad():
        for kept, new in ((means, mean), (variances, variance)):
            for own, part in zip(kept, new.chunk(len(norms)), strict=True):
                own.copy_(part)
        for norm in norms:
            cast("Tensor", norm.num_batches_tracked).add_(1)
    return result


def _answered(lasts: Sequence[Sequence[nn.Conv2d]], hidden: Tensor) -> Tensor:
    """Return (L, B, W, X, Y) of L groups of 1x1 convolutions on L slices of channels."""
    batch, channels, rows, columns = hidden.shape
    each = channels // len(lasts)
    most = max(sum(layer.out_channels for layer in layers) for layers in lasts)
    width = most + -most % _WIDTH
    weights, biases = [], []
    for layers in lasts:
        weight = torch.cat([layer.weight.flatten(1) for layer in layers])
        bias = torch.cat([cast("Tensor", layer.bias) for layer in layers])
        weights.append(F.pad(weight, (0, 0, 0, width - len(weight))).t())
        biases.append(F.pad(bias, (0, width - len(bias))))
    # One slice of pixels is one product; the gradients of the weights are sums over slices.
    pixels = rows * columns
    slices = batch * (pixels // _PIXELS if pixels % _PIXELS == 0 else 1)
    flat = hidden.permute(0, 2, 3, 1).reshape(slices, -1, len(lasts), each).permute(2, 0, 1, 3)
    answers = torch.matmul(flat, torch.stack(weights)[:, None])
    answers = answers + torch.stack(biases)[:, None, None].to(answers.dtype)
    return answers.view(len(lasts), batch, rows, columns, width).permute(0, 1, 4, 2, 3)
