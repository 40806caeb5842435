"""The point codec: what comes back, how exactly, and what damage does."""

from __future__ import annotations

import base64
import contextlib
import hashlib
import re
import struct
import zlib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from scene.errors import DataError, FormatError
from scene.sweep import Sweep
from storage import codec
from storage.codec_envelope import unseal
from tests.support.shared_data import shared_data

ROOT = Path(__file__).resolve().parents[3]


def spinning(num_columns: int = 360, num_rings: int = 16, seed: int = 0) -> Sweep:
    """A lidar in a round room, fired column by column, with gaps and noise."""
    random = np.random.default_rng(seed)
    column, ring = np.meshgrid(np.arange(num_columns), np.arange(num_rings), indexing="ij")
    column, ring = column.ravel(), ring.ravel()
    seen = random.random(len(ring)) > 0.1
    column, ring = column[seen], ring[seen]
    azimuth = 2 * np.pi * column / num_columns
    distance = 20 + 3 * np.sin(3 * azimuth) + random.normal(0, 0.02, len(ring))
    tilt = np.radians(-15 + 2 * ring)
    flat = distance * np.cos(tilt)
    xyz = [flat * np.cos(azimuth), flat * np.sin(azimuth), distance * np.sin(tilt) + 1.8]
    return Sweep(
        1_000,
        np.stack(xyz, axis=1).astype(np.float32),
        random.integers(0, 60, len(ring)).astype(np.float32) / np.float32(255),
        np.rint(column * 1e8 / num_columns + ring * 2304).astype(np.int32),
        ring.astype(np.uint16),
    )


def by_time(sweep: Sweep) -> np.ndarray:
    return np.lexsort((sweep.ring, sweep.offset_ns))


@pytest.mark.parametrize("lossless", [False, True])
def test_an_empty_sweep_with_rings_comes_back(lossless: bool) -> None:
    nothing = np.zeros(0, np.float32)
    empty = Sweep(7, nothing.reshape(0, 3), nothing, nothing.astype("i4"), nothing.astype("u2"))
    back = codec.decode(codec.encode(empty, lossless=lossless), 7)
    assert len(back) == 0
    assert back.ring is not None


def test_quantised_points_are_within_half_a_step_and_the_rest_is_exact() -> None:
    sweep = spinning()
    back = codec.decode(codec.encode(sweep), sweep.timestamp_ns)
    ours, theirs = by_time(sweep), by_time(back)
    error = np.abs(sweep.points_ego_m[ours].astype(np.float64) - back.points_ego_m[theirs])
    assert error.max() <= 0.0005 + 4e-6
    assert np.array_equal(sweep.offset_ns[ours], back.offset_ns[theirs])
    assert np.array_equal(sweep.ring[ours], back.ring[theirs])
    assert np.array_equal(sweep.intensity[ours], back.intensity[theirs])
    assert back.timestamp_ns == 1_000


def test_a_spinning_sweep_is_small() -> None:
    sweep = spinning(1800, 32)
    assert len(codec.encode(sweep)) / len(sweep) < 4.5  # raw: 26 bytes a point


def test_time_of_a_regular_sensor_costs_little() -> None:
    sweep = spinning(1800, 32)
    still = Sweep(
        0, sweep.points_ego_m, sweep.intensity, np.zeros_like(sweep.offset_ns), sweep.ring
    )
    extra = len(codec.encode(sweep)) - len(codec.encode(still))
    assert extra / len(sweep) < 0.5


def test_shuffled_points_are_put_in_order() -> None:
    sweep = spinning()
    assert len(codec.encode(shuffled(sweep))) < 1.35 * len(codec.encode(sweep))


def streams_digest(data: bytes) -> str:
    """Return a hash of what is stored before zstd, whose bytes differ between its versions."""
    header, streams = unseal(data)
    return hashlib.sha256(repr((header, streams)).encode()).hexdigest()[:16]


def shuffled(sweep: Sweep) -> Sweep:
    order = np.random.default_rng(1).permutation(len(sweep))
    return taken(sweep, order)


def taken(sweep: Sweep, order: np.ndarray) -> Sweep:
    return Sweep(
        0, sweep.points_ego_m[order], sweep.intensity[order], sweep.offset_ns[order],
        None if sweep.ring is None else sweep.ring[order],
    )  # fmt: skip


