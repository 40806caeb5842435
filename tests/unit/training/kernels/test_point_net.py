from dataclasses import replace

import numpy as np
import pytest
import torch  # noqa: TID253

from tests.support.devices import DEVICES, open_device
from training.centerpoint import PointNet
from training.kernels.pillars import PillarGrid, describe_points
from training.kernels.point_net import look_down
from training.recipes import recipe

CONFIG = replace(
    recipe("nuscenes"), x_min_m=-12.8, x_max_m=12.8, y_min_m=-6.4, y_max_m=6.4, point_channels=24
)


def cloud(columns):
    rng = np.random.default_rng(4)
    points = rng.uniform([-15, -8, -2, 0, 0], [15, 8, 5, 1, 0.5], (5000, 5)).astype(np.float32)
    points[:500, :3] = points[0, :3] + rng.normal(0, 0.1, (500, 3))
    return np.ascontiguousarray(points[:, :columns])


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("sweeps", [1, 10])
def test_the_compiled_pass_is_the_trained_point_network(device, sweeps):
    place = open_device(device)
    config = replace(CONFIG, num_sweeps=sweeps)
    torch.manual_seed(0)
    net = PointNet(config).to(place).eval()
    with torch.no_grad():  # as training would leave it
        net.weight.uniform_(0.5, 1.5)
        net.bias.normal_()
        net.running_mean.normal_()
        net.running_var.uniform_(0.5, 2.0)
    points = cloud(net.values)
    found = look_down(net, points)
    with torch.no_grad():
        on_device = torch.from_numpy(points).to(place)
        frame = torch.zeros(len(points), dtype=torch.int64, device=place)
        inputs = net.locate(on_device, frame, 1)
        picture = net(inputs)[0].permute(1, 2, 0).reshape(-1, config.point_channels).cpu().numpy()
        described = net.describe(inputs.points, inputs.pillar, len(picture)).cpu().numpy()
    touched = np.zeros(len(picture), dtype=bool)
    touched[found.cells] = True
    np.testing.assert_allclose(picture[found.cells], found.picture, atol=1e-3)
    assert (picture[~touched] == 0).all()
    inside = (inputs.pillar < len(picture)).cpu().numpy()
    own = describe_points(points, PillarGrid.of(config))
    np.testing.assert_allclose(own.features, described[inside], atol=1e-3)
    np.testing.assert_array_equal(own.cells[own.pillar], inputs.pillar.cpu().numpy()[inside])
