"""One training step a batch, and its state: network, optimiser, progress."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple

import numpy as np
import torch
from torch import Tensor

from scene.errors import ConfigError, TrainError
from training.checkpoint import Checkpoint, flatten_optimizer, unflatten_optimizer
from training.config import TrainConfig
from training.data import Batch
from training.device import compute_dtype
from training.loss import BatchTargets, detection_loss
from training.model import PillarNet

_WARM_UP: Final = 0.25  # share of the steps in which the learning rate rises
_START_DIVISOR: Final = 10.0
_END_DIVISOR: Final = 1000.0
_CLIP_NORM: Final = 10.0
_MAX_BAD_STEPS: Final = 10
_CURVE_EVERY: Final = 10


class NonFiniteError(TrainError):
    """Too many steps gave NaN or infinity."""


@dataclass(slots=True)
class Progress:
    """What a training has done so far; saved with every checkpoint.

    Attributes:
        loss_curve: (step, mean loss of the ten steps before it).
        seconds: time spent in steps, over all attempts.
        bad_steps: steps left out because a number was not finite.
        resumed_from: the step that the newest attempt started at.
        recent: losses since the last point of the curve.
    """

    loss_curve: list[tuple[int, float]] = field(default_factory=list)
    seconds: float = 0.0
    bad_steps: int = 0
    resumed_from: int = 0
    recent: list[float] = field(default_factory=list)

    def to_dict(self) -> dict[str, Any]:
        """Return plain values."""
        return {
            "loss_curve": [list(point) for point in self.loss_curve],
            "seconds": self.seconds,
            "bad_steps": self.bad_steps,
            "recent": self.recent,
        }

    @classmethod
    def from_dict(cls, values: Mapping[str, Any], resumed_from: int) -> Progress:
        """Undo `to_dict`."""
        curve = [(int(step), float(loss)) for step, loss in values["loss_curve"]]
        return cls(
            curve, float(values["seconds"]), int(values["bad_steps"]), resumed_from,
            list(values["recent"]),
        )  # fmt: skip

    def add(self, step: int, loss: float | None) -> None:
        """Note the loss of a finished step; None for a step left out."""
        if loss is None:
            self.bad_steps += 1
        else:
            self.recent.append(loss)
        if step % _CURVE_EVERY == 0 and self.recent:
            self.loss_curve.append((step, sum(self.recent) / len(self.recent)))
            self.recent = []


class Prepared(NamedTuple):
    """A batch on the device, ready for the convolutions.

    Attributes:
        picture: (B, C, X, Y) pillar picture in the type of the convolutions.
        targets: what the heads should say.
    """

    picture: Tensor
    targets: BatchTargets


class Trainer:
    """Network, optimiser and step count. Deterministic on the CPU for a number of threads."""

    def __init__(self, config: TrainConfig, device: torch.device) -> None:
        torch.manual_seed(config.seed)
        torch.use_deterministic_algorithms(device.type == "cpu")
        # Filling memory that is written anyway costs a tenth of a step.
        torch.utils.deterministic.fill_uninitialized_memory = False  # pyright: ignore[reportAttributeAccessIssue]
        self.config = config
        self.device = device
        self.dtype = compute_dtype(config, device)
        self.step = 0
        self.progress = Progress()
        self.net = PillarNet(config).to(device)
        torch.nn.utils.convert_conv2d_weight_memory_format(self.net, torch.channels_last)
        self._optimizer = torch.optim.AdamW(
            self.net.parameters(),
            lr=config.learning_rate,
            weight_decay=config.weight_decay,
            fused=True,
        )

    def start_from(self, weights: Mapping[str, Tensor], categories: list[str]) -> None:
        """Take over the weights of an earlier model.

        Args:
            weights: its `weights.safetensors`.
            categories: for each row of its heat map the category, or "" for one it never learned.
                Categories of ours that are not among them start afresh.

        Raises:
            ConfigError: if the networks do not fit.
        """
        own = self.net.state_dict()
        adapted = dict(weights)
        rows = self.config.categories
        try:
            for name in ("heat.weight", "heat.bias"):
                adapted[name] = own[name].clone()
                for index in [i for i, category in enumerate(rows) if category in categories]:
                    adapted[name][index] = weights[name][categories.index(rows[index])]
            self.net.load_state_dict(adapted)
        except (RuntimeError, KeyError) as error:
            raise ConfigError(f"the starting model does not fit these settings: {error}") from error

    def prepare(self, batch: Batch) -> Prepared:
        """Move a batch to the device and look at its points; has no gradient, fits a thread."""
        cells_per_frame = batch.targets[0].weight.size
        cells = [t.cells + i * cells_per_frame for i, t in enumerate(batch.targets)]
        targets = BatchTargets(
            torch.from_numpy(np.stack([t.heatmap for t in batch.targets])),
            torch.from_numpy(np.stack([t.weight[None] for t in batch.targets])),
            torch.from_numpy(np.concatenate(cells)),
            torch.from_numpy(np.concatenate([t.codes for t in batch.targets])),
        )
        with torch.no_grad():
            picture = self.net.pillars(
                torch.from_numpy(batch.points).to(self.device),
                torch.from_numpy(batch.frame).to(self.device),
                len(batch.targets),
            ).to(self.dtype)
        return Prepared(picture, BatchTargets(*(t.to(self.device) for t in targets)))

    def train_step(self, batch: Prepared) -> float | None:
        """Do one optimiser step; return its loss, or None if it was left out as not finite.

        Raises:
            NonFiniteError: if more than ten steps were left out.
        """
        return self.apply(self.backward(batch))

    def backward(self, batch: Prepared) -> float:
        """Leave the gradients of a batch in the parameters; return its loss."""
        self.net.train()
        with torch.autocast(
            self.device.type, dtype=torch.bfloat16, enabled=self.dtype == torch.bfloat16
        ):
            heads = self.net.look(batch.picture)
        loss = detection_loss(
            heads.heat.float(), heads.codes.float(), batch.targets, self.config.regression_weight
        ).total
        self._optimizer.zero_grad(set_to_none=True)
        loss.backward()
        return float(loss.detach())

    def apply(self, loss: float) -> float | None:
        """Step with the gradients in the parameters; return `loss`, or None if left out.

        Data-parallel workers average loss and gradients between `backward` and this.

        Raises:
            NonFiniteError: if more than ten steps were left out.
        """
        for group in self._optimizer.param_groups:
            group["lr"] = learning_rate(self.step, self.config)
        norm = torch.nn.utils.clip_grad_norm_(self.net.parameters(), _CLIP_NORM)
        good = math.isfinite(loss) and math.isfinite(float(norm))
        if not good:
            self.leave_out()
            return None
        self._optimizer.step()
        self.step += 1
        self.progress.add(self.step, loss)
        return loss

    def leave_out(self) -> None:
        """Go past a step without learning from it.

        Raises:
            NonFiniteError: if more than ten steps were left out.
        """
        self.step += 1
        self.progress.add(self.step, None)
        if self.progress.bad_steps > _MAX_BAD_STEPS:
            raise NonFiniteError(
                f"step {self.step}: {self.progress.bad_steps} steps gave NaN or infinity; "
                "lower learning_rate, or look for broken boxes in the dataset"
            )

    def tensors(self) -> dict[str, Tensor]:
        """Return the tensors needed to go on from here by name, not copied."""
        tensors = {f"net.{name}": tensor for name, tensor in self.net.state_dict().items()}
        return tensors | flatten_optimizer(self._optimizer.state_dict())

    def checkpoint(self) -> Checkpoint:
        """Return everything needed to go on from here."""
        copies = {name: tensor.detach().cpu().clone() for name, tensor in self.tensors().items()}
        return Checkpoint(self.step, copies, self.progress.to_dict())

    def restore(self, checkpoint: Checkpoint) -> None:
        """Go on from a checkpoint, bit for bit as if there had been no stop."""
        net = {k[4:]: v for k, v in checkpoint.tensors.items() if k.startswith("net.")}
        self.net.load_state_dict(net)
        parameters = [p.detach() for p in self.net.parameters()]
        state = unflatten_optimizer(self._optimizer.state_dict(), checkpoint.tensors, parameters)
        self._optimizer.load_state_dict(state)
        self.step = checkpoint.step
        self.progress = Progress.from_dict(checkpoint.progress, checkpoint.step)


def learning_rate(step: int, config: TrainConfig) -> float:
    """Return the one-cycle learning rate of a step: a cosine up, then a cosine down.

    Source: Smith and Topin, "Super-convergence" (2018).
    """
    peak = config.learning_rate
    rise = max(1.0, _WARM_UP * config.iterations)
    if step < rise:
        low, share = peak / _START_DIVISOR, step / rise
        return low + (peak - low) * (1 - math.cos(math.pi * share)) / 2
    low, share = peak / _END_DIVISOR, (step - rise) / max(1.0, config.iterations - rise)
    return low + (peak - low) * (1 + math.cos(math.pi * share)) / 2
