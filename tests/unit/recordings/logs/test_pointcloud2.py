from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recordings.geometry.points import RawPoints
from recordings.logs.pointcloud2 import columns, parse
from recordings.logs.ros_bytes import header_of
from scene.errors import FormatError
from tests.support.bag_writers import ros1_types, to_ros1
from tests.support.ros_writer import cloud_message, serialize

STAMP = 1_557_539_956_500_022_016


def random_points(dtype: np.dtype[Any], count: int, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    points = np.zeros(count, dtype)
    for name in dtype.names or ():
        points[name] = rng.uniform(-99, 99, points[name].shape) if name in "xyz" else rng.integers(
            0, 100, points[name].shape
        )  # fmt: skip
    return points


def read(message: Any, *, little_endian: bool = True) -> RawPoints:
    return columns(parse(memoryview(serialize(message, little_endian=little_endian))))


def read_ros1(message: Any) -> RawPoints:
    data = ros1_types().serialize_ros1(to_ros1(message), message.__msgtype__)
    return columns(parse(data, "ros1"))


def check(found: RawPoints, points: np.ndarray) -> None:
    xyz = np.stack([points[name] for name in "xyz"], axis=1).astype(np.float32)
    np.testing.assert_array_equal(found.xyz_m, xyz)
    for name, column in (("intensity", found.intensity), ("ring", found.ring), ("t", found.time)):
        if name in (points.dtype.names or ()):
            assert column is not None
            np.testing.assert_array_equal(column, points[name])
        else:
            assert column is None


XYZ = [("x", "<f4"), ("y", "<f4"), ("z", "<f4")]
LAYOUTS = {
    "packed": np.dtype([*XYZ, ("intensity", "<f4"), ("ring", "<u2"), ("t", "<u4")]),
    "pcl padded": np.dtype(
        {
            "names": ["x", "y", "z", "intensity"],
            "formats": ["<f4"] * 4,
            "offsets": [0, 4, 8, 16],
            "itemsize": 32,
        }
    ),
    "doubles": np.dtype([("x", "<f8"), ("y", "<f8"), ("z", "<f8"), ("intensity", "u1")]),
    "scattered": np.dtype([("z", "<f4"), ("ring", "u1"), ("x", "<f4"), ("t", "<i4"), ("y", "<f4")]),
    "mixed types": np.dtype([("x", "<f4"), ("y", "<f8"), ("z", "<i2"), ("ring", "<u2")]),
    "big endian": np.dtype([*XYZ, ("ring", "<u2"), ("t", "<u4")]).newbyteorder(">"),
    "array field": np.dtype([("normal", "<f4", (3,)), *XYZ]),
}


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("little_endian", [True, False])
def test_every_layout_reads_back(layout: str, little_endian: bool) -> None:
    points = random_points(LAYOUTS[layout], 101)
    message = cloud_message(STAMP, "lidar", points)
    check(read(message, little_endian=little_endian), points)


def test_rows_with_padding_of_an_organised_cloud() -> None:
    points = random_points(LAYOUTS["packed"], 6 * 7)
    check(read(cloud_message(STAMP, "lidar", points, height=6, row_padding=13)), points)


@settings(max_examples=25, deadline=None)
@given(
    st.permutations(["x", "y", "z", "intensity", "ring", "t", "tag"]),
    st.lists(st.integers(0, 9), min_size=7, max_size=7),
    st.integers(0, 5),
    st.booleans(),
    st.text(max_size=9),
    st.sampled_from([1, 3, 9]),
    st.integers(0, 7),
)
def test_any_order_padding_shape_and_encoding(
    names: list[str],
    gaps: list[int],
    tail: int,
    big: bool,
    frame: str,
    height: int,
    padding: int,
) -> None:
    kinds = {
        "x": "f4",
        "y": "f4",
        "z": "f4",
        "intensity": "f4",
        "ring": "u2",
        "t": "u4",
        "tag": "u1",
    }
    order, at, offsets = ">" if big else "<", 0, []
    for name, gap in zip(names, gaps, strict=True):
        offsets.append(at + gap)
        at += gap + np.dtype(kinds[name]).itemsize
    dtype = np.dtype(
        {
            "names": names,
            "formats": [order + kinds[name] for name in names],
            "offsets": offsets,
            "itemsize": at + tail,
        }
    )
    points = random_points(dtype, 9)
    message = cloud_message(
        STAMP, frame.replace("\0", ""), points, height=height, row_padding=padding
    )
    check(read(message), points)
    check(read_ros1(message), points)


def test_header_is_read() -> None:
    data = memoryview(serialize(cloud_message(STAMP, "top", random_points(LAYOUTS["packed"], 3))))
    cloud = parse(data)
    assert (cloud.stamp_ns, cloud.frame, cloud.shape) == (STAMP, "top", (1, 3))
    assert header_of(data, "cdr") == (STAMP, "top")


def test_empty_cloud_has_no_points() -> None:
    assert read(cloud_message(STAMP, "lidar", random_points(LAYOUTS["packed"], 0))).xyz_m.shape == (
        0,
        3,
    )


def test_a_ros1_message_cut_anywhere_is_an_error_never_a_wrong_cloud() -> None:
    message = cloud_message(STAMP, "lidar", random_points(LAYOUTS["packed"], 5))
    data = ros1_types().serialize_ros1(to_ros1(message), message.__msgtype__)
    for size in range(len(data) - 1):
        with pytest.raises(FormatError):
            columns(parse(data[:size], "ros1"))


def test_a_message_cut_anywhere_is_an_error_never_a_wrong_cloud() -> None:
    data = serialize(cloud_message(STAMP, "lidar", random_points(LAYOUTS["packed"], 5)))
    body = len(data) - 1  # the last byte is is_dense, which nobody needs
    for size in range(body):
        with pytest.raises(FormatError):
            columns(parse(memoryview(data[:size])))


def test_sizes_that_contradict_each_other_are_named() -> None:
    message = cloud_message(STAMP, "lidar", random_points(LAYOUTS["packed"], 5))
    message.width = 6
    with pytest.raises(FormatError, match="1 x 6 points of 22 bytes"):
        read(message)
    message.width = 5
    message.fields[0].offset = 20
    with pytest.raises(FormatError, match="'x' ends at byte 24 of 22"):
        read(message)


def test_unknown_datatype_and_missing_coordinates_are_named() -> None:
    message = cloud_message(STAMP, "lidar", random_points(LAYOUTS["packed"], 2))
    message.fields[3].datatype = 77
    with pytest.raises(FormatError, match="'intensity' has unknown datatype 77"):
        read(message)
    message.fields[3].datatype = 7
    message.fields[2].name = "height"
    with pytest.raises(FormatError, match=r"without x, y, z; its fields: x, y, height"):
        read(message)


def test_garbage_is_no_cdr() -> None:
    with pytest.raises(FormatError, match="CDR header"):
        parse(memoryview(b"hello world, this is no message"))
