from dataclasses import replace
from itertools import chain

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scene.errors import ConfigError, DataError
from training import config as recipes
from training.order import Order, expected_copies, rank_slice

CONFIG = replace(
    recipes.small(), categories=("car", "pedestrian"), batch_size=3, order="epochs", rare_boost=1.0
)


@settings(max_examples=60, deadline=None)
@given(
    has=st.lists(st.tuples(st.booleans(), st.booleans()), min_size=1, max_size=40),
    boost=st.floats(0, 1),
    seed=st.integers(0, 1000),
)
def test_every_epoch_sees_every_frame(has, boost, seed):
    config = replace(CONFIG, batch_size=1, rare_boost=boost, seed=seed)
    order = Order(np.array(has), config)
    for epoch in range(3):
        steps = range(epoch * order.epoch_length, (epoch + 1) * order.epoch_length)
        seen = np.concatenate([order.frames(step) for step in steps])
        assert set(seen) == set(range(len(has)))


def test_rare_categories_come_as_often_as_common_ones():
    has = np.zeros((40, 2), dtype=bool)
    has[:, 0] = True
    has[:4, 1] = True
    order = Order(has, replace(CONFIG, batch_size=1))
    seen = np.concatenate([order.frames(step) for step in range(order.epoch_length)])
    count = np.bincount(seen, minlength=40)
    expected = expected_copies(has, CONFIG)
    assert (np.abs(count - expected) <= 1.5).all()
    assert count[:4].sum() > 20  # of 4 frames; 10 % of all frames without balancing
    np.testing.assert_array_equal(expected_copies(has, replace(CONFIG, rare_boost=0.0)), 1.0)


def test_a_step_needs_no_step_before_it():
    has = np.random.default_rng(0).random((11, 2)) < 0.5
    forward = Order(has, CONFIG)
    all_steps = [forward.frames(step).tolist() for step in range(30)]
    for step in (29, 3, 17):
        assert Order(has, CONFIG).frames(step).tolist() == all_steps[step]
    length = forward.epoch_length
    stream = np.concatenate(all_steps)
    assert stream[:length].tolist() != stream[length : 2 * length].tolist()
    assert stream[:length].tolist() != sorted(stream[:length])


@given(size=st.integers(1, 64), world=st.integers(1, 64))
def test_ranks_divide_a_batch(size, world):
    if size < world:
        with pytest.raises(DataError, match="cannot be divided among"):
            rank_slice(size, 0, world)
        return
    parts = [list(range(size))[rank_slice(size, rank, world)] for rank in range(world)]
    assert list(chain(*parts)) == list(range(size))
    assert max(map(len, parts)) - min(map(len, parts)) <= 1


def test_wrong_ranks_and_orders_are_refused():
    with pytest.raises(DataError, match="rank 2 of 2"):
        rank_slice(4, 2, 2)
    with pytest.raises(DataError, match="at least one frame"):
        Order(np.zeros((0, 2), dtype=bool), CONFIG)
    with pytest.raises(ConfigError, match="order 'shuffled'"):
        replace(CONFIG, order="shuffled")
