import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from scene.errors import DataError, FormatError
from training.packed import STEP_M, PackedPoints


def rebuilt(packed):
    data = b"".join(bytes(part) for part in packed.to_bytes())
    return PackedPoints.from_bytes(np.frombuffer(data, dtype=np.uint8))


@settings(max_examples=80, deadline=None)
@given(
    xyz=hnp.arrays(np.float32, (7, 3), elements=st.floats(-130, 130, width=32)),
    level=st.lists(st.integers(0, 255), min_size=7, max_size=7),
    lag=st.lists(st.sampled_from([0.0, 0.05, 0.1, 0.95]), min_size=7, max_size=7),
    columns=st.sampled_from([4, 5]),
)
def test_points_come_back_within_half_a_step(xyz, level, lag, columns):
    bright = np.array(level, dtype=np.float32) / np.float32(255)
    rows = [xyz, bright[:, None], np.array(lag, dtype=np.float32)[:, None]]
    points = np.concatenate(rows, axis=1)[:, :columns]
    packed = PackedPoints.pack(points)
    again = rebuilt(packed).unpack()
    assert again.shape == points.shape
    assert packed.step_m == STEP_M
    half = STEP_M / 2 + 2**-16  # + float32 rounding at 130 m
    assert np.abs(again[:, :3].astype(np.float64) - points[:, :3]).max() <= half
    np.testing.assert_array_equal(again[:, 3:], points[:, 3:])
    np.testing.assert_array_equal(PackedPoints.pack(again).unpack()[:, 3:], again[:, 3:])


def test_a_wide_frame_takes_larger_steps():
    points = np.array([[-400, 0, 0, 0], [400, 1, 2, 1]], dtype=np.float32)
    packed = PackedPoints.pack(points)
    assert packed.step_m == 4 * STEP_M
    assert np.abs(packed.unpack() - points).max() <= packed.step_m / 2 + 1e-4


@pytest.mark.parametrize("columns", [4, 5])
def test_a_frame_may_be_empty(columns):
    packed = PackedPoints.pack(np.zeros((0, columns), dtype=np.float32))
    assert rebuilt(packed).unpack().shape == (0, columns)


@pytest.mark.parametrize(
    ("row", "why"),
    [
        ([np.nan, 0, 0, 0], "not finite"),
        ([0, 0, np.inf, 0], "not finite"),
        ([0, 0, 0, 1.5], "not between 0 and 1"),
        ([0, 0, 0, -0.1], "not between 0 and 1"),
    ],
)
def test_what_cannot_be_packed_is_refused(row, why):
    with pytest.raises(DataError, match=why):
        PackedPoints.pack(np.array([row], dtype=np.float32))


def test_too_many_lags_are_refused():
    points = np.zeros((300, 5), dtype=np.float32)
    points[:, 4] = np.arange(300)
    with pytest.raises(DataError, match="more than 255 different lags"):
        PackedPoints.pack(points)


def test_bytes_of_something_else_are_refused():
    points = np.random.default_rng(0).random((5, 5)).astype(np.float32)
    points[:, 4] = 0.1
    whole = np.frombuffer(b"".join(bytes(p) for p in PackedPoints.pack(points).to_bytes()), "u1")
    for data in (whole[:-1], whole[:20], np.append(whole, 0)):
        with pytest.raises(FormatError, match="packed points"):
            PackedPoints.from_bytes(data.astype(np.uint8))
    broken = whole.copy()
    broken[-1] = 7
    with pytest.raises(FormatError, match="a point of sweep 7 of 1"):
        PackedPoints.from_bytes(broken)
