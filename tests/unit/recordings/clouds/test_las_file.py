from __future__ import annotations

import struct
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recordings.clouds.las_file import read_head, read_header, read_points
from scene.errors import CutShortError, FormatError
from tests.support.shared_data import shared_data

SIZES = {0: 20, 1: 28, 2: 26, 3: 34, 4: 57, 5: 63, 6: 30, 7: 36, 8: 38, 9: 59, 10: 67}
TIME_AT = {1: 20, 3: 20, 4: 20, 5: 20, **dict.fromkeys((6, 7, 8, 9, 10), 22)}
SCALE, OFFSET = (0.001, 0.001, 0.002), (690_000.0, 5_334_000.0, 500.0)
GPS_S = 400_000_000.25  # adjusted standard time
REAL = ["autzen_trim.laz", "simple.las", "simple.laz", "simple1_3.las", "test1_4.las",
        "vegetation_1_3.las"]  # fmt: skip


def write(
    path: Path,
    kind: int = 1,
    minor: int = 2,
    count: int = 30,
    *,
    extra: int = 0,
    step_s: float = 1e-3,
    wrong_bounds: bool = False,
) -> np.ndarray:
    """Write a LAS file by the tables of the specification; return (N, 3) coordinates."""
    rng = np.random.default_rng(kind)
    numbers = rng.integers(0, 90_000, (count, 3))
    record = SIZES[kind] + extra
    rows = np.zeros((count, record), np.uint8)
    rows[:, :12] = numbers.astype("<i4").view(np.uint8).reshape(count, 12)
    rows[:, 12:14] = (np.arange(count) * 8).astype("<u2").view(np.uint8).reshape(count, 2)
    if kind in TIME_AT:
        times = (GPS_S + np.arange(count) * step_s).astype("<f8")
        rows[:, TIME_AT[kind] : TIME_AT[kind] + 8] = times.view(np.uint8).reshape(count, 8)
    xyz = numbers * np.array(SCALE) + np.array(OFFSET)
    low, high = (xyz.min(0), xyz.max(0)) if not wrong_bounds else (xyz.min(0) * 1e3,) * 2
    size = {2: 227, 3: 235, 4: 375}[max(minor, 2)]
    legacy = count if minor < 4 else 0
    head = struct.pack("<4sHH16sBB32s32sHHHII", b"LASF", 0, 1, b"", 1, minor, b"", b"", 1, 2026,
                       size, size + 60, 1)  # fmt: skip
    head += struct.pack("<BHI5I", kind, record, legacy, *[0] * 5)
    head += struct.pack("<6d", *SCALE, *OFFSET)
    head += struct.pack("<6d", *(v for pair in zip(high, low, strict=True) for v in pair))
    if minor >= 3:
        head += struct.pack("<Q", 0)
    if minor >= 4:
        head += struct.pack("<QIQ15Q", 0, 0, count, *[0] * 15)
    vlr = struct.pack("<H16sHH32s", 0, b"someone", 1, 6, b"") + b"record"
    path.write_bytes(head + vlr + rows.tobytes() + b"records behind the points")
    return xyz


@pytest.mark.parametrize("kind", sorted(SIZES))
def test_every_point_format(tmp_path: Path, kind: int) -> None:
    path = tmp_path / "a.las"
    xyz = write(path, kind, 4 if kind >= 6 else 2, extra=5)
    head = read_head(path)
    assert head.num_points == 30
    assert head.in_map
    found = read_points(path, np.array(OFFSET))
    np.testing.assert_allclose(found.xyz_m + np.array(OFFSET), xyz, rtol=0, atol=1e-5)
    assert found.intensity is not None
    assert found.intensity.tolist() == [i * 8 for i in range(30)]
    if kind in TIME_AT:
        assert head.time_ns == (400_000_000 + 1_000_000_000 + 315_964_800 - 18) * 10**9 + 25 * 10**7
        assert found.time is not None
        np.testing.assert_allclose(found.time, np.arange(30) * 1e6, atol=100)  # of a double
    else:
        assert (head.time_ns, found.time) == (None, None)


@pytest.mark.parametrize("minor", [0, 1, 2, 3, 4])
def test_every_version(tmp_path: Path, minor: int) -> None:
    xyz = write(tmp_path / "a.las", 1, minor)
    found = read_points(tmp_path / "a.las", np.array(OFFSET)).xyz_m + np.array(OFFSET)
    np.testing.assert_allclose(found, xyz, rtol=0, atol=1e-5)


def test_the_times_of_a_survey_are_left_out(tmp_path: Path) -> None:
    write(tmp_path / "a.las", step_s=1.0)
    assert read_points(tmp_path / "a.las", np.array(OFFSET)).time is None


def test_bounds_that_are_wrong_do_not_move_the_points_away(tmp_path: Path) -> None:
    xyz = write(tmp_path / "a.las", wrong_bounds=True)
    near = read_head(tmp_path / "a.las").near_m
    np.testing.assert_allclose(near, xyz[0])


def test_no_points(tmp_path: Path) -> None:
    path = tmp_path / "a.las"
    write(path, count=1)
    data = bytearray(path.read_bytes())
    data[107:111] = bytes(4)
    path.write_bytes(data)
    assert read_head(path).num_points == 0
    assert read_points(path, np.zeros(3)).xyz_m.shape == (0, 3)


