"""PLY files: ascii, binary little and big endian. Format: Greg Turk, "The PLY polygon file format".

Only the element `vertex` is read; other elements and list properties are stepped over.
"""

from __future__ import annotations

import re
import warnings
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from recordings.clouds import ply_kernels
from recordings.clouds.cloud_head import CloudHead, place_of, xyz_minus
from recordings.geometry.point_times import TIME_NAMES
from recordings.geometry.points import INTENSITY_NAMES, RING_NAMES, RawPoints, pick
from scene.errors import CutShortError, FormatError
from scene.types import Float64

_KINDS: Final = {
    "char": "i1", "int8": "i1", "uchar": "u1", "uint8": "u1", "short": "i2", "int16": "i2",
    "ushort": "u2", "uint16": "u2", "int": "i4", "int32": "i4", "uint": "u4", "uint32": "u4",
    "float": "f4", "float32": "f4", "double": "f8", "float64": "f8", "int64": "i8", "uint64": "u8",
}  # fmt: skip
_ORDERS: Final = {"binary_little_endian": "<", "binary_big_endian": ">", "ascii": ""}
_PREFIX: Final = re.compile(r"^(?:scalar_|vertex_)+")  # CloudCompare writes scalar_Intensity
_MAX_HEADER_BYTES: Final = 1024 * 1024
_MAX_ELEMENTS: Final = 200_000_000
_FIRST_BYTES: Final = 64 * 1024


class _Property(NamedTuple):
    """One property of an element: its type, and that of its length where it is a list."""

    name: str
    kind: str
    length_kind: str = ""


@dataclass(frozen=True, slots=True)
class _Element:
    """One element of the header."""

    name: str
    count: int
    properties: list[_Property]

    @property
    def has_lists(self) -> bool:
        return any(prop.length_kind for prop in self.properties)


@dataclass(frozen=True, slots=True)
class PlyHeader:
    """The text at the head of a PLY file.

    Attributes:
        order: "<", ">" or, for ascii, empty.
        before: elements in front of the vertices.
        vertex: the vertices.
        data_start: byte where the data begin.
    """

    order: str
    before: list[_Element]
    vertex: _Element
    data_start: int


def read_header(path: Path) -> PlyHeader:
    """Read the header.

    Raises:
        FormatError: if it is incomplete, contradicts itself, or has no vertices with x, y, z.
    """
    with path.open("rb") as stream:
        return _header(stream.read(_MAX_HEADER_BYTES), path.name)


def read_head(path: Path) -> CloudHead:
    """Read what is known before the points are; of coordinates in double precision, one point.

    Raises:
        FormatError: if the header is wrong.
    """
    header = read_header(path)
    kinds = {prop.name: prop.kind for prop in header.vertex.properties}
    near = None
    if any(kinds[name] not in ("f4", "i1", "u1", "i2", "u2") for name in "xyz"):
        near = place_of(_first_xyz(path, header))
    return CloudHead(header.vertex.count, near_m=near)


def read_points(path: Path, origin_m: Float64, most: int | None = None) -> RawPoints:
    """Read the vertices, NaN included.

    Args:
        path: the file.
        origin_m: (3,) subtracted from the coordinates before they become float32.
        most: read only so many of the first vertices.

    Raises:
        FormatError: if it is no PLY file.
        CutShortError: if it holds fewer vertices than it announces.
    """
    data = path.read_bytes()
    header = _header(data, path.name)
    if most is not None:
        vertex = replace(header.vertex, count=min(header.vertex.count, most))
        header = replace(header, vertex=vertex)
    table = _vertices(data[header.data_start :], header, path.name)
    plain = {_PREFIX.sub("", name.lower()): name for name in table}
    chosen = [pick(plain, wanted) for wanted in (INTENSITY_NAMES, RING_NAMES, TIME_NAMES)]
    intensity, ring, time = (None if name is None else table[plain[name]] for name in chosen)
    return RawPoints(
        xyz_minus([table[name] for name in "xyz"], origin_m),
        intensity,
        _whole(ring),
        time,
        chosen[2] or "",
    )


def _whole(ring: NDArray[Any] | None) -> NDArray[Any] | None:
    """Return beam numbers as integers; many tools write every scalar as a float."""
    if ring is None or ring.dtype.kind in "iu":
        return ring
    fine = np.isfinite(ring).all() and (ring == np.floor(ring)).all() and (ring >= 0).all()
    return ring.astype(np.int64) if fine else None


def _header(data: bytes, name: str) -> PlyHeader:
    end = re.search(rb"(?m)^end_header[ \t]*(?:\r\n|\n|\r)", data[:_MAX_HEADER_BYTES])
    if not data.startswith(b"ply") or end is None:
        raise FormatError(f"{name}: no end_header line, not a PLY file or cut off")
    order, elements = "?", list[_Element]()
    for line in data[: end.start()].decode("ascii", "replace").splitlines()[1:]:
        words = line.split()
        if not words or words[0] in ("comment", "obj_info"):
            continue
        try:
            if words[0] == "format":
                order = _ORDERS[words[1]]
            elif words[0] == "element":
                elements.append(_Element(words[1], int(words[2]), []))
            elif words[0] == "property":
                elements[-1].properties.append(_property(words))
            else:
                raise FormatError(f"{name}: PLY header line {line[:80]!r} is not known")
        except (IndexError, KeyError, ValueError) as error:
            raise FormatError(
                f"{name}: PLY header line {line[:80]!r} is wrong ({error})"
            ) from error
    return _checked(order, elements, end.end(), name)


def _property(words: list[str]) -> _Property:
    if words[1] == "list":
        return _Property(words[4], _KINDS[words[3]], _KINDS[words[2]])
    return _Property(words[2], _KINDS[words[1]])


