"""`starloop label demo`: everything that labelling needs, started here and stopped with Ctrl-C."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Final

import click
import numpy as np
from pydantic import SecretStr

from labeling.clip_task import cut_clips
from labeling.label_studio_clips import LabelStudioClips
from labeling.overlap import ask_people
from labeling.serve.pages import DIST
from pipelines.demo import settings_for
from pipelines.label_commands import prelabels_of, serve_behind
from pipelines.progress import Progress
from pipelines.runner import Runner
from pipelines.services.ceph import start_rgw
from pipelines.services.label_studio import LabelStudio
from pipelines.services.ports import listen
from pipelines.settings import LabelingSettings, Settings, StoreSettings
from pipelines.turn import LoopRunner
from scene.box import Boxes
from scene.errors import ConfigError, DataError
from scene.recording import RecordingId

_CLIPS: Final = 6
_SHIFT_M: Final = 0.12
_TURN_RAD: Final = 0.06
_MISSED: Final = 0.1
_PRELABELS_NOTE: Final = (
    "Prelabels: the drives' ground truth with planted errors, because no model was trained yet "
    f"(each box moved by about {_SHIFT_M * 100:.0f} cm and turned by "
    f"{np.degrees(_TURN_RAD):.0f} degrees, one of {1 / _MISSED:.0f} objects missed)."
)


@dataclass(frozen=True, slots=True)
class Ready:
    """A running demo.

    Attributes:
        settings: of everything that was started.
        backend: the project with the clips.
        server: Label Studio.
    """

    settings: Settings
    backend: LabelStudioClips
    server: LabelStudio


def run_label_demo(settings: Settings, data: Path | None, port: int, *, use_s3: bool) -> None:
    """Start it, print one URL, and serve until Ctrl-C."""
    if not (DIST / "index.html").is_file():
        raise ConfigError("the 3D editor is not built: make editor")
    listener = listen(port)  # fails before anything was started
    address = f"http://127.0.0.1:{listener.getsockname()[1]}"
    with running(settings, data, use_s3=use_s3) as ready:
        click.echo("")
        click.secho(f"  {address}/projects/{ready.backend.project.project_id}/data", bold=True)
        click.echo(f"  user {ready.server.email}   password {ready.server.password}\n")
        serve_behind(ready.settings, listener, ready.backend, poll_s=30)


@contextmanager
def running(settings: Settings, data: Path | None, *, use_s3: bool) -> Iterator[Ready]:
    """Start the object store and Label Studio, bring in the drives and push clips of them."""
    progress = Progress()
    home = settings.home / "label-demo"
    settings = settings.model_copy(update={"home": home})
    if data is not None:
        settings = settings_for(settings, data)
    with ExitStack() as started:
        settings = _with_store(settings, home, started, progress, use_s3=use_s3)
        progress.say("starting Label Studio (the first start ever takes some minutes)")
        server = LabelStudio(home / "label-studio")
        server.start()
        started.callback(server.stop)
        labeling = LabelingSettings(
            backend="label_studio", mode="cuboids", url=server.url,
            api_key=SecretStr(server.api_key),
        )  # fmt: skip
        settings = settings.model_copy(update={"labeling": labeling})
        backend = settings.workspace().clip_backend()
        if not isinstance(backend, LabelStudioClips):
            raise ConfigError("the demo needs the backend label_studio")
        started.callback(backend.close)
        _push_clips(settings, backend, progress, generated=data is None)
        yield Ready(settings, backend, server)


def _with_store(
    settings: Settings, home: Path, started: ExitStack, progress: Progress, *, use_s3: bool
) -> Settings:
    """Return settings whose store is a bucket of a fresh S3 server, if one is installed."""
    if not use_s3:
        return settings
    try:
        progress.say("starting an S3 server (Ceph)")
        server = start_rgw(home / "s3")
    except ConfigError as error:
        shutil.rmtree(home / "s3", ignore_errors=True)
        progress.say(f"no S3 server, the store is a folder: {error}")
        return settings
    started.callback(server.stop)
    store = StoreSettings(
        url="s3://starloop/label-demo",
        endpoint=server.endpoint,
        access_key=SecretStr(server.access_key),
        secret_key=SecretStr(server.secret_key),
    )
    return settings.model_copy(update={"store": store})


def _push_clips(
    settings: Settings, backend: LabelStudioClips, progress: Progress, *, generated: bool
) -> None:
    """Bring in the drives and offer their first clips."""
    if generated:
        from simulation.fleet import FleetConfig, generate_fleet

        config = FleetConfig(num_early=1, num_late=1, sweeps_per_recording=20)
        generate_fleet(settings.home / "landing", config)
    workspace = settings.workspace()
    LoopRunner(Runner(workspace, settings.home), progress).ingest()
    names = sorted(set(workspace.tables.read("frames", columns=["recording"])[0].to_pylist()))
    if not names:
        raise DataError(f"no usable recording in {workspace.landing.url}; see `starloop status`")
    tasks = []
    for name in names:
        if len(tasks) >= 2 * _CLIPS:
            break
        recording = RecordingId(name)
        boxes = prelabels_of(workspace, recording, "champion")
        if not boxes:
            boxes = worsened(prelabels_of(workspace, recording, "ground-truth"))
            if boxes:
                progress.say(_PRELABELS_NOTE)
        tasks += islice(cut_clips(workspace.store, recording, prelabels=boxes), _CLIPS)
    report = backend.push(ask_people(tasks[: _CLIPS * 2], workspace.labeling.overlap_share))
    progress.say(f"{len(report.external_ids)} clips to label, {report.num_new} of them new")


def worsened(boxes: Mapping[int, Boxes], seed: int = 7) -> dict[int, Boxes]:
    """Return ground truth with planted errors: moved, turned and missing boxes.

    Args:
        boxes: by time, ego frame.
        seed: the same one gives the same errors.
    """
    random = np.random.default_rng(seed)
    worse = {}
    for time, truth in sorted(boxes.items()):
        kept = truth.take(random.random(len(truth)) >= _MISSED)
        shift = random.normal(0, _SHIFT_M, (len(kept), 3)) * [1, 1, 0.3]
        turn = random.normal(0, _TURN_RAD, len(kept))
        worse[time] = Boxes.make(
            kept.center_xyz_m + shift, kept.size_lwh_m, kept.yaw_rad + turn, kept.category,
            track_id=kept.track_id, score=np.full(len(kept), 0.5),
        )  # fmt: skip
    return worse
