"""Where the time of a training went, in the categories of Google's ml-goodput-measurement."""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np

from training.supervisor.board import Board
from training.supervisor.categories import CATEGORIES
from training.supervisor.policy import Action, Fault


@dataclass(frozen=True, slots=True)
class Recovery:
    """One restart.

    Attributes:
        kind: of the fault.
        tier: of the answer, see `training.supervisor.policy.Action`.
        perceive_s: from the last sign of life to the perception.
        restart_s: from the perception to the beginning of the next step.
        lost_steps: steps that were done and had to be done again.
    """

    kind: str
    tier: int
    perceive_s: float
    restart_s: float
    lost_steps: int


@dataclass(frozen=True, slots=True)
class Goodput:
    """The account of one attempt. The times add up to `wall_s`.

    Attributes:
        wall_s: from the start of the process to the end of training.
        init_s: imports, dataset, network, until the first step.
        data_s: workers waited for batches.
        checkpoint_s: steps stood still for snapshots. Writing them to the store costs none.
        restart_s: from the perception of a fault to the next step.
        wasted_s: steps done twice, steps cut off, and faults not yet perceived.
        productive_s: steps that count.
        other_s: the rest.
        steps: steps that count, in this attempt.
        median_step_s: of them.
        faults: number by kind.
        tiers: answers by tier.
        recoveries: every restart.
    """

    wall_s: float
    init_s: float
    data_s: float
    checkpoint_s: float
    restart_s: float
    wasted_s: float
    productive_s: float
    other_s: float
    steps: int
    median_step_s: float
    faults: dict[str, int]
    tiers: dict[int, int]
    recoveries: tuple[Recovery, ...]

    @property
    def goodput(self) -> float:
        """Share of the time that went into steps that count."""
        return self.productive_s / self.wall_s if self.wall_s > 0 else 0.0

    @property
    def running(self) -> float:
        """The same without the start, which a long training does not notice."""
        return self.productive_s / max(self.wall_s - self.init_s, 1e-9)

    @property
    def effective_ratio(self) -> float:
        """Effective training time ratio: steps that count, at their median time, of the wall."""
        return self.steps * self.median_step_s / self.wall_s if self.wall_s > 0 else 0.0

    @property
    def lost_steps(self) -> int:
        """Steps done again, over all restarts."""
        return sum(r.lost_steps for r in self.recoveries)

    def to_dict(self) -> dict[str, Any]:
        """Return plain values for metadata."""
        values = asdict(self)
        values |= {
            "goodput": self.goodput, "running": self.running, "lost_steps": self.lost_steps,
            "effective_training_time_ratio": self.effective_ratio,
        }  # fmt: skip
        values["tiers"] = {str(tier): count for tier, count in self.tiers.items()}
        return values

    def table(self) -> list[str]:
        """Return lines for people."""
        lines = [f"{'where the time went':<24}{'seconds':>10}{'share':>9}"]
        for name, words in CATEGORIES.items():
            seconds = getattr(self, name)
            lines.append(f"{words:<24}{seconds:>10.2f}{seconds / max(self.wall_s, 1e-9):>9.1%}")
        lines.append(f"{'all':<24}{self.wall_s:>10.2f}")
        lines.append(
            f"goodput {self.goodput:.1%} ({self.running:.1%} after the start), effective training "
            f"time ratio {self.effective_ratio:.1%}, {self.steps} steps of "
            f"{1e3 * self.median_step_s:.0f} ms"
        )
        kinds = ", ".join(f"{count} {kind}" for kind, count in self.faults.items()) or "none"
        tiers = ", ".join(f"tier {tier}: {count}" for tier, count in self.tiers.items())
        lines.append(f"faults: {kinds}" + (f"; answers: {tiers}" if tiers else ""))
        if self.recoveries:
            perceive, restart = (
                np.array([getattr(r, name) for r in self.recoveries])
                for name in ("perceive_s", "restart_s")
            )
            lines.append(
                f"restarts: {len(self.recoveries)}, perceived in {np.median(perceive):.2f} s, back "
                f"in {np.median(restart):.2f} s (medians), {self.lost_steps} steps done again"
            )
        return lines


