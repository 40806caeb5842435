from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recordings.geometry.point_times import (
    PointTimes,
    TimeRule,
    apply_rule,
    find_rule,
    sweep_period_ns,
)
from recordings.recording import Damage
from tests.support.shared_data import shared_data

STAMP = 1_557_539_956_500_022_016
PERIOD = 100_000_000
UNITS = {"ns": 1, "us": 1_000, "ms": 1_000_000, "s": 1_000_000_000}

# What a driver may write, and how well its type can say it at the time of STAMP.
RELATIVE = [
    ("ns", np.uint32), ("ns", np.int32), ("ns", np.uint64), ("ns", np.float32), ("ns", np.float64),
    ("us", np.uint32), ("us", np.int32), ("us", np.float32), ("us", np.uint64),
    ("ms", np.float32), ("ms", np.float64), ("ms", np.uint16),
    ("s", np.float32), ("s", np.float64),
]  # fmt: skip
ABSOLUTE = [
    ("ns", np.uint64), ("ns", np.int64), ("ns", np.float64),
    ("us", np.uint64), ("us", np.float64), ("ms", np.float64), ("s", np.float64),
]  # fmt: skip


def column(true_ns: np.ndarray, unit: str, kind: type, base_ns: int = 0) -> np.ndarray:
    """Write nanoseconds as a driver would, exactly rounded to its unit and type."""
    size = UNITS[unit]
    if np.dtype(kind).kind in "iu":
        return np.array([(int(t) + base_ns + size // 2) // size for t in true_ns], dtype=kind)
    whole, rest = divmod(base_ns, size)
    return (whole + (true_ns + rest) / size).astype(kind)


def tolerance_ns(values: np.ndarray, unit: str) -> float:
    size = UNITS[unit]
    if values.dtype.kind in "iu":
        return size / 2 + 1
    return float(np.spacing(np.abs(values).max())) * size + 1


@settings(deadline=None, max_examples=60)  # the first call compiles
@given(
    st.sampled_from(RELATIVE),
    st.sampled_from([10_000_000, 25_000_000, 50_000_000, 100_000_000, 200_000_000, 500_000_000]),
    st.floats(0.2, 1.0),
    st.booleans(),
    st.booleans(),
)
def test_relative_times_in_every_unit_and_type(
    how: tuple[str, type], period: int, share: float, counts_down: bool, period_known: bool
) -> None:
    unit, kind = how
    true = np.sort(np.random.default_rng(3).integers(0, int(period * share), 500))
    if counts_down and np.dtype(kind).kind != "u":  # to the end of the sweep
        true = true - true.max()
    values = column(true, unit, kind)
    damage: list[Damage] = []
    period_known = period_known or true.max() < 5_000_000  # too quick for a sweep of any lidar
    times = PointTimes(damage, period if period_known else 0)
    found = times.offsets_ns(values, STAMP, "cloud", "t")
    assert not damage
    if values.min() == values.max():
        assert found is None
        return
    assert times.rule == TimeRule(UNITS[unit], "stamp")
    assert found is not None
    assert found.dtype == np.int32
    assert np.abs(found - true).max() <= tolerance_ns(values, unit)


@settings(deadline=None)  # the first call compiles
@given(
    st.sampled_from(ABSOLUTE),
    st.sampled_from([50_000_000, 100_000_000, 200_000_000]),
    st.sampled_from([0.0, -0.5, -1.0]),
    st.integers(1_300_000_000_000_000_000, 1_900_000_000_000_000_000),
)
def test_absolute_times_with_the_stamp_at_start_middle_or_end(
    how: tuple[str, type], period: int, moved: float, stamp: int
) -> None:
    unit, kind = how
    true = np.sort(np.random.default_rng(4).integers(0, period, 500)) + int(moved * period)
    values = column(true, unit, kind, stamp)
    damage: list[Damage] = []
    times = PointTimes(damage, period)
    found = times.offsets_ns(values, stamp, "cloud", "timestamp")
    assert not damage
    assert times.rule == TimeRule(UNITS[unit], "epoch")
    assert found is not None
    assert np.abs(found - true).max() <= tolerance_ns(values, unit)


@settings(deadline=None)
@given(st.sampled_from(["us", "ns", "s"]), st.integers(10, 3_000))
def test_a_clock_of_the_drivers_own_counts_from_its_first_point(unit: str, since_s: int) -> None:
    true = np.arange(0, PERIOD, 100_000)
    values = column(true, unit, np.float64 if unit == "s" else np.uint64, since_s * 10**9)
    times = PointTimes([], PERIOD)
    found = times.offsets_ns(values, STAMP, "cloud", "timestamp")
    assert times.rule == TimeRule(UNITS[unit], "first")
    assert found is not None
    assert np.abs(found - true).max() <= tolerance_ns(values, unit)


@settings(deadline=None)
@given(st.integers(0, 2_000_000_000), st.integers(-1_000_000_000, 1_000_000_000))
def test_absolute_nanoseconds_are_exact(second: int, offset: int) -> None:
    stamp = second * 1_000_000_000 + 10**18
    found = apply_rule(TimeRule(1, "epoch"), np.array([stamp + offset], np.int64), stamp)
    assert found is not None
    assert found.tolist() == [offset]


def test_a_unit_in_the_name_wins_over_the_span() -> None:
    values = np.arange(0, 1_000_000, 1_000, dtype=np.int32)  # 1 ms: too short for a revolution
    assert find_rule(values, STAMP, PERIOD, "t") is None
    assert find_rule(values, STAMP, PERIOD, "offset_ns") == TimeRule(1, "stamp")
    assert find_rule(values // 1000, STAMP, PERIOD, "t_us") == TimeRule(1_000, "stamp")


def test_the_rule_is_chosen_once() -> None:
    times = PointTimes([], PERIOD)
    full = np.arange(0, 100_000, 100, dtype=np.uint32)  # microseconds
    assert times.offsets_ns(full, STAMP, "cloud") is not None
    few = np.array([0, 10], np.uint32)
    found = times.offsets_ns(few, STAMP + PERIOD, "cloud")
    assert found is not None
    assert found.tolist() == [0, 10_000]


def test_a_handful_of_points_is_read_in_the_usual_unit_and_decides_nothing() -> None:
    times = PointTimes([], PERIOD)
    found = times.offsets_ns(np.array([0, 10], np.uint32), STAMP, "cloud")
    assert found is not None
    assert found.tolist() == [0, 10]
    assert times.rule is None


@pytest.mark.parametrize("start", [0, 7_000_000, PERIOD, 900_000_000, 1_900_000_000])
@pytest.mark.parametrize("moved", [0, -PERIOD])  # the stamp at the start of a sweep, or at its end
@pytest.mark.parametrize("name", ["t", "time_s"])
def test_a_clock_that_begins_at_zero_leaves_offsets_and_absolute_times_apart(
    start: int, moved: int, name: str
) -> None:
    true = np.linspace(moved, moved + PERIOD - 1_000_000, 500)
    for since_epoch in (False, True):
        times = PointTimes([], PERIOD)
        for stamp in range(start, start + 30 * PERIOD, PERIOD):
            column = (true + stamp * since_epoch) / 1e9
            found = times.offsets_ns(column, stamp, "cloud", name)
            assert found is not None
            if times.rule is None and since_epoch and moved:
                assert stamp < start + 2 * PERIOD  # the first alone cannot tell, the others can
                continue
            assert np.abs(found - true).max() < 1_000


def test_times_that_fit_no_unit_are_dropped_and_that_is_said_once() -> None:
    damage: list[Damage] = []
    times = PointTimes(damage, PERIOD)
    within_packets = np.tile(np.arange(0, 1_300_000, 2_304, dtype=np.uint32), 20)
    for sweep in range(8):
        assert times.offsets_ns(within_packets, STAMP + sweep * PERIOD, "a.pcd", "t") is None
    assert len(damage) == 1
    assert damage[0].where == "a.pcd"
    assert damage[0].rule == "REC019"  # a doubt, no reason to quarantine the drive
    assert "'t' (1.29946e+06 of uint32) fit a sweep period of 0.100 s" in damage[0].what


def test_a_constant_column_holds_no_times_and_is_no_damage() -> None:
    damage: list[Damage] = []
    times = PointTimes(damage, PERIOD)
    for sweep in range(8):
        assert times.offsets_ns(np.zeros(500, np.float32), STAMP + sweep, "cloud") is None
    assert not damage


def test_broken_times_later_on_are_said_once_and_never_raise() -> None:
    damage: list[Damage] = []
    times = PointTimes(damage, PERIOD)
    assert times.offsets_ns(np.linspace(0, 0.1, 500), STAMP, "cloud") is not None
    for broken in (np.array([np.nan, 0.1]), np.array([5.0]), np.array([-np.inf])):
        assert times.offsets_ns(broken, STAMP, "cloud") is None
    assert [entry.lost for entry in damage] == ["per-point times"]
    huge = np.array([2**64 - 1, 0] * 500, np.uint64)
    assert PointTimes([], PERIOD).offsets_ns(huge, STAMP, "cloud") is None


@settings(deadline=None, max_examples=200)
@given(
    st.sampled_from(["i1", "u1", "i2", "u2", "i4", "u4", "i8", "u8", "f4", "f8", ">i8", ">f8"]),
    st.binary(min_size=0, max_size=1600),
    st.integers(0, 2**61),
    st.sampled_from([0, 1, PERIOD, 10**12]),
    st.sampled_from(["t", "offset_ns", "time_s", "timestamp"]),
)
def test_any_bytes_give_offsets_within_two_seconds_or_none(
    kind: str, data: bytes, stamp: int, period: int, name: str
) -> None:
    column = np.frombuffer(data[: len(data) // 8 * 8], np.dtype(kind))
    times = PointTimes([], period)
    with np.errstate(all="ignore"):
        for _ in range(2):
            found = times.offsets_ns(column, stamp, "cloud", name)
            assert found is None or np.abs(found.astype(np.int64)).max(initial=0) < 2_000_000_000


def test_a_driver_that_counts_from_before_the_stamp() -> None:
    rule = TimeRule(1, "stamp")
    found = apply_rule(rule, np.array([119_200_000], np.uint32), STAMP, origin_ns=-200_000_000)
    assert found is not None
    assert found.tolist() == [-80_800_000]


def test_the_period_is_the_usual_step() -> None:
    assert sweep_period_ns([0, 100, 200, 900, 1_000, 1_000, 1_100]) == 100
    assert sweep_period_ns([5]) == 0


@pytest.mark.parametrize(("log", "first"), [("argoverse2/sensor/val", 2_654_000)])
def test_real_argoverse_offsets_stay_as_they_are(log: str, first: int) -> None:
    import pyarrow.feather

    path = next(shared_data(log).rglob("sensors/lidar/*.feather"))
    values = pyarrow.feather.read_table(path).column("offset_ns").to_numpy()
    for name in ("offset_ns", "t"):  # by its name and by its span
        found = PointTimes([], PERIOD).offsets_ns(values, int(path.stem), path.name, name)
        assert found is not None
        assert found.min() == first
        np.testing.assert_array_equal(found, values)
