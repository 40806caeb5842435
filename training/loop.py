"""One training step a batch, and its state: network, optimiser, progress."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple

import torch
from torch import Tensor

from scene.errors import ConfigError, TrainError
from training.centerpoint import CenterPoint
from training.checkpoint import Checkpoint, flatten_optimizer, unflatten_optimizer
from training.config import TrainConfig
from training.data import Batch
from training.device import compute_dtype, copy_all
from training.device_batch import RawBatch, join_targets, vary_and_aim
from training.heads import Inputs, Picture
from training.loss import BatchTargets, detection_loss
from training.model import Network, build_network
from training.moving_average import MovingAverage
from training.targets import usual_sizes

_WARM_UP: Final = 0.25  # share of the steps in which the learning rate rises
_START_DIVISOR: Final = 10.0
_END_DIVISOR: Final = 1000.0
_CLIP_NORM: Final = 10.0
_MAX_BAD_STEPS: Final = 10
_CURVE_EVERY: Final = 10
_READ_EVERY: Final = 20


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
    """A batch on the device, ready for the network.

    Attributes:
        inputs: what the network's `look` takes.
        targets: what the heads should say.
    """

    inputs: Inputs
    targets: BatchTargets


class Trainer:
    """Network, optimiser and step count. Deterministic on the CPU for a number of threads."""

    def __init__(self, config: TrainConfig, device: torch.device) -> None:
        torch.manual_seed(config.seed)
        torch.use_deterministic_algorithms(device.type == "cpu")
        # Filling memory that is written anyway costs a tenth of a step.
        torch.utils.deterministic.fill_uninitialized_memory = False  # pyright: ignore[reportAttributeAccessIssue]
        if device.type != "cpu":
            torch.set_float32_matmul_precision("high")
            torch.backends.cudnn.benchmark = True  # shapes stay the same
        self.config = config
        self.device = device
        self.dtype = compute_dtype(config, device)
        self.step = 0
        self.progress = Progress()
        self.net = build_network(config).to(device)
        if isinstance(self.net, CenterPoint):
            self.net.joined = device.type != "cpu"
        torch.nn.utils.convert_conv2d_weight_memory_format(self.net, torch.channels_last)
        self._optimizer = torch.optim.AdamW(
            self.net.parameters(),
            lr=config.learning_rate,
            weight_decay=config.weight_decay,
            fused=True,
        )
        self._sizes = torch.from_numpy(usual_sizes(config)).float().to(device)
        self._average = MovingAverage(self.net, config.ema) if config.ema else None
        self._unread: list[Tensor] = []
        self._newest: float | None = None
        if config.compile:
            self.net.look_from_above = torch.compile(self.net.look_from_above, dynamic=False)

    def start_from(
        self,
        weights: Mapping[str, Tensor],
        categories: list[str],
        groups: Sequence[Sequence[str]] | None = None,
    ) -> None:
        """Take over the weights of an earlier model.

        Args:
            weights: its `weights.safetensors`.
            categories: for each row of its heat map the category, or "" for one it never learned.
                Categories of ours that are not among them start afresh.
            groups: the categories of each of its centre heads, in order; None if they are ours.

        Raises:
            ConfigError: if the networks do not fit.
        """
        try:
            self.net.adopt(weights, categories, groups)
        except (RuntimeError, KeyError) as error:
            raise ConfigError(f"the starting model does not fit these settings: {error}") from error
        if self._average is not None:
            self._average.start(self.net)

    def prepare(self, batch: Batch | RawBatch) -> Prepared:
        """Move a batch to the device and look at its points; has no gradient, fits a thread.

        A raw batch is varied, and its targets are made, on the device.
        """
        with torch.no_grad():
            if isinstance(batch, RawBatch):
                points, frame, targets = vary_and_aim(batch, self.config, self._sizes, self.device)
                return Prepared(self.net.prepare(points, frame, batch.num_frames), targets)
            inputs = self.net.prepare(
                torch.from_numpy(batch.points).to(self.device),
                torch.from_numpy(batch.frame).to(self.device),
                len(batch.targets),
            )
            if isinstance(inputs, Picture):
                inputs = Picture(inputs.picture.to(self.dtype))
        return Prepared(inputs, join_targets(batch.targets, self.device))

    def train_step(self, batch: Prepared) -> float | None:
        """Do one optimiser step; return its loss, or None if it was left out as not finite.

        On an accelerator it is left out there, and losses are read every 20 steps: what is
        returned is the loss of the newest step that was read, so that no step waits for another.

        Raises:
            NonFiniteError: if more than ten steps were left out.
        """
        before = [buffer.clone() for buffer in self.net.buffers()]
        if self.device.type == "cpu":
            applied = self.apply(self.backward(batch))
            if applied is None:
                self._forget(before)
            return applied
        loss = self._gradients(batch)
        good = torch.isfinite(loss) & torch.isfinite(self._clip())
        self._forget(before, good)
        # The fused optimiser itself leaves the step out, without asking the host.
        self._optimizer.found_inf = (~good).float()  # pyright: ignore[reportAttributeAccessIssue]
        self._update()
        del self._optimizer.found_inf  # pyright: ignore[reportAttributeAccessIssue]
        self._unread.append(torch.stack([loss, good.float()]))
        first = self.step == self.progress.resumed_from + 1
        if first or self.step % _READ_EVERY == 0 or self.step == self.config.iterations:
            self._read()
        return self._newest

    def backward(self, batch: Prepared) -> float:
        """Leave the gradients of a batch in the parameters; return its loss."""
        return float(self._gradients(batch))

    def apply(self, loss: float) -> float | None:
        """Step with the gradients in the parameters; return `loss`, or None if left out.

        Data-parallel workers average loss and gradients between `backward` and this.

        Raises:
            NonFiniteError: if more than ten steps were left out.
        """
        norm = self._clip()
        if not (math.isfinite(loss) and math.isfinite(float(norm))):
            self.leave_out()
            return None
        self._update()
        self.progress.add(self.step, loss)
        return loss

    def leave_out(self) -> None:
        """Go past a step without learning from it.

        Raises:
            NonFiniteError: if more than ten steps were left out.
        """
        self.step += 1
        self.progress.add(self.step, None)
        self._stop_if_broken()

    def _gradients(self, batch: Prepared) -> Tensor:
        """Leave the gradients of a batch in the parameters; return its loss, on the device."""
        self.net.train()
        with torch.autocast(
            self.device.type, dtype=torch.bfloat16, enabled=self.dtype == torch.bfloat16
        ):
            heads = self.net.look(batch.inputs)
        loss = detection_loss(heads, batch.targets, self.config, self._sizes).total
        self._optimizer.zero_grad(set_to_none=True)
        loss.backward()
        return loss.detach().float()

    def _clip(self) -> Tensor:
        return torch.nn.utils.clip_grad_norm_(self.net.parameters(), _CLIP_NORM)

    def _forget(self, before: list[Tensor], good: Tensor | None = None) -> None:
        """Put back what the network noted of a batch that nothing is learned from.

        Running means that took in one NaN would stay NaN.

        Args:
            before: the network's buffers as they were before the step.
            good: whether the step is learned from after all, on the device; None for no.
        """
        buffers = list(self.net.buffers())
        if good is not None:
            pairs = zip(buffers, before, strict=True)
            before = [torch.where(good, buffer, old) for buffer, old in pairs]
        copy_all(buffers, before)

    def _update(self) -> None:
        """Move the weights, and their average."""
        for group in self._optimizer.param_groups:
            group["lr"] = learning_rate(self.step, self.config)
        self._optimizer.step()
        self.step += 1
        if self._average is not None:
            self._average.update(self.step)

    def _read(self) -> None:
        """Note the losses of the steps that were not read yet.

        Raises:
            NonFiniteError: if more than ten steps were left out.
        """
        if not self._unread:
            return
        values = torch.stack(self._unread).tolist()
        start = self.step - len(values)
        self._unread = []
        for number, (loss, good) in enumerate(values, start=1):
            self._newest = loss if good else None
            self.progress.add(start + number, self._newest)
        self._stop_if_broken()

    def _stop_if_broken(self) -> None:
        if self.progress.bad_steps > _MAX_BAD_STEPS:
            raise NonFiniteError(
                f"step {self.step}: {self.progress.bad_steps} steps gave NaN or infinity; "
                "lower learning_rate, or look for broken boxes in the dataset"
            )

    def tensors(self) -> dict[str, Tensor]:
        """Return the tensors needed to go on from here by name, not copied."""
        tensors = {f"net.{name}": tensor for name, tensor in self.net.state_dict().items()}
        if self._average is not None:
            tensors |= {f"ema.{name}": tensor for name, tensor in self._average.weights.items()}
        return tensors | flatten_optimizer(self._optimizer.state_dict())

    def checkpoint(self) -> Checkpoint:
        """Return everything needed to go on from here."""
        self._read()
        copies = {name: tensor.detach().cpu().clone() for name, tensor in self.tensors().items()}
        return Checkpoint(self.step, copies, self.progress.to_dict())

    def restore(self, checkpoint: Checkpoint) -> None:
        """Go on from a checkpoint, bit for bit as if there had been no stop."""
        net = {k[4:]: v for k, v in checkpoint.tensors.items() if k.startswith("net.")}
        self.net.load_state_dict(net)
        parameters = [p.detach() for p in self.net.parameters()]
        state = unflatten_optimizer(self._optimizer.state_dict(), checkpoint.tensors, parameters)
        self._optimizer.load_state_dict(state)
        if self._average is not None:
            for name, tensor in self._average.weights.items():
                tensor.copy_(checkpoint.tensors[f"ema.{name}"])
        self.step = checkpoint.step
        self.progress = Progress.from_dict(checkpoint.progress, checkpoint.step)
        self._unread = []

    def finished(self) -> Network:
        """Return the network as it is exported: on the CPU, averaged weights where there are any.

        It shares nothing with the one that trains.
        """
        self._read()
        weights = self.net.state_dict() if self._average is None else self._average.weights
        net = build_network(self.config)
        net.load_state_dict({name: tensor.detach().cpu() for name, tensor in weights.items()})
        return net.eval()


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
