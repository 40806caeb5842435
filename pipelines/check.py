"""What `starloop check` shows."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import click
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, Progress, SpinnerColumn, TaskID, TextColumn, TimeElapsedColumn
from rich.table import Table

from loop.check import Checked, Upload, check_uploads, uploads_at
from loop.config import IngestConfig
from pipelines.settings import Settings
from recordings.recording import Topic
from recordings.rules.quality import RULES, SUBJECTS

_COLOR: Final = {"error": "red", "unreadable": "red", "warning": "yellow", "clean": "green"}
_MAX_ROWS: Final = 20
_MOTION: Final = {
    "compensated": "motion compensated",
    "raw": "as measured, not motion compensated",
    "unknown": "the source does not say whether motion compensated",
}


def run(settings: Settings, paths: Sequence[Path], *, as_json: bool) -> int:
    """Check all recordings at the paths, print them, return the exit code."""
    console = Console(highlight=False)
    uploads = [upload for path in paths for upload in uploads_at(path)]
    config = IngestConfig(**settings.ingest.model_dump())
    results = []
    with _Bars(len(uploads)) as bars:
        for checked in check_uploads(uploads, config, bars.start):
            results.append(checked)
            if not as_json:
                _print(console, checked, in_full=len(uploads) <= 3)
    if as_json:
        click.echo(json.dumps([_as_json(checked) for checked in results], indent=1))
    elif len(results) > 1:
        console.print(_summary(results))
    verdicts = {checked.verdict for checked in results}
    return 2 if "unreadable" in verdicts else int("error" in verdicts)


def print_rules(*, as_json: bool) -> None:
    """Print all rules."""
    if as_json:
        click.echo(json.dumps([asdict(rule) for rule in RULES.values()], indent=1))
        return
    table = Table("code", "about", "severity", "what is wrong", "what to do", box=SIMPLE_HEAD)
    subject = {rule.code: name for name, rules in SUBJECTS.items() for rule in rules}
    for rule in RULES.values():
        severity = f"[{_COLOR[rule.severity]}]{rule.severity}[/]"
        table.add_row(
            rule.code, subject[rule.code], severity, escape(rule.title), escape(rule.remedy)
        )
    Console(highlight=False).print(table)


class _Bars:
    """A bar for all recordings, and for the one that is being read, on stderr."""

    def __init__(self, num_recordings: int) -> None:
        self._progress = Progress(
            SpinnerColumn(),
            TextColumn("{task.description}"),
            BarColumn(),
            TextColumn("{task.fields[done]}"),
            TimeElapsedColumn(),
            console=Console(stderr=True),
            transient=True,
        )
        self._all = self._progress.add_task("recordings", total=num_recordings, done="")
        self._one: TaskID | None = None
        self._count, self._total = 0, num_recordings

    def __enter__(self) -> _Bars:
        """Show."""
        self._progress.start()
        return self

    def __exit__(self, *exception: object) -> None:
        """Take away."""
        self._progress.stop()

    def start(self, upload: Upload) -> Callable[[int, int], None]:
        """Show the next recording; returns what to call with its progress."""
        if self._one is not None:
            self._progress.remove_task(self._one)
        self._count += 1
        done = f"{self._count}/{self._total}"
        self._progress.update(self._all, completed=self._count - 1, done=done)
        one = self._progress.add_task(escape(str(upload.name)), total=None, done="opening")
        self._one = one

        def advance(count: int, total: int) -> None:
            known = total if total >= count else None
            said = f"sweep {count}" + (f"/{total}" if known else "")
            self._progress.update(one, completed=count, total=known, done=said)

        return advance


def _print(console: Console, checked: Checked, *, in_full: bool) -> None:
    color = _COLOR[checked.verdict]
    console.print(f"\n[bold]{escape(checked.name)}[/bold]  [{color}]{checked.verdict}[/]")
    if checked.unreadable:
        console.print(f"  {escape(checked.unreadable)}", soft_wrap=True)
        return
    console.print(_contents(checked))
    if in_full and checked.topics:
        console.print(_topics(checked.topics))
    if checked.damage:
        console.print(_damage(checked))
    if checked.findings:
        table = Table("code", "severity", "what", "what to do", "count", box=SIMPLE_HEAD)
        for finding in checked.findings:
            severity = f"[{_COLOR[finding.severity]}]{finding.severity}[/]"
            table.add_row(
                finding.code, severity, escape(finding.message), escape(finding.remedy),
                str(finding.count),
            )  # fmt: skip
        console.print(table)


def _contents(checked: Checked) -> Table:
    grid = Table.grid(padding=(0, 2))
    grid.add_row("  file", escape(checked.path))
    grid.add_row("  format", checked.format)
    if checked.num_sweeps:
        usual = checked.num_points // checked.num_sweeps
        sweeps = f"{checked.num_sweeps:,} of about {usual:,} points; {_MOTION[checked.motion]}"
        grid.add_row("  sweeps", sweeps)
        grid.add_row(
            "  points", f"{checked.num_points:,} from {escape(checked.sensor or 'a lidar')}"
        )
    grid.add_row("  time", _span(checked))
    grid.add_row("  ego poses", f"{checked.num_poses:,}" if checked.num_poses else "none")
    if checked.num_boxes:
        grid.add_row("  boxes", f"{checked.num_boxes:,}")
    for label, counts in (("  images", checked.images), ("  signals", checked.signals)):
        if counts:
            named = [f"{name} {count:,}" for name, count in sorted(counts.items())]
            grid.add_row(label, escape(_shortened(named)))
    return grid


def _span(checked: Checked) -> str:
    if not checked.end_ns:
        return "none"
    seconds = (checked.end_ns - checked.start_ns) / 1e9
    start = datetime.fromtimestamp(checked.start_ns / 1e9, UTC) if checked.start_ns >= 0 else None
    return f"{seconds:,.2f} s from {start:%Y-%m-%d %H:%M:%S} UTC" if start else f"{seconds:,.2f} s"


def _topics(topics: Sequence[Topic]) -> Table:
    table = Table("topic", "kind", "messages", "what becomes of it", box=SIMPLE_HEAD)
    for topic in topics[:_MAX_ROWS]:
        count = f"{topic.count:,}" if topic.count >= 0 else "?"
        style = "dim" if topic.use.startswith("not used") else ""
        table.add_row(escape(topic.name), escape(topic.kind), count, escape(topic.use), style=style)
    if len(topics) > _MAX_ROWS:
        table.caption = f"and {len(topics) - _MAX_ROWS} more; --json has all"
    return table


def _damage(checked: Checked) -> Table:
    table = Table("damaged", "what is wrong", "what is lost", box=SIMPLE_HEAD)
    for damage in checked.damage[:_MAX_ROWS]:
        table.add_row(escape(damage.where), escape(damage.what), escape(damage.lost))
    if len(checked.damage) > _MAX_ROWS:
        table.caption = f"and {len(checked.damage) - _MAX_ROWS} more; --json has all"
    return table


def _summary(results: Sequence[Checked]) -> str:
    counts = {name: sum(c.verdict == name for c in results) for name in _COLOR}
    said = ", ".join(
        f"[{_COLOR[name]}]{count} {name}[/]" for name, count in counts.items() if count
    )
    sweeps, points = (sum(getattr(c, f) for c in results) for f in ("num_sweeps", "num_points"))
    return f"\n{len(results)} recordings, {sweeps:,} sweeps, {points:,} points: {said}"


def _shortened(parts: Sequence[str], limit: int = 6) -> str:
    more = f" and {len(parts) - limit} more" if len(parts) > limit else ""
    return ", ".join(parts[:limit]) + more


def _as_json(checked: Checked) -> dict[str, Any]:
    values = asdict(checked)
    del values["fingerprint"]
    return {"verdict": checked.verdict, **values}
