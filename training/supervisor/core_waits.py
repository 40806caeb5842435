"""How long workers were ready to run and got no core: a busy machine must not look like a hang."""

from __future__ import annotations

import contextlib
from pathlib import Path


class CoreWaits:
    """Time that processes waited for a core since their last sign of life.

    The kernel counts for each thread how long it stood in the queue of a core. Sleeping, waiting
    for a lock or for data, being stopped and computing without end do not count.

    Source: sched-stats, `/proc/<pid>/task/<tid>/schedstat`, second number. Without it all is 0.
    """

    def __init__(self) -> None:
        self._begun: dict[int, tuple[int, dict[str, int]]] = {}

    def since(self, pid: int, sign_ns: int) -> float:
        """Return the seconds that the thread which waited longest did so, as far as was looked at.

        Args:
            pid: the process.
            sign_ns: when it gave its last sign of life; a new one begins the count anew.
        """
        now = _waits_ns(pid)
        known_ns, before = self._begun.get(pid, (-1, {}))
        if known_ns != sign_ns:
            self._begun[pid] = (sign_ns, now)
            return 0.0
        return max((now[task] - before.get(task, 0) for task in now), default=0) / 1e9


def _waits_ns(pid: int) -> dict[str, int]:
    """Return nanoseconds by thread."""
    found = {}
    with contextlib.suppress(OSError):
        for task in Path(f"/proc/{pid}/task").iterdir():
            with contextlib.suppress(OSError, IndexError, ValueError):
                found[task.name] = int((task / "schedstat").read_text().split()[1])
    return found
