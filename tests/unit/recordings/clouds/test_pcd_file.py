from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recordings.clouds.pcd_file import _lzf_decompress, read_header, read_points
from scene.errors import FormatError

DTYPE = np.dtype([("x", "<f4"), ("y", "<f4"), ("z", "<f4"), ("intensity", "<f4"), ("ring", "<u2")])
HEADER = (
    "# .PCD v0.7 - Point Cloud Data file format\nVERSION 0.7\nFIELDS x y z intensity ring\n"
    "SIZE 4 4 4 4 2\nTYPE F F F F U\nCOUNT 1 1 1 1 1\nWIDTH {num}\nHEIGHT 1\n"
    "VIEWPOINT {view}\nPOINTS {num}\nDATA {kind}\n"
)


def points(seed: int, num: int = 25) -> np.ndarray:
    rng = np.random.default_rng(seed)
    made = np.zeros(num, DTYPE)
    for name in "xyz":
        made[name] = np.round(rng.uniform(-20, 20, num), 3)
    made["intensity"], made["ring"] = rng.integers(0, 255, num), rng.integers(0, 32, num)
    return made


def lzf_literals(data: bytes) -> bytes:
    """A valid LZF stream that holds literals only."""
    runs = [data[i : i + 32] for i in range(0, len(data), 32)]
    return b"".join(bytes([len(run) - 1]) + run for run in runs)


def write(
    path: Path,
    made: np.ndarray,
    kind: str,
    *,
    announced: int | None = None,
    view: str = "0 0 0 1 0 0 0",
) -> Path:
    head = HEADER.format(num=len(made) if announced is None else announced, kind=kind, view=view)
    if kind == "ascii":
        body = "\n".join(" ".join(str(v) for v in row) for row in made.tolist()).encode() + b"\n"
    elif kind == "binary":
        body = made.tobytes()
    else:
        columns = b"".join(made[name].tobytes() for name in DTYPE.names or ())
        packed = lzf_literals(columns)
        body = struct.pack("<II", len(packed), len(columns)) + packed
    path.write_bytes(head.encode() + body)
    return path


@pytest.mark.parametrize("kind", ["ascii", "binary", "binary_compressed"])
def test_every_encoding_reads_back(tmp_path: Path, kind: str) -> None:
    made = points(1)
    found = read_points(write(tmp_path / "a.pcd", made, kind))
    np.testing.assert_allclose(found.xyz_m, np.stack([made[n] for n in "xyz"], 1), atol=1e-6)
    assert found.intensity is not None
    assert found.ring is not None
    np.testing.assert_array_equal(found.intensity, made["intensity"])
    np.testing.assert_array_equal(found.ring, made["ring"])


@pytest.mark.parametrize("kind", ["ascii", "binary", "binary_compressed"])
@pytest.mark.parametrize("wide", ["f8", "i8", "u8", "i2", "u1", "f4"])
def test_every_type_of_field_padding_and_arrays(tmp_path: Path, kind: str, wide: str) -> None:
    made = np.zeros(
        20,
        [("_", "u1", (3,)), ("x", wide), ("y", wide), ("z", wide), ("rgb", "<f4"),
         ("intensity", "<f4", (4,)), ("reflectivity", "<u2"), ("t", "<u8")],
    )  # fmt: skip
    for name in "xyz":
        made[name] = np.arange(20) + ord(name)
    made["rgb"] = np.frombuffer(b"\x01\x02\x03\x00" * 20, "<f4")  # packed colour
    made["reflectivity"], made["t"] = np.arange(20) * 3, np.arange(20) * 10**5
    sizes = [made.dtype[name].base.itemsize for name in made.dtype.names or ()]
    types = [made.dtype[name].base.kind.upper() for name in made.dtype.names or ()]
    counts = [int(np.prod(made.dtype[name].shape, dtype=int)) for name in made.dtype.names or ()]
    head = "".join(
        f"{word} {' '.join(map(str, values))}\n"
        for word, values in (
            ("FIELDS", made.dtype.names), ("SIZE", sizes), ("TYPE", types), ("COUNT", counts),
            ("WIDTH", [4]), ("HEIGHT", [5]), ("POINTS", [20]), ("DATA", [kind]),
        )
    )  # fmt: skip
    columns = [made[name].reshape(20, -1) for name in made.dtype.names or ()]
    if kind == "ascii":
        rows = [" ".join(str(v) for column in columns for v in column[i]) for i in range(20)]
        body = "\n".join(rows).encode()
    elif kind == "binary":
        body = made.tobytes()
    else:
        flat = b"".join(column.tobytes() for column in columns)
        packed = lzf_literals(flat)
        body = struct.pack("<II", len(packed), len(flat)) + packed
    path = tmp_path / "a.pcd"
    path.write_bytes(b"VERSION 0.7\n" + head.encode() + body)
    found = read_points(path)
    np.testing.assert_array_equal(found.xyz_m, np.stack([made[n] for n in "xyz"], axis=1))
    np.testing.assert_array_equal(found.intensity, made["reflectivity"])
    np.testing.assert_array_equal(found.time, made["t"])


