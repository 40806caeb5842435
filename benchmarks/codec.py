"""The point codec on real clouds: bytes a point and speed, against the usual ways to store them."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import zstandard

from benchmarks.harness import BenchRow, interleave
from recordings.clouds.pcd_file import read_points
from scene.sweep import Sweep
from storage import codec

_DATA = Path(__file__).resolve().parents[2] / "shared" / "data"
_PCD = "pcd/cloudini_lidar_xyzi.pcd"
_PANDASET = "av2_layout/pandaset_002/sensors/lidar"
_STEP_M = 0.001
_REPEATS = 5  # calls a round: one takes a few milliseconds


class Peer(NamedTuple):
    """Another way to store the columns of a cloud.

    Attributes:
        name: of it.
        keeps: what comes back.
        encode, decode: from a structured array to bytes, and back to columns.
    """

    name: str
    keeps: str
    encode: Callable[[np.ndarray], bytes]
    decode: Callable[[bytes], object]


def rows() -> list[BenchRow]:
    """Measure every cloud that is here against every peer."""
    found = []
    for name, sweep in _clouds():
        table = _table(sweep)
        found += [_row(name, sweep, table, peer) for peer in _peers(table)]
    if not found:
        print(f"point codec: left out, no real clouds in {_DATA}")
    return found


def _row(name: str, sweep: Sweep, table: np.ndarray, peer: Peer) -> BenchRow:
    mine, theirs = codec.encode(sweep, step_m=_STEP_M), peer.encode(table)

    def times(function: Callable[[], object]) -> Callable[[], None]:
        def run() -> None:
            for _ in range(_REPEATS):
                function()

        return run

    speeds = []
    for what, ours, other in (
        ("encode", lambda: codec.encode(sweep, step_m=_STEP_M), lambda: peer.encode(table)),
        ("decode", lambda: codec.decode(mine, 0), lambda: peer.decode(theirs)),
    ):
        ours_s, peer_s, ratio = interleave(times(ours), times(other))
        mb = table.nbytes * _REPEATS / 1e6
        speeds.append(f"{what} {mb / ours_s:.0f} and {mb / peer_s:.0f} MB/s ({ratio:.2f} x)")
    note = (
        f"{len(sweep)} points of {table.itemsize} bytes ({', '.join(table.dtype.names or ())}); "
        f"ours to 0.5 mm, intensity in 255 steps, times exact; peer {peer.keeps}; "
        f"{', '.join(speeds)}"
    )
    return BenchRow(
        f"point codec, {name}",
        "Starloop",
        peer.name,
        len(mine) / len(sweep),
        len(theirs) / len(sweep),
        "bytes/point",
        len(theirs) / len(mine),
        note,
    )


def _clouds() -> Iterator[tuple[str, Sweep]]:
    """Yield the real clouds that lie beside the checkout."""
    path = _DATA / _PCD
    if path.exists():
        raw = read_points(path)
        intensity = np.zeros(len(raw.xyz_m), np.float32) if raw.intensity is None else raw.intensity
        still = np.zeros(len(raw.xyz_m), np.int32)
        yield "cloudini's sample", Sweep(0, raw.xyz_m, intensity.astype(np.float32), still)
    files = sorted((_DATA / _PANDASET).glob("*.feather"))
    if files:
        import pyarrow.feather as feather

        table = feather.read_table(files[0])
        xyz = np.stack([table[c].to_numpy().astype(np.float32) for c in "xyz"], axis=1)
        intensity = table["intensity"].to_numpy().astype(np.float32) / np.float32(255)
        offset_ns = table["offset_ns"].to_numpy().astype(np.int32)
        yield "a PandaSet sweep", Sweep(0, xyz, intensity, offset_ns)


def _table(sweep: Sweep) -> np.ndarray:
    """Return the points as the array of structures that drivers send; times if there are any."""
    kinds = [(name, "<f4") for name in ("x", "y", "z", "intensity")]
    timed = bool(sweep.offset_ns.any())
    table = np.empty(len(sweep), np.dtype(kinds + [("offset_ns", "<i4")] * timed))
    for axis, name in enumerate("xyz"):
        table[name] = sweep.points_ego_m[:, axis]
    table["intensity"] = sweep.intensity
    if timed:
        table["offset_ns"] = sweep.offset_ns
    return table


def _peers(table: np.ndarray) -> list[Peer]:
    return [
        Peer(
            "zstd level 1 of the points as sent",
            "keeps all bits",
            lambda cloud: zstandard.ZstdCompressor(level=1).compress(cloud.tobytes()),
            lambda data: np.frombuffer(zstandard.ZstdDecompressor().decompress(data), table.dtype),
        ),
        Peer("pyarrow lists, zstd", "keeps all bits", _to_lists, _from_lists),
        _cloudini(table),
    ]


def _to_lists(cloud: np.ndarray) -> bytes:
    import pyarrow as pa
    import pyarrow.parquet as pq

    offsets = pa.array([0, len(cloud)], pa.int32())
    names = cloud.dtype.names or ()
    lists = [
        pa.ListArray.from_arrays(offsets, pa.array(np.ascontiguousarray(cloud[name])))
        for name in names
    ]
    sink = io.BytesIO()
    pq.write_table(
        pa.Table.from_arrays(lists, names=list(names)),
        sink,
        compression="zstd",
        use_dictionary=False,
        write_statistics=False,
    )
    return sink.getvalue()


def _from_lists(data: bytes) -> list[np.ndarray]:
    import pyarrow.parquet as pq

    table = pq.read_table(io.BytesIO(data))
    return [column.combine_chunks().values.to_numpy() for column in table.columns]


def _cloudini(table: np.ndarray) -> Peer:
    """Return the cloudini format, version 5 with zstd, as the package pureini writes it.

    The C++ library of the format's authors is in no package registry.
    """
    import pureini

    steps = dict.fromkeys("xyz", _STEP_M) | {"intensity": 1 / 255, "offset_ns": None}
    kinds = {"f": pureini.FieldType.FLOAT32, "i": pureini.FieldType.INT32}
    fields = [
        pureini.PointField(name, table.dtype.fields[name][1], kinds[table.dtype[name].kind], step)
        for name, step in steps.items()
        if name in table.dtype.names
    ]
    about = pureini.EncodingInfo(
        fields,
        len(table),
        1,
        table.itemsize,
        pureini.EncodingOptions.LOSSY,
        pureini.CompressionOption.ZSTD,
    )
    return Peer(
        "cloudini format with zstd (pureini 0.10.0)",
        "with the same steps, points as sent come back",
        lambda cloud: pureini.PointcloudEncoder(about).encode(cloud.tobytes()),
        lambda data: pureini.PointcloudDecoder().decode(data),
    )
