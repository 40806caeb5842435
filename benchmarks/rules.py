"""What all sanity rules together cost, beside reading and storing the same sweeps."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

from benchmarks.drive import write_drive
from benchmarks.harness import BenchRow, interleave
from recordings.open import open_recording
from recordings.rules.quality import RULES, Facts, QualityCheck
from scene.recording import RecordingId
from scene.sweep import Sweep
from storage.local import LocalStore
from storage.sweeps import write_sweeps


def rows() -> list[BenchRow]:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        num_points, _ = write_drive(folder / "drive.mcap")
        store = LocalStore(folder / "store")
        checked, plain, ratio = interleave(
            lambda: _store(folder / "drive.mcap", store, rules=True),
            lambda: _store(folder / "drive.mcap", store, rules=False),
        )
    note = (
        f"{len(RULES)} rules, {num_points:,} points of a 64-beam lidar; CPU time of all threads; "
        f"the rules take {1 - ratio:.0%} of it"
    )
    return [
        BenchRow(
            "storing with sanity rules", "all rules", "no rules", checked * 1e3, plain * 1e3,
            "ms CPU", ratio, note,
        )
    ]  # fmt: skip


def _store(path: Path, store: LocalStore, *, rules: bool) -> None:
    recording = open_recording(path, RecordingId("drive"))
    check = QualityCheck(Facts.of(recording))

    def sweeps() -> Iterator[Sweep]:
        for sweep in recording.sweeps():
            if rules:
                check.add(sweep)
            yield sweep

    write_sweeps(
        store, "sweeps.parquet", sweeps(), recording.trajectory, recording.calibration,
        sensor=recording.sensor,
    )  # fmt: skip
    check.finish()
