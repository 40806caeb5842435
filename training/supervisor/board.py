"""The board that supervisor, workers and persister share: heartbeats, clocks, flags.

Plain memory, mapped before the processes are forked. A writer stores single aligned words, so a
kill between two of them leaves nothing to clean up.
"""

from __future__ import annotations

import mmap
import time
from typing import Final

import numpy as np

from scene.types import Float64
from training.steps import Section

_RECENT: Final = 16  # compute times kept of each worker
_MEDIAN_OF: Final = 64
MAX_INJECTIONS: Final = 64

RANK: Final = np.dtype(
    [
        ("step", np.int64),  # steps done
        ("section", np.int64),
        ("since_ns", np.int64),  # when the section began, monotonic clock
        ("begun", np.int64),  # steps done since this worker began
        ("first_ns", np.int64),  # when its first step began
        ("last_ns", np.int64),  # when its newest step was done
        ("loss", np.float64),
        ("compute_s", np.float64, (_RECENT,)),
    ]
)
CONTROL: Final = np.dtype(
    [
        ("stop", np.int64),  # workers end after the next step
        ("final", np.int64),  # the persister writes the newest snapshot, then ends
        ("persisted", np.int64),  # newest step in the store
        ("persist_failures", np.int64),  # since the last success
        ("safe_ns", np.int64),  # last time that everything due was in the store
        ("storage_fault", np.int64),  # injected: 0 none, 1 slow, 2 down
        ("snapshot_every", np.int64),
        ("step_s", np.float64),  # of all steps done, those done twice included
        ("data_s", np.float64),
        ("snapshot_s", np.float64),
        ("fired", np.int64, (MAX_INJECTIONS,)),
    ]
)


class Board:
    """Shared memory of one training.

    Attributes:
        ranks: (R,) records of the workers.
        control: one record of flags and sums.
        step_s: (S,) seconds of each step of the training as it was last done, NaN before.
    """

    def __init__(self, workers: int, steps: int) -> None:
        size = RANK.itemsize * workers + CONTROL.itemsize + 8 * steps
        self._memory = mmap.mmap(-1, size)
        self.control = np.frombuffer(self._memory, CONTROL, 1)
        self.ranks = np.frombuffer(self._memory, RANK, workers, CONTROL.itemsize)
        offset = CONTROL.itemsize + RANK.itemsize * workers
        self.step_s: Float64 = np.frombuffer(self._memory, np.float64, steps, offset)
        self.step_s[:] = np.nan
        self.control["persisted"] = -1
        self.control["snapshot_every"] = 1

    def reset(self, step: int) -> None:
        """Before a group starts: nobody has done anything since `step`."""
        self.ranks["step"] = step
        self.ranks["section"] = Section.SETUP
        self.ranks["since_ns"] = time.monotonic_ns()
        self.ranks["begun"] = 0
        self.ranks["first_ns"] = self.ranks["last_ns"] = 0
        self.ranks["compute_s"] = np.nan

    def beat(self, rank: int, section: Section) -> None:
        """A worker begins a section."""
        row = self.ranks[rank]
        row["section"] = section
        row["since_ns"] = time.monotonic_ns()

    def computed(self, rank: int, seconds: float) -> None:
        """Note how long a worker took for its own part of a step."""
        row = self.ranks[rank]
        row["compute_s"][int(row["begun"]) % _RECENT] = seconds

    def data(self, batch_size: int) -> dict[str, float]:
        """Return how well batches kept up with the first worker, in the words of `DataStats`."""
        wait_s, busy_s = (float(self.control[0][name]) for name in ("data_s", "step_s"))
        whole_s = max(wait_s + busy_s, 1e-9)
        samples = int(np.isfinite(self.step_s).sum()) * batch_size
        return {
            "samples_per_s": round(samples / whole_s, 3),
            "data_wait_share": round(wait_s / whole_s, 5),
            "data_wait_s": round(wait_s, 3),
        }

    def median_step_s(self) -> float:
        """Return the median of the newest steps, NaN before the first."""
        known = self.step_s[np.isfinite(self.step_s)]
        return float(np.median(known[-_MEDIAN_OF:])) if len(known) else float("nan")
