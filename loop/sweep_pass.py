"""One pass over the sweeps of a recording: looked at, encoded, stored, and resumable."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Final

from loop.parts import Parts, freeze, thaw
from loop.sweep_watch import SweepWatch
from recordings.prepare import compensated_by
from recordings.recording import Recording
from scene.sweep import Sweep
from storage.sweep_writer import ROWS, SweepRow, SweepsSummary, SweepWriter, encode_rows

PART_POINTS: Final = 8_000_000  # about 30 MB in the bucket, half a minute of a 64-beam lidar


def store_sweeps(
    path: Path,
    opened: Recording,
    watch: SweepWatch,
    parts: Parts,
    workers: int = 1,
    part_points: int | None = None,
) -> SweepsSummary:
    """Write the sweeps file of a recording; goes on where a killed pass left its last part.

    The file is the same whether the pass was interrupted or not, and with any number of workers.

    Args:
        path: the file.
        opened: the recording.
        watch: sees every sweep once, in order.
        parts: where finished parts are kept.
        workers: threads that encode beside the one that reads.
        part_points: a part ends with the sweep that brings it to so many points; None: PART_POINTS.

    Raises:
        DataError: if a sweep cannot be stored.
    """
    part_points = part_points or PART_POINTS
    known = _known(opened)
    told = len(opened.damage)
    writer = SweepWriter(
        path, opened.trajectory, opened.calibration,
        sensor=opened.sensor, motion=opened.motion, compensated_by=compensated_by(opened),
    )  # fmt: skip
    with writer:
        last: bytes | None = None
        part: list[SweepRow]
        for part, state in parts.load():
            writer.write(part)
            last = state
        if last is not None:
            watch.state, damage, position = thaw(last, known)
            opened.damage[told:] = damage
            opened.go_to(position)
        sweeps = _seen(opened, watch)
        while True:
            part = []
            rows = encode_rows(_some(sweeps, part_points), workers=workers)
            while batch := list(islice(rows, ROWS)):
                writer.write(batch)
                part += batch
            if sum(row.num_points for row in part) < part_points:
                break
            position = opened.position()
            now = (watch.state, opened.damage[told:], position)
            frozen = None if position is None else freeze(now, known)
            if frozen is not None:
                parts.save(part, frozen)
    return writer.summary()


def _known(opened: Recording) -> dict[str, object]:
    """Return what a later process gets by opening the recording again."""
    names = ("damage", "trajectory", "calibration", "ground_truth", "signals", "topics")
    return {name: value for name in names if (value := getattr(opened, name)) is not None}


def _seen(opened: Recording, watch: SweepWatch) -> Iterator[Sweep]:
    for sweep in opened.sweeps():
        watch.see(sweep)
        yield sweep


def _some(sweeps: Iterator[Sweep], num_points: int) -> Iterator[Sweep]:
    """Yield sweeps until they hold so many points; the next is not asked for."""
    for sweep in sweeps:
        yield sweep
        num_points -= len(sweep)
        if num_points <= 0:
            return
