"""sensor_msgs/PointCloud2 of ROS 1 and 2, decoded without touching single points in Python."""

from __future__ import annotations

import struct
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from recordings.geometry.point_times import TIME_NAMES
from recordings.geometry.points import INTENSITY_NAMES, RING_NAMES, RawPoints, pick
from recordings.logs.ros_bytes import Cursor
from scene.errors import FormatError

# sensor_msgs/PointField datatype numbers.
_DATATYPE: Final = {1: "i1", 2: "u1", 3: "i2", 4: "u2", 5: "i4", 6: "u4", 7: "f4", 8: "f8"}
_MAX_FIELDS: Final = 256


class Field(NamedTuple):
    """One PointField: name, byte offset in the point, numpy type without byte order, count."""

    name: str
    offset: int
    kind: str
    num: int


class Cloud(NamedTuple):
    """A PointCloud2 whose points are still bytes.

    Attributes:
        stamp_ns: header stamp.
        frame: frame the points are in.
        fields: point layout.
        data: (height, row_step) bytes of the points, a view of the message.
        shape: height, width.
        steps: bytes from one row to the next, from one point to the next.
        byte_order: "<" or ">" of the point data.
    """

    stamp_ns: int
    frame: str
    fields: tuple[Field, ...]
    data: memoryview
    shape: tuple[int, int]
    steps: tuple[int, int]
    byte_order: str


def parse(data: memoryview, encoding: str = "cdr") -> Cloud:
    """Read a PointCloud2 message; the points stay a view of `data`.

    Args:
        data: the message.
        encoding: "cdr" or "ros1".

    Raises:
        FormatError: if the message contradicts itself or is cut short.
    """
    try:
        return _parse(Cursor(data, encoding))
    except (struct.error, IndexError) as error:
        raise FormatError(f"PointCloud2 message of {len(data)} bytes is cut short") from error


def _parse(cursor: Cursor) -> Cloud:
    stamp_ns, frame = cursor.header()
    shape = (cursor.u32(), cursor.u32())
    num_fields = cursor.u32()
    if num_fields > _MAX_FIELDS:
        raise FormatError(f"PointCloud2 announces {num_fields} fields, at most {_MAX_FIELDS}")
    fields = tuple(_field(cursor) for _ in range(num_fields))
    byte_order = ">" if cursor.u8() else "<"
    point_step, row_step = cursor.u32(), cursor.u32()
    points = cursor.raw()
    row_step = row_step or point_step * shape[1]
    _check_sizes(fields, shape, (row_step, point_step), len(points))
    return Cloud(stamp_ns, frame, fields, points, shape, (row_step, point_step), byte_order)


def _field(cursor: Cursor) -> Field:
    name, offset, datatype, count = cursor.text(), cursor.u32(), cursor.u8(), cursor.u32()
    if datatype not in _DATATYPE:
        raise FormatError(f"PointCloud2 field {name!r} has unknown datatype {datatype}")
    return Field(name, offset, _DATATYPE[datatype], count or 1)


def _check_sizes(
    fields: tuple[Field, ...], shape: tuple[int, int], steps: tuple[int, int], size: int
) -> None:
    (height, width), (row_step, point_step) = shape, steps
    if height * width == 0:
        return
    for field in fields:
        end = field.offset + np.dtype(field.kind).itemsize * field.num
        if end > point_step:
            raise FormatError(f"field {field.name!r} ends at byte {end} of {point_step} a point")
    needed = (height - 1) * row_step + width * point_step
    if width * point_step > row_step or needed > size:
        raise FormatError(
            f"PointCloud2 announces {height} x {width} points of {point_step} bytes "
            f"(row_step {row_step}) but holds {size} bytes"
        )


def columns(cloud: Cloud) -> RawPoints:
    """Return the columns of the cloud that a sweep needs, in the types they are stored in.

    Raises:
        FormatError: if there are no x, y and z.
    """
    by_name = {field.name: field for field in reversed(cloud.fields)}
    if not {"x", "y", "z"} <= by_name.keys():
        names = ", ".join(field.name for field in cloud.fields) or "none"
        raise FormatError(f"PointCloud2 without x, y, z; its fields: {names}")
    view = _view(cloud, [by_name[name] for name in "xyz"])
    chosen = [pick(by_name, names) for names in (INTENSITY_NAMES, RING_NAMES, TIME_NAMES)]
    other = [None if name is None else _view(cloud, [by_name[name]])[:, 0] for name in chosen]
    return RawPoints(view, *other, chosen[2] or "")  # type: ignore[arg-type]


def _view(cloud: Cloud, fields: list[Field]) -> NDArray[np.generic]:
    """Return (N, len(fields)) values; a view of the message where the type allows it."""
    height, width = cloud.shape
    if height * width == 0:
        return np.zeros((0, len(fields)), dtype=np.float32)
    itemsize = np.dtype(fields[0].kind).itemsize
    adjacent = all(
        field.kind == fields[0].kind and field.offset == fields[0].offset + i * itemsize
        for i, field in enumerate(fields)
    )
    if not adjacent:
        return np.concatenate([_view(cloud, [field]) for field in fields], axis=1, dtype=np.float32)
    strided = np.ndarray(
        (height, width, len(fields)),
        np.dtype(cloud.byte_order + fields[0].kind),
        cloud.data,
        fields[0].offset,
        (*cloud.steps, itemsize),
    )
    flat = strided.reshape(-1, len(fields))
    dtype = np.dtype(np.float32) if len(fields) > 1 else flat.dtype.newbyteorder("=")
    return flat.astype(dtype, copy=False)
