"""What is there, what is wrong, what waits: `starloop status`."""

from __future__ import annotations

from rich.console import Console
from rich.table import Table

from loop.curate import labelled_frames, open_issues
from loop.turns import champion_id, current_turn
from loop.workspace import Workspace
from pipelines.settings import Settings


def print_status(settings: Settings, console: Console | None = None) -> None:
    """Print recordings, quarantine, turn, champion, waiting labels and open issues."""
    console = console or Console()
    workspace = settings.workspace()
    console.print(f"store    {workspace.store.url}", highlight=False)
    console.print(f"landing  {workspace.landing.url}", highlight=False)
    _print_recordings(workspace, console)
    console.print(f"turn     {current_turn(workspace)}")
    console.print(f"champion {champion_id(workspace) or 'none yet'}")
    console.print(f"waiting  {waiting_labels(workspace)} frames at the labelling team")
    for issue in open_issues(workspace):
        console.print(f"issue    {issue.issue_id}  {issue.title}", highlight=False)


def _print_recordings(workspace: Workspace, console: Console) -> None:
    rows = workspace.tables.read("recordings").to_pylist()
    good = [row for row in rows if row["status"] == "ok"]
    table = Table("recording", "format", "sweeps", "points", "status", title=None)
    for row in rows:
        style = "" if row["status"] == "ok" else "yellow"
        table.add_row(
            row["recording"],
            row["format"],
            str(row["num_sweeps"]),
            f"{row['num_points']:,}",
            row["status"],
            style=style,
        )
    console.print(table)
    console.print(f"{len(good)} recordings usable, {len(rows) - len(good)} quarantined")
    for row in rows:
        if row["status"] != "ok":
            text = f"quarantined  {row['recording']}: {row['message']}"
            console.print(text, style="yellow", highlight=False, soft_wrap=True, markup=False)


def waiting_labels(workspace: Workspace) -> int:
    """Return how many frames were sent to the labelling team and have not come back."""
    sent = workspace.tables.read("label_tasks", columns=["recording", "timestamp_ns"])
    frames = set(zip(*(column.to_pylist() for column in sent.columns), strict=True))
    return len(frames - labelled_frames(workspace))
