"""The point codec over every layout: cut anywhere, any bit flipped, numbers that lie."""

from __future__ import annotations

import struct
import tracemalloc
from collections.abc import Callable

import numpy as np
import pytest
import zstandard
from hypothesis import given, settings

from scene.errors import FormatError
from storage import codec
from storage.codec_envelope import MAX_POINTS
from tests.support.sweep_layouts import (
    EVERY,
    Layout,
    damages,
    decodes_or_refuses,
    is_refused,
    layouts,
    with_checksum,
)

HEADER_BYTES, CRC_BYTES = 24, 4
SMALL_BYTES = 4 << 20  # what refusing a small file may take, whatever it announces


@pytest.mark.parametrize("layout", EVERY, ids=str)
def test_every_layout_comes_back(layout: Layout) -> None:
    sweep = layout.sweep()
    back = codec.decode(layout.encode(sweep), 0)
    assert len(back) == len(sweep)
    assert np.array_equal(np.sort(back.offset_ns), np.sort(sweep.offset_ns))
    assert (back.ring is None) == (sweep.ring is None)
    ours, theirs = (np.sort(s.points_ego_m, axis=0) for s in (sweep, back))
    assert np.allclose(ours, theirs, rtol=0, atol=0 if layout.lossless else 0.000520)


@pytest.mark.parametrize("layout", EVERY, ids=str)
def test_cut_anywhere_is_refused_even_under_a_right_checksum(layout: Layout) -> None:
    data = layout.encode(layout.sweep())
    for length in range(len(data)):
        assert is_refused(data[:length])
        assert length >= len(data) - CRC_BYTES or is_refused(with_checksum(data[:length]))


@pytest.mark.parametrize("layout", [each for each in EVERY if each.num_points < 24], ids=str)
def test_every_single_bit_flip_is_refused(layout: Layout) -> None:
    data = bytearray(layout.encode(layout.sweep()))
    for position in range(len(data)):
        for bit in range(8):
            data[position] ^= 1 << bit
            assert is_refused(bytes(data))
            data[position] ^= 1 << bit


@settings(max_examples=100, deadline=None)
@given(layouts, damages())
def test_forged_bytes_end_in_an_error_or_a_sweep(
    layout: Layout, damage: Callable[[bytes], bytes]
) -> None:
    body = layout.encode(layout.sweep())[:-CRC_BYTES]
    decodes_or_refuses(with_checksum(damage(body)))


def _peak_of_refusing(data: bytes) -> int:
    """Return how many bytes were allocated at most while it was refused."""
    tracemalloc.start()
    try:
        with pytest.raises(FormatError):
            codec.decode(data, 0)
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


FULL = [each for each in EVERY if each.num_points == 24]


@pytest.mark.parametrize("num_points", [25, MAX_POINTS, MAX_POINTS + 1, 2**32 - 1])
@pytest.mark.parametrize("layout", FULL, ids=str)
def test_a_huge_number_of_points_is_not_believed(layout: Layout, num_points: int) -> None:
    body = bytearray(layout.encode(layout.sweep())[:-CRC_BYTES])
    struct.pack_into("<I", body, 8, num_points)
    assert _peak_of_refusing(with_checksum(bytes(body))) < SMALL_BYTES


@pytest.mark.parametrize("size", [25, 4 * MAX_POINTS, 2**31, 2**32 - 1])
@pytest.mark.parametrize("field", [0, 1])
@pytest.mark.parametrize("layout", FULL[::5], ids=str)
def test_huge_streams_are_not_believed(layout: Layout, field: int, size: int) -> None:
    """Every stream in turn announces a size, raw or stored, that its bytes cannot have."""
    body = layout.encode(layout.sweep())[:-CRC_BYTES]
    (streams,) = struct.unpack_from("<H", body, 6)
    for stream in range(streams):
        forged = bytearray(body)
        struct.pack_into("<I", forged, 8, MAX_POINTS)
        struct.pack_into("<I", forged, HEADER_BYTES + 8 * stream + 4 * field, size)
        assert _peak_of_refusing(with_checksum(bytes(forged))) < SMALL_BYTES


@pytest.mark.parametrize("announced", [MAX_POINTS, 4 * MAX_POINTS])
def test_a_frame_that_announces_what_it_cannot_hold_allocates_nothing(announced: int) -> None:
    """Directory and zstd frame agree on a size of which the frame has a few bytes."""
    frame = bytearray(zstandard.ZstdCompressor(write_content_size=True).compress(bytes(70_000)))
    assert frame[4] >> 6 == 2  # a content size of four bytes
    at = 5 if frame[4] >> 5 & 1 else 6
    struct.pack_into("<I", frame, at, announced)
    assert zstandard.frame_content_size(bytes(frame)) == announced
    head = struct.pack("<4sBBHIdI", b"SLPC", 2, 0, 10, MAX_POINTS, 0.001, 1)
    directory = struct.pack("<II", announced, len(frame)) + bytes(8 * 9)
    assert _peak_of_refusing(with_checksum(head + directory + bytes(frame))) < SMALL_BYTES


@pytest.mark.parametrize("step_m", [0.0, -0.001, float("nan"), float("inf")])
def test_a_step_that_cannot_be_is_refused(step_m: float) -> None:
    body = bytearray(FULL[0].encode(FULL[0].sweep())[:-CRC_BYTES])
    struct.pack_into("<d", body, 12, step_m)
    with pytest.raises(FormatError, match="a header that cannot be"):
        codec.decode(with_checksum(bytes(body)), 0)


@pytest.mark.parametrize("streams", [0, 9, 11, 65535])
def test_a_number_of_streams_that_does_not_fit_the_flags_is_refused(streams: int) -> None:
    body = bytearray(FULL[0].encode(FULL[0].sweep())[:-CRC_BYTES])
    struct.pack_into("<H", body, 6, streams)
    assert _peak_of_refusing(with_checksum(bytes(body))) < SMALL_BYTES
