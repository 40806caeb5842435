"""The `starloop` command."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import click

from pipelines.label_cli import PORT, label
from pipelines.settings import Settings, load_settings
from scene.errors import StarloopError

_HELP = """The open data engine for self-driving and robots.

Recordings go in, a better lidar detector comes out, with proof that it is better:

\b
  starloop demo                 the whole loop on a generated fleet
  starloop demo --data DRIVES   the same on your own labelled recordings
  starloop ingest               read what landed (or --watch with `starloop dev`)
  starloop loop                 one turn: mine, label, train, gate, release, simulate, feed back
  starloop export               a recording out to mcap, nuscenes, kitti, av2, pcd, las, ...
  starloop check DRIVE          what is in a recording and what is wrong with it
  starloop status               what is there, what is quarantined and why, what waits
  starloop dev                  Dagster's web pages and sensors on this machine

Settings are environment variables with the prefix STARLOOP_ (see pipelines/settings.py).
"""


class _Group(click.Group):
    """Turns our own errors into one clear line and exit code 1."""

    def invoke(self, ctx: click.Context) -> object:
        """Run the command."""
        try:
            return super().invoke(ctx)
        except StarloopError as error:
            click.secho(f"error: {error}", fg="red", err=True)
            sys.exit(1)


@click.group(cls=_Group, help=_HELP, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="starloop")
@click.pass_context
def main(ctx: click.Context) -> None:
    """Load the settings once."""
    ctx.obj = load_settings()


main.add_command(label)


@main.command()
@click.option("--data", type=click.Path(exists=True, path_type=Path), help="Your own recordings.")
@click.option("--turns", type=click.IntRange(1, 20), default=1, show_default=True)
@click.pass_obj
def demo(settings: Settings, data: Path | None, turns: int) -> None:
    """Run the loop once round and print where its report is.

    The first run trains a first model from a small labelled set and then does one turn. Every
    later run is the next turn; unchanged work is reused.
    """
    from pipelines.demo import run_demo

    run_demo(settings, data, turns)


@main.command()
@click.argument("path", required=False, type=click.Path(exists=True, path_type=Path))
@click.option("--workers", type=click.IntRange(1), help="Threads a recording; else one a core.")
@click.pass_obj
def ingest(settings: Settings, path: Path | None, workers: int | None) -> None:
    """Read every new recording in the landing place; with PATH, copy it there first."""
    from pipelines.commands import ingest_landing

    if workers is not None:
        chosen = settings.ingest.model_copy(update={"workers": workers})
        settings = settings.model_copy(update={"ingest": chosen})
    sys.exit(ingest_landing(settings, path))


_TRAIN_HELP = """Train the detector. Resumes an interrupted training.

Without options: the stages dataset, detector and evaluation of the current turn.

With options: one training of its own on this machine, whose workers share every batch. With
engine starloop it survives every fault of its workers, and says at the end where the time went.
Run the same command again after a stop: it goes on where it was.

\b
  starloop train --workers 2                      the newest dataset, two workers
  starloop train --recipe small --dataset latest
  starloop train --workers 2 --chaos "kill:30s"   watch it survive a SIGKILL every 30 seconds
  starloop train --workers 2 --chaos "hang:2m,nan:100,storage:1m,sigterm:5m"
  starloop train --workers 2 --engine torchrun    torch's own launcher, for comparison
  starloop train --workers 2 --engine ray         on a Ray cluster: RAY_ADDRESS, or one made here
  starloop train --workers 1:2 --engine ray       between one worker and two, as places come and go

\b
Faults on purpose: KIND:WHEN or KIND@WORKER:WHEN. WHEN is a time (every so often) or a step (once).
Kinds: kill exception memory hang deadlock freeze stuck slow nan flip storage slowstorage
device sigterm; docs/training-faults.md says what each one shows.

