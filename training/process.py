"""Manners of the training process: dies with its parent, stops when asked, says why it ended."""

from __future__ import annotations

import ctypes
import os
import signal
from types import FrameType
from typing import Final

EXIT_FAILED: Final = 1
EXIT_PREEMPTED: Final = 75
EXIT_HANG: Final = 76
EXIT_NON_FINITE: Final = 77
EXIT_CONFIG: Final = 78
EXIT_CORRUPTION: Final = 79
EXIT_PEER_LOST: Final = 80
_PR_SET_PDEATHSIG: Final = 1


def die_with_parent(parent: int | None = None) -> None:
    """Ask Linux to kill this process when its parent ends, however the parent ends.

    Elsewhere nothing happens: there a cancelled parent must stop its children itself.

    Args:
        parent: process id of the parent where it is known for certain, as it is after a fork.
    """
    parent = parent or os.getppid()
    try:
        libc = ctypes.CDLL(None, use_errno=True)
        libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    except (OSError, AttributeError):
        return
    if os.getppid() != parent:  # the parent ended in between
        os.kill(os.getpid(), signal.SIGKILL)


class StopRequest:
    """True once SIGTERM or SIGINT arrived."""

    def __init__(self) -> None:
        self._asked = False

    def listen(self) -> None:
        """Take over both signals; the work looks at the request between two steps."""
        signal.signal(signal.SIGTERM, self._ask)
        signal.signal(signal.SIGINT, self._ask)

    def __call__(self) -> bool:
        """Return whether to stop."""
        return self._asked

    def ask(self) -> None:
        """Ask from within."""
        self._asked = True

    def _ask(self, number: int, frame: FrameType | None) -> None:
        del number, frame
        self._asked = True
