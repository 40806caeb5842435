"""Interleaved CPU-time measurement: A B A B ..., medians, one ratio a row."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class BenchRow:
    """One line of the table.

    Attributes:
        name: what is measured.
        ours, peer: names of the two candidates.
        ours_value, peer_value: medians in `unit`.
        unit: unit of both values, for example "ms CPU".
        ratio: how many times better ours is (above 1 is better).
        note: data, sizes and what both sides did.
    """

    name: str
    ours: str
    peer: str
    ours_value: float
    peer_value: float
    unit: str
    ratio: float
    note: str


def cpu_seconds(function: Callable[[], object]) -> float:
    """Return the CPU seconds (all threads) of one call."""
    start = time.process_time()
    function()
    return time.process_time() - start


def wall_seconds(function: Callable[[], object]) -> float:
    """Return the seconds of one call by the clock on the wall."""
    start = time.perf_counter()
    function()
    return time.perf_counter() - start


def interleave(
    ours: Callable[[], object],
    peer: Callable[[], object],
    rounds: int = 5,
    seconds: Callable[[Callable[[], object]], float] = cpu_seconds,
    before: Callable[[], object] = lambda: None,
) -> tuple[float, float, float]:
    """Run both in turn after one warm-up; return median ours, median peer, median of peer/ours.

    `before` runs before each, and is not measured.
    """

    def measured(function: Callable[[], object]) -> float:
        before()
        return seconds(function)

    ours()
    peer()
    pairs = [(measured(ours), measured(peer)) for _ in range(rounds)]
    ratio = statistics.median(p / max(o, 1e-9) for o, p in pairs)
    return statistics.median(o for o, _ in pairs), statistics.median(p for _, p in pairs), ratio


def show(rows: Iterable[BenchRow]) -> None:
    """Print the rows of one part, for whoever runs it by itself."""
    for row in rows:
        values = f"{row.ours_value:.2f} vs {row.peer_value:.2f} {row.unit}"
        print(f"{row.name}: {row.ours} / {row.peer}: {values}, {row.ratio:.2f}x")
        print(f"  {row.note}")


def write_part(page: Path, name: str, text: str) -> None:
    """Put a text between `<!-- name -->` and `<!-- end name -->` of a page."""
    head, _, rest = page.read_text().partition(f"<!-- {name} -->\n")
    tail = rest.partition(f"<!-- end {name} -->")[2]
    page.write_text(f"{head}<!-- {name} -->\n{text}\n<!-- end {name} -->{tail}")