def test_of_a_file_that_is_cut_the_points_before_the_cut_are_had(tmp_path: Path) -> None:
    path = tmp_path / "a.las"
    xyz = write(path, count=30)
    path.write_bytes(path.read_bytes()[: read_header(path).data_start + 24 * 28 + 27])
    assert read_head(path).num_points == 30
    with pytest.raises(CutShortError, match="cut off: 30 points announced, 24 found") as caught:
        read_points(path, np.zeros(3))
    found = read_points(path, np.zeros(3), caught.value.num_found).xyz_m
    np.testing.assert_allclose(found, xyz[:24], rtol=1e-6)


@pytest.mark.parametrize(
    ("at", "value", "message"),
    [
        (104, b"\x0b", "point format 11; known are 0 to 10"),
        (105, b"\x05\x00", "5 bytes a point"),
        (25, b"\x05", "LAS 1.5; known are 1.0 to 1.4"),
        (96, b"\xff\xff\xff\x00", "points at byte 16777215"),
        (100, b"\xff\xff\xff\x00", "16777215 records in its head"),
        (131, bytes(8), "a scale or offset is wrong"),
        (104, b"\x81", "compressed points without the record that says how"),
    ],
)
def test_bad_headers_say_what_is_wrong(tmp_path: Path, at: int, value: bytes, message: str) -> None:
    path = tmp_path / "a.las"
    write(path)
    data = bytearray(path.read_bytes())
    data[at : at + len(value)] = value
    path.write_bytes(data)
    with pytest.raises(FormatError, match=message):
        read_head(path)


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_only_our_errors_escape(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    path = tmp_path_factory.getbasetemp() / "fuzz.las"
    kind = data.draw(st.sampled_from([0, 1, 6]))
    write(path, kind, 4 if kind >= 6 else 2, 5)
    damaged(path, data, len(path.read_bytes()))


def damaged(path: Path, data: st.DataObject, reach: int) -> None:
    content = bytearray(path.read_bytes())
    for _ in range(data.draw(st.integers(0, 4))):
        content[data.draw(st.integers(0, reach - 1))] = data.draw(st.integers(0, 255))
    path.write_bytes(content[: data.draw(st.integers(0, len(content)))])
    try:
        head = read_head(path)
        if head.num_points <= 10**6:
            read_points(path, np.zeros(3))
    except FormatError:
        pass


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_only_our_errors_escape_from_damaged_laz(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    pytest.importorskip("lazrs", reason="pip install starloop[las]")
    path = tmp_path_factory.getbasetemp() / "fuzz.laz"
    path.write_bytes(shared_data("las/simple.laz").read_bytes())
    damaged(path, data, data.draw(st.sampled_from([500, len(path.read_bytes())])))


def test_chunks_of_different_sizes_as_copc_has_them(tmp_path: Path) -> None:
    lazrs = pytest.importorskip("lazrs", reason="pip install starloop[las]")
    path = tmp_path / "a.las"
    xyz = write(path, 6, 4, 60)
    data = path.read_bytes()
    start = struct.unpack_from("<I", data, 96)[0]
    rows = np.frombuffer(data[start : start + 60 * SIZES[6]], np.uint8)
    how = lazrs.LazVlr.new_for_compression(6, 0, True)
    record = bytes(how.record_data())
    head = bytearray(data[:375])
    head[104] |= 0x80
    struct.pack_into("<II", head, 96, 375 + 54 + len(record), 1)
    vlr = struct.pack("<H16sHH32s", 0, b"laszip encoded", 22204, len(record), b"") + record
    with path.open("wb") as stream:
        stream.write(bytes(head) + vlr)
        packer = lazrs.LasZipCompressor(stream, how)
        for first, last in ((0, 7), (7, 50), (50, 60)):
            packer.compress_many(rows[first * SIZES[6] : last * SIZES[6]])
            packer.finish_current_chunk()
        packer.done()
        stream.write(b"records behind the points")
    found = read_points(path, np.array(OFFSET))
    np.testing.assert_allclose(found.xyz_m + np.array(OFFSET), xyz, rtol=0, atol=1e-5)
    assert found.intensity is not None
    assert found.intensity.tolist() == [i * 8 for i in range(60)]


def test_without_the_package_for_laz_the_message_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "lazrs", None)
    with pytest.raises(FormatError, match=r"pip install 'starloop\[las\]'"):
        read_head(shared_data("las/simple.laz"))


@pytest.mark.parametrize("name", REAL)
def test_real_files_equal_what_laspy_reads(name: str) -> None:
    laspy = pytest.importorskip("laspy", reason="pip install starloop[las]")
    if name.endswith("laz"):
        pytest.importorskip("lazrs", reason="pip install starloop[las]")
    path = shared_data(f"las/{name}")
    theirs = laspy.read(path)
    head = read_head(path)
    assert head.num_points == len(theirs.points)
    assert head.near_m is not None
    origin = np.floor(head.near_m)
    found = read_points(path, origin)
    exact = np.asarray(theirs.xyz) - origin
    np.testing.assert_allclose(found.xyz_m, exact, rtol=1.2e-7, atol=1e-8)  # of a float32
    np.testing.assert_array_equal(found.intensity, theirs.intensity)
