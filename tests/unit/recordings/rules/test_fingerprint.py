"""The same drive is found again, other drives are not."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from recordings.rules.fingerprint import NUM_WORDS, Fingerprint, resemblance
from recordings.rules.sweep_look import SweepLook
from scene.sweep import Sweep
from storage import codec
from tests.support.rule_drives import EGO_SE3_LIDAR, Drive, drive


def words(d: Drive) -> tuple[int, ...]:
    return d.check().fingerprint


def share(one: Drive, other: Drive) -> float:
    return resemblance(words(one), {"other": words(other)}).get("other", 0.0)


def test_a_cut_drive_shares_its_part() -> None:
    whole, part = drive(), drive()
    part.sweeps = part.sweeps[25:]
    assert share(whole, whole) == 1.0
    assert share(part, whole) >= 0.7
    assert 0.3 <= share(whole, part) <= 0.8


def test_storing_and_shuffling_points_changes_little() -> None:
    d, stored = drive(), drive()
    stored.sweeps = [codec.decode(codec.encode(s), s.timestamp_ns) for s in d.sweeps]
    assert not np.array_equal(stored.sweeps[0].points_ego_m, d.sweeps[0].points_ego_m)
    assert share(stored, d) >= 0.7
    order = np.random.default_rng(0)
    shuffled = drive()
    shuffled.change(points_ego_m=lambda s: order.permutation(s.points_ego_m))
    assert share(shuffled, d) == 1.0


def test_another_clock_does_not_hide_a_moving_drive() -> None:
    d, later = drive(), drive()
    by_ns = 3600 * 10**9
    later.sweeps = [replace(s, timestamp_ns=s.timestamp_ns + by_ns) for s in d.sweeps]
    assert share(later, d) >= 0.9


def test_other_drives_share_nothing_not_even_from_one_parking_place() -> None:
    assert share(drive(seed=1), drive(seed=2)) == 0.0
    parked, again = drive(speed_mps=0.0), drive(speed_mps=0.0)
    again.sweeps = [replace(s, timestamp_ns=s.timestamp_ns + 3600 * 10**9) for s in again.sweeps]
    assert share(parked, again) == 0.0
    assert share(parked, parked) == 1.0


def test_a_single_object_is_known_by_its_very_points() -> None:
    rng = np.random.default_rng(0)

    def fingerprint(points: np.ndarray) -> tuple[int, ...]:
        count = len(points)
        sweep = Sweep(0, points, np.zeros(count, np.float32), np.zeros(count, np.int32))
        made = Fingerprint()
        made.add(SweepLook(sweep, None, drive().trajectory, np.zeros(3), sampled=True))
        return made.words()

    one, other = (rng.normal(0, 0.1, (500, 3)).astype(np.float32) for _ in range(2))
    assert resemblance(fingerprint(one), {"copy": fingerprint(one)}) == {"copy": 1.0}
    assert resemblance(fingerprint(one), {"other": fingerprint(other)}) == {}


def test_a_long_drive_keeps_a_bounded_sample() -> None:
    made = Fingerprint()
    d = drive()
    for i in range(400):
        sweep = d.sweeps[i % 60]
        moved = replace(sweep, timestamp_ns=i * 10**9)
        look = SweepLook(moved, None, d.trajectory, EGO_SE3_LIDAR.translation_m, sampled=True)
        made.add(look)
        made.add(look)  # the view stands still: its time makes a word of it
    assert len(made.words()) == NUM_WORDS
    assert list(made.words()) == sorted(made.words())
    assert all(-(2**63) <= word < 2**63 for word in made.words())
