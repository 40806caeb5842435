"""PCD files: ascii, binary, binary_compressed. Format: pointclouds.org, "The PCD file format"."""

from __future__ import annotations

import struct
import warnings
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import numba
import numpy as np
from numpy.typing import NDArray

from recordings.clouds.cloud_head import CloudHead, place_of, xyz_minus
from recordings.geometry.point_times import TIME_NAMES
from recordings.geometry.points import INTENSITY_NAMES, RING_NAMES, RawPoints, pick
from scene.errors import CutShortError, FormatError
from scene.pose import SE3
from scene.types import Float64

_MAX_HEADER_BYTES: Final = 64 * 1024
_MAX_POINT_BYTES: Final = 4096
_MAX_POINTS: Final = 200_000_000
_FIRST_POINTS: Final = 64
_MAX_LINE_BYTES: Final = 64 * 1024
_MAX_EXPANSION: Final = 264  # LZF: three bytes can stand for 264


@dataclass(frozen=True, slots=True)
class PcdHeader:
    """The text at the head of a PCD file.

    Attributes:
        dtype: one point, packed; fields named `_` (padding) get distinct names.
        num_points: points announced.
        encoding: "ascii", "binary" or "binary_compressed".
        viewpoint: pose of the sensor, identity where the file gives none.
        data_start: byte where the points begin.
    """

    dtype: np.dtype[Any]
    num_points: int
    encoding: str
    viewpoint: SE3
    data_start: int


def read_header(path: Path) -> PcdHeader:
    """Read the header.

    Raises:
        FormatError: if it is incomplete or contradicts itself.
    """
    with path.open("rb") as stream:
        return _header(stream.read(_MAX_HEADER_BYTES), path.name)


def read_head(path: Path) -> CloudHead:
    """Read what is known before the points are; of coordinates in double precision, one point.

    Raises:
        FormatError: if the header is wrong.
    """
    header = read_header(path)
    wide = any(header.dtype[name].itemsize > 4 for name in "xyz")
    near = None
    if wide and header.num_points:
        near = place_of(_xyz(_first_points(path, header)))
    return CloudHead(header.num_points, header.viewpoint, near)


def _first_points(path: Path, header: PcdHeader) -> NDArray[Any]:
    """Return some of the first points; all of them where they are compressed."""
    if header.encoding == "binary_compressed":
        return _table(path)[1]
    some = replace(header, num_points=min(header.num_points, _FIRST_POINTS))
    with path.open("rb") as stream:
        stream.seek(header.data_start)
        if header.encoding == "binary":
            data = stream.read(some.num_points * header.dtype.itemsize)
        else:
            data = b"".join(stream.readline(_MAX_LINE_BYTES) for _ in range(some.num_points))
    return _DECODE[header.encoding](memoryview(data), some, path.name)


def _table(path: Path, most: int | None = None) -> tuple[PcdHeader, NDArray[Any]]:
    data = path.read_bytes()
    header = _header(data, path.name)
    if most is not None:
        header = replace(header, num_points=min(header.num_points, most))
    return header, _DECODE[header.encoding](
        memoryview(data)[header.data_start :], header, path.name
    )


def _xyz(table: NDArray[Any]) -> list[NDArray[Any]]:
    return [table[name] for name in "xyz"]


def read_points(path: Path, origin_m: Float64 | None = None, most: int | None = None) -> RawPoints:
    """Read the points in the sensor frame, NaN included.

    Args:
        path: the file.
        origin_m: (3,) subtracted from the coordinates before they become float32.
        most: read only so many of the first points.

    Raises:
        FormatError: if the file is no PCD file.
        CutShortError: if it holds fewer points than it announces.
    """
    header, table = _table(path, most)
    names = [name for name in header.dtype.names or () if not header.dtype[name].shape]
    xyz = xyz_minus(_xyz(table), np.zeros(3) if origin_m is None else origin_m)
    chosen = [pick(names, wanted) for wanted in (INTENSITY_NAMES, RING_NAMES, TIME_NAMES)]
    intensity, ring, time = (None if name is None else table[name] for name in chosen)
    ring = ring if ring is not None and ring.dtype.kind in "iu" else None
    return RawPoints(xyz, intensity, ring, time, chosen[2] or "")


def _header(data: bytes, name: str) -> PcdHeader:
    lines: dict[str, list[str]] = {}
    at = 0
    while "DATA" not in lines:
        end = data.find(b"\n", at)
        if end < 0:
            raise FormatError(f"{name}: no DATA line in the first, not a PCD file")
        words = data[at:end].decode("ascii", "replace").split()
        at = end + 1
        if words and not words[0].startswith("#"):
            lines[words[0].upper()] = words[1:]
    try:
        return _interpret(lines, at, name)
    except (ValueError, IndexError, KeyError, TypeError) as error:
        raise FormatError(f"{name}: PCD header is not complete ({error!r})") from error


