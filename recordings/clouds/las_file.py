"""LAS files 1.0 to 1.4 with point formats 0 to 10, and LAZ, the same compressed (COPC as well).

LAS is read here; LAZ is unpacked by the package `lazrs`. Coordinates are integers times a scale
plus an offset, exact in float64; see `cloud_head` for what becomes of them. Extra bytes,
colours, waveforms and records behind the points are stepped over. Formats: ASPRS, "LAS
specification 1.4 R15"; "LASzip", rapidlasso.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass, replace
from io import BufferedReader
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from recordings.clouds.cloud_head import CloudHead
from recordings.geometry.points import RawPoints
from scene.errors import CutShortError, FormatError
from scene.types import Float64

_LEAP_SECONDS: Final = 18  # GPS is ahead of UTC, since 2017
_GPS_EPOCH_S: Final = 315_964_800  # 1980-01-06 in seconds since 1970
_STANDARD_OFFSET_S: Final = 1_000_000_000  # "adjusted standard GPS time" is less by this
_MAX_SWEEP_S: Final = 2.0
_CHUNK_POINTS: Final = 50_000  # as LAZ packs them: what is whole before a cut is had
_MAX_RECORD_BYTES: Final = 4096
_HEADER_BYTES: Final = 375
# By point format: bytes of the fields that the standard names, and where GPS time is.
_FORMATS: Final = {
    0: (20, None), 1: (28, 20), 2: (26, None), 3: (34, 20), 4: (57, 20), 5: (63, 20),
    6: (30, 22), 7: (36, 22), 8: (38, 22), 9: (59, 22), 10: (67, 22),
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class LasHeader:
    """The head of a LAS or LAZ file.

    Attributes:
        num_points: points announced.
        dtype: the fields of a point that are read.
        scale, offset_m: (3,) of the coordinates.
        low_m, high_m: (3,) bounds of the coordinates.
        data_start: byte where the points begin.
        absolute_time: GPS times are standard time, not seconds of a week.
        laszip: the record that LAZ needs for unpacking; None for LAS.
    """

    num_points: int
    dtype: np.dtype[Any]
    scale: Float64
    offset_m: Float64
    low_m: Float64
    high_m: Float64
    data_start: int
    absolute_time: bool
    laszip: bytes | None


def read_header(path: Path) -> LasHeader:
    """Read the header and, of LAZ, the record for unpacking.

    Raises:
        FormatError: if it is cut off or contradicts itself.
    """
    size = path.stat().st_size
    with path.open("rb") as stream:
        data = stream.read(_HEADER_BYTES)
        if not data.startswith(b"LASF") or len(data) < 227:
            raise FormatError(f"{path.name}: {size} bytes are no LAS header")
        return _header(data, stream, size, path.name)


def read_head(path: Path) -> CloudHead:
    """Read what is known before the points are: how many, where, and when the first was measured.

    Raises:
        FormatError: if the header is wrong.
    """
    header = read_header(path)
    with path.open("rb") as stream:
        first = next(_records(stream, header, 1, path), None)
    if first is None:
        return CloudHead(0)
    near = np.array([float(first[name][0]) for name in "XYZ"]) * header.scale + header.offset_m
    if ((near >= header.low_m) & (near <= header.high_m)).all():  # some writers leave them wrong
        near = np.array([*(header.low_m[:2] + header.high_m[:2]) / 2, header.low_m[2]])
    timed = header.absolute_time and "gps_time" in (header.dtype.names or ())
    time_ns = _unix_ns(float(first["gps_time"][0])) if timed else None
    return CloudHead(header.num_points, near_m=near, time_ns=time_ns)


def read_points(path: Path, origin_m: Float64, most: int | None = None) -> RawPoints:
    """Read the points.

    Times are given as nanoseconds after the first point where all lie within 2 s, as those of a
    sweep do; the points of a survey are spread over minutes, and their times are left out.

    Args:
        path: the file.
        origin_m: (3,) subtracted from the coordinates before they become float32.
        most: read only so many of the first points.

    Raises:
        FormatError: if the points cannot be unpacked.
        CutShortError: if points are missing.
    """
    header = read_header(path)
    timed = "gps_time" in (header.dtype.names or ())
    count = header.num_points if most is None else min(header.num_points, most)
    at = 0
    xyz, intensity = np.empty((count, 3), dtype=np.float32), np.empty(count, dtype=np.uint16)
    times = np.empty(count if timed else 0)
    with path.open("rb") as stream:
        for rows in _records(stream, replace(header, num_points=count), _CHUNK_POINTS, path):
            here = slice(at, at + len(rows))
            for axis, name in enumerate("XYZ"):
                shift = header.offset_m[axis] - origin_m[axis]
                xyz[here, axis] = rows[name] * header.scale[axis] + shift
            intensity[here] = rows["intensity"]
            if timed:
                times[here] = rows["gps_time"]
            at += len(rows)
    offset = _offsets_ns(times) if timed and count else None
    return RawPoints(xyz, intensity, None, offset, "offset_ns" if offset is not None else "")


def _header(data: bytes, stream: BufferedReader, size: int, name: str) -> LasHeader:
    encoding = struct.unpack_from("<H", data, 6)[0]
    minor = data[25]
    header_bytes, data_start, num_records = struct.unpack_from("<HII", data, 94)
    kind, record_bytes, count = struct.unpack_from("<BHI", data, 104)
    if data[24] == 1 and minor >= 4 and len(data) >= 255:
        count = struct.unpack_from("<Q", data, 247)[0] or count
    packed, kind = bool(kind & 0x80), kind & 0x3F
    numbers = np.frombuffer(data, "<f8", 12, 131)
    needed, time_at = _FORMATS.get(kind, (0, None))
    problems = [
        (data[24] != 1 or minor > 4, f"LAS {data[24]}.{minor}; known are 1.0 to 1.4"),
        (kind not in _FORMATS, f"point format {kind}; known are 0 to 10"),
        (not needed <= record_bytes <= _MAX_RECORD_BYTES, f"{record_bytes} bytes a point"),
        (not 227 <= header_bytes <= data_start <= size, f"points at byte {data_start} of {size}"),
        (num_records * 54 > data_start - header_bytes, f"{num_records} records in its head"),
        (not np.isfinite(numbers[:6]).all() or not numbers[:3].all(), "a scale or offset is wrong"),
    ]
    for wrong, message in problems:
        if wrong:
            raise FormatError(f"{name}: {message}")
    fields = {"X": ("<i4", 0), "Y": ("<i4", 4), "Z": ("<i4", 8), "intensity": ("<u2", 12)}
    if time_at is not None:
        fields["gps_time"] = ("<f8", time_at)
    dtype = np.dtype(
        {
            "names": list(fields),
            "formats": [kind for kind, _ in fields.values()],
            "offsets": [at for _, at in fields.values()],
            "itemsize": record_bytes,
        }
    )
    return LasHeader(
        count, dtype, numbers[:3], numbers[3:6], numbers[7::2], numbers[6::2], data_start,
        bool(encoding & 1), _laszip(stream, header_bytes, num_records, name) if packed else None,
    )  # fmt: skip


def _laszip(stream: BufferedReader, start: int, count: int, name: str) -> bytes:
    """Return the content of the record that describes the compression."""
    stream.seek(start)
    for _ in range(count):
        head = stream.read(54)
        if len(head) < 54:
            break
        user, record, length = struct.unpack_from("<2x16sHH", head)
        content = stream.read(length)
        if user.rstrip(b"\0") == b"laszip encoded" and record == 22204:
            return content
    raise FormatError(f"{name}: compressed points without the record that says how")


def _records(
    stream: BufferedReader, header: LasHeader, most: int, path: Path
) -> Iterator[NDArray[Any]]:
    """Yield the points, at most so many at a time."""
    stream.seek(header.data_start)
    unpack = None if header.laszip is None else _unpacker(stream, header.laszip, path)
    left = header.num_points
    while left:
        count = min(left, most)
        data = bytearray(count * header.dtype.itemsize)
        if unpack is None:
            found = stream.readinto(data)
            if found < len(data):
                whole = header.num_points - left + found // header.dtype.itemsize
                what = f"cut off: {header.num_points} points announced, {whole} found"
                raise CutShortError(f"{path.name}: {what}", whole)
        else:
            _guarded(lambda data=data: unpack.decompress_many(data), path, header, left)
        yield np.frombuffer(data, header.dtype)
        left -= count


def _unpacker(stream: BufferedReader, laszip: bytes, path: Path) -> Any:
    try:
        import lazrs
    except ImportError as error:
        raise FormatError(
            f"{path.name}: LAZ needs the package lazrs: pip install 'starloop[las]' (or unpack it: "
            "`laszip`)"
        ) from error
    return _guarded(lambda: lazrs.LasZipDecompressor(stream, laszip), path)  # pyright: ignore


def _guarded(call: Any, path: Path, header: LasHeader | None = None, left: int = 0) -> Any:
    """Call into lazrs; its errors, and panics, which are no `Exception`, become ours."""
    try:
        return call()
    except BaseException as error:
        if isinstance(error, Exception) or type(error).__name__ == "PanicException":
            what = f"{left} points before its end" if left else "at its head"
            raise CutShortError(
                f"{path.name}: the compressed points break off {what} ({error})",
                header.num_points - left if header else 0,
            ) from error
        raise


def _unix_ns(gps_s: float) -> int | None:
    """Return nanoseconds since 1970 (UTC) of adjusted standard GPS time, None if it is none."""
    if not np.isfinite(gps_s) or abs(gps_s) > 1e10:
        return None
    whole, rest = divmod(gps_s, 1.0)
    seconds = int(whole) + _STANDARD_OFFSET_S + _GPS_EPOCH_S - _LEAP_SECONDS
    return seconds * 10**9 + round(rest * 1e9) if 0 < seconds < 2**33 else None


def _offsets_ns(gps_s: Float64) -> NDArray[np.int64] | None:
    """Return (N,) nanoseconds after the first point, None if they are not those of one sweep."""
    if not np.isfinite(gps_s).all() or not float(np.ptp(gps_s)) < _MAX_SWEEP_S:
        return None
    return np.round((gps_s - gps_s[0]) * 1e9).astype(np.int64)
