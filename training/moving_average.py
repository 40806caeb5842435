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
        self.weights: dict[str, Tensor] = {
            name: tensor.detach().clone() for name, tensor in net.state_dict().items()
        }

    def start(self, net: nn.Module) -> None:
        """Begin again with the weights as they are."""
        for name, tensor in net.state_dict().items():
            self.weights[name].copy_(tensor)

    def update(self, net: nn.Module, step: int) -> None:
        """Take in the weights after a step (1 for the first); counts are copied."""
        share = 1.0 - min(self._decay, (1 + step) / (10 + step))
        own, new = [], []
        for name, tensor in net.state_dict().items():
            if tensor.is_floating_point():
                own.append(self.weights[name])
                new.append(tensor.detach())
            else:
                self.weights[name].copy_(tensor)
        # One pass over all tensors: a kernel for each would cost more than the step's own update.
        torch._foreach_lerp_(own, new, share)  # pyright: ignore[reportPrivateImportUsage]
