"""Writing the sweeps of a recording: encoded on several cores, stored in their order."""

from __future__ import annotations

import json
import tempfile
from collections import deque
from collections.abc import Generator, Iterable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Final, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from scene.calibration import Calibration
from scene.errors import DataError
from scene.pose import Trajectory, matrix_to_quat, quat_to_matrix
from scene.sweep import Motion, Sweep
from storage import codec
from storage.file_digest import FileDigest
from storage.sweep_schema import INDEX, META_KEY, SWEEP_SCHEMA, calibration_to_dict

if TYPE_CHECKING:
    from storage.store import ObjectStore

ROWS: Final = 16  # rows handed to Parquet at once
_AHEAD: Final = 3  # sweeps a worker may be ahead of the file


@dataclass(frozen=True, slots=True)
class SweepsSummary:
    """What was written.

    Attributes:
        digest: sha256 of the file, hex.
        num_sweeps, num_points: how much is inside.
        size_bytes: length of the file.
    """

    digest: str
    num_sweeps: int
    num_points: int
    size_bytes: int


class SweepRow(NamedTuple):
    """One encoded sweep.

    Attributes:
        timestamp_ns: start of the revolution.
        num_points: how many it has.
        points: its bytes, see `storage.codec`.
    """

    timestamp_ns: int
    num_points: int
    points: bytes


def encode_rows(
    sweeps: Iterable[Sweep], step_m: float = codec.DEFAULT_STEP_M, workers: int = 1
) -> Generator[SweepRow, None, None]:
    """Yield the sweeps encoded, in their order, whatever the number of workers.

    With more than one worker sweeps are encoded while the next are read; a few are in memory.

    Raises:
        DataError: if a sweep cannot be stored; see `storage.codec.encode`.
    """

    def encode(sweep: Sweep) -> SweepRow:
        return SweepRow(sweep.timestamp_ns, len(sweep), codec.encode(sweep, step_m=step_m))

    if workers < 2:
        yield from map(encode, sweeps)
        return
    waiting: deque[Future[SweepRow]] = deque()
    with ThreadPoolExecutor(workers, "encode") as pool:
        for sweep in sweeps:
            waiting.append(pool.submit(encode, sweep))
            if len(waiting) > _AHEAD * workers:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()


class SweepWriter:
    """A sweeps file that is being written. Use as a context manager, then ask for the summary."""

    def __init__(
        self,
        path: Path,
        trajectory: Trajectory,
        calibration: Calibration,
        *,
        sensor: str,
        step_m: float = codec.DEFAULT_STEP_M,
        motion: Motion = "unknown",
        compensated_by: str = "",
    ) -> None:
        """Create the file; arguments are those of `write_sweeps`."""
        meta = {"version": 1, "sensor": sensor, "step_m": step_m}
        meta |= calibration_to_dict(calibration)
        if motion != "unknown":
            meta["motion"] = motion
        if compensated_by:
            meta["compensated_by"] = compensated_by
        encoded = json.dumps(meta, sort_keys=True).encode()
        self._schema = SWEEP_SCHEMA.with_metadata({META_KEY: encoded})
        self._trajectory = trajectory
        self._last_ns: int | None = None
        self._num_sweeps = self._num_points = 0
        self._file = pq.ParquetWriter(
            path,
            self._schema,
            compression="none",
            use_dictionary=False,
            write_statistics=list(INDEX),  # pyright: ignore[reportArgumentType]
            store_schema=True,
            data_page_size=1 << 40,
        )
        self._digest = FileDigest(path)
        self._found: tuple[str, int] | None = None

    def write(self, rows: Sequence[SweepRow]) -> None:
        """Append rows.

        Raises:
            DataError: if times do not strictly increase.
            FrameError: if a sweep lies outside the trajectory.
        """
        if not rows:
            return
        for row in rows:
            self._follows(row.timestamp_ns)
            self._num_sweeps += 1
            self._num_points += row.num_points
        times = np.array([row.timestamp_ns for row in rows], dtype=np.int64)
        poses = self._trajectory.interpolate(times)
        columns = [
            pa.array(times),
            pa.array([row.num_points for row in rows], pa.int64()),
            *map(pa.array, matrix_to_quat(quat_to_matrix(poses.quat_wxyz)).T),
            *map(pa.array, poses.translation_m.T),
            pa.chunked_array([_binary(row.points) for row in rows]),
        ]
        self._file.write_table(pa.Table.from_arrays(columns, schema=self._schema), row_group_size=1)
        self._digest.advance()

    def summary(self) -> SweepsSummary:
        """Return what the closed file holds.

        Raises:
            RuntimeError: if it is not closed, or was not completed.
        """
        if self._found is None:
            raise RuntimeError("a sweeps file that is not complete has no digest")
        digest, size = self._found
        return SweepsSummary(digest, self._num_sweeps, self._num_points, size)

    def _follows(self, timestamp_ns: int) -> None:
        if self._last_ns is not None and timestamp_ns <= self._last_ns:
            raise DataError(
                f"sweep {self._num_sweeps} at {timestamp_ns} ns does not follow "
                f"{self._last_ns} ns: times must strictly increase"
            )
        self._last_ns = timestamp_ns

    def __enter__(self) -> SweepWriter:
        """Return itself."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Write the footer."""
        try:
            self._file.close()
            if error is None:
                self._found = self._digest.finish()
        finally:
            self._digest.close()