@dataclass(slots=True)
class Ledger:
    """Notes faults and times while they happen; all times are of the monotonic clock in ns.

    Attributes:
        start_ns: when the process started.
        first_ns: when the first step began, 0 before.
        end_ns: when training ended.
    """

    start_ns: int
    first_ns: int = 0
    end_ns: int = 0
    _faults: list[Fault] = field(default_factory=list)
    _tiers: Counter[int] = field(default_factory=Counter)
    _recoveries: list[Recovery] = field(default_factory=list)
    _open: tuple[Fault, Action, int, float, int] | None = None
    _wasted_s: float = 0.0
    _restart_s: float = 0.0

    @property
    def faults(self) -> list[Fault]:
        """All faults so far."""
        return self._faults

    def fault(self, fault: Fault, action: Action) -> None:
        """Note a fault and its answer."""
        self._faults.append(fault)
        self._tiers[action.tier] += 1

    def down(self, fault: Fault, action: Action, board: Board, now_ns: int, lost: int) -> None:
        """A group was given up at `now_ns`, with so many steps to do again."""
        alive_ns = int(board.ranks["since_ns"].max())
        if self._open is not None:  # the group before it never got to a step
            fault, action, now_before, perceive_s, lost_before = self._open
            self._open = (fault, action, now_before, perceive_s, lost + lost_before)
            return
        done_ns = max(int(board.ranks["last_ns"].max()), int(board.ranks["first_ns"].max()))
        if done_ns:
            self._wasted_s += (now_ns - done_ns) / 1e9
        perceive_s = fault.seconds or (now_ns - alive_ns) / 1e9
        self._open = (fault, action, now_ns, perceive_s, lost)

    def up(self, first_ns: int) -> None:
        """A group began its first step at `first_ns`."""
        self.first_ns = self.first_ns or first_ns
        if self._open is not None:
            fault, action, down_ns, perceive_s, lost = self._open
            restart_s = (first_ns - down_ns) / 1e9
            self._restart_s += restart_s
            self._recoveries.append(Recovery(fault.kind, action.tier, perceive_s, restart_s, lost))
            self._open = None

    def account(self, board: Board | None) -> Goodput:
        """Return the account; without a board nothing but the start ever happened."""
        wall_s = (self.end_ns - self.start_ns) / 1e9
        init_s = ((self.first_ns or self.end_ns) - self.start_ns) / 1e9
        done = np.zeros(0)
        data_s = snapshot_s = again_s = 0.0
        if board is not None:
            done = board.step_s[np.isfinite(board.step_s)]
            control = board.control[0]
            data_s, snapshot_s = float(control["data_s"]), float(control["snapshot_s"])
            again_s = max(0.0, float(control["step_s"]) - float(done.sum()))
        wasted_s = self._wasted_s + again_s
        known_s = init_s + data_s + snapshot_s + self._restart_s + wasted_s + float(done.sum())
        return Goodput(
            wall_s=wall_s,
            init_s=init_s,
            data_s=data_s,
            checkpoint_s=snapshot_s,
            restart_s=self._restart_s,
            wasted_s=wasted_s,
            productive_s=float(done.sum()),
            other_s=max(0.0, wall_s - known_s),
            steps=len(done),
            median_step_s=float(np.median(done)) if len(done) else 0.0,
            faults=dict(Counter(str(fault.kind) for fault in self._faults)),
            tiers=dict(sorted(self._tiers.items())),
            recoveries=tuple(self._recoveries),
        )


def process_start_ns() -> int:
    """Return when this process started, on the monotonic clock."""
    import os
    import time

    with open("/proc/self/stat", encoding="ascii", errors="replace") as file:  # noqa: PTH123
        ticks = int(file.read().rpartition(")")[2].split()[19])
    age_s = time.clock_gettime(time.CLOCK_BOOTTIME) - ticks / os.sysconf("SC_CLK_TCK")
    return time.monotonic_ns() - int(age_s * 1e9)
