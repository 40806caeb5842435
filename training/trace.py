"""Steps and faults as JSON lines, for whoever measures a training from outside."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from training.loop import Trainer


class Trace:
    """Appends lines that several processes may write at the same time.

    Every line has `t_ns` (monotonic clock of the machine) and `event`.
    """

    def __init__(self, path: Path | None) -> None:
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC
        self._file = None if path is None else os.open(path, flags, 0o644)

    def add(self, event: str, **values: Any) -> None:
        """Append a line, if there is a file."""
        if self._file is not None:
            line = json.dumps({"t_ns": time.monotonic_ns(), "event": event, **values})
            os.write(self._file, line.encode() + b"\n")


def open_trace(
    path: Path | None, rank: int, then: Callable[[Trainer, float | None], None]
) -> Callable[[Trainer, float | None], None]:
    """Return what a worker calls after each step: a line, then `then`."""
    trace = Trace(path)
    trace.add("start", rank=rank, pid=os.getpid())

    def on_step(trainer: Trainer, loss: float | None) -> None:
        trace.add("step", rank=rank, pid=os.getpid(), step=trainer.step)
        then(trainer, loss)

    return on_step
