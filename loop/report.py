"""The page about a turn: collected from the tables, written as HTML and Markdown."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from loop.report_outcome import gate_of, issues_of, scenarios_of, slices_of
from loop.report_parts import (
    dataset_of,
    labels_of,
    metrics_of,
    recordings_of,
    selection_of,
    training_of,
)
from loop.report_pictures import pictures_of
from loop.turn_facts import TurnFacts, collect_facts
from loop.turns import finish_turn
from loop.workspace import Workspace
from reporting.model import Link, StageTiming, TurnReport
from reporting.report import render_html, render_markdown
from scene.errors import NotFoundError
from storage import layout
from storage.local import LocalStore


@dataclass(frozen=True)
class WrittenReport:
    """Where the report of a turn is, and its text form."""

    html_key: str
    markdown: str


def write_report(workspace: Workspace, turn: int) -> WrittenReport:
    """Write the report of a turn and close the turn."""
    facts = collect_facts(workspace, turn)
    report = build_report(workspace, facts)
    html_key = layout.report(turn, "html")
    markdown = render_markdown(report)
    workspace.store.put(html_key, render_html(report).encode())
    workspace.store.put(layout.report(turn, "md"), markdown.encode())
    for index, picture in enumerate(report.pictures):
        workspace.store.put(layout.report_picture(turn, index), picture.png)
    finish_turn(workspace, turn, facts.record())
    return WrittenReport(html_key, markdown)


def build_report(workspace: Workspace, facts: TurnFacts) -> TurnReport:
    """Return everything on the page."""
    counts, rows = selection_of(workspace, facts)
    return TurnReport(
        turn=facts.turn,
        title="Bootstrap" if facts.turn == 0 else f"Turn {facts.turn}",
        data_note=_data_note(workspace),
        recordings=recordings_of(workspace, facts),
        selection_counts=counts,
        selection_rows=rows,
        labels=labels_of(workspace, facts),
        dataset=dataset_of(workspace, facts),
        training=training_of(workspace, facts),
        before=metrics_of(facts.before),
        after=metrics_of(facts.after),
        slices=slices_of(workspace, facts),
        gate=gate_of(facts),
        scenarios=scenarios_of(facts),
        issues=issues_of(workspace, facts),
        pictures=pictures_of(workspace, facts),
        timings=_timings(workspace, facts.turn),
        links=(Link("Tables and files", workspace.store.url),),
    )


def report_path(workspace: Workspace, turn: int) -> str:
    """Return where a person opens the report: a path, or the address in the bucket."""
    key = layout.report(turn, "html")
    if isinstance(workspace.store, LocalStore):
        return (Path(workspace.store.root) / key).resolve().as_uri()
    return f"{workspace.store.url}/{key}"


def _data_note(workspace: Workspace) -> str:
    notes = [workspace.label_place().note]
    sensors = {row["format"] for row in workspace.tables.read("recordings").to_pylist()}
    notes.append(f"Formats: {', '.join(sorted(sensors))}.")
    return " ".join(notes)


def _timings(workspace: Workspace, turn: int) -> tuple[StageTiming, ...]:
    try:
        seconds = json.loads(workspace.store.get(layout.turn_timings(turn)))
    except NotFoundError:
        return ()
    return tuple(StageTiming(stage, value) for stage, value in seconds.items())
