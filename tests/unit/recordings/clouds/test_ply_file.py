from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recordings.clouds.ply_file import read_head, read_points
from scene.errors import FormatError

NAMES = {
    "i1": "char", "u1": "uchar", "i2": "int16", "u2": "ushort", "i4": "int", "u4": "uint32",
    "f4": "float", "f8": "double",
}  # fmt: skip
VERTEX = [("x", "f4"), ("y", "f4"), ("z", "f4"), ("scalar_Intensity", "u2"), ("red", "u1"),
          ("ring", "u1"), ("t", "f8")]  # fmt: skip
ORIGIN = np.zeros(3)


def vertices(count: int = 20, seed: int = 0, fields: list[tuple[str, str]] = VERTEX) -> np.ndarray:
    rng = np.random.default_rng(seed)
    table = np.zeros(count, np.dtype([(name, "<" + kind) for name, kind in fields]))
    for name, kind in fields:
        values = rng.uniform(1, 100, count)
        table[name] = np.round(values, 3) if kind[0] == "f" else values
    return table


def write(
    path: Path,
    table: np.ndarray,
    kind: str = "binary_little_endian",
    *,
    faces: str = "",
    vertex_list: bool = False,
    newline: str = "\n",
) -> Path:
    """Write vertices, and faces before or after them, each with a list and two scalars."""
    order = {"binary_little_endian": "<", "binary_big_endian": ">", "ascii": ""}[kind]
    fields = [(name, table.dtype[name].str[1:]) for name in table.dtype.names or ()]
    vertex = [f"element vertex {len(table)}", "property list uchar int ids" if vertex_list else "",
              *(f"property {NAMES[t]} {name}" for name, t in fields)]  # fmt: skip
    face = ["element face 3", "property float weight", "property list uchar int32 vertex_indices",
            "property short flag"]  # fmt: skip
    head = {"before": face + vertex, "after": vertex + face, "": vertex}[faces]
    lines = ["ply", f"format {kind} 1.0", "comment made here", *(x for x in head if x)]
    bodies = {"vertex": _rows(table, order, vertex_list), "face": _faces(order)}
    parts = {"before": ("face", "vertex"), "after": ("vertex", "face"), "": ("vertex",)}[faces]
    text = newline.join([*lines, "end_header", ""]).encode()
    path.write_bytes(text + b"".join(bodies[part] for part in parts))
    return path


