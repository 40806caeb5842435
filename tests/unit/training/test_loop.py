from dataclasses import replace

import numpy as np
import pytest
import torch  # noqa: TID253

from scene.errors import ConfigError
from storage.local import LocalStore
from tests.support.tiny_scenes import make_scene
from training import config as recipes
from training.checkpoint import newest_checkpoint
from training.data import Batches, make_frame
from training.heads import Heads, Picture
from training.loop import NonFiniteError, Trainer, learning_rate
from training.loss import BatchTargets, detection_loss
from training.steps import Preempted, train

CONFIG = replace(
    recipes.small(),
    categories=("car", "pedestrian"),
    iterations=6,
    checkpoint_every=2,
    batch_size=2,
    channels=(8, 12, 16),
)
CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def batches():
    torch.set_num_threads(1)
    return Batches([make_frame(f"a@{i}", *make_scene(i), CONFIG) for i in range(4)], CONFIG)


def never():
    return False


def ignore(trainer, loss):
    del trainer, loss


@pytest.mark.slow
def test_resuming_after_every_checkpoint_gives_the_same_bits(batches, tmp_path):
    whole = Trainer(CONFIG, CPU)
    train(whole, batches, LocalStore(tmp_path / "whole"), "m-1", ignore, never)
    store = LocalStore(tmp_path / "cut")
    for stop_at in (1, 3, 4):
        trainer = Trainer(CONFIG, CPU)
        with pytest.raises(Preempted, match=f"step {stop_at}"):
            train(trainer, batches, store, "m-1", ignore, lambda t=trainer, n=stop_at: t.step >= n)
    last = Trainer(CONFIG, CPU)
    train(last, batches, store, "m-1", ignore, never)
    assert last.step == whole.step == 6
    assert last.progress.resumed_from == 4
    assert last.progress.loss_curve == whole.progress.loss_curve
    for name, tensor in whole.net.state_dict().items():
        assert torch.equal(tensor, last.net.state_dict()[name]), name


def test_a_finished_training_is_not_done_again(batches, tmp_path):
    store = LocalStore(tmp_path)
    train(Trainer(CONFIG, CPU), batches, store, "m-1", ignore, never)
    again = Trainer(CONFIG, CPU)
    seen = []
    train(again, batches, store, "m-1", lambda t, loss: seen.append(loss), never)
    assert seen == []
    assert again.step == 6
    found = newest_checkpoint(store, "m-1")
    assert found is not None
    assert found.step == 6


def test_the_same_seed_gives_the_same_network_and_another_one_does_not():
    first = Trainer(CONFIG, CPU).net.state_dict()
    second = Trainer(CONFIG, CPU).net.state_dict()
    other = Trainer(replace(CONFIG, seed=1), CPU).net.state_dict()
    assert all(torch.equal(first[name], second[name]) for name in first)
    assert not torch.equal(first["stage1.0.0.weight"], other["stage1.0.0.weight"])


def test_steps_with_nan_are_left_out_and_too_many_end_the_training(batches):
    trainer = Trainer(CONFIG, CPU)
    good = batches.batch(0)
    codes = good.targets[0].codes.copy()
    codes[:, 2] = np.inf
    broken = good._replace(targets=[replace(good.targets[0], codes=codes), good.targets[1]])
    before = {name: tensor.clone() for name, tensor in trainer.net.named_parameters()}
    assert trainer.train_step(trainer.prepare(broken)) is None
    assert trainer.progress.bad_steps == 1
    for name, tensor in trainer.net.named_parameters():
        assert torch.equal(tensor, before[name]), name
    assert trainer.train_step(trainer.prepare(good)) is not None
    for _ in range(9):
        assert trainer.train_step(trainer.prepare(broken)) is None
    with pytest.raises(NonFiniteError, match="NaN or infinity"):
        trainer.train_step(trainer.prepare(broken))


def test_a_step_left_out_leaves_no_trace_in_the_running_statistics(batches):
    trainer = Trainer(CONFIG, CPU)
    good = trainer.prepare(batches.batch(0))
    assert isinstance(good.inputs, Picture)
    assert trainer.train_step(good) is not None
    before = {name: tensor.clone() for name, tensor in trainer.net.state_dict().items()}
    broken = good._replace(inputs=Picture(torch.full_like(good.inputs.picture, torch.nan)))
    assert trainer.train_step(broken) is None
    for name, tensor in trainer.net.state_dict().items():
        assert torch.equal(tensor, before[name]), name
    assert trainer.train_step(good) is not None
    assert all(torch.isfinite(tensor).all() for tensor in trainer.net.buffers())


@pytest.mark.parametrize("is_good", [True, False])
def test_an_accelerator_decides_itself_which_statistics_stay(batches, is_good):
    trainer = Trainer(CONFIG, CPU)
    before = [buffer.clone() for buffer in trainer.net.buffers()]
    trainer.backward(trainer.prepare(batches.batch(0)))
    after = [buffer.clone() for buffer in trainer.net.buffers()]
    trainer._forget(before, torch.tensor(is_good))
    expected = after if is_good else before
    for buffer, value in zip(trainer.net.buffers(), expected, strict=True):
        assert torch.equal(buffer, value)


def test_unknown_velocity_costs_nothing_and_gives_no_gradient():
    heat = torch.zeros(1, 2, 4, 4)
    codes = torch.ones(1, 10, 4, 4, requires_grad=True)
    target = torch.zeros(1, 10)
    target[0, 8:] = torch.nan
    heatmap = torch.zeros(1, 2, 4, 4)
    heatmap[0, 0, 1, 1] = 1.0
    targets = BatchTargets(heatmap, torch.ones(1, 1, 4, 4), torch.tensor([5]), target)
    losses = detection_loss(Heads(heat, codes), targets, CONFIG, torch.ones(2, 3))
    losses.total.backward()
    assert torch.isfinite(losses.total)
    assert codes.grad is not None
    assert codes.grad[0, :8, 1, 1].abs().min() > 0
    assert codes.grad[0, 8:].abs().max() == 0
    assert torch.isfinite(codes.grad).all()


@pytest.mark.slow
def test_starting_from_a_model_takes_categories_by_name():
    old = Trainer(replace(CONFIG, categories=("pedestrian", "car", "truck"), seed=5), CPU)
    weights = old.net.state_dict()
    new = Trainer(CONFIG, CPU)
    fresh = new.net.heat.weight[1].clone()
    new.start_from(weights, ["", "car", "truck"])
    assert torch.equal(new.net.heat.weight[0], weights["heat.weight"][1])
    assert torch.equal(new.net.heat.weight[1], fresh)
    assert torch.equal(new.net.stage1[0][0].weight, weights["stage1.0.0.weight"])


def test_a_model_of_another_shape_is_refused():
    wide = Trainer(replace(CONFIG, channels=(16, 16, 16)), CPU).net.state_dict()
    with pytest.raises(ConfigError, match="does not fit"):
        Trainer(CONFIG, CPU).start_from(wide, list(CONFIG.categories))


def test_learning_rate_rises_then_falls():
    config = replace(CONFIG, iterations=100, learning_rate=1.0)
    rates = [learning_rate(step, config) for step in range(100)]
    peak = int(np.argmax(rates))
    assert 20 <= peak <= 30
    assert rates[peak] == pytest.approx(1.0, abs=1e-3)
    assert (np.diff(rates[: peak + 1]) > 0).all()
    assert (np.diff(rates[peak:]) < 0).all()
    assert rates[-1] < 0.01
