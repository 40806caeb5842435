from typing import NamedTuple

import pytest
import torch  # noqa: TID253

from tests.support.devices import DEVICES, open_device
from training.feed import Feed, tensors_of


class Prepared(NamedTuple):
    values: torch.Tensor
    more: tuple


def test_tensors_are_found_however_nested():
    one, two, three = torch.zeros(1), torch.ones(1), torch.ones(2)
    found = list(tensors_of(Prepared(one, ([two], 3, None, "x", (three,)))))
    assert [id(t) for t in found] == [id(one), id(two), id(three)]


@pytest.mark.parametrize("device", DEVICES)
def test_what_was_prepared_is_whole_when_it_is_taken(device):
    place = open_device(device)
    side = 60 if place.type == "cpu" else 3000  # long enough to be overtaken
    host = torch.randn(side, side)

    def prepare(seed):
        sent = host if place.type == "cpu" else host.pin_memory().to(place, non_blocking=True)
        product = sent
        for _ in range(5):
            product = torch.tanh(product @ sent)
        return Prepared(product + seed, (seed,))

    feed = Feed(prepare, place)
    fed = [feed.prepare(seed) for seed in range(3)]
    for seed, each in enumerate(fed):
        taken = feed.take(each)
        expected = prepare(seed)
        torch.testing.assert_close(taken.values * 1, expected.values)
        assert taken.more == (seed,)
