"""`starloop label ...`: clips for people to label, the server of the editor."""

from __future__ import annotations

from pathlib import Path

import click

from pipelines.settings import Settings

PORT = click.IntRange(0, 65535)

_CLIPS_HELP = """Make clips for people to label from an ingested RECORDING.

Clips are consecutive frames. A clip that is there already is not made twice; it gets the new
prelabels.
"""


@click.group(invoke_without_command=True)
@click.pass_context
def label(ctx: click.Context) -> None:
    """Choose frames, send them to the labelling team, fetch what is finished.

    The subcommands are for labelling clips in the 3D editor.
    """
    if ctx.invoked_subcommand is None:
        from pipelines.commands import run_stages

        run_stages(ctx.obj, ("selection", "label"))


@label.command(help=_CLIPS_HELP)
@click.argument("recording")
@click.option("--frames", metavar="START:STOP", help="Only these sweeps; STOP is not counted in.")
@click.option("--length", type=click.IntRange(1, 200), default=10, show_default=True)
@click.option(
    "--prelabels",
    type=click.Choice(["none", "champion", "ground-truth"]),
    default="champion",
    show_default=True,
    help="Boxes to start from; without a champion there are none.",
)
@click.pass_obj
def clips(
    settings: Settings, recording: str, frames: str | None, length: int, prelabels: str
) -> None:
    """Cut a recording into clips."""
    from pipelines.export import frames_range
    from pipelines.label_commands import make_clips

    make_clips(settings, recording, frames_range(frames), length, prelabels)


_SERVE_HELP = """Serve the 3D editor on 127.0.0.1.

With the `embedded` backend the editor runs alone, and every labeller has a URL of their own. With
the `label_studio` backend this is a reverse proxy: Label Studio with the editor inside its tasks,
on one origin. Answers are fetched as soon as Label Studio reports them, and every --poll seconds.
"""


@label.command(help=_SERVE_HELP)
@click.option("--port", type=PORT, default=8020, show_default=True, help="0 takes a free one.")
@click.option("--labellers", type=click.IntRange(1, 100), default=1, show_default=True)
@click.option("--poll", type=click.FloatRange(1), default=30, show_default=True)
@click.pass_obj
def serve(settings: Settings, port: int, labellers: int, poll: float) -> None:
    """Run the editor alone or in front of Label Studio."""
    from pipelines.label_commands import serve_alone, serve_label_studio

    if settings.labeling.backend == "label_studio":
        serve_label_studio(settings, port, poll)
    else:
        serve_alone(settings, port, labellers)


@label.command()
@click.option("--full", is_flag=True, help="Look at every task, not only at what changed.")
@click.pass_obj
def pull(settings: Settings, full: bool) -> None:
    """Fetch the answers of clips from Label Studio into the bucket."""
    from pipelines.label_commands import pull_answers

    pull_answers(settings, full=full)


@label.command()
@click.option("--data", type=click.Path(exists=True, path_type=Path), help="Your own recordings.")
@click.option("--port", type=PORT, default=0, help="0 takes a free one.", show_default=True)
@click.option("--s3/--no-s3", default=True, help="Points in an S3 server, where one is installed.")
@click.pass_obj
def demo(settings: Settings, data: Path | None, port: int, s3: bool) -> None:
    """Start an S3 server, Label Studio and the editor with clips to label; print one URL."""
    from pipelines.label_demo import run_label_demo

    run_label_demo(settings, data, port, use_s3=s3)


@label.command()
@click.pass_obj
def status(settings: Settings) -> None:
    """Show how many frames wait, are done, are in review."""
    from pipelines.label_tables import print_label_status

    print_label_status(settings)


@label.command()
@click.argument("recording", required=False)
@click.option("--limit", type=click.IntRange(0), default=15, show_default=True)
@click.pass_obj
def qa(settings: Settings, recording: str | None, limit: int) -> None:
    """Measure the labels: agreement, annotators, cost, and what is probably wrong.

    Errors are looked for in RECORDING, or in all annotated recordings.
    """
    from pipelines.label_tables import print_label_quality

    print_label_quality(settings, recording, limit)
