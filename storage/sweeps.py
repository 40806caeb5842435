"""Canonical sweeps of a recording: one Parquet file, one row group a sweep.

Ordinary columns (time, count, pose) can be queried by any Parquet reader; `points` holds one sweep
in the point codec (`docs/point-codec.md`) and is not compressed again. The footer's statistics of
one-row groups are the values themselves, so opening a file reads its footer and nothing else, and
reading a sweep fetches the bytes of that sweep.
"""

from __future__ import annotations

import hashlib
import io
import json
import tempfile
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from scene.calibration import Calibration, Intrinsics
from scene.errors import DataError, FormatError
from scene.pose import SE3, Trajectory
from scene.sweep import Motion, Sweep
from scene.types import Float64, Int64
from storage import codec

if TYPE_CHECKING:
    from storage.store import ObjectStore

_POSE: Final = ("qw", "qx", "qy", "qz", "tx_m", "ty_m", "tz_m")  # map_SE3_ego
SWEEP_SCHEMA: Final = pa.schema(
    [
        pa.field("timestamp_ns", pa.int64(), nullable=False),
        pa.field("num_points", pa.int64(), nullable=False),
        *(pa.field(name, pa.float64(), nullable=False) for name in _POSE),
        pa.field("points", pa.large_binary(), nullable=False),
    ]
)
_INDEX: Final = ("timestamp_ns", "num_points", *_POSE)
_POSE_SCHEMA: Final = pa.schema([SWEEP_SCHEMA.field(n) for n in ("timestamp_ns", *_POSE)])
_META: Final = b"starloop"


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
) -> SweepsSummary:
    """Write sweeps as one object, all or nothing; the same input gives the same bytes.

    Holds one sweep in memory: rows go to a temporary file, which is then uploaded.

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
            stored poses, see `recordings.deskew.undo`.

    Raises:
        DataError: if there is no sweep, times do not strictly increase, or points are not finite.
        FrameError: if a sweep lies outside the trajectory.
    """
    meta = {"version": 1, "sensor": sensor, "step_m": step_m, **_calibration_to_dict(calibration)}
    if motion != "unknown":
        meta["motion"] = motion
    if compensated_by:
        meta["compensated_by"] = compensated_by
    schema = SWEEP_SCHEMA.with_metadata({_META: json.dumps(meta, sort_keys=True).encode()})
    num_sweeps = num_points = 0
    last_ns: int | None = None
    with tempfile.TemporaryDirectory(prefix="starloop-") as folder:
        path = Path(folder) / "sweeps.parquet"
        with _writer(path, schema) as writer:
            for sweep in sweeps:
                if last_ns is not None and sweep.timestamp_ns <= last_ns:
                    raise DataError(
                        f"{key}: sweep {num_sweeps} at {sweep.timestamp_ns} ns does not follow "
                        f"{last_ns} ns: times must strictly increase"
                    )
                writer.write_table(_row(sweep, trajectory, schema, step_m), row_group_size=1)
                last_ns = sweep.timestamp_ns
                num_sweeps += 1
                num_points += len(sweep)
        if not num_sweeps:
            raise DataError(f"{key}: the recording holds no readable sweep")
        size_bytes = path.stat().st_size
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        store.put_file(key, path)
    return SweepsSummary(digest, num_sweeps, num_points, size_bytes)


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
            self._file = pq.ParquetFile(self._handle)
            meta = json.loads((self._file.metadata.metadata or {})[_META])
            index = _read_index(self._file.metadata)
        except (pa.ArrowException, OSError, KeyError, ValueError) as error:
            self._handle.close()
            raise FormatError(f"{key}: not a Starloop sweeps file ({error!r})") from error
        self.timestamps_ns: Int64 = index[0].astype(np.int64)
        self.num_points: Int64 = index[1].astype(np.int64)
        self.sensor = str(meta["sensor"])
        self.calibration = _calibration_from_dict(meta)
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
        if not 0 <= index < len(self):
            raise IndexError(f"{self.key}: sweep {index} of {len(self)}")
        try:
            row = self._file.read_row_group(index, columns=["points"])
            return codec.decode(row.column("points")[0].as_py(), int(self.timestamps_ns[index]))
        except (pa.ArrowException, OSError, FormatError) as error:
            raise FormatError(f"{self.key}: sweep {index}: {error}") from error

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


