from dataclasses import replace

import numpy as np
import pytest
import torch  # noqa: TID253

from training import config as recipes
from training.decode import FrameDetector
from training.export import check_parity
from training.model import build_network

CONFIG = replace(recipes.small(), categories=("car", "pedestrian"), channels=(8, 12, 16))
POINTS = np.random.default_rng(0).uniform(0, 1, (50, 4)).astype(np.float32)


@pytest.fixture
def net(monkeypatch):
    """Return a network whose exported graph is itself: what it says is all that is compared."""
    torch.set_num_threads(1)
    net = build_network(CONFIG).eval()

    class Session:
        def __init__(self, *_, **__):
            self._detector = FrameDetector(net, CONFIG).eval()

        def run(self, _, inputs):
            with torch.no_grad():
                return [t.numpy() for t in self._detector(torch.from_numpy(inputs["points"]))]

    monkeypatch.setattr("onnxruntime.InferenceSession", Session)
    return net


def test_a_network_agrees_with_itself(net):
    assert check_parity(net, CONFIG, b"", [POINTS]).passed


def test_a_network_that_says_nan_agrees_with_nothing(net):
    for tensor in net.buffers():
        if tensor.is_floating_point():
            tensor.fill_(torch.nan)
    assert not check_parity(net, CONFIG, b"", [POINTS]).passed


def test_boxes_that_are_not_finite_are_no_parity(net, monkeypatch):
    forward = FrameDetector.forward

    def broken(self, points):
        boxes, scores, labels = forward(self, points)
        boxes[:, 7:] = torch.nan  # unknown speeds of boxes whose scores are good
        return boxes, torch.ones_like(scores), labels

    monkeypatch.setattr(FrameDetector, "forward", broken)
    assert not check_parity(net, CONFIG, b"", [POINTS]).passed
