import numpy as np
import pytest
import torch  # noqa: TID253

from scene.box import Boxes
from scene.overlap import bev_iou_of_pairs, iou_3d_of_pairs
from tests.support.devices import DEVICES, open_device
from training.iou import iou_3d, iou_bev


def random_boxes(rng, count):
    return np.concatenate(
        [
            rng.uniform(-2, 2, (count, 3)),
            rng.uniform(0.3, 6, (count, 3)),
            rng.uniform(-np.pi, np.pi, (count, 1)),
        ],
        axis=1,
    )


def as_boxes(values):
    return Boxes.make(values[:, :3], values[:, 3:6], values[:, 6], ["car"] * len(values))


@pytest.mark.parametrize("name", DEVICES)
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-9), (torch.float32, 2e-5)])
def test_overlap_equals_the_reference(name, dtype, tolerance):
    device = open_device(name)
    rng = np.random.default_rng(0)
    first, second = random_boxes(rng, 3000), random_boxes(rng, 3000)
    first[:300, 6] = second[:300, 6]  # parallel edges
    second[:100] = first[:100]  # and the same box
    second[100:150] = first[100:150]
    second[100:150, 6] += np.pi / 2
    one, two, index = as_boxes(first), as_boxes(second), np.arange(3000)
    a, b = (torch.from_numpy(v).to(device, dtype) for v in (first, second))
    np.testing.assert_allclose(
        iou_bev(a, b).cpu(), bev_iou_of_pairs(one, two, index, index), atol=tolerance
    )
    np.testing.assert_allclose(
        iou_3d(a, b).cpu(), iou_3d_of_pairs(one, two, index, index), atol=tolerance
    )


def test_overlap_known_by_hand():
    box = torch.tensor([[0.0, 0, 0, 4, 2, 2, 0]])
    assert iou_3d(box, box).item() == pytest.approx(1.0)
    aside = torch.tensor([[2.0, 0, 0, 4, 2, 2, torch.pi]])
    assert iou_bev(box, aside).item() == pytest.approx(1 / 3)
    above = torch.tensor([[0.0, 0, 1, 4, 2, 2, 0]])
    assert iou_3d(box, above).item() == pytest.approx(1 / 3)
    assert iou_3d(box, torch.tensor([[9.0, 0, 0, 4, 2, 2, 0]])).item() == 0.0