\b
Exit code: 0 finished, 75 stopped in good order, 76 hang, 77 bad numbers, 78 wrong job,
79 two workers disagree on a gradient, 1 anything else.
"""
_TRAIN = {
    "recipe": "small",
    "dataset": "latest",
    "workers": "",
    "engine": "",
    "chaos": "",
    "iterations": 0,
}


@main.command(help=_TRAIN_HELP)
@click.option("--recipe", help="Name of a training recipe.")
@click.option("--dataset", help="Digest of a dataset, or latest.")
@click.option("--workers", help="Processes that share every batch; of ray also 1:4.")
@click.option(
    "--engine", type=click.Choice(("starloop", "torchrun", "ray")), help="Who looks after them."
)
@click.option("--chaos", help="Faults on purpose.")
@click.option("--iterations", type=click.IntRange(1), help="Optimiser steps.")
@click.pass_obj
def train(settings: Settings, **given: Any) -> None:
    """Train the detector."""
    from pipelines.commands import run_stages
    from pipelines.train import TrainOptions, exit_with, run

    chosen = {name: value for name, value in given.items() if value is not None}
    if chosen:
        exit_with(run(settings, TrainOptions(**(_TRAIN | chosen))))
    run_stages(settings, ("dataset", "detector", "evaluation"))


@main.command()
@click.pass_obj
def simulate(settings: Settings) -> None:
    """Drive the scenario suite with the newest model."""
    from pipelines.commands import run_stages

    run_stages(settings, ("simulation",))


@main.command()
@click.pass_obj
def release(settings: Settings) -> None:
    """Put the newest model before the gate; promote it if every rule holds."""
    from pipelines.commands import run_stages

    run_stages(settings, ("release", "deployment"))


@main.command()
@click.option("--turns", type=click.IntRange(1, 20), default=1, show_default=True)
@click.pass_obj
def loop(settings: Settings, turns: int) -> None:
    """Run whole turns: ingest, select, label, train, gate, release, simulate, feed back."""
    from pipelines.demo import run_loop

    run_loop(settings, turns)


@main.command()
@click.option("--host", help="Address to listen on.")
@click.option("--port", type=PORT, help="Port to listen on; 0 takes a free one.")
@click.pass_obj
def serve(settings: Settings, host: str | None, port: int | None) -> None:
    """Answer detection requests with the champion (Open Inference Protocol v2, and /detect)."""
    from pipelines.commands import serve_champion

    chosen = settings.serving.port if port is None else port
    serve_champion(settings, host or settings.serving.host, chosen)


@main.command()
@click.pass_obj
def status(settings: Settings) -> None:
    """Show recordings, quarantine, turn, champion, waiting labels and open issues."""
    from pipelines.status import print_status

    print_status(settings)


@main.command()
@click.pass_obj
def resync(settings: Settings) -> None:
    """Rebuild Dagster's view from the tables: the bucket is the truth."""
    from pipelines.resync import resync_instance

    click.echo(f"{resync_instance(settings)} materialisations reported")


@main.command()
@click.argument("key")
@click.option("--down", is_flag=True, help="Show what was made from it instead.")
@click.pass_obj
def lineage(settings: Settings, key: str, down: bool) -> None:
    """Show what KEY (a recording, model id, dataset, digest) was made from."""
    from pipelines.commands import print_lineage

    print_lineage(settings, key, down=down)


@main.command()
@click.argument("folder", type=click.Path(path_type=Path))
@click.option("--seed", default=7, show_default=True)
def fleet(folder: Path, seed: int) -> None:
    """Generate a fleet's drives as MCAP files with ground truth into FOLDER."""
    from pipelines.demo import generate

    generate(folder, seed)


