"""`starloop label status` and `starloop label qa`: the tables of the web page, without Dagster."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Console
from rich.table import Table

from labeling.qa.suspicion import LOOK_SCORE
from loop.label_errors import find_label_errors
from loop.label_quality import count_tasks, measure_labels
from loop.label_tables import (
    Row,
    agreement_table,
    annotator_table,
    cost_table,
    dispute_table,
    error_table,
)
from loop.workspace import Workspace
from pipelines.settings import Settings
from scene.recording import RecordingId


def print_label_status(settings: Settings, console: Console | None = None) -> None:
    """Print how far the labelling is, by recording."""
    console = console or Console()
    workspace = settings.workspace()
    place, counts = workspace.label_place(), count_tasks(workspace)
    console.print(f"{place.name}: {place.note}", highlight=False)
    console.print(
        f"{counts.num_sent} frames sent, {counts.num_done} done, {counts.num_waiting} waiting; "
        f"{counts.num_in_review} in review, {counts.num_reviewed} reviewed; "
        f"{counts.num_honeypots} honeypots; "
        f"{counts.num_shared} asked of two people, {counts.num_compared} answered by both",
        highlight=False,
    )
    _print(console, "", _by_recording(workspace))


def print_label_quality(
    settings: Settings, recording: str | None, limit: int, console: Console | None = None
) -> None:
    """Measure the labels, look for errors, and print all tables.

    Args:
        settings: whose workspace.
        recording: look for errors here only; in all annotated recordings if not given.
        limit: how many probable errors to print.
        console: where to.
    """
    console = console or Console()
    workspace = settings.workspace()
    names = [recording] if recording else _annotated(workspace)
    errors = []
    for name in names:
        errors += find_label_errors(workspace, RecordingId(name)).to_pylist()
    quality = measure_labels(workspace)
    _print(console, "agreement", agreement_table(quality))
    _print(console, "annotators", annotator_table(quality))
    _print(console, "cost", cost_table(quality))
    _print(console, "disputes", dispute_table(quality))
    _print(console, "probable errors", error_table(errors)[:limit])
    looks = sum(row["score"] >= LOOK_SCORE for row in errors)
    console.print(f"{looks} of {len(errors)} suspicions are worth a look", highlight=False)


def _annotated(workspace: Workspace) -> list[str]:
    """Return the annotated recordings that are stored; simulated ones are exact by construction."""
    rows = workspace.tables.read("annotated_frames", columns=["recording"])["recording"]
    known = workspace.tables.read("recordings", {"status": "ok"}, ["recording"])["recording"]
    return sorted(set(rows.to_pylist()) & set(known.to_pylist()))


def _by_recording(workspace: Workspace) -> list[Row]:
    tasks = workspace.tables.read("label_tasks").to_pylist()
    done = workspace.tables.read("annotated_frames").to_pylist()
    reviews = workspace.tables.read("label_reviews", {"state": "waiting"}).to_pylist()
    rows: list[Row] = []
    for name in sorted({row["recording"] for row in tasks}):
        mine = {r["timestamp_ns"] for r in tasks if r["recording"] == name
                and r["purpose"] != "honeypot"}  # fmt: skip
        settled = [r for r in done if r["recording"] == name and r["timestamp_ns"] in mine]
        disputed = sum(r["recording"] == name for r in reviews)
        people = sorted({row["annotator"] for row in settled})
        rows.append(
            {
                "recording": name,
                "sent": str(len(mine)),
                "done": str(len(settled)),
                "in review": str(disputed),
                "boxes": str(sum(row["num_boxes"] for row in settled)),
                "by": ", ".join(people),
            }
        )
    return rows


def _print(console: Console, title: str, rows: Sequence[Row]) -> None:
    if not rows:
        if title:
            console.print(f"{title}: nothing to measure yet", highlight=False)
        return
    table = Table(title=title or None, title_justify="left")
    for index, name in enumerate(rows[0]):
        table.add_column(name, no_wrap=not index, overflow="fold")
    for row in rows:
        table.add_row(*row.values())
    console.print(table)
