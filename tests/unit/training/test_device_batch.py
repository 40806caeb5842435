from dataclasses import replace

import numpy as np
import pytest
import torch  # noqa: TID253

from scene.box import Boxes, points_in_boxes
from scene.pose import wrap_angle
from scene.taxonomy import CATEGORY
from tests.support import plain_batch
from tests.support.devices import DEVICES, open_device
from tests.support.tiny_scenes import make_scene
from training import config as recipes
from training.augment import ObjectBank, mirror, turn_and_scale
from training.device_batch import draw_sample, join_samples, join_targets, vary_and_aim
from training.device_points import Points, vary_boxes, vary_points
from training.device_targets import aim
from training.targets import make_targets, usual_sizes

CONFIG = replace(
    recipes.small(),
    network="centerpoint",
    categories=("car", "pedestrian"),
    groups=(("pedestrian",), ("car",)),
    output_stride=2,
    paste=(("pedestrian", 3),),
    translation_m=0.3,
    min_points=3,
)
PLAIN = replace(
    CONFIG, flip=0.0, reverse=0.0, rotation_rad=0.0, scale=0.0, brightness=0.0, translation_m=0.0
)


def sizes_of(config, device):
    return torch.from_numpy(usual_sizes(config)).float().to(device)


def to_boxes(values, labels, config=CONFIG):
    names = np.array(config.categories)[labels]
    return Boxes.make(values[:, :3], values[:, 3:6], values[:, 6], names, values[:, 7:9])


@pytest.mark.parametrize("name", DEVICES)
@pytest.mark.parametrize("mirrored", [0.0, 1.0])
def test_variation_equals_the_numpy_one_in_float64(name, mirrored):
    device = open_device(name)
    points, boxes = make_scene(3)
    points64 = points.astype(np.float64)
    moved, turned = mirror(points64, boxes) if mirrored else (points64, boxes)
    moved, turned = turn_and_scale(moved, turned, 2.1, 1.04)
    shift = np.array([0.3, -0.2, 0.1])
    batch = join_samples([draw_sample(points, boxes, PLAIN, np.random.default_rng(0), None)], PLAIN)
    draws = torch.tensor([[mirrored, 2.1, 1.04, *shift]], dtype=torch.float32, device=device)
    found = vary_points(
        Points(
            list(torch.from_numpy(points).to(device).unbind(1)),
            torch.zeros(len(points), dtype=torch.int64, device=device),
        ),
        draws,
        torch.ones(1, device=device),
    )
    placed = vary_boxes(torch.from_numpy(batch.boxes).to(device), draws)
    placed = placed[0, : len(boxes)].cpu().numpy()
    np.testing.assert_allclose(found[:, :3].cpu(), moved[:, :3] + shift, atol=3e-5)
    np.testing.assert_allclose(placed[:, :3], turned.center_xyz_m + shift, atol=2e-5)
    np.testing.assert_allclose(placed[:, 3:6], turned.size_lwh_m, atol=1e-5)
    np.testing.assert_allclose(wrap_angle(placed[:, 6] - turned.yaw_rad), 0, atol=1e-5)
    np.testing.assert_allclose(placed[:, 7:9], turned.velocity_xy_mps, atol=1e-4)


@pytest.mark.parametrize("name", DEVICES)
def test_targets_equal_the_numpy_ones(name):
    device = open_device(name)
    rng = np.random.default_rng(5)
    frames, samples = [], []
    for _ in range(3):
        count = 25
        names = rng.choice(["car", "pedestrian"], count)
        usual = np.array([CATEGORY[str(n)].size_lwh_m for n in names])
        boxes = Boxes.make(
            rng.uniform([-2, -18, 0], [34, 18, 2], (count, 3)),
            usual * rng.uniform(0.5, 2.5, (count, 3)),
            rng.uniform(-3, 3, count),
            names,
            np.where(rng.random((count, 1)) < 0.3, np.nan, rng.normal(0, 5, (count, 2))),
            num_points=rng.integers(-1, 6, count),
        )
        # What float32 makes of the place decides the cell: both must see the same number.
        place = boxes.center_xyz_m.astype(np.float32).astype(np.float64)
        boxes = replace(boxes, center_xyz_m=place)
        frames.append(make_targets(boxes, PLAIN))
        samples.append(draw_sample(np.zeros((5, 4), np.float32), boxes, PLAIN, rng, None))
    batch = join_samples(samples, PLAIN)
    expected = join_targets(frames, torch.device("cpu"))
    found = aim(
        torch.from_numpy(batch.boxes).to(device),
        torch.from_numpy(batch.labels).to(device),
        torch.from_numpy(batch.seen).to(device),
        PLAIN,
        sizes_of(PLAIN, device),
        batch.extent_cells,
    )
    np.testing.assert_allclose(found.heatmap.cpu(), expected.heatmap, atol=1e-6)
    assert (found.heatmap.cpu() == 1).equal(expected.heatmap == 1)
    assert found.weight.cpu().equal(expected.weight)
    assert 0 < (expected.weight == 0).sum() < 2000
    real = found.real.cpu() > 0
    assert found.cells.cpu()[real].equal(expected.cells)
    assert found.labels.cpu()[real].equal(expected.labels)
    np.testing.assert_allclose(found.codes.cpu()[real], expected.codes, atol=2e-5)
    assert torch.isnan(found.codes.cpu()[real][:, 8:]).any()


