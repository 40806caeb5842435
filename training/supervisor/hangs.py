"""Who stands still, and who is slow. Pure: from the board, states and the clock."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

import numpy as np

from scene.types import Float64
from training.steps import Section
from training.supervisor.board import Board
from training.supervisor.policy import Fault, Kind

_FACTOR: Final = 3.0
_SLOW_RATIO: Final = 1.5
_SLOW_LEAST_S: Final = 0.005
_STOPPED: Final = "Tt"


@dataclass(frozen=True, slots=True)
class Patience:
    """How long a section may take.

    Attributes:
        setup_s: from the fork to the first step.
        first_s: the first step of a worker, where kernels are chosen and caches are cold.
        least_s: of a step, however short steps are.
        data_factor: how many times the limit of a step the wait for a batch may take.
        save_s: checkpoints and evaluation.
    """

    setup_s: float = 120.0
    first_s: float = 120.0
    least_s: float = 0.95
    data_factor: float = 10.0
    save_s: float = 600.0

    def limit_s(self, section: Section, begun: int, median_s: float) -> float:
        """Return how long a worker may stay in a section.

        Args:
            section: what it does.
            begun: steps it has done since it started.
            median_s: usual time of a step, NaN if unknown.
        """
        if section == Section.SETUP:
            return self.setup_s
        if section in (Section.CHECKPOINT, Section.EVALUATION):
            return self.save_s
        if begun == 0 or not math.isfinite(median_s):
            return self.first_s
        limit = max(_FACTOR * median_s, self.least_s)
        return limit * self.data_factor if section == Section.DATA else limit


def find_hang(
    board: Board, states: list[str], waited_s: list[float], now_ns: int, patience: Patience
) -> tuple[Fault | None, float]:
    """Return the hang that is over its limit, or None, and seconds until the next limit ends.

    A worker that waits in the exchange waits for another one, who is to blame. Only when all
    wait there is the exchange itself stuck.

    Args:
        board: heartbeats.
        states: the kernel's state of each worker; a stopped one is not given a batch's patience.
        waited_s: how long each was ready to run in its section and got no core: it did not stand.
        now_ns: monotonic clock.
        patience: the limits.
    """
    rows = board.ranks[: len(states)]
    median_s = board.median_step_s()
    exchanging = [int(row["section"]) == Section.EXCHANGE for row in rows]
    all_wait = all(exchanging) and len({int(row["step"]) for row in rows}) == 1
    rest = math.inf
    for rank, row in enumerate(rows):
        behind = int(row["step"]) < int(rows["step"].max())
        if exchanging[rank] and not all_wait and not behind and states[rank] not in _STOPPED:
            continue
        section = Section(int(row["section"]))
        as_if = Section.COMPUTE if states[rank] in _STOPPED else section
        limit_s = patience.limit_s(as_if, int(row["begun"]), median_s)
        stood_s = (now_ns - int(row["since_ns"])) / 1e9 - waited_s[rank]
        rest = min(rest, limit_s - stood_s)
        if stood_s > limit_s:
            stuck = all_wait and "T" not in states
            kind = Kind.STUCK if stuck else Kind.HANG
            detail = f"{stood_s:.2f} s in {section.name.lower()}, limit {limit_s:.2f} s"
            culprit = -1 if stuck else rank
            return Fault(kind, culprit, step=int(row["step"]), detail=detail, seconds=stood_s), 0.0
    return None, rest


def find_straggler(compute_s: Float64) -> tuple[int, float] | None:
    """Return the worker that is much slower than the others, and how many times, or None.

    Args:
        compute_s: (R, K) seconds that R workers took for their own part of their newest K steps,
            NaN where not yet known.
    """
    if len(compute_s) < 2 or not np.isfinite(compute_s).all():
        return None
    usual = np.median(compute_s, axis=1)
    slowest = int(usual.argmax())
    others = float(np.median(np.delete(usual, slowest)))
    if usual[slowest] > _SLOW_RATIO * others and usual[slowest] - others > _SLOW_LEAST_S:
        return slowest, float(usual[slowest] / others)
    return None
