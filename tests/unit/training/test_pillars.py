from dataclasses import replace

import numpy as np
import torch  # noqa: TID253

from training import config as recipes
from training.pillars import Pillars, num_pillar_channels

CONFIG = recipes.small()


def by_hand(points, config):
    """The same picture with plain loops over points."""
    rows, columns = config.grid_shape
    bins = config.z_bins
    counts = np.zeros((rows, columns, 4 * bins))
    bright = np.zeros((rows, columns, bins))
    sums = np.zeros((rows, columns, 8))
    bin_m = (config.z_max_m - config.z_min_m) / bins
    for x, y, z, intensity in points.astype(np.float64):
        values = [x, y, z, intensity]
        if not np.isfinite(values).all():
            continue
        u, v = (x - config.x_min_m) / config.pillar_m, (y - config.y_min_m) / config.pillar_m
        level = (z - config.z_min_m) / bin_m
        if not (0 <= u < rows and 0 <= v < columns and 0 <= level < bins):
            continue
        row, column = int(u), int(v)
        sub = int((u - row) * 2) * 2 + int((v - column) * 2)
        counts[row, column, sub * bins + int(level)] += 1
        dx, dy = u - row - 0.5, v - column - 0.5
        sums[row, column] += [dx, dy, z, intensity, dx * dx, dy * dy, z * z, 1]
        bright[row, column, int(level)] += intensity
    per_slice = np.maximum(counts.reshape(rows, columns, 4, bins).sum(2), 1)
    means = sums[..., :7] / np.maximum(sums[..., 7:], 1)
    x = (np.arange(rows) + 0.5) * config.pillar_m + config.x_min_m
    y = (np.arange(columns) + 0.5) * config.pillar_m + config.y_min_m
    distance = np.hypot(x[:, None], y[None])[..., None] / 50
    counts, number = counts / (counts + 1), sums[..., 7:] / (sums[..., 7:] + 1)
    parts = [counts, bright / per_slice, means, number, distance]
    return np.concatenate(parts, axis=2).transpose(2, 0, 1)


def random_points(rng, count):
    points = rng.uniform([-3, -18, -1, 0], [35, 18, 5, 1], (count, 4)).astype(np.float32)
    points[:: count // 20] = points[0]  # many points in one pillar
    return points


def test_picture_equals_plain_loops():
    rng = np.random.default_rng(3)
    first, second = random_points(rng, 3000), random_points(rng, 500)
    picture = Pillars(CONFIG)(
        torch.from_numpy(np.concatenate([first, second])),
        torch.cat([torch.zeros(3000), torch.ones(500)]).long(),
        2,
    )
    assert picture.shape == (2, num_pillar_channels(CONFIG), *CONFIG.grid_shape)
    assert picture.is_contiguous(memory_format=torch.channels_last)
    np.testing.assert_allclose(picture[0].numpy(), by_hand(first, CONFIG), atol=2e-4)
    np.testing.assert_allclose(picture[1].numpy(), by_hand(second, CONFIG), atol=2e-4)


def test_points_outside_or_not_finite_leave_no_trace():
    rng = np.random.default_rng(4)
    good = random_points(rng, 400)
    bad = np.array(
        [
            [np.nan, 0, 0, 0.5], [5, np.inf, 0, 0.5], [5, 0, -np.inf, 0.5], [5, 0, 0, np.nan],
            [1e30, 0, 0, 0.5], [-1e30, 0, 0, 0.5], [5, 0, 99, 0.5],
        ],
        dtype=np.float32,
    )  # fmt: skip
    pillars = Pillars(CONFIG)

    def look(points):
        return pillars(torch.from_numpy(points), torch.zeros(len(points)).long(), 1)

    mixed = look(np.concatenate([bad, good, bad]))
    assert torch.isfinite(mixed).all()
    torch.testing.assert_close(mixed, look(good))


def test_order_of_points_does_not_matter():
    points = random_points(np.random.default_rng(5), 800)
    pillars = Pillars(replace(CONFIG, z_bins=7))
    frame = torch.zeros(800).long()
    forward = pillars(torch.from_numpy(points), frame, 1)
    torch.testing.assert_close(pillars(torch.from_numpy(points[::-1].copy()), frame, 1), forward)


def test_no_point_at_all():
    picture = Pillars(CONFIG)(torch.zeros(0, 4), torch.zeros(0).long(), 1)
    assert picture[:, :-1].abs().max() == 0