def test_the_peak_of_a_small_object_reaches_as_many_cells_as_the_settings_say():
    config = replace(PLAIN, least_radius=6)
    boxes = Boxes.make(
        np.array([[16.2, 0.2, 1.0]]), np.array([[0.6, 0.6, 1.8]]), np.zeros(1), ["pedestrian"]
    )
    points = np.zeros((1, 4), dtype=np.float32)
    batch = join_samples(
        [draw_sample(points, boxes, config, np.random.default_rng(0), None)], config
    )
    cpu = torch.device("cpu")
    targets = vary_and_aim(batch, config, sizes_of(config, cpu), cpu)[2]
    wanted = make_targets(boxes, config)
    np.testing.assert_allclose(targets.heatmap[0], wanted.heatmap, atol=1e-6)


def crowd(seed):
    """A scene full of objects, turned so that some lie at the seam of the azimuth."""
    scene = make_scene(seed, {"car": 9, "pedestrian": 12, "": 3}, x_m=(-20.0, 20.0), columns=270)
    return turn_and_scale(*scene, 0.7 * seed, 1.0)


@pytest.mark.parametrize("name", DEVICES)
@pytest.mark.parametrize("num_sweeps", [1, 2])
def test_pasting_and_moving_are_those_of_a_plain_loop_in_float64(name, num_sweeps):
    device = open_device(name)
    config = replace(
        PLAIN, object_turn_rad=0.3, object_shift_m=0.4, paste=(("car", 4), ("pedestrian", 6)),
        num_sweeps=num_sweeps,
    )  # fmt: skip
    scenes = [crowd(i) for i in range(4)]
    if num_sweeps > 1:
        scenes = [(np.pad(points, ((0, 0), (0, 1))), boxes) for points, boxes in scenes]
    bank = ObjectBank.build(scenes, config)
    rng = np.random.default_rng(4)
    samples = [draw_sample(*scene, config, rng, bank) for scene in scenes]
    batch = join_samples(samples, config)
    points, frame, targets = vary_and_aim(batch, config, sizes_of(config, device), device)
    points, frame = points.cpu().numpy(), frame.cpu().numpy()
    assert (frame[batch.num_points :] == -1).all()
    start = wrong = gone = gone_along = doubtful = 0
    for number, sample in enumerate(samples):
        values, boxes = (a.astype(np.float64) for a in (sample.points, sample.boxes))
        cuts = sample.cuts.astype(np.float64)
        low, away, high = (
            plain_batch.cleared(values, cuts, owners(sample), boxes, sample.pasted, slack)
            for slack in (-1e-5, 0.0, 1e-5)
        )
        expected, placed = plain_batch.moved(
            np.concatenate([values, cuts]), boxes, sample.moves.astype(np.float64)
        )
        part = slice(start, start + len(expected))
        stays, sure = (
            np.pad(a, (0, len(cuts)), constant_values=True) for a in (~away, low == high)
        )
        doubtful += (~sure).sum()
        found = frame[part] == number
        assert (found | (frame[part] == -1)).all()
        off = np.abs(points[part] - expected).max(axis=1) > 1e-4
        wrong += ((found != stays) & sure).sum() + (off & found).sum()
        gone, start = gone + away.sum(), part.stop
        gone_along += (np.abs(expected[:, :2] - np.concatenate([values, cuts])[:, :2]) > 0).sum()
        height = targets.codes.cpu().numpy().reshape(4, -1, 10)[number, : len(boxes), 6:8]
        yaw = np.arctan2(height[:, 0], height[:, 1])
        np.testing.assert_allclose(wrap_angle(yaw - placed[:, 6]), 0.0, atol=1e-5)
    assert wrong <= 1  # a point on the very edge of a box that moves
    assert doubtful < 0.2 * gone
    assert gone > 200
    assert gone_along > 500
    assert sum(int(sample.pasted.sum()) for sample in samples) > 12


