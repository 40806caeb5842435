from dataclasses import replace

import numpy as np
import pytest
import torch  # noqa: TID253

from scene.errors import ConfigError
from storage.local import LocalStore
from tests.support.devices import DEVICES, open_device
from tests.support.tiny_scenes import make_scene
from training import config as recipes
from training.centerpoint import PointNet
from training.checkpoint import newest_checkpoint
from training.data import Batches, make_frame
from training.decode import FrameDetector
from training.export import check_parity, export_onnx
from training.loop import NonFiniteError, Trainer
from training.model import build_network
from training.predict import Predictor
from training.steps import train

CONFIG = replace(
    recipes.small(),
    network="centerpoint",
    categories=("car", "pedestrian"),
    groups=(("pedestrian",), ("car",)),
    iterations=6,
    checkpoint_every=2,
    batch_size=2,
    channels=(12, 16, 16),
    point_channels=12,
    head_channels=16,
    iou_power=0.5,
    nms_iou=0.2,
    ema=0.9,
    object_turn_rad=0.1,
    object_shift_m=0.2,
    translation_m=0.1,
    paste=(("pedestrian", 2),),
)
CPU = torch.device("cpu")


def never():
    return False


def ignore(trainer, loss):
    del trainer, loss


@pytest.fixture(scope="module")
def batches():
    torch.set_num_threads(1)
    return Batches([make_frame(f"a@{i}", *make_scene(i), CONFIG) for i in range(4)], CONFIG)


def point_net_by_hand(net, points, config):
    """The same picture in float64 with a plain loop over pillars."""
    rows, columns = config.grid_shape
    weight = net.linear.weight.detach().double().cpu().numpy()
    gain = net.weight.detach().double().cpu().numpy()
    bias = net.bias.detach().double().cpu().numpy()
    mean, var = (b.double().cpu().numpy() for b in (net.running_mean, net.running_var))
    picture = np.zeros((len(weight), rows, columns))
    # Which pillar a point is in is told from what float32 says: that is not what is compared.
    low = np.array([config.x_min_m, config.y_min_m], dtype=np.float32)
    cell = np.floor((points[:, :2] - low) / np.float32(config.pillar_m)).astype(int)
    good = (cell >= 0).all(1) & (cell < [rows, columns]).all(1)
    good &= (points[:, 2] >= config.z_min_m) & (points[:, 2] < config.z_max_m)
    points, cell = points[good].astype(np.float64), cell[good]
    for row, column in np.unique(cell, axis=0):
        mine = points[(cell == [row, column]).all(axis=1)]
        offset = mine[:, :3] - mine[:, :3].mean(axis=0)
        middle = (np.array([row, column]) + 0.5) * config.pillar_m
        values = np.concatenate(
            [
                mine[:, :2] / 50,
                mine[:, 2:],
                offset[:, :2] / config.pillar_m,
                offset[:, 2:],
                (mine[:, :2] - [config.x_min_m, config.y_min_m] - middle) / config.pillar_m,
            ],
            axis=1,
        )
        answer = (values @ weight.T - mean) / np.sqrt(var + 1e-3) * gain + bias
        picture[:, row, column] = np.maximum(answer, 0).max(axis=0)
    return picture


@pytest.mark.parametrize("name", DEVICES)
@pytest.mark.parametrize("num_sweeps", [1, 3])
def test_point_network_equals_a_plain_loop_in_float64(name, num_sweeps):
    device = open_device(name)
    config = replace(CONFIG, num_sweeps=num_sweeps)
    torch.manual_seed(0)
    net = PointNet(config).eval().to(device)
    with torch.no_grad():
        net.running_mean.normal_()
        net.running_var.uniform_(0.5, 2)
        net.bias.normal_()
    rng = np.random.default_rng(3)
    high = [35, 18, 5, 1, 0.4][: 4 if num_sweeps == 1 else 5]
    low = [-3, -18, -2, 0, 0][: len(high)]
    points = rng.uniform(low, high, (3000, len(high))).astype(np.float32)
    points[::30] = points[0]  # many points in one pillar
    inputs = net.locate(
        torch.from_numpy(points).to(device), torch.zeros(3000, device=device).long(), 1
    )
    with torch.no_grad():
        picture = net(inputs)
    assert picture.shape == (1, 12, *config.grid_shape)
    assert picture.is_contiguous(memory_format=torch.channels_last)
    np.testing.assert_allclose(
        picture[0].cpu().numpy(), point_net_by_hand(net, points, config), atol=2e-4
    )