_CHECK_HELP = """Check recordings without ingesting them: what is in them, what is wrong with it.

PATHS are files or folders of any format that Starloop reads; a folder may hold many
recordings. Nothing is written anywhere. The rules are those of `starloop ingest`: an error
would quarantine the recording, a warning would not. Damage is what could not be read.

\b
  starloop check drive.mcap           one recording
  starloop check /data/uploads        every recording below a folder
  starloop check --json drive.bag     for scripts
  starloop check --rules              all rules, see also docs/rules.md

\b
Exit code: 0 clean or warnings, 1 errors or damage, 2 not readable.
"""


@main.command(help=_CHECK_HELP)
@click.argument("paths", nargs=-1, type=click.Path(exists=True, path_type=Path))
@click.option("--rules", is_flag=True, help="List all rules and what to do about each.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON instead of tables.")
@click.pass_obj
def check(settings: Settings, paths: tuple[Path, ...], rules: bool, as_json: bool) -> None:
    """Print what is in recordings and what is wrong with them."""
    from pipelines.check import print_rules, run

    if not rules and not paths:
        raise click.UsageError("give a file or folder, or --rules")
    if rules:
        print_rules(as_json=as_json)
    if paths:
        sys.exit(run(settings, paths, as_json=as_json))


_EXPORT_HELP = """Write RECORDING in the format of another tool.

RECORDING is the id of an ingested recording (see `starloop status`), or the path of any
file or folder that Starloop reads. Points, poses and boxes leave as they came; what a format
cannot hold is said in one line each, and again in starloop-export.json beside the files.

\b
  mcap       ROS 2: clouds, tf, odometry, boxes, IMU, GNSS, images (Foxglove, RViz, ros2 bag)
  pcd        a PCD file a sweep, poses.tum and boxes.csv beside (PCL, Open3D, CloudCompare)
  las        a LAS 1.4 file a sweep, poses.tum and boxes.csv beside (needs: pip install laspy)
  kitti      KITTI tracking layout: velodyne, label_02, calib, oxts
  nuscenes   a nuScenes data set of one scene; loads in nuscenes-devkit
  av2        an Argoverse 2 sensor log; loads in av2
  openlabel  ASAM OpenLABEL 1.0 JSON with the clouds as PCD files
  rerun      a Rerun recording to look at (needs: pip install rerun-sdk)

\b
  starloop export 2026-01-02_veh07 --to mcap
  starloop export drive.bag --to nuscenes --out /data/drive --frames 100:200
  starloop export 2026-01-02_veh07 --to openlabel --annotations
"""
_EXPORTS = ("mcap", "pcd", "las", "kitti", "nuscenes", "av2", "openlabel", "rerun")


@main.command(help=_EXPORT_HELP)
@click.argument("recording")
@click.option("--to", type=click.Choice(_EXPORTS), required=True, help="The format.")
@click.option(
    "--out", type=click.Path(path_type=Path), help="Folder; ./<recording>.<format> if not given."
)
@click.option("--frames", metavar="START:STOP", help="Only these sweeps; STOP is not counted in.")
@click.option("--part", default="", help="Which one, where a folder holds several recordings.")
@click.option("--annotations", is_flag=True, help="Boxes of the labelling team.")
@click.option("--as-measured", is_flag=True, help="Undo the motion compensation of ingest.")
@click.option(
    "--straighten", is_flag=True, help="Points on moving, labelled objects to the sweep's time."
)
@click.pass_obj
def export(settings: Settings, recording: str, to: str, **options: Any) -> None:
    """Write a recording in the format of another tool."""
    from loop.export import ExportRequest
    from pipelines.export import frames_range, run

    options |= {"folder": options.pop("out"), "frames": frames_range(options["frames"])}
    run(settings, ExportRequest(what=recording, to=to, **options))


@main.command()
@click.option("--port", type=PORT, default=3000, show_default=True)
@click.pass_obj
def dev(settings: Settings, port: int) -> None:
    """Start Dagster's web pages and daemon on 127.0.0.1, with the sensors running."""
    from pipelines.commands import start_dev

    start_dev(settings, port)


if __name__ == "__main__":
    main()