def owners(sample):
    """Tell whose each pasted point is: by the box it is in, which no other pasted one is near."""
    boxes = sample.boxes.astype(np.float64)
    hit = np.stack([plain_batch.inside(sample.cuts, box, 0.06) for box in boxes])
    return np.where(sample.pasted[:, None], hit, False).argmax(axis=0)


@pytest.mark.parametrize("name", DEVICES)
def test_what_has_no_room_stays_where_it_is(name):
    device = open_device(name)
    near = Boxes.make(
        np.array([[8.0, 0, 1], [8.0, 2.2, 1], [20.0, 0, 1]]), np.tile([4.0, 2, 2], (3, 1)),
        np.zeros(3), np.array(["car"] * 3), num_points=np.full(3, 9),
    )  # fmt: skip
    config = replace(PLAIN, object_turn_rad=0.3, object_shift_m=0.4)
    points = np.array([[8, 0, 1, 0.5], [8.5, 2.2, 1, 0.5], [21, 0.2, 1, 0.5]], dtype=np.float32)
    sample = draw_sample(points, near, config, np.random.default_rng(0), None)
    batch = join_samples([sample], config)
    found, frame, _ = vary_and_aim(batch, config, sizes_of(config, device), device)
    found = found[:3].cpu().numpy()
    np.testing.assert_allclose(found[:2], points[:2], atol=1e-5)
    assert np.abs(found[2, :2] - points[2, :2]).max() > 0.01
    assert (frame[:3] == 0).all()


@pytest.mark.parametrize("name", DEVICES)
def test_pasted_objects_clear_their_place_and_hide_what_is_behind(name):
    device = open_device(name)
    scenes = [make_scene(i) for i in range(6)]
    bank = ObjectBank.build(scenes, CONFIG)
    pasted = 0
    for seed, (points, boxes) in enumerate(scenes):
        sample = draw_sample(points, boxes, PLAIN, np.random.default_rng(seed), bank)
        batch = join_samples([sample], PLAIN)
        pasted += int(sample.pasted.sum())
        frame = vary_and_aim(batch, PLAIN, sizes_of(PLAIN, device), device)[1].cpu().numpy()
        own, cuts = frame[: len(points)], frame[len(points) : batch.num_points]
        added = to_boxes(sample.boxes[sample.pasted], sample.labels[sample.pasted])
        assert not points_in_boxes(points[own == 0, :3], added, 0.19).any()
        assert (cuts == 0).all()
        assert (own < 0).sum() >= points_in_boxes(points[:, :3], added, 0.2).any(axis=0).sum()
        for i in range(len(added)):
            gap = np.hypot(*(boxes.center_xyz_m[:, :2] - added.center_xyz_m[i, :2]).T)
            assert (gap > np.hypot(*boxes.size_lwh_m[:, :2].T) / 2).all()
    assert pasted >= 6


@pytest.mark.gpu
def test_a_whole_batch_is_the_same_on_the_cpu_and_on_the_accelerator():
    device, cpu = open_device("accelerator"), torch.device("cpu")
    config = replace(CONFIG, object_turn_rad=0.2, object_shift_m=0.3)
    scenes = [make_scene(i) for i in range(4)]
    bank = ObjectBank.build(scenes, config)
    rng = np.random.default_rng(2)
    batch = join_samples([draw_sample(*scene, config, rng, bank) for scene in scenes], config)
    points, frame, targets = vary_and_aim(batch, config, sizes_of(config, cpu), cpu)
    other, other_frame, others = vary_and_aim(batch, config, sizes_of(config, device), device)
    count = len(points)
    assert (other_frame[count:] == -1).all()
    assert (other_frame[:count].cpu() != frame).sum() <= 3  # a point on the edge of a shadow
    np.testing.assert_allclose(other[:count].cpu(), points, atol=1e-4)
    np.testing.assert_allclose(others.heatmap.cpu(), targets.heatmap, atol=1e-4)
    np.testing.assert_allclose(others.codes.cpu(), targets.codes, atol=1e-4)


def test_the_same_numbers_are_drawn_again():
    points, boxes = make_scene(5)
    bank = ObjectBank.build([make_scene(i) for i in range(3)], CONFIG)
    first = draw_sample(points, boxes, CONFIG, np.random.default_rng(1), bank)
    second = draw_sample(points, boxes, CONFIG, np.random.default_rng(1), bank)
    for one, two in zip(first, second, strict=True):
        np.testing.assert_array_equal(one, two)
    other = draw_sample(points, boxes, CONFIG, np.random.default_rng(2), bank)
    assert not np.array_equal(first.draws, other.draws)


def test_clouds_are_thinned():
    points, boxes = make_scene(5)
    config = replace(CONFIG, max_points=700)
    assert len(draw_sample(points, boxes, config, np.random.default_rng(1), None).points) == 700
