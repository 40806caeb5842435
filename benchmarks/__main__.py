"""Run all rows, print the table and write it to docs/benchmarks.md."""

from __future__ import annotations

import platform
from pathlib import Path

from rich.console import Console

from benchmarks import (
    codec,
    cores,
    evaluation,
    ingest,
    kernels,
    loading,
    motion,
    rays,
    rules,
    stages,
)
from benchmarks.harness import BenchRow

_PARTS = (ingest, stages, cores, codec, rules, evaluation, rays, motion, kernels, loading)
_HEAD = "| what | ours | peer | ratio | notes |\n| --- | --- | --- | --- | --- |"


def main() -> None:
    """Measure every row; a ratio above 1 means that ours is better."""
    console = Console()
    rows: list[BenchRow] = []
    for module in _PARTS:
        with console.status(f"measuring {module.__name__} …"):
            found = module.rows()
        for row in found:
            console.print(_line(row), markup=False, soft_wrap=True)
        rows.extend(found)
    text = (
        "# Benchmarks\n\nWritten by `make bench`: both candidates run in turn in one process, "
        "CPU time, medians; a ratio above 1 means that ours is better.\n\n"
        f"Machine: {platform.machine()}, Python {platform.python_version()}.\n\n{_HEAD}\n"
        + "\n".join(_line(row) for row in rows)
        + "\n"
    )
    (Path(__file__).parents[1] / "docs" / "benchmarks.md").write_text(text)


def _line(row: BenchRow) -> str:
    ours = f"{row.ours}: {row.ours_value:.3g} {row.unit}"
    peer = f"{row.peer}: {row.peer_value:.3g} {row.unit}"
    return f"| {row.name} | {ours} | {peer} | {row.ratio:.2f} | {row.note} |"


if __name__ == "__main__":
    main()
