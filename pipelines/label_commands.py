"""What the subcommands of `starloop label` do."""

from __future__ import annotations

import hashlib
import hmac
import socket
from functools import partial
from typing import TYPE_CHECKING

import click

from labeling.clip_task import cut_clips
from labeling.label_studio_clips import LabelStudioClips
from labeling.overlap import ask_people
from labeling.serve.access import TokenAccess
from loop.landing import landed_file
from loop.workspace import Workspace
from pipelines.services.ports import listen
from pipelines.settings import Settings
from scene.box import Boxes
from scene.errors import ConfigError, LabelError, StoreError
from scene.recording import RecordingId
from storage.boxes import arrow_to_boxes
from storage.store import ObjectStore

if TYPE_CHECKING:
    from fastapi import FastAPI


def make_clips(
    settings: Settings, recording: str, frames: tuple[int, int | None], length: int, prelabels: str
) -> None:
    """Cut a recording into clips and print their ids."""
    workspace = settings.workspace()
    name = RecordingId(recording)
    boxes = prelabels_of(workspace, name, prelabels)
    clips = cut_clips(
        workspace.store, name, length=length, start=frames[0], stop=frames[1], prelabels=boxes
    )
    tasks = ask_people(clips, workspace.labeling.overlap_share)
    report = workspace.clip_backend().push(tasks)
    for task in tasks:
        where = report.external_ids[task.task_id]
        click.echo(f"{where}  {task.title}, {len(task.prelabels)} prelabels")
    click.echo(f"{report.num_new} new, {report.num_refreshed} with newer prelabels")


def prelabels_of(workspace: Workspace, recording: RecordingId, kind: str) -> dict[int, Boxes]:
    """Return boxes to start from by time: the champion's, tracked; the ground truth; or none."""
    if kind == "ground-truth":
        return arrow_to_boxes(workspace.tables.read("boxes", {"recording": recording}))
    from loop.prelabel import prelabel_recording, read_prelabels

    made = prelabel_recording(workspace, recording) if kind == "champion" else None
    if made is None or not made.model:
        return {}
    return read_prelabels(workspace, recording, made.model) or {}


def pull_answers(settings: Settings, *, full: bool) -> None:
    """Fetch what people submitted and print how much it was."""
    report = settings.workspace().clip_backend().fetch(full=full)
    click.echo(f"{report.num_new} new answers, {report.num_withdrawn} withdrawn")
    for task_id, problem in report.problems.items():
        click.secho(f"clip {task_id}: {problem}", fg="yellow", err=True)


def serve_alone(settings: Settings, port: int, labellers: int) -> None:
    """Run the editor alone until it is stopped; print a URL for each labeller."""
    from labeling.serve.app import create_app

    workspace = settings.workspace()
    access = TokenAccess.new(labellers)
    listener = listen(port)
    for token in access.tokens:
        click.echo(f"{_address(listener)}/editor/?token={token}")
    run_app(
        create_app(workspace.store, access, read_landed=partial(landed_file, workspace)), listener
    )


def serve_label_studio(settings: Settings, port: int, poll_s: float) -> None:
    """Run the editor and Label Studio on one origin until it is stopped."""
    backend = settings.workspace().clip_backend()
    if not isinstance(backend, LabelStudioClips):
        raise ConfigError("serving Label Studio needs STARLOOP_LABELING__BACKEND=label_studio")
    listener = listen(port)
    click.echo(f"{_address(listener)}/projects/{backend.project.project_id}/data")
    serve_behind(settings, listener, backend, poll_s)


def serve_behind(
    settings: Settings, listener: socket.socket, backend: LabelStudioClips, poll_s: float
) -> None:
    """Serve editor and Label Studio on an open socket, and fetch answers, until Ctrl-C."""
    from labeling.serve import webhook
    from labeling.serve.app import create_proxied_app

    secret = hook_secret(settings)
    try:
        hook = f"{_address(listener)}{webhook.PATH}"
        webhook.register(backend.server, backend.project.project_id, hook, secret)
    except LabelError as error:
        text = f"no webhook, only a poll every {poll_s:g} s (SSRF_PROTECTION_ENABLED?): {error}"
        click.secho(text, fg="yellow", err=True)
    workspace = settings.workspace()
    app = create_proxied_app(
        workspace.store,
        backend.server.url,
        hook_secret=secret,
        read_landed=partial(landed_file, workspace),
        fetching=webhook.FetchThread(backend, poll_s),
        points_origin=_points_origin(workspace.store, _address(listener)),
    )
    run_app(app, listener)


def _points_origin(store: ObjectStore, origin: str) -> str:
    """Return where browsers may read points themselves; empty where only through us."""
    allow = getattr(store, "allow_browser", None)
    if allow is None:
        return ""
    try:
        return allow(origin)
    except StoreError as error:
        click.secho(f"points go through this server: {error}", fg="yellow", err=True)
        return ""


def hook_secret(settings: Settings) -> str:
    """Return what webhooks carry: derived from the key, so that it is the same after a restart."""
    key = settings.labeling.api_key.get_secret_value().encode()
    return hmac.new(key, b"starloop webhook", hashlib.sha256).hexdigest()


def run_app(app: FastAPI, listener: socket.socket) -> None:
    """Serve on an open socket until Ctrl-C."""
    import uvicorn

    click.echo("Ctrl-C stops")
    uvicorn.Server(
        uvicorn.Config(app, log_level="warning", date_header=False, server_header=False)
    ).run(sockets=[listener])


def _address(listener: socket.socket) -> str:
    return f"http://127.0.0.1:{listener.getsockname()[1]}"
