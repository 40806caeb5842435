"""Canonical sweeps of a recording: one Parquet file, one row group a sweep.

Ordinary columns (time, count, pose) can be queried by any Parquet reader; `points` holds one sweep
in the point codec (`docs/point-codec.md`) and is not compressed again. The footer's statistics of
one-row groups are the values themselves, so opening a file reads its footer and nothing else, and
reading a sweep fetches the bytes of that sweep.
"""

from __future__ import annotations

import io
import json
from types import TracebackType
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from scene.errors import DataError, FormatError
from scene.pose import SE3, Trajectory
from scene.sweep import Motion, Sweep
from scene.types import Float64, Int64
from storage import codec
from storage.sweep_schema import INDEX, META_KEY, POSE, SWEEP_SCHEMA, calibration_from_dict
from storage.sweep_writer import SweepsSummary, write_sweeps

if TYPE_CHECKING:
    from storage.store import ObjectStore

__all__ = [
    "SWEEP_SCHEMA", "SweepFile", "SweepsSummary", "read_poses", "write_poses", "write_sweeps",
]  # fmt: skip

_POSE_SCHEMA: Final = pa.schema([SWEEP_SCHEMA.field(n) for n in ("timestamp_ns", *POSE)])


class SweepFile:
    """Random access to the sweeps of one recording. Use as a context manager, or `close`.

    Attributes:
        key: the object that is read.
        timestamps_ns: (T,) int64, strictly increasing.
        num_points: (T,) int64.
        sensor: name of the lidar in `calibration`.
        calibration: as it was when the recording was ingested.
        motion: whether the points are motion compensated.
        compensated_by: "source", "ingest", or empty where nobody did or said so.
        trajectory: `map_SE3_ego` at the sweep times.
    """

    def __init__(self, store: ObjectStore, key: str) -> None:
        """Open the object and read its footer.

        Raises:
            NotFoundError: if there is no such object.
            FormatError: if it is not a file that `write_sweeps` wrote.
        """
        self.key = key
        self._handle = store.open(key)
        try:
            # Parquet knows exactly what it wants; reading ahead would fetch half a sweep more.
            self._file = pq.ParquetFile(getattr(self._handle, "raw", self._handle))
            meta = json.loads((self._file.metadata.metadata or {})[META_KEY])
            index = _read_index(self._file.metadata)
        except (pa.ArrowException, OSError, KeyError, ValueError) as error:
            self._handle.close()
            raise FormatError(f"{key}: not a Starloop sweeps file ({error!r})") from error
        self.timestamps_ns: Int64 = index[0].astype(np.int64)
        self.num_points: Int64 = index[1].astype(np.int64)
        self.sensor = str(meta["sensor"])
        self.calibration = calibration_from_dict(meta)
        self.motion: Motion = meta.get("motion", "unknown")
        self.compensated_by = str(meta.get("compensated_by", ""))
        self.trajectory = _trajectory(
            self.timestamps_ns, np.stack(index[2:], axis=1).astype(np.float64)
        )

    def __len__(self) -> int:
        """Return the number of sweeps."""
        return len(self.timestamps_ns)

    def map_SE3_ego(self, index: int) -> SE3:
        """Return the ego pose of one sweep."""
        track = self.trajectory
        return SE3.from_quaternion(track.quat_wxyz[index], track.translation_m[index])

    def read(self, index: int) -> Sweep:
        """Return one sweep.

        Raises:
            FormatError: if its bytes are damaged.
            IndexError: if there is no such row.
        """
        try:
            return codec.decode(self.read_encoded(index), int(self.timestamps_ns[index]))
        except FormatError as error:
            raise FormatError(f"{self.key}: sweep {index}: {error}") from error

    def read_encoded(self, index: int) -> bytes:
        """Return the bytes of one sweep as they are stored, in the point codec.

        Raises:
            FormatError: if they cannot be read.
            IndexError: if there is no such row.
        """
        if not 0 <= index < len(self):
            raise IndexError(f"{self.key}: sweep {index} of {len(self)}")
        try:
            row = self._file.read_row_group(index, columns=["points"])
        except (pa.ArrowException, OSError) as error:
            raise FormatError(f"{self.key}: sweep {index}: {error}") from error
        return row.column("points")[0].as_py()

    def index_of(self, timestamp_ns: int) -> int:
        """Return the row of the sweep that starts exactly then.

        Raises:
            DataError: if there is none.
        """
        index = int(np.searchsorted(self.timestamps_ns, timestamp_ns))
        if index == len(self) or int(self.timestamps_ns[index]) != timestamp_ns:
            raise DataError(f"{self.key}: no sweep at {timestamp_ns} ns")
        return index

    def close(self) -> None:
        """Let go of the object."""
        self._file.close()
        self._handle.close()

    def __enter__(self) -> SweepFile:
        """Return itself."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Close."""
        self.close()


def write_poses(store: ObjectStore, key: str, trajectory: Trajectory) -> None:
    """Write `map_SE3_ego` at full rate as Parquet."""
    columns = [trajectory.timestamps_ns, *trajectory.quat_wxyz.T, *trajectory.translation_m.T]
    table = pa.Table.from_arrays([pa.array(c) for c in columns], schema=_POSE_SCHEMA)
    buffer = io.BytesIO()
    pq.write_table(table, buffer, compression="zstd", use_dictionary=False)
    store.put(key, buffer.getvalue())


def read_poses(store: ObjectStore, key: str) -> Trajectory:
    """Return what `write_poses` wrote.

    Raises:
        NotFoundError: if there is no such object.
        FormatError: if it is something else.
    """
    data = store.get(key)
    try:
        table = pq.read_table(pa.BufferReader(data), columns=_POSE_SCHEMA.names)
        columns = [table.column(name).to_numpy() for name in _POSE_SCHEMA.names]
    except (pa.ArrowException, OSError, KeyError) as error:
        raise FormatError(f"{key}: not a Starloop pose file ({error!r})") from error
    return _trajectory(columns[0], np.stack(columns[1:], axis=1))


def _read_index(metadata: pq.FileMetaData) -> list[Float64 | Int64]:
    """Return the index columns from the statistics of the one-row groups."""
    if metadata.num_rows != metadata.num_row_groups:
        raise ValueError(f"{metadata.num_rows} rows in {metadata.num_row_groups} row groups")
    columns: list[list[Any]] = [[] for _ in INDEX]
    for number in range(metadata.num_row_groups):
        group = metadata.row_group(number)
        for position, values in enumerate(columns):
            statistics = group.column(position).statistics
            if statistics is None or not statistics.has_min_max:
                raise ValueError(f"row group {number} has no statistics of {INDEX[position]}")
            values.append(statistics.min)
    return [np.array(values) + 0 for values in columns]  # statistics write 0.0 as -0.0


def _trajectory(timestamps_ns: Int64, pose: Float64) -> Trajectory:
    """Make a trajectory of (T, 7) quaternions and translations."""
    return Trajectory(timestamps_ns, pose[:, :4].copy(), pose[:, 4:].copy())
