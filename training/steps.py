"""Steps one after the other in one process: resume, checkpoints, and an end to a hang."""

from __future__ import annotations

import faulthandler
import time
from collections.abc import Callable
from typing import Final

from scene.errors import TrainError
from storage.store import ObjectStore
from training.checkpoint import newest_checkpoint, save_checkpoint
from training.data import Batches
from training.loop import Trainer

_HANG_AFTER_S: Final = 600.0


class Preempted(TrainError):  # noqa: N818  # not a fault: the work goes on later
    """The process was asked to stop; a checkpoint was written."""


def train(
    trainer: Trainer,
    batches: Batches,
    store: ObjectStore,
    run: str,
    on_step: Callable[[Trainer, float | None], None],
    stopping: Callable[[], bool],
) -> None:
    """Train to the end, from the newest checkpoint of `run` if there is one.

    A step that takes longer than ten minutes ends the process with every thread's stack on
    stderr: a hang becomes an exit, and the next start resumes.

    Raises:
        Preempted: when `stopping` became true; a checkpoint was written first.
        NonFiniteError: see `Trainer.train_step`.
    """
    found = newest_checkpoint(store, run)
    if found is not None:
        trainer.restore(found)
    total = trainer.config.iterations
    try:
        for batch in batches.ahead(trainer.step, total, trainer.prepare):
            faulthandler.dump_traceback_later(_HANG_AFTER_S, exit=True)
            start = time.monotonic()
            loss = trainer.train_step(batch)
            trainer.progress.seconds += time.monotonic() - start
            on_step(trainer, loss)
            if stopping():
                save_checkpoint(store, run, trainer.checkpoint())
                raise Preempted(f"asked to stop; checkpoint written at step {trainer.step}")
            if trainer.step % trainer.config.checkpoint_every == 0 or trainer.step == total:
                save_checkpoint(store, run, trainer.checkpoint())
    finally:
        faulthandler.cancel_dump_traceback_later()
