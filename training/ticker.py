"""Progress of a training for people: step, loss, speed and remaining time."""

from __future__ import annotations

import time
from typing import Final

from training.loop import Trainer
from training.report import Reporter

_LOG_EVERY_S: Final = 2.0


class Ticker:
    """Tells step, loss, speed and remaining time every two seconds."""

    def __init__(self, reporter: Reporter) -> None:
        self._reporter = reporter
        self._start: tuple[float, int] | None = None
        self._last = 0.0
        self._told = -1

    def __call__(self, trainer: Trainer, loss: float | None) -> None:
        """Tell a step of a training in this process."""
        if self._start is None and trainer.progress.resumed_from:
            self._reporter.log(f"resumed from step {trainer.progress.resumed_from}")
        self.tell(trainer.step, trainer.config.iterations, loss)

    def tell(self, step: int, total: int, loss: float | None) -> None:
        """Tell that so many steps of the total are done, unless one was told just now."""
        now = time.monotonic()
        if self._start is None or step < self._start[1]:
            self._start = (now, step)
        news = step != self._told and (now - self._last >= _LOG_EVERY_S or step == total)
        if not news:
            return
        self._told = step
        self._last = now
        begun, first = self._start
        rate = (step - first) / max(now - begun, 1e-9)
        remaining = f", {(total - step) / rate:.0f} s left" if rate > 0 else ""
        shown = "left out" if loss is None else f"{loss:.3f}"
        self._reporter.log(f"step {step}/{total} loss {shown} {rate:.1f} it/s{remaining}")
