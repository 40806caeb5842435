"""Children of the fork server: one imported image, watched by pidfd, never left behind."""

from __future__ import annotations

import contextlib
import faulthandler
import os
import select
import signal
import sys
import time
import traceback
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from scene.errors import TrainError
from training.process import EXIT_FAILED, die_with_parent

_FORK_SAFE: Final = ("jemalloc_bg_thd",)  # restarts itself in a child
_DUMP_S: Final = 0.3
_SIGNALS: Final = (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1)


@dataclass(slots=True)
class Child:
    """One child process.

    Attributes:
        name: for people.
        pid: its process id; it leads a process group of its own.
        pidfd: readable once it ended.
        dump: file that its stack is written to on SIGUSR1.
        code: exit code once it was reaped, negative for a signal.
    """

    name: str
    pid: int
    pidfd: int
    dump: Path
    code: int | None = None

    def reap(self) -> int | None:
        """Return the exit code if the process ended."""
        if self.code is None:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            if pid:
                self.code = os.waitstatus_to_exitcode(status)
                os.close(self.pidfd)
        return self.code

    def wait(self, seconds: float) -> int | None:
        """Wait for the end; return the exit code, or None if it still runs."""
        if self.code is None:
            select.select([self.pidfd], [], [], max(0.0, seconds))
        return self.reap()

    def send_kill(self) -> None:
        """Begin to end the process and what it started."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.pid, signal.SIGKILL)

    def kill(self) -> None:
        """End the process and what it started, and reap it."""
        if self.reap() is None:
            self.send_kill()
            while self.wait(10.0) is None:
                pass

    def signal(self, number: int) -> None:
        """Send a signal, if the process still runs."""
        if self.reap() is None:
            os.kill(self.pid, number)

    def state(self) -> str:
        """Return the kernel's letter for what the process does: R, S, D, T (stopped), Z."""
        try:
            text = Path(f"/proc/{self.pid}/stat").read_text(encoding="ascii", errors="replace")
        except OSError:
            return "?"
        return text.rpartition(")")[2].split()[0]

    def stack(self) -> str:
        """Return the Python stacks of all threads, asked for by a signal that needs no lock."""
        before = self.dump.stat().st_size if self.dump.exists() else 0
        state = self.state()
        os.kill(self.pid, signal.SIGUSR1)
        os.kill(self.pid, signal.SIGCONT)
        deadline = time.monotonic() + _DUMP_S
        size = before
        while time.monotonic() < deadline:
            time.sleep(0.01)
            now = self.dump.stat().st_size if self.dump.exists() else 0
            if now > before and now == size:
                break
            size = now
        text = self.dump.read_text(errors="replace")[before:] if self.dump.exists() else ""
        return f"state {state}\n{text or 'no stack: the process does not take signals'}"


def fork(name: str, work: Callable[[], int], folder: Path) -> Child:
    """Start a child that runs `work` and exits with its result.

    Args:
        name: for people; also names its files.
        work: runs in the child.
        folder: for the dump of its stacks and its output.

    Raises:
        TrainError: if this process has threads: a child would inherit their locks.
    """
    refuse_threads()
    dump = folder / f"{name}.stack"
    parent = os.getpid()
    sys.stdout.flush()
    sys.stderr.flush()
    pid = os.fork()
    if pid == 0:
        _be_child(work, dump, parent)
    with contextlib.suppress(OSError):  # it did so itself, or has ended
        os.setpgid(pid, pid)
    return Child(name, pid, os.pidfd_open(pid), dump)


def _be_child(work: Callable[[], int], dump: Path, parent: int) -> None:
    """Run in the child; never returns."""
    code = EXIT_FAILED
    try:
        os.setpgid(0, 0)
        die_with_parent(parent)
        for number in _SIGNALS:  # the supervisor decides
            signal.signal(number, signal.SIG_IGN)
        file = dump.open("a")
        faulthandler.enable(file)
        faulthandler.register(signal.SIGUSR1, file, all_threads=True)
        code = work()
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def wait_any(children: Iterable[Child], seconds: float) -> list[Child]:
    """Wait until a child ends or the time is over; return those that ended."""
    running = {child.pidfd: child for child in children if child.code is None}
    ready, _, _ = select.select(list(running), [], [], max(0.0, seconds))
    return [running[pidfd] for pidfd in ready if running[pidfd].reap() is not None]


def refuse_threads() -> None:
    """Raise unless this process has one thread.

    Raises:
        TrainError: naming the other threads.
    """
    tasks = Path("/proc/self/task")
    if not tasks.is_dir():
        return
    names = [(task / "comm").read_text().strip() for task in tasks.iterdir()]
    others = [name for name in names if name not in _FORK_SAFE]
    if len(others) > 1:
        raise TrainError(f"cannot fork with threads: {', '.join(sorted(others))}")