def test_points_that_are_not_looked_at_have_no_say():
    torch.manual_seed(0)
    points = torch.from_numpy(make_scene(2)[0])
    bad = torch.tensor(
        [[torch.nan, 0, 0, 0.5], [5, torch.inf, 0, 0.5], [5, 0, 99, 0.5], [5, 0, 0, torch.nan]]
    )
    pictures, means = [], []
    for cloud, frame in (
        (points, torch.zeros(len(points)).long()),
        (
            torch.cat([bad, points, points[:500]]),
            torch.cat([torch.zeros(4 + len(points)), torch.full((500,), -1)]).long(),
        ),
    ):
        torch.manual_seed(1)
        net = PointNet(CONFIG).train()
        pictures.append(net(net.locate(cloud, frame, 1)))
        means.append(net.running_mean)
    assert torch.isfinite(pictures[1]).all()
    torch.testing.assert_close(pictures[1], pictures[0])
    torch.testing.assert_close(means[1], means[0])  # nor in the statistics of the training


def test_heads_have_their_shapes_and_the_order_of_the_categories():
    net = build_network(CONFIG).eval()
    points = torch.from_numpy(make_scene(1)[0])
    with torch.no_grad():
        net.heads[1].heat.bias.fill_(5.0)  # the second group holds the first category, car
        heads = net(points, torch.zeros(len(points)).long(), 2)
    rows, columns = CONFIG.output_shape
    assert heads.heat.shape == (2, 2, rows, columns)
    assert heads.codes.shape == (2, 20, rows, columns)
    assert heads.iou.shape == (2, 2, rows, columns)
    assert heads.heat[0, 0].mean() > 2 > heads.heat[0, 1].mean()


def test_output_strides_and_a_fourth_stage():
    config = replace(CONFIG, channels=(8, 8, 8, 8), output_stride=4, pillar_m=0.25)
    heads = build_network(config)(torch.zeros(5, 4), torch.zeros(5).long(), 1)
    assert heads.heat.shape[2:] == config.output_shape == (32, 32)


@pytest.mark.slow
def test_resuming_gives_the_same_bits_moving_average_included(batches, tmp_path):
    whole, store = Trainer(CONFIG, CPU), LocalStore(tmp_path)
    train(whole, batches, store, "m-1", ignore, never)
    first = Trainer(CONFIG, CPU)
    for step in range(3):
        first.train_step(first.prepare(batches.batch(step)))
    last = Trainer(replace(CONFIG, seed=CONFIG.seed), CPU)
    last.restore(first.checkpoint())
    for step in range(3, 6):
        last.train_step(last.prepare(batches.batch(step)))
    found = newest_checkpoint(store, "m-1")
    assert found is not None
    again = last.checkpoint()
    assert found.tensors.keys() == again.tensors.keys()
    assert any(name.startswith("ema.heads") for name in again.tensors)
    for name, tensor in found.tensors.items():
        assert torch.equal(tensor, again.tensors[name]), name
    averaged, raw = whole.finished().state_dict(), whole.net.state_dict()
    assert torch.equal(averaged["heads.0.heat.weight"], again.tensors["ema.heads.0.heat.weight"])
    assert not torch.equal(averaged["heads.0.heat.weight"], raw["heads.0.heat.weight"])


@pytest.fixture(scope="module")
def learned():
    """A network of two sweeps that knows two frames by heart; it is exported as well."""
    torch.set_num_threads(1)
    config = replace(
        CONFIG, num_sweeps=2, iterations=70, paste=(), flip=0.0, reverse=0.0, rotation_rad=0.0,
        scale=0.0, translation_m=0.0, object_turn_rad=0.0, object_shift_m=0.0, learning_rate=1e-2,
    )  # fmt: skip
    scenes = [
        (np.pad(points, ((0, 0), (0, 1))), boxes) for points, boxes in map(make_scene, (0, 1))
    ]
    batches = Batches([make_frame(f"a@{i}", *s, config) for i, s in enumerate(scenes)], config)
    trainer = Trainer(config, CPU)
    losses = [trainer.train_step(trainer.prepare(batches.batch(i))) for i in range(70)]
    return trainer.finished(), config, scenes, losses


