"""Simulated frames help, but never outweigh real ones."""

from __future__ import annotations

import itertools

import pytest

from loop.dataset import _Frame, _without_excess


def frames(split: str, count: int) -> list[_Frame]:
    return [_Frame(f"{split}-drive", i, split, "key", "someone") for i in range(count)]


@pytest.mark.parametrize(("train", "simulated", "kept"), [(80, 36, 36), (35, 96, 16), (1, 9, 0)])
def test_simulated_frames_are_thinned_evenly(train: int, simulated: int, kept: int) -> None:
    mixed = _without_excess(frames("sim", simulated) + frames("test", 7) + frames("train", train))
    times = [frame.timestamp_ns for frame in mixed if frame.split == "sim"]
    assert len(times) == kept
    assert sum(frame.split == "train" for frame in mixed) == train
    assert sum(frame.split == "test" for frame in mixed) == 7
    assert len({b - a for a, b in itertools.pairwise(times)}) <= 1
