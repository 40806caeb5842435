import pytest
import torch  # noqa: TID253
from torch import nn  # noqa: TID253

from training.moving_average import MovingAverage


def test_it_follows_the_weights_with_a_decay_that_grows():
    net = nn.BatchNorm1d(1)
    average = MovingAverage(net, 0.9)
    with torch.no_grad():
        net.weight.fill_(3.0)
        net.running_mean.fill_(1.0)
        net.num_batches_tracked.fill_(7)
    average.update(1)
    decay = 2 / 11
    assert average.weights["weight"].item() == pytest.approx(1 * decay + 3 * (1 - decay))
    assert average.weights["running_mean"].item() == pytest.approx(1 - decay)
    assert average.weights["num_batches_tracked"].item() == 7
    before = average.weights["weight"].item()
    average.update(10_000)
    assert average.weights["weight"].item() == pytest.approx(0.9 * before + 0.1 * 3)
    average.start(net)
    assert average.weights["weight"].item() == 3.0
