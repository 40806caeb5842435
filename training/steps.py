"""Steps one after the other, alone or as a worker of a group; resume and checkpoints."""

from __future__ import annotations

import faulthandler
import math
import time
from collections.abc import Callable, Iterator
from enum import IntEnum
from typing import Final

from torch import Tensor

from scene.errors import TrainError
from storage.store import ObjectStore
from training.checkpoint import newest_checkpoint, save_checkpoint
from training.data import Batches
from training.device import copy_all
from training.feed import Feed
from training.loop import Prepared, Trainer
from training.parallel import Group, Outcome, pack

HANG_AFTER_S: Final = 600.0
_SPIKE: Final = 10.0  # a loss this many times the usual one is taken for damage
_USUAL_POINTS: Final = 5  # points of the loss curve that tell the usual loss


class Preempted(TrainError):  # noqa: N818  # not a fault: the work goes on later
    """The process was asked to stop; a checkpoint was written."""


class Section(IntEnum):
    """What a worker is doing; how long that may take differs."""

    SETUP = 0
    DATA = 1
    COMPUTE = 2
    EXCHANGE = 3
    UPDATE = 4
    SNAPSHOT = 5
    CHECKPOINT = 6
    EVALUATION = 7


class Watch:
    """What the loop tells of itself, and may be told. This one is silent.

    Attributes:
        left_out: steps to go past without learning, known to be bad from an earlier attempt.
        undivided: leave a step of one worker and one shard to the trainer, which on an accelerator
            does not wait for the loss.
    """

    left_out: frozenset[int] = frozenset()
    undivided: bool = False

    def section(self, section: Section) -> None:
        """A stretch of work begins."""

    def packed(self, trainer: Trainer, packets: list[Tensor], before: list[Tensor]) -> None:
        """The gradients of this worker are made, see `training.parallel.pack`.

        Args:
            trainer: what is trained; its gradients and buffers may be overwritten.
            packets: one a shard of this worker.
            before: the network's buffers as they were before the step.
        """

    def accepts(self, trainer: Trainer, outcome: Outcome) -> bool:
        """Return whether to learn from a step; may raise to end the worker instead."""
        return problem_of(trainer, outcome) is None

    def finished(self, trainer: Trainer, loss: float | None) -> None:
        """A step is done; None if it was left out."""

    def stopping(self) -> bool:
        """Return whether this worker was asked to stop."""
        return False


def run_steps(trainer: Trainer, batches: Batches, group: Group, watch: Watch) -> None:
    """Do the steps from where the trainer stands to the end.

    Raises:
        Preempted: if any worker of the group was asked to stop; all end after the same step.
        NonFiniteError: see `Trainer.apply`.
    """
    coming = _prepared(trainer, batches, group)
    total = trainer.config.iterations
    while trainer.step < total:
        watch.section(Section.DATA)
        ready = next(coming)
        stop = False
        if trainer.step in watch.left_out:
            trainer.leave_out()
            loss = None
        else:
            loss, stop = _step(trainer, ready, group, watch)
        watch.finished(trainer, loss)
        alone = group.world_size == 1  # several must end after the same step
        if (stop or (alone and watch.stopping())) and trainer.step < total:
            raise Preempted(f"asked to stop after step {trainer.step}")


def train(
    trainer: Trainer,
    batches: Batches,
    store: ObjectStore,
    run: str,
    on_step: Callable[[Trainer, float | None], None],
    stopping: Callable[[], bool],
    group: Group | None = None,
) -> None:
    """Train to the end, from the newest checkpoint of `run` if there is one.

    The first worker of a group writes the checkpoints. A step that takes longer than ten minutes
    ends the process with every thread's stack on stderr: a hang becomes an exit, and the next
    start resumes.

    Raises:
        Preempted: when `stopping` became true; a checkpoint was written first.
        NonFiniteError: see `Trainer.apply`.
    """
    group = group or Group(shards=trainer.config.shards)
    found = newest_checkpoint(store, run)
    if found is not None:
        trainer.restore(found)
    watch = _Alone(store, run, on_step, stopping, writes=group.rank == 0)
    try:
        run_steps(trainer, batches, group, watch)
    except Preempted as stopped:
        watch.save(trainer)
        raise Preempted(f"asked to stop; checkpoint written at step {trainer.step}") from stopped
    finally:
        faulthandler.cancel_dump_traceback_later()


