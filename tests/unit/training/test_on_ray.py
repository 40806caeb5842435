"""What a training asks of a Ray cluster."""

from __future__ import annotations

import pytest

from scene.errors import ConfigError
from training.on_ray import Scale


def test_numbers_of_workers_are_read() -> None:
    assert (Scale.parse("2").min_workers, Scale.parse("2").max_workers) == (2, 2)
    assert (Scale.parse("1:4").min_workers, Scale.parse("1:4").max_workers) == (1, 4)
    assert Scale.parse("1:4", devices_per_worker=0.1).devices_per_worker == 0.1
    with pytest.raises(ConfigError, match="least:most"):
        Scale.parse("many")


def test_a_size_that_cannot_share_the_work_is_refused_before_anything_starts() -> None:
    Scale(1, 3).check(6)
    with pytest.raises(ConfigError, match="3 workers, which cannot share 4 shards"):
        Scale(1, 4).check(4)
    with pytest.raises(ConfigError, match="at least 1"):
        Scale(3, 2).check(6)
