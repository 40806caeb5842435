from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from recordings.datasets.float_clouds import describe_floats

RNG = np.random.default_rng(0)
POINTS = RNG.uniform(-50, 50, (100, 3))


def start(*columns: np.ndarray) -> bytes:
    return np.column_stack([POINTS, *columns]).astype("<f4").tobytes()[:1600]


def test_scans_without_a_header_are_told_apart() -> None:
    nuscenes = start(RNG.integers(0, 256, 100), RNG.integers(0, 32, 100))
    assert "nuScenes lidar sweep" in describe_floats(nuscenes)
    assert "without its tables" in describe_floats(nuscenes)
    assert "KITTI scan" in describe_floats(start(RNG.uniform(0, 1, 100)))
    assert describe_floats(start(RNG.uniform(0, 1000, 100))) == ""
    assert describe_floats(nuscenes[:100]) == ""
    assert describe_floats(bytes(4096)) == ""


@given(st.binary(max_size=4096))
def test_any_bytes_get_an_answer(data: bytes) -> None:
    assert isinstance(describe_floats(data), str)
