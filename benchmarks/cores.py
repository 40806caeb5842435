"""What a second core brings to the ingest of one recording, and what it could bring here."""

from __future__ import annotations

import multiprocessing
import os
import statistics
import tempfile
import time
from multiprocessing.connection import Connection
from pathlib import Path
from typing import NamedTuple

from benchmarks.drive import SWEEPS, write_drive
from benchmarks.harness import BenchRow
from benchmarks.ingest import clear, ingest
from storage import memory
from storage.local import LocalStore

_SWEEPS = 100
_ROUNDS = 7


class _Spent(NamedTuple):
    wall_s: float
    cpu_s: float


def rows() -> list[BenchRow]:
    """Store a recording on one core, on two, and two of them side by side."""
    with tempfile.TemporaryDirectory() as name:
        path = Path(name) / "drive.mcap"
        write_drive(path, _SWEEPS, scans=SWEEPS)
        return [_row(path)]


def _row(path: Path) -> BenchRow:
    store = LocalStore(path.parent / "store")
    available = sorted(os.sched_getaffinity(0))

    def on(cores: int) -> _Spent:
        os.sched_setaffinity(0, available[:cores])
        try:
            return _store(path, store, workers=cores)
        finally:
            os.sched_setaffinity(0, available)

    with memory.reused():
        on(2)
        on(1)
        rounds = [(on(2), on(1)) for _ in range(_ROUNDS)]
    two, one = (_median([each[i] for each in rounds]) for i in (0, 1))
    ratio = statistics.median(b.wall_s / a.wall_s for a, b in rounds)
    note = (
        f"{_SWEEPS} sweeps, {path.stat().st_size / 1e6:.0f} MB of MCAP; both runs in turn in one "
        f"process, median of {_ROUNDS}. Two workers use {two.cpu_s / two.wall_s:.2f} cores and "
        f"{two.cpu_s / one.cpu_s:.2f} times the CPU of one. What the machine has to give: two "
        "ingests that share nothing, one a core, are together "
        f"{_side_by_side(path, available):.2f} times as fast as one alone"
    )
    return BenchRow(
        "second core", "two workers", "one worker", _SWEEPS / two.wall_s, _SWEEPS / one.wall_s,
        "sweeps/s of wall time", ratio, note,
    )  # fmt: skip


def _store(path: Path, store: LocalStore, *, workers: int) -> _Spent:
    clear(store)
    wall, cpu = time.perf_counter(), time.process_time()
    ingest(path, store, num_sweeps=_SWEEPS, workers=workers)
    return _Spent(time.perf_counter() - wall, time.process_time() - cpu)


def _median(runs: list[_Spent]) -> _Spent:
    return _Spent(*(statistics.median(part) for part in zip(*runs, strict=True)))


def _side_by_side(path: Path, available: list[int]) -> float:
    """Return how much faster two processes, each on a core of its own, are than one of them."""
    context = multiprocessing.get_context("spawn")
    ends, processes = [], []
    for number in range(2):
        end, other = context.Pipe()
        core = available[number % len(available)]
        processes.append(context.Process(target=_serve, args=(path, number, core, other)))
        processes[-1].start()
        ends.append(end)
    for end in ends:
        end.recv()
    ratios = []
    for _ in range(_ROUNDS):
        alone = _run(ends[:1])
        ratios.append(2 * alone / _run(ends))
    for end, process in zip(ends, processes, strict=True):
        end.send(False)
        process.join()
    return statistics.median(ratios)


def _run(ends: list[Connection]) -> float:
    begun = time.perf_counter()
    for end in ends:
        end.send(True)
    for end in ends:
        end.recv()
    return time.perf_counter() - begun


def _serve(path: Path, number: int, core: int, end: Connection) -> None:
    """Ingest once to warm up, and again whenever asked."""
    os.sched_setaffinity(0, {core})
    store = LocalStore(path.parent / f"store-{number}")
    with memory.reused():
        while True:
            _store(path, store, workers=1)
            end.send(True)
            if not end.recv():
                return
