"""What `starloop export` shows."""

from __future__ import annotations

import re
from collections.abc import Callable
from contextlib import ExitStack

import click

from loop.export import ExportRequest, run_export
from pipelines.progress import Progress
from pipelines.settings import Settings
from recordings.export.run import ExportResult
from recordings.recording import Recording


def frames_range(text: str | None) -> tuple[int, int | None]:
    """Read START:STOP.

    Raises:
        click.BadParameter: if it is something else.
    """
    if text is None:
        return 0, None
    match = re.fullmatch(r"(\d*):(\d*)", text.strip())
    if not match:
        raise click.BadParameter(f"{text!r} is not START:STOP, such as 100:200, :50 or 100:")
    start, stop = int(match[1] or 0), int(match[2]) if match[2] else None
    if stop is not None and stop <= start:
        raise click.BadParameter(f"{text!r}: STOP is not counted in, so it must be above START")
    return start, stop


def run(settings: Settings, request: ExportRequest) -> None:
    """Export, showing how far it is, then what was written and what was lost."""
    progress = Progress()
    with ExitStack() as stack:
        stage = None

        def started(recording: Recording, total: int | None) -> Callable[[int, str], None]:
            nonlocal stage
            del recording
            stage = stack.enter_context(progress.stage("export", total or 0))
            shown = stage

            def advance(count: int, what: str) -> None:
                if total:
                    shown.advance(what)
                else:
                    shown.say(f"sweep {count}  {what}")

            return advance

        result = run_export(settings.workspace, request, started)
        if stage is not None:
            stage.done(_summary(result))
    progress.say(f"written to {result.folder}")
    for line in result.damage:
        progress.warn(f"not readable: {line}")
    for line in result.losses:
        progress.warn(f"not kept: {line}")


def _summary(result: ExportResult) -> str:
    parts = [f"{result.num_sweeps} sweeps", f"{result.num_points:,} points"]
    parts += [f"{result.num_boxes} boxes"] if result.num_boxes else []
    parts += [f"{result.num_images} images"] if result.num_images else []
    return f"{result.recording} as {result.format}: {', '.join(parts)}, {_size(result.size_bytes)}"


def _size(size_bytes: int) -> str:
    return f"{size_bytes / 1e6:.1f} MB" if size_bytes < 1e9 else f"{size_bytes / 1e9:.2f} GB"
