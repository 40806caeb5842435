"""What recordings and stores are compared with: the usual ways, written out."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numba
import numpy as np
import zstandard

from benchmarks.drive import LIDAR, POINT

_KINDS = {"<f4": "float32", "<u2": "uint16", "<f8": "float64"}


def decompress_only(path: Path) -> None:
    """The limit: read the file and decompress its chunks, nothing else."""
    from mcap.records import Chunk
    from mcap.stream_reader import StreamReader

    unpack = zstandard.ZstdDecompressor().decompress
    with path.open("rb") as stream:
        for record in StreamReader(stream, emit_chunks=True).records:
            if isinstance(record, Chunk):
                unpack(record.data, max_output_size=record.uncompressed_size)


def clouds(path: Path) -> Iterator[tuple[int, np.ndarray]]:
    """Yield stamp and points of every cloud, decoded by mcap_ros2."""
    from mcap.reader import make_reader
    from mcap_ros2.decoder import DecoderFactory

    with path.open("rb") as stream:
        reader = make_reader(stream, decoder_factories=[DecoderFactory()])
        for _, _, _, message in reader.iter_decoded_messages(topics=[LIDAR]):
            stamp = message.header.stamp.sec * 10**9 + message.header.stamp.nanosec
            yield stamp, np.frombuffer(message.data, dtype=POINT)


def columns_only(points: np.ndarray) -> tuple[np.ndarray, ...]:
    """Return x, y, z, intensity, ring and time of (N,) points, copied out of their records."""
    num = len(points)
    columns = (
        np.empty((num, 3), np.float32), np.empty(num, np.float32), np.empty(num, np.uint16),
        np.empty(num, np.int32),
    )  # fmt: skip
    _copy_columns(points, points["t"][0] if num else 0.0, *columns)
    return columns


@numba.njit(cache=True, nogil=True)
def _copy_columns(
    points, begin_s, xyz_m, intensity, ring, offset_ns
):  # pragma: no cover - compiled
    for i in range(len(points)):
        point = points[i]
        xyz_m[i, 0], xyz_m[i, 1], xyz_m[i, 2] = point.x, point.y, point.z
        intensity[i], ring[i] = point.intensity, point.ring
        offset_ns[i] = np.int32((point.t - begin_s) * 1e9)


def to_list_parquet(path: Path, target: Path, *, careful: bool) -> None:
    """Write clouds as Parquet list columns, zstd, one row group a sweep.

    Args:
        path: the recording.
        target: the Parquet file.
        careful: without the dictionaries and statistics that pyarrow makes by default and that
            points cannot use.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    kinds = {name: getattr(pa, _KINDS[POINT[name].str])() for name in POINT.names or ()}
    schema = pa.schema(
        [pa.field("stamp", pa.int64()), *(pa.field(n, pa.list_(k)) for n, k in kinds.items())]
    )
    how: dict[str, Any] = {"use_dictionary": False, "write_statistics": False} if careful else {}
    with pq.ParquetWriter(target, schema, compression="zstd", **how) as writer:
        for stamp, points in clouds(path):
            offsets = pa.array([0, len(points)], pa.int32())
            lists = [
                pa.ListArray.from_arrays(offsets, pa.array(np.ascontiguousarray(points[n]), k))
                for n, k in kinds.items()
            ]
            table = pa.Table.from_arrays([pa.array([stamp], pa.int64()), *lists], schema=schema)
            writer.write_table(table, row_group_size=1)


def small_messages(path: Path) -> int:
    """Decode every message with mcap_ros2 and keep the numbers of those that are Imu."""
    from mcap.reader import make_reader
    from mcap_ros2.decoder import DecoderFactory

    rows = []
    with path.open("rb") as stream:
        reader = make_reader(stream, decoder_factories=[DecoderFactory()])
        for _, _, _, m in reader.iter_decoded_messages():
            turn, rate, force = m.orientation, m.angular_velocity, m.linear_acceleration
            values = (turn.w, turn.x, turn.y, turn.z, rate.x, rate.y, rate.z)
            rows.append((*values, force.x, force.y, force.z))
    return len(np.array(rows))
