"""Faults on purpose, to see that they are survived: `kill:30s,hang:2m,nan:100`."""

from __future__ import annotations

import ctypes
import os
import re
import resource
import signal
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import torch
from torch import Tensor

from scene.errors import ConfigError
from training.steps import Section
from training.supervisor.board import MAX_INJECTIONS, Board

KINDS: Final = {
    "kill": "SIGKILL of a worker, as the kernel's out-of-memory killer sends it",
    "exception": "an error in the training code",
    "memory": "an allocation that fails",
    "hang": "SIGSTOP of a worker",
    "deadlock": "a worker that waits for a lock it holds itself",
    "freeze": "a worker that sleeps in C and holds the interpreter lock",
    "stuck": "a worker that never finishes the exchange of gradients",
    "slow": "a place that takes longer for every step",
    "nan": "a gradient that is not a number",
    "spike": "a loss a thousand times too high",
    "flip": "a gradient with one wrong bit",
    "storage": "ten seconds without the object store",
    "slowstorage": "ten seconds in which every write takes a second",
    "device": "a device that reports an error",
    "sigterm": "a notice of preemption",
}
BY_SUPERVISOR: Final = ("storage", "slowstorage", "device", "sigterm")
BY_CLOCK: Final = ("kill", "hang", *BY_SUPERVISOR)  # what can be done to a worker from outside
_PATTERN: Final = re.compile(
    r"(?P<kind>[a-z]+)(@(?P<rank>\d+))?:(?P<when>\d+(\.\d+)?)(?P<unit>[smh]?)(x(?P<times>\d+))?"
)
_UNIT_S: Final = {"s": 1.0, "m": 60.0, "h": 3600.0}
_SLOW_S: Final = 0.05
_SLOWER: Final = 3.0
_LONG_S: Final = 3600


@dataclass(frozen=True, slots=True)
class Injection:
    """One fault to be made.

    Attributes:
        kind: a name of `KINDS`.
        rank: the worker, -1 for the last one or any.
        step: after which step it happens, -1 if by the clock.
        every_s: how often it happens, 0 if by step.
        times: how often it happens at its step, if the step is done again.
    """

    kind: str
    rank: int = -1
    step: int = -1
    every_s: float = 0.0
    times: int = 1


def parse(text: str) -> tuple[Injection, ...]:
    """Read `KIND[@RANK]:WHEN[xTIMES],...`; WHEN is a step, or a time with s, m or h.

    A time means every so often, a step means once, or as often as TIMES says.

    Raises:
        ConfigError: if a part is not understood, or would not do what it says.
    """
    found = []
    for part in filter(None, (part.strip() for part in text.split(","))):
        match = _PATTERN.fullmatch(part)
        if match is None or match["kind"] not in KINDS:
            raise ConfigError(
                f"chaos {part!r}: expected KIND:WHEN such as kill:30s (every 30 seconds) or "
                f"nan:100 (after step 100); kinds are {', '.join(KINDS)}"
            )
        rank, when = int(match["rank"] or -1), float(match["when"])
        if match["unit"]:
            if match["kind"] not in BY_CLOCK or match["times"] or not when > 0:
                raise ConfigError(
                    f"chaos {part!r}: a time above 0, without xTIMES, is for "
                    f"{', '.join(BY_CLOCK)}; others happen after a step, such as nan:100"
                )
            found.append(Injection(match["kind"], rank, every_s=when * _UNIT_S[match["unit"]]))
        else:
            times = int(match["times"] or 1)
            if not when.is_integer() or times < 1:
                raise ConfigError(f"chaos {part!r}: steps are whole, and TIMES is at least 1")
            found.append(Injection(match["kind"], rank, int(when), times=times))
    if len(found) > MAX_INJECTIONS:
        raise ConfigError(f"chaos: at most {MAX_INJECTIONS} faults, got {len(found)}")
    return tuple(found)


class WorkerChaos:
    """Makes the faults of one worker that are due by step."""

    def __init__(
        self, plan: Sequence[Injection], board: Board, rank: int, workers: int, place: int = -1
    ) -> None:
        self._board = board
        self._rank = rank
        self._slow = any(  # it is the place that is slow, whichever worker takes it
            i.kind == "slow" and (i.rank if i.rank >= 0 else workers - 1) == place for i in plan
        )
        self._mine = [
            (i, injection)
            for i, injection in enumerate(plan)
            if injection.step >= 0
            and injection.kind not in (*BY_SUPERVISOR, "slow")
            and (injection.rank if injection.rank >= 0 else workers - 1) == rank
        ]

    def strike(self, step: int, packets: list[Tensor], took_s: float = 0.0) -> None:
        """Make what is due after `step` steps.

        Args:
            step: steps done.
            packets: this step's gradients.
            took_s: how long they took; a slow place takes four times as long.
        """
        if self._slow:
            time.sleep(max(_SLOW_S, _SLOWER * took_s))
        fired = self._board.control["fired"][0]
        for index, injection in self._mine:
            if step == injection.step and fired[index] < injection.times:
                fired[index] += 1
                _strike(injection.kind, packets, self._board, self._rank)


def _strike(kind: str, packets: list[Tensor], board: Board, rank: int) -> None:
    """Make a fault in this process."""
    match kind:
        case "kill":
            os.kill(os.getpid(), signal.SIGKILL)
        case "hang":
            os.kill(os.getpid(), signal.SIGSTOP)
        case "exception":
            raise RuntimeError("chaos: an error in the training code")
        case "memory":
            _exhaust_memory()
        case "deadlock":
            lock = threading.Lock()
            lock.acquire()
            lock.acquire()
        case "freeze":
            ctypes.PyDLL(None).sleep(_LONG_S)
        case "stuck":
            board.beat(rank, Section.EXCHANGE)
            time.sleep(_LONG_S)
        case _:
            _damage(kind, packets[0])


def _damage(kind: str, packet: Tensor) -> None:
    """Damage gradients or loss."""
    if kind == "nan":
        packet[0] = torch.nan
    elif kind == "spike":
        packet[-2] *= 1000.0
    else:
        packet[0] = -packet[0] if packet[0] != 0 else 1e-6


def _exhaust_memory() -> None:
    """Allocate more than this process may have."""
    with open("/proc/self/statm", encoding="ascii") as file:  # noqa: PTH123
        used = int(file.read().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (used + (64 << 20), resource.RLIM_INFINITY))
    kept = [bytearray(32 << 20) for _ in range(1024)]
    raise RuntimeError(f"chaos: {len(kept)} allocations did not exhaust the memory")