@pytest.mark.slow
def test_it_learns_a_few_frames_by_heart(learned):
    net, config, scenes, losses = learned
    assert np.mean(losses[-5:]) < 0.35 * np.mean(losses[:5])
    predictor = Predictor(net, config, CPU)
    found = total = 0
    for points, boxes in scenes:
        predicted = predictor(points)
        inside = (boxes.center_xyz_m[:, 0] > 0.5) & (boxes.num_points >= 5)
        for i in np.flatnonzero(inside & (np.abs(boxes.center_xyz_m[:, 1]) < 15.5)):
            same = predicted.category == boxes.category[i]
            gap = np.hypot(*(predicted.center_xyz_m[:, :2] - boxes.center_xyz_m[i, :2]).T)
            found += bool((same & (gap < 0.6) & (predicted.score > 0.25)).any())
            total += 1
    assert total >= 8
    assert found >= 0.7 * total


@pytest.mark.slow
def test_the_exported_graph_is_the_network_for_one_sweep_and_for_several(learned):
    net, config, scenes, _ = learned
    points = scenes[0][0]
    parity = check_parity(net, config, export_onnx(net, config), [points, points[:, :4].copy()])
    assert parity.passed
    assert parity.num_boxes >= 8


def test_rows_that_only_fill_up_and_unknown_velocities_cost_nothing(batches):
    trainer = Trainer(CONFIG, CPU)
    prepared = trainer.prepare(batches.batch(0))
    assert (prepared.targets.real == 0).any()
    codes = prepared.targets.codes.clone()
    codes[:, 8:] = torch.nan
    codes[prepared.targets.real == 0] = torch.nan
    broken = prepared._replace(targets=prepared.targets._replace(codes=codes))
    loss = trainer.train_step(broken)
    assert loss is not None
    assert all(torch.isfinite(p).all() for p in trainer.net.parameters())


def test_a_broken_target_leaves_the_step_out(batches):
    trainer = Trainer(CONFIG, CPU)
    good = trainer.prepare(batches.batch(0))
    codes = good.targets.codes.clone()
    codes[good.targets.real > 0, 2] = torch.inf
    broken = good._replace(targets=good.targets._replace(codes=codes))
    before = [p.detach().clone() for p in trainer.net.parameters()]
    assert trainer.train_step(broken) is None
    assert all(torch.equal(p, q) for p, q in zip(trainer.net.parameters(), before, strict=True))
    for _ in range(9):
        trainer.train_step(broken)
    with pytest.raises(NonFiniteError):
        trainer.train_step(broken)


def test_joined_heads_learn_what_single_heads_learn(batches):
    results = []
    for joined in (False, True):
        trainer = Trainer(replace(CONFIG, batch_size=2, precision="float32"), CPU)
        trainer.net.joined = joined
        loss = trainer.backward(trainer.prepare(batches.batch(0)))
        grads = {name: p.grad for name, p in trainer.net.named_parameters()}
        results.append((loss, grads, trainer.net.state_dict()))
    (loss, grads, state), (other_loss, others, other_state) = results
    assert loss == pytest.approx(other_loss, rel=1e-5)
    for name, grad in grads.items():
        torch.testing.assert_close(others[name], grad, rtol=1e-3, atol=1e-5)
    for name, tensor in state.items():  # running statistics too
        torch.testing.assert_close(other_state[name], tensor, rtol=1e-4, atol=1e-5)


@pytest.mark.gpu
def test_steps_on_the_accelerator_are_those_of_the_cpu(batches):
    device = open_device("accelerator")
    config = replace(CONFIG, precision="float32")
    here, there = Trainer(config, CPU), Trainer(config, device)
    torch.set_float32_matmul_precision("highest")
    expected = [here.train_step(here.prepare(batches.batch(i))) for i in range(4)]
    losses = []
    for i in range(4):
        there.train_step(there.prepare(batches.batch(i)))
        there.checkpoint()  # reads the losses
        losses.append(there.progress.recent[-1])
    np.testing.assert_allclose(losses[0], expected[0], rtol=2e-3)
    np.testing.assert_allclose(losses, expected, rtol=0.1)  # rounding grows from step to step
    broken = there.prepare(batches.batch(4))
    codes = torch.full_like(broken.targets.codes, torch.inf)
    before = [p.detach().clone() for p in there.net.parameters()]
    there.train_step(broken._replace(targets=broken.targets._replace(codes=codes)))
    there.checkpoint()
    assert there.progress.bad_steps == 1
    for p, q in zip(there.net.parameters(), before, strict=True):
        assert torch.equal(p, q)