def _interpret(lines: dict[str, list[str]], data_start: int, name: str) -> PcdHeader:
    fields = lines.get("FIELDS") or lines["COLUMNS"]
    counts = [int(count) for count in lines.get("COUNT", ["1"] * len(fields))]
    kinds = [
        {"F": "f", "I": "i", "U": "u"}[kind] + size
        for kind, size in zip(lines["TYPE"], lines["SIZE"], strict=True)
    ]
    dtype = np.dtype(
        [
            (f"_{i}" if field in ("_", "") else field, f"<{kind}", (count,) if count > 1 else ())
            for i, (field, kind, count) in enumerate(zip(fields, kinds, counts, strict=True))
        ]
    )
    width, height = int(lines["WIDTH"][0]), int(lines.get("HEIGHT", ["1"])[0])
    num_points = int(lines.get("POINTS", [str(width * height)])[0])
    encoding = lines["DATA"][0].lower()
    problems = [
        (not {"x", "y", "z"} <= set(fields), f"no x, y, z among its fields {' '.join(fields)}"),
        (
            any(count > 1 for field, count in zip(fields, counts, strict=True) if field in "xyz"),
            "x, y or z with a COUNT above 1",
        ),
        (
            width * height != num_points,
            f"WIDTH {width} x HEIGHT {height} is not {num_points} POINTS",
        ),
        (not 0 <= num_points <= _MAX_POINTS, f"{num_points} points announced"),
        (dtype.itemsize > _MAX_POINT_BYTES, f"{dtype.itemsize} bytes a point"),
        (encoding not in _DECODE, f"DATA {encoding}; known: {', '.join(_DECODE)}"),
    ]
    for wrong, message in problems:
        if wrong:
            raise FormatError(f"{name}: {message}")
    view = np.array(
        [float(value) for value in lines.get("VIEWPOINT", ["0", "0", "0", "1", "0", "0", "0"])]
    )
    if len(view) != 7 or not np.isfinite(view).all() or not np.linalg.norm(view[3:]) > 1e-6:
        raise FormatError(f"{name}: VIEWPOINT is no place and rotation")
    return PcdHeader(
        dtype, num_points, encoding, SE3.from_quaternion(view[3:7], view[:3]), data_start
    )


def _decode_ascii(body: memoryview, header: PcdHeader, name: str) -> NDArray[Any]:
    with warnings.catch_warnings():
        warnings.simplefilter("error", DeprecationWarning)  # numpy's way to say "not a number"
        try:
            values = np.fromstring(bytes(body), dtype=np.float64, sep=" ")
        except (ValueError, DeprecationWarning) as error:
            raise FormatError(f"{name}: a value among the points is not a number") from error
    columns = [(key, int(np.prod(header.dtype[key].shape, dtype=int))) for key in _names(header)]
    per_point = sum(count for _, count in columns)
    if len(values) < per_point * header.num_points:
        found = len(values) // per_point
        raise CutShortError(
            f"{name}: {header.num_points} points of {per_point} values announced, "
            f"{len(values)} values found ({found} points)",
            max(found - 1, 0),  # the last number may be cut in two
        )
    rows = values[: per_point * header.num_points].reshape(header.num_points, per_point)
    table = np.zeros(header.num_points, header.dtype)
    at = 0
    for key, count in columns:
        with np.errstate(invalid="ignore"):  # a NaN among integers becomes some number
            table[key] = rows[:, at : at + count].reshape(table[key].shape)
        at += count
    return table


def _decode_binary(body: memoryview, header: PcdHeader, name: str) -> NDArray[Any]:
    needed = header.num_points * header.dtype.itemsize
    if len(body) < needed:
        found = len(body) // header.dtype.itemsize
        raise CutShortError(
            f"{name}: {header.num_points} points of {header.dtype.itemsize} bytes announced, "
            f"{len(body)} bytes found ({found} points)",
            found,
        )
    return np.frombuffer(body, header.dtype, header.num_points)


def _decode_compressed(body: memoryview, header: PcdHeader, name: str) -> NDArray[Any]:
    if len(body) < 8:
        raise FormatError(f"{name}: ends before the compressed points")
    packed, size = struct.unpack_from("<II", body)
    room = packed * _MAX_EXPANSION
    if size != header.num_points * header.dtype.itemsize or packed > len(body) - 8 or size > room:
        raise FormatError(
            f"{name}: {header.num_points} points of {header.dtype.itemsize} bytes announced, "
            f"compressed part says {packed} bytes ({len(body) - 8} found) for {size}"
        )
    values = np.zeros(size, dtype=np.uint8)
    if _lzf_decompress(np.frombuffer(body, np.uint8, packed, 8), values) != size:
        raise FormatError(f"{name}: the compressed points are damaged")
    # All values of the first field come first, then all of the second, and so on.
    table = np.zeros(header.num_points, header.dtype)
    at = 0
    for key in _names(header):
        part = header.dtype[key]
        block = values[at : at + part.itemsize * header.num_points]
        table[key] = block.view(part.base).reshape(table[key].shape)
        at += len(block)
    return table


def _names(header: PcdHeader) -> tuple[str, ...]:
    return header.dtype.names or ()


@numba.njit(cache=True, nogil=True)
def _lzf_decompress(
    source: NDArray[np.uint8], target: NDArray[np.uint8]
) -> int:  # pragma: no cover
    """Unpack LZF into `target`; return the bytes written, -1 if the input is damaged.

    Source: liblzf lzf_d.c (Marc Lehmann). A control byte below 32 copies that many + 1 literals;
    otherwise it holds a length - 2 (3 bits, 7 = one more byte) and the high bits of a distance - 1.
    """
    i, o = 0, 0
    while i < len(source):
        control = np.int64(source[i])
        i += 1
        if control < 32:
            run = control + 1
            if i + run > len(source) or o + run > len(target):
                return -1
            for _ in range(run):
                target[o] = source[i]
                o += 1
                i += 1
            continue
        run = control >> 5
        if run == 7:
            if i >= len(source):
                return -1
            run += np.int64(source[i])
            i += 1
        if i >= len(source):
            return -1
        back = o - ((control & 31) << 8) - np.int64(source[i]) - 1
        i += 1
        if back < 0 or o + run + 2 > len(target):
            return -1
        for _ in range(run + 2):
            target[o] = target[back]
            o += 1
            back += 1
    return o


_DECODE: Final = {
    "ascii": _decode_ascii,
    "binary": _decode_binary,
    "binary_compressed": _decode_compressed,
}