def _writer(path: Path, schema: pa.Schema) -> pq.ParquetWriter:
    """Open a file for one-row groups with exact statistics of the index columns."""
    return pq.ParquetWriter(
        path,
        schema,
        compression="none",
        use_dictionary=False,
        write_statistics=list(_INDEX),  # pyright: ignore[reportArgumentType]
        store_schema=True,
        data_page_size=1 << 40,
    )


def _row(sweep: Sweep, trajectory: Trajectory, schema: pa.Schema, step_m: float) -> pa.Table:
    """Return one sweep as a table of one row."""
    pose = trajectory.at(sweep.timestamp_ns)
    points = codec.encode(sweep, step_m=step_m)
    values = [sweep.timestamp_ns, len(sweep), *pose.quat_wxyz, *pose.translation_m, points]
    arrays = [pa.array([v], type=f.type) for v, f in zip(values, schema, strict=True)]
    return pa.Table.from_arrays(arrays, schema=schema)


def _read_index(metadata: pq.FileMetaData) -> list[Float64 | Int64]:
    """Return the index columns from the statistics of the one-row groups."""
    if metadata.num_rows != metadata.num_row_groups:
        raise ValueError(f"{metadata.num_rows} rows in {metadata.num_row_groups} row groups")
    columns: list[list[Any]] = [[] for _ in _INDEX]
    for number in range(metadata.num_row_groups):
        group = metadata.row_group(number)
        for position, values in enumerate(columns):
            statistics = group.column(position).statistics
            if statistics is None or not statistics.has_min_max:
                raise ValueError(f"row group {number} has no statistics of {_INDEX[position]}")
            values.append(statistics.min)
    return [np.array(values) + 0 for values in columns]  # statistics write 0.0 as -0.0


def _trajectory(timestamps_ns: Int64, pose: Float64) -> Trajectory:
    """Make a trajectory of (T, 7) quaternions and translations."""
    return Trajectory(timestamps_ns, pose[:, :4].copy(), pose[:, 4:].copy())


def _calibration_to_dict(calibration: Calibration) -> dict[str, Any]:
    """Return rotations (row by row) and translations as plain numbers; floats keep every bit."""
    values: dict[str, Any] = {
        "calibration": {
            name: [*pose.rotation.ravel().tolist(), *pose.translation_m.tolist()]
            for name, pose in sorted(calibration.ego_SE3_sensor.items())
        },
        "assumed": sorted(calibration.assumed),
    }
    if calibration.cameras:
        values["cameras"] = {
            name: {
                "width_px": camera.width_px,
                "height_px": camera.height_px,
                "matrix": camera.matrix.ravel().tolist(),
                "distortion": camera.distortion.tolist(),
                "model": camera.model,
            }
            for name, camera in sorted(calibration.cameras.items())
        }
    return values


def _calibration_from_dict(meta: dict[str, Any]) -> Calibration:
    """Undo `_calibration_to_dict`."""
    poses = {name: np.array(values) for name, values in meta["calibration"].items()}
    return Calibration(
        {name: SE3(v[:9].reshape(3, 3), v[9:]) for name, v in poses.items()},
        frozenset(meta["assumed"]),
        {name: _intrinsics(values) for name, values in meta.get("cameras", {}).items()},
    )


def _intrinsics(values: dict[str, Any]) -> Intrinsics:
    matrix = np.array(values["matrix"], dtype=np.float64).reshape(3, 3)
    distortion = np.array(values["distortion"], dtype=np.float64)
    return Intrinsics(values["width_px"], values["height_px"], matrix, distortion, values["model"])