@pytest.mark.slow
def test_starting_from_a_model_keeps_what_it_learned():
    old = Trainer(replace(CONFIG, seed=4), CPU).finished().state_dict()
    new = Trainer(CONFIG, CPU)
    fresh = new.net.heads[1].heat.weight.clone()
    new.start_from(old, ["", "pedestrian"])
    assert torch.equal(new.net.heads[0].heat.weight, old["heads.0.heat.weight"])
    assert torch.equal(new.net.heads[1].heat.weight, fresh)
    assert torch.equal(new.finished().points.linear.weight, old["points.linear.weight"])
    wide = build_network(replace(CONFIG, point_channels=16)).state_dict()
    with pytest.raises(ConfigError, match="does not fit"):
        new.start_from(wide, [])


def test_starting_from_a_model_with_other_groups_takes_categories_by_name():
    names, ours = ("car", "truck", "pedestrian"), (("car", "truck"), ("pedestrian",))
    theirs = (("truck", "car"), ("pedestrian",))
    old = Trainer(replace(CONFIG, categories=names, groups=theirs, seed=4), CPU).net.state_dict()
    new = Trainer(replace(CONFIG, categories=names, groups=ours), CPU)
    new.start_from(old, list(names), theirs)
    for part in ("weight", "bias"):
        car, truck = new.net.state_dict()[f"heads.0.heat.{part}"]
        assert torch.equal(car, old[f"heads.0.heat.{part}"][1])
        assert torch.equal(truck, old[f"heads.0.heat.{part}"][0])
    moved = Trainer(replace(CONFIG, categories=names, groups=ours), CPU)
    fresh = moved.net.state_dict()["heads.0.heat.weight"].clone()
    moved.start_from(old, list(names), (("car", "pedestrian"), ("truck",)))
    assert torch.equal(moved.net.state_dict()["heads.0.heat.weight"][1], fresh[1])


def test_rotated_nms_keeps_the_best_of_boxes_that_overlap():
    config = replace(CONFIG, max_boxes=3)
    predictor = Predictor(build_network(config), config, CPU)
    boxes = np.tile(np.array([5, 0, 1, 4, 2, 2, 0.1, 0, 0], dtype=np.float32), (3, 1))
    boxes[:, 0] = [5.0, 5.4, 15.0]
    kept = predictor.to_boxes(boxes, np.array([0.9, 0.8, 0.7], np.float32), np.array([0, 0, 0]))
    assert kept.center_xyz_m[:, 0].tolist() == [5.0, 15.0]
    kept = predictor.to_boxes(boxes, np.array([0.9, 0.8, 0.7], np.float32), np.array([0, 1, 0]))
    assert len(kept) == 3
    assert isinstance(predictor.detector, FrameDetector)


def test_gradients_of_the_point_network_are_those_of_its_plain_form():
    torch.manual_seed(0)
    net = PointNet(CONFIG).train()
    points = torch.from_numpy(make_scene(2)[0])
    inputs = net.locate(points, torch.zeros(len(points)).long(), 1)
    wanted = torch.rand(1, 12, *CONFIG.grid_shape)
    ((net(inputs) - wanted) ** 2).sum().backward()
    found = [net.linear.weight.grad, net.weight.grad, net.bias.grad]
    running = net.running_mean.clone(), net.running_var.clone()

    size = CONFIG.grid_shape[0] * CONFIG.grid_shape[1]
    seen = net.describe(inputs.points, inputs.pillar, size)[inputs.pillar < size].double()
    pillar = inputs.pillar[inputs.pillar < size]
    plain = torch.nn.BatchNorm1d(12, eps=1e-3).double()
    linear = net.linear.weight.detach().double().requires_grad_()
    answer = torch.relu(plain(seen @ linear.t()))
    canvas = answer.new_zeros(size, 12).scatter_reduce(
        0, pillar[:, None].expand(-1, 12), answer, "amax", include_self=True
    )
    picture = canvas.view(1, *CONFIG.grid_shape, 12).permute(0, 3, 1, 2)
    ((picture - wanted.double()) ** 2).sum().backward()
    for one, other in zip(found, [linear.grad, plain.weight.grad, plain.bias.grad], strict=True):
        torch.testing.assert_close(one.double(), other, rtol=2e-3, atol=2e-3)
    torch.testing.assert_close(running[0].double(), plain.running_mean, rtol=1e-4, atol=1e-5)
    usual = plain.running_var  # which counts one point less
    torch.testing.assert_close(running[1].double(), usual, rtol=1e-3, atol=1e-4)
