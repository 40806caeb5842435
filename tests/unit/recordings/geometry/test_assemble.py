from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recordings.geometry.assemble import Cloud, assembled
from recordings.geometry.points import RawPoints
from recordings.geometry.sweep_builder import SweepBuilder
from recordings.recording import Damage
from scene.errors import FormatError
from scene.pose import SE3, Trajectory

STAMP = 1_700_000_000_000_000_000
PERIOD = 100_000_000


def revolution(start_ns: int, sense: float, start_rad: float, columns: int = 720) -> RawPoints:
    """One revolution of 4 beams; the range tells the column, intensity the beam."""
    column = np.repeat(np.arange(columns), 4)
    angle = start_rad + sense * 2 * np.pi * (column + 0.5) / columns
    reach = 5 + column / 100
    xyz = np.stack([reach * np.cos(angle), reach * np.sin(angle), np.zeros(len(angle))], axis=1)
    time = start_ns + column * (PERIOD // columns)
    beam = np.tile(np.arange(4, dtype=np.uint8), columns)
    return RawPoints(xyz.astype(np.float32), beam, beam.astype(np.uint16), time, "timestamp")


def cut(raw: RawPoints, stamp_ns: int, pieces: int, how: str) -> list[Cloud]:
    """Cut a revolution into parts with their own stamps and times as a driver writes them."""
    parts: list[Cloud] = []
    assert raw.time is not None
    for index in np.array_split(np.arange(len(raw.xyz_m)), pieces):
        part = raw.take(index)  # type: ignore[arg-type]
        assert part.time is not None
        begin = int(part.time[0])
        time = {"epoch": part.time, "relative": part.time - begin, "none": None}[how]
        parts.append((begin, _reader(part._replace(time=time))))
    assert parts[0][0] == stamp_ns
    return parts


def _reader(raw: RawPoints) -> Callable[[], RawPoints]:
    return lambda: raw


@pytest.mark.slow
@settings(deadline=None, max_examples=40)
@given(
    st.integers(2, 75), st.sampled_from([1.0, -1.0]), st.floats(-3.1, 3.1),
    st.sampled_from(["epoch", "relative"]),
)  # fmt: skip
def test_parts_become_the_revolutions_they_were_cut_from(
    pieces: int, sense: float, start_rad: float, how: str
) -> None:
    whole = [revolution(STAMP + i * PERIOD, sense, start_rad) for i in range(4)]
    parts = [
        part for i, raw in enumerate(whole) for part in cut(raw, STAMP + i * PERIOD, pieces, how)
    ]
    damage: list[Damage] = []
    found = list(assembled(parts, damage, "lidar"))
    assert [stamp for stamp, _ in found] == [STAMP + i * PERIOD for i in range(4)]
    assert not damage
    for (stamp, read), raw in zip(found, whole, strict=True):
        merged = read()
        np.testing.assert_array_equal(merged.xyz_m, raw.xyz_m)
        np.testing.assert_array_equal(merged.ring, raw.ring)
        assert merged.time is not None
        assert raw.time is not None
        np.testing.assert_array_equal(merged.time, raw.time - stamp)


def test_parts_without_point_times_have_those_of_their_stamps() -> None:
    raw = revolution(STAMP, 1.0, 0.0)
    parts = cut(raw, STAMP, 10, "none") + cut(
        revolution(STAMP + PERIOD, 1.0, 0.0), STAMP + PERIOD, 10, "none"
    )
    (_, read), _ = assembled(parts, [], "lidar")
    time = read().time
    assert time is not None
    assert len(np.unique(time)) == 10


def test_whole_revolutions_pass_untouched_and_are_read_once() -> None:
    reads = []

    def counting(raw: RawPoints) -> Callable[[], RawPoints]:
        def read() -> RawPoints:
            reads.append(1)
            return raw

        return read

    clouds = [(STAMP + i * PERIOD, counting(revolution(STAMP, 1.0, 0.0))) for i in range(5)]
    found = list(assembled(clouds, [], "lidar"))
    assert [stamp for stamp, _ in found] == [stamp for stamp, _ in clouds]
    assert len(reads) == 1  # the first one told
    assert found[1] is clouds[1]
    for _, read in found:
        read()
    assert len(reads) == 5


def test_a_sensor_with_a_fixed_view_is_no_part() -> None:
    front = np.array([[10.0, y, 0.0] for y in np.linspace(-5, 5, 200)], np.float32)
    clouds: list[Cloud] = [
        (STAMP + i * PERIOD, _reader(RawPoints(front, None, None, None))) for i in range(8)
    ]
    assert list(assembled(clouds, [], "lidar")) != []
    assert [stamp for stamp, _ in assembled(clouds, [], "lidar")] == [s for s, _ in clouds]


@given(st.integers(0, 10_000), st.integers(1, 60))
@settings(deadline=None)
def test_the_strewn_points_of_a_radar_are_no_parts(seed: int, count: int) -> None:
    rng = np.random.default_rng(seed)
    clouds: list[Cloud] = [
        (
            STAMP + i * PERIOD,
            _reader(
                RawPoints(rng.uniform(-50, 50, (count, 3)).astype(np.float32), None, None, None)
            ),
        )
        for i in range(6)
    ]
    assert len(list(assembled(clouds, [], "radar"))) == 6


def test_lost_and_broken_parts_leave_holes_and_move_no_seam() -> None:
    parts = [
        part
        for i in range(6)
        for part in cut(
            revolution(STAMP + i * PERIOD, -1.0, 0.5), STAMP + i * PERIOD, 20, "relative"
        )
    ]

    def broken() -> RawPoints:
        raise FormatError("cut short")

    parts[47] = (parts[47][0], broken)
    del parts[50:52]
    damage: list[Damage] = []
    found = list(assembled(parts, damage, "lidar"))
    assert [stamp for stamp, _ in found] == [STAMP + i * PERIOD for i in range(6)]
    assert [len(read().xyz_m) for _, read in found] == [2880, 2880, 2880 - 3 * 144] + [2880] * 3
    assert len(damage) == 1
    assert damage[0].what == "cut short"
    gone = parts[:30] + parts[75:]  # over two revolutions
    stamps = [stamp for stamp, _ in assembled(gone, [], "lidar")]
    assert len(stamps) == 5
    assert gone[30][0] in stamps


@pytest.mark.parametrize("count", [0, 1, 2])
def test_few_or_empty_clouds_pass(count: int) -> None:
    empty = RawPoints(np.zeros((0, 3), np.float32), None, None, None)
    clouds: list[Cloud] = [(STAMP + i, _reader(empty)) for i in range(count)]
    assert list(map(len, (r().xyz_m for _, r in assembled(clouds, [], "lidar")))) == [0] * count


def test_assembled_sweeps_pass_the_builder() -> None:
    track = Trajectory(
        np.array([STAMP, STAMP + 4 * PERIOD]), np.tile([1.0, 0, 0, 0], (2, 1)), np.zeros((2, 3))
    )
    damage: list[Damage] = []
    builder = SweepBuilder(track, damage, SE3.identity(), period_ns=PERIOD // 10)
    parts = [
        part
        for i in range(3)
        for part in cut(revolution(STAMP + i * PERIOD, 1.0, 0.0), STAMP + i * PERIOD, 10, "epoch")
    ]
    for stamp, read in assembled(parts, damage, "lidar"):
        sweep = builder.build(stamp, "lidar", read)
        assert sweep is not None
        assert len(sweep) == 2880
        assert sweep.offset_ns.max() > 0.99 * PERIOD
    assert not damage