def test_a_packed_size_that_cannot_be_is_refused(tmp_path: Path) -> None:
    path = write(tmp_path / "a.pcd", points(1, 10), "binary_compressed", announced=100_000)
    data = path.read_bytes()
    at = data.index(b"binary_compressed\n") + 18
    path.write_bytes(data[: at + 4] + struct.pack("<I", 100_000 * 18) + data[at + 8 :])
    with pytest.raises(FormatError, match="100000 points of 18 bytes announced"):
        read_points(path)


@pytest.mark.parametrize("kind", ["ascii", "binary", "binary_compressed"])
def test_a_wrong_count_is_an_error_that_names_both(tmp_path: Path, kind: str) -> None:
    path = write(tmp_path / "a.pcd", points(1), kind, announced=26)
    with pytest.raises(FormatError, match=r"a\.pcd: 26 points .* announced"):
        read_points(path)


@pytest.mark.parametrize("kind", ["ascii", "binary", "binary_compressed"])
def test_cut_anywhere_is_an_error(tmp_path: Path, kind: str) -> None:
    path = write(tmp_path / "a.pcd", points(1), kind)
    data = path.read_bytes()
    cuts = range(0, len(data) - (30 if kind == "ascii" else 1), 13)
    for size in cuts:
        path.write_bytes(data[:size])
        with pytest.raises(FormatError, match=r"a\.pcd"):
            read_points(path)


@settings(max_examples=50, deadline=None)
@given(st.binary(max_size=300), st.integers(0, 400))
def test_lzf_survives_any_bytes(data: bytes, size: int) -> None:
    target = np.zeros(size, np.uint8)
    written = _lzf_decompress(np.frombuffer(data, np.uint8), target)
    assert -1 <= written <= size


def test_lzf_back_references() -> None:
    target = np.zeros(20, np.uint8)
    # Literals "ab", then 18 bytes from 2 back: length 18 = 7 + 9 + 2, distance 2 = 1 + 1.
    stream = np.frombuffer(bytes([1, 97, 98, 7 << 5, 9, 1]), np.uint8)
    assert _lzf_decompress(stream, target) == 20
    assert target.tobytes() == b"ab" * 10


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (("FIELDS x y z", "FIELDS a y z"), "no x, y, z among its fields a y z"),
        (("WIDTH 25", "WIDTH 24"), "WIDTH 24 x HEIGHT 1 is not 25 POINTS"),
        (("DATA binary", "DATA morse"), "DATA morse; known: ascii, binary"),
        (("SIZE 4 4 4 4 2", "SIZE 4 4"), "header is not complete"),
        (("TYPE F F F F U", "TYPE F F F F Q"), "header is not complete"),
        (("COUNT 1 1 1 1 1", "COUNT 1 1 1 9999 1"), "bytes a point"),
        (("DATA binary\n", ""), "no DATA line"),
    ],
)
def test_bad_headers_say_what_is_wrong(
    tmp_path: Path, change: tuple[str, str], message: str
) -> None:
    path = write(tmp_path / "a.pcd", points(1), "binary")
    data = path.read_bytes().replace(change[0].encode(), change[1].encode())
    path.write_bytes(data)
    with pytest.raises(FormatError, match=message):
        read_header(path)


def test_a_word_among_the_points_is_an_error(tmp_path: Path) -> None:
    path = write(tmp_path / "a.pcd", points(1), "ascii")
    lines = path.read_text().splitlines()
    lines[14] = "1 2 three 4 5"
    path.write_text("\n".join(lines))
    with pytest.raises(FormatError, match="not a number"):
        read_points(path)
