"""What the subcommands of `starloop label` do."""

from __future__ import annotations

import socket

import click

from labeling.clip_store import ClipStore
from labeling.clip_task import cut_clips
from labeling.serve.access import TokenAccess
from loop.workspace import Workspace
from pipelines.settings import Settings
from scene.box import Boxes
from scene.recording import RecordingId
from storage import layout
from storage.boxes import arrow_to_boxes
from storage.sweeps import SweepFile

_PRELABEL_SCORE = 0.3


def make_clips(
    settings: Settings, recording: str, frames: tuple[int, int | None], length: int, prelabels: str
) -> None:
    """Cut a recording into clips and print their ids."""
    workspace = settings.workspace()
    name = RecordingId(recording)
    boxes = prelabels_of(workspace, name, prelabels)
    clips = ClipStore(workspace.store)
    for task in cut_clips(
        workspace.store, name, length=length, start=frames[0], stop=frames[1], prelabels=boxes
    ):
        state = "new" if clips.add(task) else "known"
        click.echo(f"{task.task_id}  {state}  {task.title}, {len(task.prelabels)} prelabels")


def prelabels_of(workspace: Workspace, recording: RecordingId, kind: str) -> dict[int, Boxes]:
    """Return boxes to start from by time: of the champion, the ground truth, or none."""
    if kind == "ground-truth":
        return arrow_to_boxes(workspace.tables.read("boxes", {"recording": recording}))
    from loop.predictions import predict_recording
    from loop.turns import champion_id

    champion = champion_id(workspace) if kind == "champion" else None
    if champion is None:
        return {}
    with SweepFile(workspace.store, layout.sweeps(recording)) as sweeps:
        times = sweeps.timestamps_ns.tolist()
    found = predict_recording(workspace, champion, recording, times)
    return {time: boxes.take(boxes.score >= _PRELABEL_SCORE) for time, boxes in found.items()}


def serve_editor(settings: Settings, port: int, labellers: int) -> None:
    """Run the editor alone until it is stopped; print a URL for each labeller."""
    import uvicorn

    from labeling.serve.app import create_app

    access = TokenAccess.new(labellers)
    listener = socket.create_server(("127.0.0.1", port))
    chosen = listener.getsockname()[1]
    for token in access.tokens:
        click.echo(f"http://127.0.0.1:{chosen}/editor/?token={token}")
    click.echo("Ctrl-C stops")
    app = create_app(settings.workspace().store, access)
    uvicorn.Server(uvicorn.Config(app, log_level="warning")).run(sockets=[listener])
