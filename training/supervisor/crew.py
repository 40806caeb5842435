"""The workers of one attempt: forked together, judged together, ended together."""

from __future__ import annotations

import signal
import socket
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from training.job import Job
from training.process import (
    EXIT_CONFIG,
    EXIT_CORRUPTION,
    EXIT_NON_FINITE,
    EXIT_PEER_LOST,
    EXIT_PREEMPTED,
)
from training.supervisor.board import Board
from training.supervisor.family import Child, fork, wait_any
from training.supervisor.options import Options
from training.supervisor.policy import Fault, Kind
from training.supervisor.snapshot import Snapshots
from training.supervisor.worker import Seat, Wreck, work, wreck_path

_KINDS: Final = {
    EXIT_CONFIG: Kind.CONFIG,
    EXIT_CORRUPTION: Kind.CORRUPTION,
    EXIT_NON_FINITE: Kind.BAD_BATCH,
}
_ORDERLY: Final = (0, EXIT_PREEMPTED)
_CULPRIT_S: Final = 0.5


@dataclass(slots=True)
class Crew:
    """Workers and the places they take."""

    children: list[Child]
    places: list[int]
    folder: Path

    @classmethod
    def start(
        cls,
        job: Job,
        options: Options,
        places: Sequence[int],
        board: Board,
        snapshots: Snapshots,
        material: int,
        left_out: frozenset[int],
        folder: Path,
    ) -> Crew:
        """Fork one worker for each place; they meet at a port that nobody used before."""
        folder.mkdir()
        board.reset(snapshots.step)
        children = []
        with socket.create_server(("127.0.0.1", 0), backlog=2 * len(places)) as listener:
            for rank, place in enumerate(places):
                seat = Seat(
                    job, options, rank, len(places), place, listener.fileno(),
                    listener.getsockname()[1], material, left_out, folder,
                )  # fmt: skip
                child = fork(
                    f"worker-{rank}", lambda seat=seat: work(seat, board, snapshots), folder
                )
                children.append(child)
        return cls(children, list(places), folder)

    @property
    def finished(self) -> bool:
        """Whether all ended in good order."""
        return all(child.code in _ORDERLY for child in self.children)

    @property
    def preempted(self) -> bool:
        """Whether all ended because they were asked to."""
        return self.finished and any(child.code == EXIT_PREEMPTED for child in self.children)

    def broken(self) -> Fault | None:
        """Return why the crew cannot go on, or None."""
        if not any(child.code not in (None, *_ORDERLY) for child in self.children):
            return None
        end = time.monotonic() + _CULPRIT_S
        while self._only_victims() and time.monotonic() < end:
            if not wait_any(self.children, end - time.monotonic()):
                break
        rank = min(range(len(self.children)), key=lambda i: _blame(self.children[i].code))
        return self._explain(rank)

    def end(self) -> None:
        """Kill all that still run."""
        for child in self.children:
            if child.code is None and child.reap() is None:
                child.send_kill()
        for child in self.children:
            child.kill()

    def _only_victims(self) -> bool:
        """Whether all that ended did so because somebody else was lost."""
        codes = [child.code for child in self.children]
        return None in codes and all(code in (None, EXIT_PEER_LOST, *_ORDERLY) for code in codes)

    def _explain(self, rank: int) -> Fault:
        code = self.children[rank].code or 0
        wreck = Wreck.read(wreck_path(self.folder, rank))
        if code < 0:
            detail = f"ended by {signal.Signals(-code).name}"
            return Fault(Kind.KILLED, rank, self.places[rank], where=detail, detail=detail)
        kind = _KINDS.get(code, Kind.EXCEPTION)
        if wreck is None:
            detail = f"ended with exit code {code}"
            return Fault(kind, rank, self.places[rank], where=detail, detail=detail)
        detail = f"{wreck.kind}: {wreck.message}"
        if wreck.evidence:
            detail += f"; evidence: {wreck.evidence}"
        elif kind == Kind.EXCEPTION:
            detail += f"\n{wreck.trace}"
        return Fault(kind, rank, self.places[rank], wreck.step, wreck.where, detail)


def _blame(code: int | None) -> int:
    """Order exit codes: the likeliest cause first, those that only suffered last."""
    if code is None or code in _ORDERLY:
        return 9
    if code in _KINDS:
        return 0
    if code == EXIT_PEER_LOST:
        return 8
    return 1 if code < 0 else 2