def write_sweeps(
    store: ObjectStore,
    key: str,
    sweeps: Iterable[Sweep],
    trajectory: Trajectory,
    calibration: Calibration,
    *,
    sensor: str,
    step_m: float = codec.DEFAULT_STEP_M,
    motion: Motion = "unknown",
    compensated_by: str = "",
    workers: int = 1,
) -> SweepsSummary:
    """Write sweeps as one object, all or nothing; the same input gives the same bytes.

    Holds a few sweeps in memory: rows go to a temporary file, which is then uploaded.

    Args:
        store: where to.
        key: see `storage.layout.sweeps`.
        sweeps: in time order, ego frame.
        trajectory: `map_SE3_ego`; every row holds the pose interpolated at its time.
        calibration: kept in the file's metadata.
        sensor: name of the lidar in `calibration`.
        step_m: resolution of coordinates, see `storage.codec`.
        motion: whether the points are motion compensated, see `scene.sweep`.
        compensated_by: who did that: "source" or "ingest"; what ingest did can be undone with the
            stored poses, see `recordings.geometry.deskew.undo`.
        workers: threads that encode beside the one that reads.

    Raises:
        DataError: if there is no sweep, times do not strictly increase, or points are not finite.
        FrameError: if a sweep lies outside the trajectory.
    """
    with tempfile.TemporaryDirectory(prefix="starloop-") as folder:
        path = Path(folder) / "sweeps.parquet"
        file = SweepWriter(
            path, trajectory, calibration,
            sensor=sensor, step_m=step_m, motion=motion, compensated_by=compensated_by,
        )  # fmt: skip
        try:
            with file, closing(encode_rows(sweeps, step_m, workers)) as rows:
                while batch := list(islice(rows, ROWS)):
                    file.write(batch)
        except DataError as error:
            raise type(error)(f"{key}: {error}") from error
        summary = file.summary()
        if not summary.num_sweeps:
            raise DataError(f"{key}: the recording holds no readable sweep")
        store.put_file(key, path, given_sha256=summary.digest)
    return summary


def _binary(data: bytes) -> pa.Array:
    """Return a column of one value without copying it."""
    offsets = pa.py_buffer(np.array([0, len(data)], np.int64))
    return pa.Array.from_buffers(pa.large_binary(), 1, [None, offsets, pa.py_buffer(data)])
