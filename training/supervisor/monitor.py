"""What the supervisor looks at while a crew works: one look a tick, one fault at most."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Final

import numpy as np

from training.supervisor.board import Board
from training.supervisor.chaos import BY_SUPERVISOR, Injection
from training.supervisor.core_waits import CoreWaits
from training.supervisor.crew import Crew
from training.supervisor.devices import DeviceWatch
from training.supervisor.hangs import find_hang, find_straggler
from training.supervisor.options import Options
from training.supervisor.policy import Fault, Kind

TICK_S: Final = 0.25  # exits and limits are waited for exactly, whatever this is
_LEAST_TICK_S: Final = 0.005
_SLOW_LOOK_S: Final = 0.5
_AWAY_S: Final = 1.0
_STORAGE_NEWS_S: Final = 10.0
_STORAGE_FAULT_S: Final = 10.0
_STRAGGLE_STEPS: Final = 16


class Monitor:
    """Looks at heartbeats, speeds, storage and devices, and makes the faults due by the clock.

    Attributes:
        wait_s: how long nothing needs to be looked at.
    """

    def __init__(
        self, options: Options, board: Board, devices: DeviceWatch, preempt: Callable[[], None]
    ) -> None:
        """Begin.

        Args:
            options: limits and faults on purpose.
            board: what is shared.
            devices: who knows of broken devices.
            preempt: called for an injected notice of preemption.
        """
        self.wait_s = TICK_S
        self._options, self._board, self._devices = options, board, devices
        self._preempt = preempt
        now = time.monotonic()
        self._clocks = [(i, now + i.every_s) for i in options.injections if i.every_s > 0]
        self._steps = [i for i in options.injections if i.step >= 0]
        self._heal_at = float("inf")
        self._slow_at = now
        self._told_storage = 0.0
        self._straggled_step = 0
        self._waits = CoreWaits()
        self._broken_devices: list[tuple[int, str]] = []

    def look(self, crew: Crew) -> Fault | None:
        """Return a fault of the crew or of what it stands on, or None."""
        self._make_faults(crew)
        fault = self._hang(crew)
        now = time.monotonic()
        if fault is None and now >= self._slow_at:
            self._slow_at = now + _SLOW_LOOK_S
            fault = self._device() or self._straggler(crew) or self._storage()
        return fault

    def _hang(self, crew: Crew) -> Fault | None:
        states = [child.state() for child in crew.children]
        signs_ns = self._board.ranks["since_ns"].tolist()
        pairs = zip(crew.children, signs_ns, strict=False)  # a smaller crew leaves rows unused
        waited_s = [self._waits.since(child.pid, sign_ns) for child, sign_ns in pairs]
        now_ns = time.monotonic_ns()
        fault, rest_s = find_hang(self._board, states, waited_s, now_ns, self._options.patience)
        self.wait_s = min(TICK_S, max(rest_s, _LEAST_TICK_S))
        if fault is None:
            return None
        suspects = crew.children if fault.rank < 0 else [crew.children[fault.rank]]
        for child in crew.children:  # to be asked, a stopped worker must run: not into a next step
            if child not in suspects:
                child.send_kill()
        stacks = "\n".join(f"{child.name}: {child.stack()}" for child in suspects)
        place = crew.places[fault.rank] if fault.rank >= 0 else -1
        return replace(fault, place=place, detail=f"{fault.detail}\n{stacks}")

    def _device(self) -> Fault | None:
        self._broken_devices += self._devices.faulty()
        if not self._broken_devices:
            return None
        place, detail = self._broken_devices.pop(0)
        return Fault(Kind.DEVICE, place=place, detail=detail)

    def _straggler(self, crew: Crew) -> Fault | None:
        rows = self._board.ranks[: len(crew.children)]
        step = int(rows["step"].max())
        if step < self._straggled_step + _STRAGGLE_STEPS:
            return None
        found = find_straggler(np.asarray(rows["compute_s"]))
        if found is None:
            return None
        self._straggled_step = step
        rank, ratio = found
        detail = f"{ratio:.1f} times slower than the others"
        return Fault(Kind.STRAGGLER, rank, crew.places[rank], step, detail=detail)

    def _storage(self) -> Fault | None:
        control = self._board.control[0]
        away_s = (time.monotonic_ns() - int(control["safe_ns"])) / 1e9
        failures = int(control["persist_failures"])
        patience_s = self._options.limits.storage_patience_s
        quiet_s = min(_AWAY_S, patience_s) if failures else _STORAGE_NEWS_S
        if not control["safe_ns"] or away_s < quiet_s:
            return None
        over = away_s >= patience_s
        if not over and time.monotonic() - self._told_storage < _STORAGE_NEWS_S:
            return None
        self._told_storage = time.monotonic()
        what = f"{failures} writes failed" if failures else "a write takes long"
        step = int(control["persisted"])
        detail = f"{what}; the newest checkpoint in the store is of step {max(step, 0)}"
        return Fault(Kind.STORAGE, step=step, detail=detail, seconds=away_s)

    def _make_faults(self, crew: Crew) -> None:
        """Make the faults on purpose that are due by the clock, or by step from outside."""
        now = time.monotonic()
        if now >= self._heal_at:
            self._board.control["storage_fault"] = 0
            self._heal_at = float("inf")
        for number, (injection, due) in enumerate(self._clocks):
            if now >= due:
                self._clocks[number] = (injection, now + injection.every_s)
                self._strike(injection, crew)
        step = int(self._board.ranks["step"].max())
        for injection in [i for i in self._steps if step >= i.step]:
            self._steps.remove(injection)
            if injection.kind in BY_SUPERVISOR:
                self._strike(injection, crew)

    def _strike(self, injection: Injection, crew: Crew) -> None:
        if injection.rank >= len(crew.children):
            return  # the crew has become smaller
        child = crew.children[injection.rank if injection.rank >= 0 else -1]
        match injection.kind:
            case "hang":
                child.signal(signal.SIGSTOP)
            case "storage" | "slowstorage":
                self._board.control["storage_fault"] = 2 if injection.kind == "storage" else 1
                self._heal_at = time.monotonic() + _STORAGE_FAULT_S
            case "device":
                self._broken_devices.append((crew.places[injection.rank], "chaos: an error"))
            case "sigterm":
                self._preempt()
            case _:
                child.signal(signal.SIGKILL)