def _checked(order: str, elements: list[_Element], data_start: int, name: str) -> PlyHeader:
    names = [element.name for element in elements]
    if order == "?" or "vertex" not in names:
        raise FormatError(f"{name}: no format or no element vertex; elements: {', '.join(names)}")
    at = names.index("vertex")
    for element in elements[: at + 1]:
        if not 0 <= element.count <= _MAX_ELEMENTS:
            raise FormatError(f"{name}: {element.count} of {element.name} announced")
    scalars = [prop.name for prop in elements[at].properties if not prop.length_kind]
    if not {"x", "y", "z"} <= set(scalars) or len(set(scalars)) != len(scalars):
        found = ", ".join(scalars)
        raise FormatError(f"{name}: expected one x, y and z among the properties, found {found}")
    return PlyHeader(order, elements[:at], elements[at], data_start)


def _vertices(body: bytes, header: PlyHeader, name: str) -> dict[str, NDArray[Any]]:
    """Return the scalar properties of the vertices."""
    return _of_text(body, header, name) if not header.order else _of_bytes(body, header, name)


def _of_bytes(body: bytes, header: PlyHeader, name: str) -> dict[str, NDArray[Any]]:
    values = np.frombuffer(body, np.uint8)
    at = 0
    for element in header.before:
        at = _step_over(values, at, element, header.order, name)
    vertex = header.vertex
    if not vertex.has_lists:
        dtype = np.dtype([(p.name, header.order + p.kind) for p in vertex.properties])
        if len(values) - at < vertex.count * dtype.itemsize:
            raise _too_short(name, vertex, (len(values) - at) // dtype.itemsize)
        table = np.frombuffer(body, dtype, vertex.count, at)
        return {prop.name: table[prop.name] for prop in vertex.properties}
    starts = _starts(values, at, vertex, header.order, name)[0]
    columns: dict[str, NDArray[Any]] = {}
    for number, prop in enumerate(vertex.properties):
        if not prop.length_kind:
            kind = np.dtype(header.order + prop.kind)
            cells = values[starts[:, number, None] + np.arange(kind.itemsize)]
            columns[prop.name] = np.ascontiguousarray(cells).view(kind)[:, 0]
    return columns


def _step_over(values: NDArray[np.uint8], at: int, element: _Element, order: str, name: str) -> int:
    if element.has_lists:
        return _starts(values, at, element, order, name)[1]
    return at + element.count * sum(int(prop.kind[1]) for prop in element.properties)


def _starts(
    values: NDArray[np.uint8], at: int, element: _Element, order: str, name: str
) -> tuple[NDArray[np.int64], int]:
    """Return (count, P) byte at which each property of each row begins, and where the rows end."""
    if element.count > len(values):  # every row has at least a byte
        raise _too_short(name, element, 0)
    sizes = np.array([int(p.kind[1]) for p in element.properties], dtype=np.int64)
    lengths = np.array(
        [int(p.length_kind[1]) if p.length_kind else 0 for p in element.properties], dtype=np.int64
    )
    starts = np.zeros((element.count, len(sizes)), dtype=np.int64)
    done, end = ply_kernels.walk_bytes(values, at, sizes, lengths, order == ">", starts)
    if done < element.count:
        raise _too_short(name, element, done)
    return starts, end


def _of_text(body: bytes, header: PlyHeader, name: str) -> dict[str, NDArray[Any]]:
    with warnings.catch_warnings():
        warnings.simplefilter("error", DeprecationWarning)  # numpy's way to say "not a number"
        try:
            values = np.fromstring(body, dtype=np.float64, sep=" ")
        except (ValueError, DeprecationWarning) as error:
            raise FormatError(f"{name}: a value is not a number") from error
    at = 0
    starts = np.zeros((0, 0), dtype=np.int64)
    for element in (*header.before, header.vertex):
        if element.count > len(values):
            raise _too_short(name, element, 0)
        lists = np.array([bool(p.length_kind) for p in element.properties], dtype=np.bool_)
        starts = np.zeros((element.count, len(lists)), dtype=np.int64)
        done, at = ply_kernels.walk_numbers(values, at, lists, starts)
        if done < element.count:
            raise _too_short(name, element, done)
    return {
        prop.name: _typed(values[starts[:, number]], prop.kind)
        for number, prop in enumerate(header.vertex.properties)
        if not prop.length_kind
    }


def _typed(values: Float64, kind: str) -> NDArray[Any]:
    with np.errstate(invalid="ignore", over="ignore"):
        return values.astype(kind)


def _too_short(name: str, element: _Element, done: int) -> FormatError:
    what = f"{name}: {element.count} of {element.name} announced, {done} found; the file is cut off"
    return CutShortError(what, done) if element.name == "vertex" else FormatError(what)


def _first_xyz(path: Path, header: PlyHeader) -> list[NDArray[Any]]:
    """Return the coordinates of some vertices; all where others lie in front of them."""
    vertex = header.vertex
    with path.open("rb") as stream:
        stream.seek(header.data_start)
        whole = bool(header.before) or vertex.has_lists
        body = stream.read() if whole else stream.read(_FIRST_BYTES)
    if not whole:
        if header.order:
            row = sum(int(prop.kind[1]) for prop in vertex.properties)
            count = min(vertex.count, len(body) // row)
        else:
            body = body[: body.rfind(b"\n") + 1] or body
            count = min(vertex.count, body.count(b"\n") or 1)
        few = _Element(vertex.name, count, vertex.properties)
        header = PlyHeader(header.order, [], few, header.data_start)
    table = _vertices(body, header, path.name)
    return [table[name] for name in "xyz"]
