"""Where the CPU time of an ingest goes, and the least that it could take."""

from __future__ import annotations

import statistics
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np

from benchmarks import peers
from benchmarks.drive import write_drive
from benchmarks.harness import BenchRow, cpu_seconds
from benchmarks.ingest import clear, ingest
from recordings.open import open_recording
from recordings.rules.quality import Facts, QualityCheck
from scene.recording import RecordingId
from storage import codec, codec_envelope, memory
from storage.local import LocalStore
from storage.sweep_writer import ROWS, SweepWriter, encode_rows

_NAME = RecordingId("drive")
_ROUNDS = 7
_FLOOR = ("decompress", "columns", "zstd", "write")


def rows() -> list[BenchRow]:
    """Measure the stages."""
    with memory.reused(), tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        path = folder / "drive.mcap"
        num_points, _ = write_drive(path)
        return [_stage_row(folder, path, num_points)]


def _stage_row(folder: Path, path: Path, num_points: int) -> BenchRow:
    """Run all stages in turn, several times, beside the whole and the peer."""
    store = LocalStore(folder / "store")
    runs = stages(folder, path, store)
    runs["ours"] = lambda: ingest(path, store)
    runs["peer"] = lambda: peers.to_list_parquet(path, folder / "peer.parquet", careful=False)
    for run in runs.values():
        run()

    def measured(run: Callable[[], object]) -> float:
        clear(store)
        return cpu_seconds(run)

    rounds = [{name: measured(run) for name, run in runs.items()} for _ in range(_ROUNDS)]
    ms = {name: statistics.median(one[name] for one in rounds) * 1e3 for name in runs}
    floor = statistics.median(sum(one[name] for name in _FLOOR) for one in rounds) * 1e3
    share = statistics.median(sum(o[name] for name in _FLOOR) / o["ours"] for o in rounds)
    note = (
        f"{num_points:,} points. ms of CPU: reading and decompressing {ms['decompress']:.0f}, "
        f"checking, keeping and reading poses {ms['open'] - ms['decompress']:.0f}, decoding to the "
        f"ego frame {ms['decode']:.0f}, kernels of the codec {ms['encode'] - ms['zstd']:.0f}, zstd "
        f"of the planes {ms['zstd']:.0f}, writing, hashing and syncing {ms['write']:.0f}; beside "
        f"it, in `starloop ingest`, sanity rules {ms['rules']:.0f}. The floor, without any codec, "
        "is decompressing, copying the fields of the points out of their records once "
        f"({ms['columns']:.0f}), zstd and writing: {ms['decompress'] / floor:.2f} of "
        f"decompressing alone and {ms['peer'] / floor:.1f} times "
        f"the mcap_ros2 + pyarrow defaults ({ms['peer']:.0f} ms), where ours is "
        f"{ms['decompress'] / ms['ours']:.2f} and {ms['peer'] / ms['ours']:.1f} times. Five times "
        f"would leave {(ms['peer'] / 5 - floor) * 1e6 / num_points:.0f} ns a point for checks, "
        "decoding and the kernels of the codec"
    )
    return BenchRow(
        "stages of ingest", "Starloop", "the floor", ms["ours"], floor, "ms CPU", share, note
    )


def stages(folder: Path, path: Path, store: LocalStore) -> dict[str, Callable[[], object]]:
    """Return the stages of an ingest by name, each on what the one before gives.

    "open" begins with "decompress", and "encode" ends with "zstd".
    """
    recording = open_recording(path, _NAME)
    sweeps = list(recording.sweeps())
    encoded = list(encode_rows(sweeps))
    planes = [_planes(row.points) for row in encoded]
    records = [points for _, points in peers.clouds(path)]

    def check() -> None:
        rules = QualityCheck(Facts.of(recording))
        for sweep in sweeps:
            rules.add(sweep)
        rules.finish()

    def write() -> None:
        file = SweepWriter(
            folder / "stage.parquet", recording.trajectory, recording.calibration,
            sensor=recording.sensor,
        )  # fmt: skip
        with file:
            for at in range(0, len(encoded), ROWS):
                file.write(encoded[at : at + ROWS])
        store.put_file("stage", folder / "stage.parquet", given_sha256=file.summary().digest)

    return {
        "decompress": lambda: peers.decompress_only(path),
        "open": lambda: open_recording(path, _NAME),
        "decode": lambda: [len(sweep) for sweep in recording.sweeps()],
        "encode": lambda: [len(codec.encode(sweep)) for sweep in sweeps],
        "zstd": lambda: [len(codec_envelope.seal(*one)) for one in planes],
        "columns": lambda: [len(peers.columns_only(points)) for points in records],
        "write": write,
        "rules": check,
    }


def _planes(data: bytes) -> tuple[codec_envelope.Header, list[np.ndarray]]:
    header, streams = codec_envelope.unseal(data)
    return header, [np.frombuffer(stream, np.uint8) for stream in streams]
