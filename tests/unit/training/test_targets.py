from dataclasses import replace

import numpy as np
import torch  # noqa: TID253
from hypothesis import given, settings
from hypothesis import strategies as st

from scene.box import Boxes
from scene.pose import wrap_angle
from scene.taxonomy import CATEGORY
from training import config as recipes
from training.decode import Decoder
from training.heads import Heads
from training.targets import NUM_CODES, make_targets

CONFIG = replace(recipes.small(), categories=("truck", "car", "pedestrian"), min_points=2)


def boxes_at(xy, category="car", yaw=0.3, points=20):
    xy = np.atleast_2d(xy)
    count = len(xy)
    return Boxes.make(
        np.column_stack([xy, np.full(count, 0.8)]),
        np.tile([4.4, 1.8, 1.6], (count, 1)),
        np.full(count, yaw),
        [category] * count,
        np.tile([3.0, -1.0], (count, 1)),
        num_points=np.full(count, points),
    )


def perfect_heads(targets, config):
    """Heads that say exactly what the targets ask for."""
    heat = torch.from_numpy(targets.heatmap).clamp(1e-4, 1 - 1e-4)
    codes = torch.zeros(NUM_CODES, targets.weight.size)
    codes[:, targets.cells] = torch.from_numpy(np.nan_to_num(targets.codes)).T
    rows, columns = config.output_shape
    return Heads(torch.logit(heat)[None], codes.view(1, NUM_CODES, rows, columns))


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10_000))
def test_boxes_come_back_from_perfect_heads(seed):
    rng = np.random.default_rng(seed)
    # A box in every other 4 m square, so that no two share a neighbourhood of cells.
    corner = rng.permutation(16)[:6]
    xy = np.column_stack([corner // 4 * 8 + 2, corner % 4 * 8 - 14]) + rng.uniform(0, 3, (6, 2))
    names = rng.choice(CONFIG.categories, 6)
    usual = np.array([CATEGORY[str(name)].size_lwh_m for name in names])
    boxes = Boxes.make(
        np.column_stack([xy, rng.uniform(0.2, 2, 6)]),
        usual * rng.uniform(0.3, 1.4, (6, 3)),
        rng.uniform(-np.pi, np.pi, 6),
        names,
        rng.normal(0, 5, (6, 2)),
        num_points=np.full(6, 9),
    )
    decoded = Decoder(CONFIG)(perfect_heads(make_targets(boxes, CONFIG), CONFIG))
    found = decoded.boxes[:6].numpy().astype(np.float64)
    assert (decoded.scores[:6] > 0.99).all()
    assert (decoded.scores[6:] < 0.9).all()
    order = np.argmin(np.hypot(*(boxes.center_xyz_m[:, None, :2] - found[None, :, :2]).T), axis=0)
    found = found[order]
    np.testing.assert_allclose(found[:, :3], boxes.center_xyz_m, atol=1e-5)
    np.testing.assert_allclose(found[:, 3:6], boxes.size_lwh_m, rtol=1e-5)
    np.testing.assert_allclose(wrap_angle(found[:, 6] - boxes.yaw_rad), 0, atol=1e-5)
    np.testing.assert_allclose(found[:, 7:], boxes.velocity_xy_mps, atol=1e-5)
    names = np.array(CONFIG.categories)[decoded.labels[:6].numpy()][order]
    assert (names == boxes.category).all()


def test_every_box_has_one_peak_and_the_rest_is_below_one():
    boxes = boxes_at([[5.0, 3.0], [20.0, -7.0]])
    targets = make_targets(boxes, CONFIG)
    assert (targets.heatmap == 1.0).sum() == 2
    assert (targets.heatmap[1] == 1.0).sum() == 2
    assert targets.heatmap[[0, 2]].max() == 0.0
    assert (targets.weight == 1.0).all()
    rows, columns = np.divmod(targets.cells, CONFIG.output_shape[1])
    np.testing.assert_array_equal(rows, [6, 25])
    np.testing.assert_array_equal(columns, [23, 11])


def test_boxes_outside_or_of_other_categories_are_left_out():
    outside = boxes_at([[-0.1, 0.0], [32.1, 0.0], [5.0, 16.1]])
    other = boxes_at([[5.0, 0.0]], category="bus")
    targets = make_targets(Boxes.concatenate([outside, other]), CONFIG)
    assert len(targets.cells) == 0
    assert targets.codes.shape == (0, NUM_CODES)
    assert targets.heatmap.max() == 0.0


def test_a_box_with_too_few_points_is_neither_truth_nor_background():
    seen, unseen = boxes_at([[5.0, 3.0]]), boxes_at([[20.0, -7.0]], points=1)
    targets = make_targets(Boxes.concatenate([seen, unseen]), CONFIG)
    assert len(targets.cells) == 1
    assert targets.weight[25, 11] == 0.0
    assert 4 < (targets.weight == 0).sum() < 80
    # A seen box inside the window still counts.
    close = make_targets(
        Boxes.concatenate([boxes_at([[20.0, -7.5]], "pedestrian"), unseen]), CONFIG
    )
    assert close.weight.ravel()[close.cells].tolist() == [1.0]


def test_not_counted_points_mean_seen():
    assert len(make_targets(boxes_at([[5.0, 3.0]], points=-1), CONFIG).cells) == 1


def test_unknown_velocity_stays_unknown():
    boxes = replace(boxes_at([[5.0, 3.0]]), velocity_xy_mps=np.array([[np.nan, np.nan]]))
    codes = make_targets(boxes, CONFIG).codes
    assert np.isnan(codes[0, 8:]).all()
    assert np.isfinite(codes[0, :8]).all()


def test_a_box_at_the_edge_paints_only_inside():
    targets = make_targets(boxes_at([[0.1, -15.9], [31.9, 15.9]]), CONFIG)
    assert targets.heatmap[1, 0, 0] == 1.0
    assert targets.heatmap[1, -1, -1] == 1.0