def problem_of(trainer: Trainer, outcome: Outcome) -> str | None:
    """Return why a step must not be learned from, or None."""
    if not outcome.is_finite:
        return f"loss {outcome.loss}, gradient norm {outcome.norm}: not a number"
    curve = [loss for _, loss in trainer.progress.loss_curve[-_USUAL_POINTS:]]
    if len(curve) == _USUAL_POINTS:
        usual = sorted(curve)[_USUAL_POINTS // 2]
        if outcome.loss > _SPIKE * max(usual, 1e-6):
            return f"loss {outcome.loss:.4g} is over {_SPIKE:g} times the usual {usual:.4g}"
    return None


def _step(
    trainer: Trainer, ready: tuple[Prepared, ...], group: Group, watch: Watch
) -> tuple[float | None, bool]:
    """Do one step together with the other workers; return its loss and the wish to stop."""
    watch.section(Section.COMPUTE)
    if watch.undivided and group.shards == 1:
        return trainer.train_step(ready[0]), watch.stopping()
    buffers = list(trainer.net.buffers())
    before = [buffer.clone() for buffer in buffers]
    packets: list[Tensor] = []
    for batch in ready:
        if packets:  # every shard starts from the same buffers
            copy_all(buffers, before)
        packets.append(pack(trainer, batch, stop=watch.stopping()))
    watch.packed(trainer, packets, before)
    watch.section(Section.EXCHANGE)
    outcome = group.exchange(trainer, packets)
    watch.section(Section.UPDATE)
    if watch.accepts(trainer, outcome):
        return trainer.apply(outcome.loss), outcome.stop
    copy_all(buffers, before)
    trainer.leave_out()
    return None, outcome.stop


def _prepared(trainer: Trainer, batches: Batches, group: Group) -> Iterator[tuple[Prepared, ...]]:
    """Yield the prepared shards of this worker, step by step; `batches.stats` says how long."""
    start, stop = trainer.step, trainer.config.iterations
    parts = [batches.part(shard, group.shards) for shard in group.mine]
    feed = Feed(trainer.prepare, trainer.device)
    shards = zip(*(part.ahead(start, stop, feed.prepare) for part in parts), strict=True)
    samples = trainer.config.batch_size * len(parts) // group.shards
    for ready in batches.measured(shards, samples):
        yield tuple(feed.take(fed) for fed in ready)


class _Alone(Watch):
    """A training that looks after itself: checkpoints in the step, an exit after a hang."""

    undivided = True

    def __init__(
        self,
        store: ObjectStore,
        run: str,
        on_step: Callable[[Trainer, float | None], None],
        stopping: Callable[[], bool],
        *,
        writes: bool,
    ) -> None:
        self._store, self._run, self._writes = store, run, writes
        self._on_step, self._stopping = on_step, stopping
        self._begun = math.nan

    def section(self, section: Section) -> None:
        """Start the clock, and the deadline, of a step."""
        if section == Section.COMPUTE:
            faulthandler.dump_traceback_later(HANG_AFTER_S, exit=True)
            self._begun = time.monotonic()

    def finished(self, trainer: Trainer, loss: float | None) -> None:
        """Tell the step; write a checkpoint where one is due."""
        if math.isfinite(self._begun):
            trainer.progress.seconds += time.monotonic() - self._begun
        self._on_step(trainer, loss)
        done = trainer.step == trainer.config.iterations
        if trainer.step % trainer.config.checkpoint_every == 0 or done:
            self.save(trainer)

    def save(self, trainer: Trainer) -> None:
        """Write a checkpoint."""
        if self._writes:
            save_checkpoint(self._store, self._run, trainer.checkpoint())

    def stopping(self) -> bool:
        """Return whether the outside asked."""
        return self._stopping()
