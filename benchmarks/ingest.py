"""MCAP to what is stored, against the usual ways and against decompression alone."""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np

from benchmarks import peers
from benchmarks.drive import SWEEPS, write_drive, write_imu
from benchmarks.harness import BenchRow, interleave
from recordings.open import open_recording
from scene.recording import RecordingId
from storage import memory
from storage.local import LocalStore
from storage.sweeps import SweepFile, write_sweeps

_IMU = 60_000
_KEY = "sweeps.parquet"
_NAME = RecordingId("drive")


def rows() -> list[BenchRow]:
    """Measure ingest of points and of small messages, and reading one sweep again."""
    # For both sides, as `starloop ingest` has it; and both find the memory of the run before.
    with memory.reused(), tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        recording = folder / "drive.mcap"
        num_points, raw_bytes = write_drive(recording)
        found = _ingest_rows(folder, recording, num_points, raw_bytes)
        ingest(recording, LocalStore(folder / "store"))  # again: to be looked at and read
        peers.to_list_parquet(recording, folder / "tuned.parquet", careful=True)
        found += _size_rows(folder, num_points)
        return [*found, *_read_rows(folder), _small_row(folder)]


def _ingest_rows(folder: Path, recording: Path, num_points: int, raw_bytes: int) -> list[BenchRow]:
    store = LocalStore(folder / "store")
    note = (
        f"{SWEEPS} sweeps of {num_points / SWEEPS:.0f} points, {raw_bytes / 1e6:.0f} MB of "
        f"messages in a {recording.stat().st_size / 1e6:.0f} MB zstd MCAP; both sides use the "
        "memory of the run before again"
    )
    found = []
    for peer, text, run in (
        (
            "mcap_ros2 + pyarrow lists, defaults",
            "one row group a sweep, zstd, pyarrow's dictionaries and statistics",
            lambda: peers.to_list_parquet(recording, folder / "default.parquet", careful=False),
        ),
        (
            "mcap_ros2 + pyarrow lists, tuned",
            "the same without dictionaries and statistics",
            lambda: peers.to_list_parquet(recording, folder / "tuned.parquet", careful=True),
        ),
        (
            "decompress only",
            "the limit: read the file and decompress its chunks, keep nothing",
            lambda: peers.decompress_only(recording),
        ),
    ):
        ours, theirs, ratio = interleave(
            lambda: ingest(recording, store), run, rounds=7, before=lambda: clear(store)
        )
        speed = f"ours {raw_bytes / ours / 1e9:.2f} GB/s, {SWEEPS / ours:.0f} frames/s a core"
        found.append(
            BenchRow(
                "MCAP to stored sweeps",
                "Starloop",
                peer,
                raw_bytes / 1e6 / ours,
                raw_bytes / 1e6 / theirs,
                "MB/s of messages",
                ratio,
                f"{note}. {text}; {speed}.",
            )
        )
    return found


def _size_rows(folder: Path, num_points: int) -> list[BenchRow]:
    ours = (folder / "store" / _KEY).stat().st_size
    theirs = (folder / "tuned.parquet").stat().st_size
    hour = ours / SWEEPS * 10 * 3600 / 1e9
    note = (
        f"The same two files, {ours / theirs:.2f} of the peer's bytes; ours exact to 0.5 mm, times "
        f"and rings exact. An hour of this 64-beam lidar at 10 Hz takes {hour:.1f} GB, the "
        f"peer's {theirs / SWEEPS * 10 * 3600 / 1e9:.1f} GB."
    )
    return [
        BenchRow(
            "size of stored sweeps",
            "Starloop",
            "mcap_ros2 + pyarrow lists, tuned",
            ours / num_points,
            theirs / num_points,
            "bytes/point",
            theirs / ours,
            note,
        )
    ]


def _read_rows(folder: Path) -> list[BenchRow]:
    import pyarrow.parquet as pq

    rng = np.random.default_rng(0)
    theirs = pq.ParquetFile(folder / "tuned.parquet")
    store = LocalStore(folder / "store")

    def peer() -> None:
        for _ in range(8):
            table = theirs.read_row_group(int(rng.integers(SWEEPS)))
            np.stack([table[n].combine_chunks().values.to_numpy() for n in "xyz"], axis=1)

    with SweepFile(store, _KEY) as mine:

        def ours() -> None:
            for _ in range(8):
                mine.read(int(rng.integers(SWEEPS)))

        mine_s, theirs_s, ratio = interleave(ours, peer)
    note = (
        "both files kept open; all fields as numpy arrays; a ranged read "
        "fetches at most 1.01 times the bytes of the sweep (tests/unit/storage/test_sweeps.py)"
    )
    return [
        BenchRow(
            "one sweep at random",
            "Starloop",
            "pyarrow lists, one row group a sweep",
            mine_s * 1e3 / 8,
            theirs_s * 1e3 / 8,
            "ms CPU",
            ratio,
            note,
        )
    ]


def _small_row(folder: Path) -> BenchRow:
    path = folder / "imu.mcap"
    write_imu(path, _IMU)

    def ours() -> None:
        (signal,) = open_recording(path, _NAME).signals
        if len(signal.timestamps_ns) != _IMU:
            raise RuntimeError(f"{len(signal.timestamps_ns)} of {_IMU} messages read")

    mine, theirs, ratio = interleave(ours, lambda: peers.small_messages(path), rounds=3)
    note = f"{_IMU} sensor_msgs/Imu; ours includes opening the recording and sorting by time"
    return BenchRow(
        "small messages", "Starloop", "mcap_ros2", _IMU / mine / 1e3, _IMU / theirs / 1e3,
        "thousand messages/s", ratio, note,
    )  # fmt: skip


def clear(store: LocalStore) -> None:
    """Remove what runs before have written: to replace a file costs the time to free its blocks."""
    for stat in list(store.list()):
        store.delete(stat.key)
    for path in store.root.parent.glob("*.parquet"):
        path.unlink()


def ingest(path: Path, store: LocalStore, *, num_sweeps: int = SWEEPS, workers: int = 1) -> None:
    """The real path: read, decode, bring to the ego frame, encode, store."""
    recording = open_recording(path, _NAME)
    summary = write_sweeps(
        store, _KEY, recording.sweeps(), recording.trajectory, recording.calibration,
        sensor=recording.sensor, workers=workers,
    )  # fmt: skip
    if summary.num_sweeps != num_sweeps or recording.damage:
        raise RuntimeError(f"not everything was read: {summary}, {recording.damage}")