def _rows(table: np.ndarray, order: str, vertex_list: bool) -> bytes:
    if not order:
        ids = ["2 7 8 " if vertex_list else ""] * len(table)
        return "".join(
            head + " ".join(str(v) for v in row) + "\n"
            for head, row in zip(ids, table.tolist(), strict=True)
        ).encode()
    moved = table.astype(table.dtype.newbyteorder(order))
    if not vertex_list:
        return moved.tobytes()
    ids = [
        np.array([number] * (number % 3), order + "i4").tobytes() for number in range(len(table))
    ]
    return b"".join(
        bytes([len(some) // 4]) + some + row.tobytes() for some, row in zip(ids, moved, strict=True)
    )


def _faces(order: str) -> bytes:
    if not order:
        return b"0.5 3 0 1 2 7\n0.5 4 0 1 2 3 7\n0.5 0 7\n"
    return b"".join(
        np.array(0.5, order + "f4").tobytes()
        + bytes([count])
        + np.arange(count, dtype=order + "i4").tobytes()
        + np.array(7, order + "i2").tobytes()
        for count in (3, 4, 0)
    )


@pytest.mark.parametrize("kind", ["ascii", "binary_little_endian", "binary_big_endian"])
@pytest.mark.parametrize("faces", ["", "before", "after"])
@pytest.mark.parametrize("vertex_list", [False, True])
def test_every_layout_reads_back(tmp_path: Path, kind: str, faces: str, vertex_list: bool) -> None:
    table = vertices()
    path = write(tmp_path / "a.ply", table, kind, faces=faces, vertex_list=vertex_list)
    found = read_points(path, ORIGIN)
    np.testing.assert_array_equal(found.xyz_m, np.stack([table[n] for n in "xyz"], 1))
    assert found.intensity is not None
    np.testing.assert_array_equal(found.intensity, table["scalar_Intensity"])
    np.testing.assert_array_equal(found.ring, table["ring"])
    np.testing.assert_array_equal(found.time, table["t"])
    assert found.time_name == "t"
    assert read_head(path).num_points == 20


@pytest.mark.parametrize("kind", sorted(NAMES))
@pytest.mark.parametrize("encoding", ["ascii", "binary_big_endian"])
def test_every_type_of_property(tmp_path: Path, kind: str, encoding: str) -> None:
    fields = [(name, kind) for name in (*"xyz", "intensity")]
    table = vertices(fields=fields)
    found = read_points(write(tmp_path / "a.ply", table, encoding), ORIGIN)
    np.testing.assert_array_equal(found.xyz_m, np.stack([table[n] for n in "xyz"], 1).astype("f4"))
    assert found.intensity is not None
    assert found.intensity.dtype.newbyteorder("=") == np.dtype(kind)


def test_windows_line_ends_and_beams_as_floats(tmp_path: Path) -> None:
    table = vertices(fields=[*((name, "f4") for name in "xyz"), ("scalar_ring", "f4")])
    table["scalar_ring"] = np.arange(20)
    found = read_points(write(tmp_path / "a.ply", table, newline="\r\n"), ORIGIN)
    assert found.ring is not None
    assert found.ring.tolist() == list(range(20))
    np.testing.assert_array_equal(found.xyz_m[:, 2], table["z"])


@pytest.mark.parametrize("kind", ["ascii", "binary_little_endian"])
def test_map_coordinates_keep_millimetres(tmp_path: Path, kind: str) -> None:
    table = vertices(fields=[(name, "f8") for name in "xyz"])
    table["x"] += 691_000.0
    table["y"] += 5_335_000.0
    path = write(tmp_path / "a.ply", table, kind)
    head = read_head(path)
    assert head.in_map
    assert head.near_m is not None
    found = read_points(path, np.floor(head.near_m)).xyz_m + np.floor(head.near_m)
    np.testing.assert_allclose(found, np.stack([table[n] for n in "xyz"], 1), atol=1e-5, rtol=0)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (("format binary_little_endian", "format morse"), "'format morse 1.0' is wrong"),
        (("property float x", "property quad x"), "is wrong"),
        (("property float x", "property float a"), "expected one x, y and z"),
        (("property float x", "property float y"), "expected one x, y and z"),
        (("element vertex 20", "element vertex -2"), "-2 of vertex announced"),
        (("element vertex 20", "element vertex many"), "is wrong"),
        (("element vertex 20", "element vertex 21"), "21 of vertex announced, 20 found"),
        (("element vertex", "element point"), "no element vertex; elements: point"),
        (("end_header", "end"), "no end_header line"),
        (("comment made here", "verse made here"), "'verse made here' is not known"),
    ],
)
def test_bad_headers_say_what_is_wrong(
    tmp_path: Path, change: tuple[str, str], message: str
) -> None:
    path = write(tmp_path / "a.ply", vertices())
    path.write_bytes(path.read_bytes().replace(change[0].encode(), change[1].encode()))
    with pytest.raises(FormatError, match=message):
        read_points(path, ORIGIN)


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_only_our_errors_escape(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    path = tmp_path_factory.getbasetemp() / "fuzz.ply"
    kind = data.draw(st.sampled_from(["ascii", "binary_little_endian", "binary_big_endian"]))
    faces = data.draw(st.sampled_from(["", "before", "after"]))
    write(path, vertices(5), kind, faces=faces, vertex_list=data.draw(st.booleans()))
    content = bytearray(path.read_bytes())
    for _ in range(data.draw(st.integers(0, 4))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    path.write_bytes(content[: data.draw(st.integers(0, len(content)))])
    try:
        read_head(path)
        read_points(path, ORIGIN)
    except FormatError:
        pass


@pytest.mark.parametrize("kind", ["ascii", "binary_little_endian", "binary_big_endian"])
def test_files_of_another_library(tmp_path: Path, kind: str) -> None:
    plyfile = pytest.importorskip("plyfile", reason="pip install starloop[oracle]")
    table = vertices(50)
    face = np.array([([0, 1, 2],), ([3, 4, 5],)], dtype=[("vertex_indices", "i4", (3,))])
    elements = [
        plyfile.PlyElement.describe(face, "face"),
        plyfile.PlyElement.describe(table, "vertex"),
    ]
    order = {"ascii": "=", "binary_little_endian": "<", "binary_big_endian": ">"}[kind]
    path = tmp_path / "a.ply"
    plyfile.PlyData(elements, text=kind == "ascii", byte_order=order).write(str(path))
    theirs = plyfile.PlyData.read(str(path))["vertex"]
    found = read_points(path, ORIGIN)
    np.testing.assert_array_equal(found.xyz_m, np.stack([theirs[n] for n in "xyz"], 1))
    np.testing.assert_array_equal(found.intensity, theirs["scalar_Intensity"])
    np.testing.assert_array_equal(found.time, theirs["t"])


def test_open3d_reads_the_same(tmp_path: Path) -> None:
    open3d = pytest.importorskip(
        "open3d", exc_type=ImportError,
        reason="pip install starloop[bench]; apt install libusb-1.0-0",
    )  # fmt: skip
    for kind in ("ascii", "binary_little_endian"):
        path = write(tmp_path / "a.ply", vertices(40), kind, faces="after")
        theirs = np.asarray(open3d.io.read_point_cloud(str(path)).points)
        np.testing.assert_allclose(read_points(path, ORIGIN).xyz_m, theirs, rtol=1e-6)
