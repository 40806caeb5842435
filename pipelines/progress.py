"""Progress for people: one line a stage, live on a terminal, plain in a log."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.markup import escape
from rich.status import Status

_LOG_EVERY_S = 10.0


class Stage:
    """One stage under way.

    Attributes:
        seconds: how long it took; set when it ends.
    """

    def __init__(self, name: str, total: int, status: Status, console: Console) -> None:
        self.name = name
        self._console = console
        self._said = 0.0
        self.seconds = 0.0
        self.outcome = ""
        self._total = total
        self._count = 0
        self._status = status
        self._start = time.perf_counter()

    def advance(self, what: str) -> None:
        """Say that one more of the total is done."""
        self._count += 1
        elapsed = time.perf_counter() - self._start
        left = elapsed / self._count * (self._total - self._count)
        self.say(f"{self._count}/{self._total}  {left:.0f} s left  {what}")

    def say(self, message: str) -> None:
        """Show what the stage is doing now; in a log, a line at most every ten seconds."""
        elapsed = time.perf_counter() - self._start
        self._status.update(f"{self.name:<11} {elapsed:5.0f} s  {escape(message)}")
        if not self._console.is_terminal and elapsed - self._said >= _LOG_EVERY_S:
            self._said = elapsed
            line = f"    {self.name:<11} {elapsed:5.0f} s  {escape(message)}"
            self._console.print(line, soft_wrap=True)

    def done(self, outcome: str) -> None:
        """Set the line that stays."""
        self.outcome = outcome

    def close(self) -> None:
        """Stop the clock."""
        self.seconds = time.perf_counter() - self._start


class Progress:
    """Prints stages to a console."""

    def __init__(self, console: Console | None = None) -> None:
        self.console = console or Console(highlight=False)

    @contextmanager
    def stage(self, name: str, total: int = 0) -> Iterator[Stage]:
        """Show a stage while it runs, and its outcome and seconds when it ends."""
        with self.console.status(f"{name} …") as status:
            stage = Stage(name, total, status, self.console)
            if not self.console.is_terminal:
                self.console.print(f"  … {name}")
            try:
                yield stage
            except BaseException:
                stage.close()
                self.console.print(f"[red]  ✗ {name:<11} {stage.seconds:7.1f} s[/red]")
                raise
            stage.close()
        line = f"  [green]✓[/green] {name:<11} {stage.seconds:7.1f} s  {escape(stage.outcome)}"
        self.console.print(line, soft_wrap=True)

    def warn(self, message: str) -> None:
        """Print something the user should act on."""
        self.console.print(f"  [yellow]! {escape(message)}[/yellow]", soft_wrap=True)

    def say(self, message: str) -> None:
        """Print a line."""
        self.console.print(escape(message), soft_wrap=True)
