"""The loop from the command line: on a generated fleet, or on somebody's own recordings."""

from __future__ import annotations

from pathlib import Path

from loop.report import report_path
from pipelines.progress import Progress
from pipelines.runner import Runner
from pipelines.settings import Settings, StoreSettings
from pipelines.turn import LoopRunner, needs_bootstrap
from scene.errors import DataError
from scene.recording import RecordingId
from simulation.fleet import FleetConfig, generate_fleet


def run_demo(settings: Settings, data: Path | None, turns: int) -> None:
    """Run turns on a generated fleet, or on the recordings at `data`, and print the report."""
    progress = Progress()
    if data is None:
        progress.say("Starloop demo: a generated fleet of lidar drives, with ground truth")
        generate(settings.home / "landing", 7, progress)
    else:
        progress.say(f"Starloop demo on {data}")
        settings = settings_for(settings, data)
    run_loop(settings, turns, progress)


def settings_for(settings: Settings, data: Path) -> Settings:
    """Return settings that read recordings at `data` in place and keep the rest apart from it."""
    path = data.resolve()
    name = RecordingId.from_text(path.name)
    suffix = "/" if path.is_dir() else ""
    return settings.model_copy(
        update={
            "home": settings.home / "data" / name,
            "store": StoreSettings(),
            "landing": StoreSettings(url=path.parent.as_uri()),
            "landing_prefix": path.name + suffix,
        }
    )


def generate(folder: Path, seed: int, progress: Progress | None = None) -> None:
    """Write the generated fleet's drives into a folder; what is there already is kept."""
    progress = progress or Progress()
    config = FleetConfig(seed=seed)
    with progress.stage("fleet", config.num_early + config.num_late) as stage:
        paths = generate_fleet(folder, config, lambda done, total: stage.advance(f"of {total}"))
        stage.done(f"{len(paths)} drives in {folder}")


def run_loop(settings: Settings, turns: int, progress: Progress | None = None) -> None:
    """Ingest, then run turns; before the first one, train the first champion.

    Raises:
        DataError: if nothing usable has landed.
    """
    progress = progress or Progress()
    runner = Runner(settings.workspace(), settings.home, settings.training)
    loop = LoopRunner(runner, progress)
    loop.ingest()
    if not len(runner.workspace.tables.read("frames", columns=["recording"])):
        raise DataError(
            f"no usable recording in {runner.workspace.landing.url}; see `starloop status`"
        )
    if needs_bootstrap(runner):
        progress.say("Bootstrap: a first champion from the first labelled set")
        loop.turn()
    for _ in range(turns):
        progress.say("Turn: mine, label, retrain, evaluate, simulate, gate, release, feed back")
        outcome = loop.turn()
        if not outcome.report_key:
            progress.warn(
                f"{outcome.waiting} frames wait for the labelling team; "
                "run `starloop loop` again when they are done"
            )
            return
        progress.say(f"Report: {report_path(runner.workspace, outcome.number)}")
