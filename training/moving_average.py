"""A moving average of the weights: smoother than any single step, and what is exported."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class MovingAverage:
    """Exponential moving average of a network's weights and running statistics, on its device.

    The decay grows with the steps, `min(decay, (1 + n) / (10 + n))`, so that the start is forgotten
    soon (TensorFlow's ExponentialMovingAverage).

    Attributes:
        weights: by the names of the network's `state_dict`.
    """

    def __init__(self, net: nn.Module, decay: float) -> None:
        """Begin with the weights as they are."""
        self._decay = decay
        weights = net.state_dict()
        self.weights: dict[str, Tensor] = {
            name: tensor.detach().clone() for name, tensor in weights.items()
        }
        # A network keeps its tensors: what changes them writes into them.
        pairs = [(self.weights[name], tensor.detach()) for name, tensor in weights.items()]
        self._own = [own for own, _ in pairs if own.is_floating_point()]
        self._new = [new for own, new in pairs if own.is_floating_point()]
        counts = [pair for pair in pairs if not pair[0].is_floating_point()]
        self._own_counts, self._new_counts = [own for own, _ in counts], [new for _, new in counts]

    def start(self, net: nn.Module) -> None:
        """Begin again with the weights as they are."""
        for name, tensor in net.state_dict().items():
            self.weights[name].copy_(tensor)

    def update(self, step: int) -> None:
        """Take in the weights after a step (1 for the first); counts are copied."""
        share = 1.0 - min(self._decay, (1 + step) / (10 + step))
        # One pass over all tensors: a kernel for each would cost more than the step's own update.
        torch._foreach_lerp_(self._own, self._new, share)  # pyright: ignore[reportPrivateImportUsage]
        if self._own_counts:
            torch._foreach_copy_(self._own_counts, self._new_counts)  # pyright: ignore[reportPrivateImportUsage]