def columns_at_once(sweep: Sweep) -> Sweep:
    """Give all rings of a column one time, and let some points jump by more than 16 bits."""
    points = sweep.points_ego_m.copy()
    points[::97] *= 5
    return replace(sweep, points_ego_m=points, offset_ns=sweep.offset_ns // 100_000 * 100_000)


@pytest.mark.parametrize(
    ("make", "expected"),
    [
        (spinning, "981ee339467dd842"),
        (lambda: columns_at_once(spinning()), "1e47d977b076f2c1"),
        (lambda: columns_at_once(spinning(900, 5)), "7b1a3710b5fc4124"),
        (lambda: replace(columns_at_once(spinning()), ring=None), "f82b832de3c45b1b"),
    ],
    ids=["times of their own", "a table of times", "few rings", "no rings"],
)
def test_what_is_stored_stays_the_same(make: Callable[[], Sweep], expected: str) -> None:
    sweep = make()  # in centimetres, which no sine of another processor makes other millimetres
    sweep = replace(sweep, points_ego_m=np.round(sweep.points_ego_m, 2))
    assert streams_digest(codec.encode(sweep)) == expected


@pytest.mark.parametrize("step_m", [0.0005, 0.001, 0.004])
def test_the_step_is_the_error_bound(step_m: float) -> None:
    sweep = spinning()
    back = codec.decode(codec.encode(sweep, step_m=step_m), 0)
    a = sweep.points_ego_m[by_time(sweep)].astype(np.float64)
    error = np.abs(a - back.points_ego_m[by_time(back)]).max()
    assert 0.4 * step_m < error <= step_m / 2 + 4e-6


sweeps = st.integers(0, 40).flatmap(
    lambda n: st.builds(
        Sweep,
        st.just(0),
        hnp.arrays(np.float32, (n, 3), elements=st.floats(-500, 500, width=32)),
        hnp.arrays(np.float32, n, elements=st.floats(0, 1, width=32)),
        hnp.arrays(np.int32, n),
        st.none() | hnp.arrays(np.uint16, n),
    )
)


@pytest.mark.slow
@settings(max_examples=60, deadline=None)
@given(sweeps)
def test_lossless_keeps_every_bit_and_the_order(sweep: Sweep) -> None:
    back = codec.decode(codec.encode(sweep, lossless=True), 0)
    for name in ("points_ego_m", "intensity", "offset_ns"):
        assert getattr(sweep, name).tobytes() == getattr(back, name).tobytes()
    assert (sweep.ring is None) == (back.ring is None)
    if sweep.ring is not None:
        assert np.array_equal(sweep.ring, back.ring)


@pytest.mark.slow
@settings(max_examples=60, deadline=None)
@given(sweeps)
def test_quantised_keeps_the_multiset_of_points(sweep: Sweep) -> None:
    data = codec.encode(sweep)
    back = codec.decode(data, 0)

    def rows(s: Sweep) -> np.ndarray:
        steps = np.rint(s.points_ego_m.astype(np.float64) / 0.001).astype(np.int64)
        level = np.rint(s.intensity * 255).astype(np.int64)
        ring = np.zeros(len(s), np.int64) if s.ring is None else s.ring.astype(np.int64)
        table = np.column_stack([steps, level, s.offset_ns.astype(np.int64), ring])
        return table[np.lexsort(table.T)]

    assert np.array_equal(rows(sweep), rows(back))
    assert codec.encode(sweep) == data  # same input, same bytes


@settings(max_examples=120, deadline=None)
@given(st.data())
def test_any_damaged_byte_is_noticed(data: st.DataObject) -> None:
    good = codec.encode(spinning(24, 4))
    position = data.draw(st.integers(0, len(good) - 1))
    bad = bytearray(good)
    bad[position] ^= data.draw(st.integers(1, 255))
    with pytest.raises(FormatError):
        codec.decode(bytes(bad), 0)


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_lies_under_a_right_checksum_end_in_an_error_or_a_sweep(data: st.DataObject) -> None:
    """A forged file must not crash, hang or take memory that its size does not justify."""
    body = bytearray(codec.encode(spinning(24, 4))[:-4])
    for _ in range(data.draw(st.integers(1, 3))):
        body[data.draw(st.integers(4, len(body) - 1))] = data.draw(st.integers(0, 255))
    forged = bytes(body) + struct.pack("<I", zlib.crc32(bytes(body)))
    with contextlib.suppress(FormatError):
        back = codec.decode(forged, 0)
        assert len(back) == struct.unpack_from("<I", forged, 8)[0]


@pytest.mark.parametrize("length", [0, 3, 27, 200])
def test_cut_bytes_are_refused(length: int) -> None:
    with pytest.raises(FormatError, match="point codec"):
        codec.decode(codec.encode(spinning(24, 4))[:length], 0)


def test_a_newer_version_is_named() -> None:
    body = bytearray(codec.encode(spinning(24, 4))[:-4])
    body[4] = 3
    with pytest.raises(FormatError, match="version 3; this reader knows 1 to 2"):
        codec.decode(bytes(body) + struct.pack("<I", zlib.crc32(bytes(body))), 0)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_points_that_are_not_finite_are_refused(value: float) -> None:
    sweep = spinning(24, 4)
    sweep.points_ego_m[5, 1] = value
    with pytest.raises(DataError, match=r"1 of \d+ points are not finite"):
        codec.encode(sweep)


@pytest.mark.parametrize("value", [np.nan, -0.1, 1.5])
def test_intensity_outside_its_range_is_refused(value: float) -> None:
    sweep = spinning(24, 4)
    sweep.intensity[3] = value
    with pytest.raises(DataError, match=r"must scale it to 0\.\.1"):
        codec.encode(sweep)


def test_a_coordinate_too_far_for_the_step_is_refused() -> None:
    sweep = spinning(24, 4)
    sweep.points_ego_m[0, 0] = 2e6
    with pytest.raises(DataError, match="use a larger step"):
        codec.encode(sweep)
    assert len(codec.decode(codec.encode(sweep, step_m=0.01), 0)) == len(sweep)


@pytest.mark.parametrize("step_m", [0.0, -1.0, np.nan])
def test_a_step_must_be_positive(step_m: float) -> None:
    with pytest.raises(DataError, match="step_m must be positive"):
        codec.encode(spinning(24, 4), step_m=step_m)


def documented_reader() -> Callable[[bytes], dict[str, np.ndarray]]:
    text = (ROOT / "docs" / "point-codec.md").read_text()
    source = re.findall(r"```python\n(.*?)```", text, re.DOTALL)[0]
    assert len(source.splitlines()) <= 60
    namespace: dict = {}
    exec(compile(source, "point-codec.md", "exec"), namespace)
    return namespace["read_sweep"]


def columns_fired_at_once(sweep: Sweep) -> Sweep:
    times = (sweep.offset_ns // 300_000 * 300_007).astype(np.int32)
    return replace(sweep, offset_ns=times)


@pytest.mark.parametrize("lossless", [False, True])
@pytest.mark.parametrize("change", [lambda s: s, columns_fired_at_once])
def test_the_reader_in_the_documentation_agrees(
    lossless: bool, change: Callable[[Sweep], Sweep]
) -> None:
    sweep = change(spinning(96, 8))
    sweep.points_ego_m[7] = (400.0, -300.0, 90.0)  # forces escapes
    data = codec.encode(sweep, lossless=lossless)
    assert bool(data[5] & 8) == (change is columns_fired_at_once)
    _same(codec.decode(data, 0), documented_reader()(data))


def test_times_of_columns_come_back() -> None:
    sweep = columns_fired_at_once(spinning())
    back = codec.decode(codec.encode(sweep), 0)
    assert np.array_equal(sweep.offset_ns[by_time(sweep)], back.offset_ns[by_time(back)])


@pytest.mark.parametrize("name", ["quantised", "lossless"])
def test_version_1_is_read_for_ever(name: str) -> None:
    """Bytes that the version before wrote for `spinning(12, 4)`."""
    data = base64.b85decode((Path(__file__).parent / f"version_1_{name}.b85").read_bytes())
    assert data[4] == 1
    back = codec.decode(data, 0)
    _same(back, documented_reader()(data))
    sweep = spinning(12, 4)
    ours, theirs = by_time(sweep), by_time(back)
    assert np.abs(sweep.points_ego_m[ours] - back.points_ego_m[theirs]).max() < 0.000505
    assert np.array_equal(sweep.intensity[ours], back.intensity[theirs])
    assert np.array_equal(sweep.offset_ns[ours], back.offset_ns[theirs])
    assert np.array_equal(sweep.ring[ours], back.ring[theirs])


def _same(ours: Sweep, theirs: dict[str, np.ndarray]) -> None:
    assert np.array_equal(ours.points_ego_m, theirs["xyz_m"])
    assert np.array_equal(ours.intensity, theirs["intensity"])
    assert np.array_equal(ours.offset_ns, theirs["offset_ns"])
    assert np.array_equal(ours.ring, theirs["ring"])


def test_a_real_sweep_without_rings() -> None:
    """PandaSet: file order is not firing order, times are multiples of 50 us."""
    import pyarrow.feather as feather

    folder = shared_data("av2_layout/pandaset_002/sensors/lidar")
    table = feather.read_table(sorted(folder.glob("*.feather"))[0])
    xyz = np.stack([table[c].to_numpy().astype(np.float32) for c in "xyz"], axis=1)
    intensity = table["intensity"].to_numpy().astype(np.float32) / np.float32(255)
    offset_ns = table["offset_ns"].to_numpy().astype(np.int32)
    sweep = Sweep(0, xyz, intensity, offset_ns)
    data = codec.encode(sweep)
    back = codec.decode(data, 0)
    assert len(data) / len(sweep) < 5.5
    assert np.array_equal(np.sort(back.offset_ns), np.sort(offset_ns))
    assert np.array_equal(np.sort(back.intensity), np.sort(intensity))
