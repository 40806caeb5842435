import threading
import time
from dataclasses import replace

import numpy as np
import pytest

from scene.box import Boxes
from scene.errors import DataError
from storage.local import LocalStore
from tests.support.tiny_scenes import make_scene, store_dataset
from training import config as recipes
from training.data import Batches, count_categories, load_frames, make_frame
from training.order import frame_chances, has_categories

CONFIG = replace(recipes.small(), categories=("car", "pedestrian"), batch_size=3)


@pytest.fixture(scope="module")
def frames():
    return [make_frame(f"a@{i}", *make_scene(i), CONFIG) for i in range(5)]


def same(first, second):
    np.testing.assert_array_equal(first.points, second.points)
    np.testing.assert_array_equal(first.frame, second.frame)
    for one, two in zip(first.targets, second.targets, strict=True):
        np.testing.assert_array_equal(one.heatmap, two.heatmap)
        np.testing.assert_array_equal(one.codes, two.codes)


def test_a_batch_depends_on_the_step_alone(frames):
    forward = [Batches(frames, CONFIG).batch(step) for step in range(4)]
    late = list(Batches(frames, CONFIG).ahead(2, 4, lambda batch: batch))
    assert len(late) == 2
    same(forward[2], late[0])
    same(forward[3], late[1])
    assert not np.array_equal(forward[0].points[:50], forward[1].points[:50])
    assert list(Batches(frames, CONFIG).ahead(4, 4, lambda batch: batch)) == []


def test_a_batch_has_its_frames_in_order(frames):
    batch = Batches(frames, CONFIG).batch(0)
    assert len(batch.targets) == 3
    assert batch.points.shape == (len(batch.frame), 4)
    assert batch.points.dtype == np.float32
    np.testing.assert_array_equal(np.unique(batch.frame), [0, 1, 2])
    assert (np.diff(batch.frame) >= 0).all()


def test_fewer_frames_than_a_batch(frames):
    assert len(Batches(frames[:1], CONFIG).batch(0).targets) == 3


def test_no_frames_are_refused():
    with pytest.raises(DataError, match="at least one frame"):
        Batches([], CONFIG)


def test_rare_categories_come_more_often(frames):
    rare = make_frame("r@0", *make_scene(9, {"pedestrian": 3}), CONFIG)
    cars = [make_frame(f"c@{i}", *make_scene(i, {"car": 3}), CONFIG) for i in range(9)]
    even = frame_chances(has_categories([rare, *cars], CONFIG), replace(CONFIG, rare_boost=0.0))
    np.testing.assert_allclose(even, 0.1)
    boosted = frame_chances(has_categories([rare, *cars], CONFIG), replace(CONFIG, rare_boost=1.0))
    np.testing.assert_allclose(boosted.sum(), 1.0)
    assert boosted[0] > 1.5 * boosted[1]


def test_frames_come_from_the_dataset_with_counted_points(tmp_path):
    store = LocalStore(tmp_path)
    scenes = [make_scene(i) for i in range(3)]
    unknown = [(p, replace(b, num_points=np.full(len(b), -1))) for p, b in scenes]
    manifest = store_dataset(store, unknown)
    loaded = load_frames(store, manifest, CONFIG)
    assert [f.frame_id for f in loaded] == [
        "tiny.0001@1000000000", "tiny.0001@1200000000", "tiny.0001@1400000000",
    ]  # fmt: skip
    for frame, (points, boxes) in zip(loaded, scenes, strict=True):
        kept = make_frame("x", points, boxes, CONFIG)
        assert len(frame.boxes) == len(kept.boxes)
        np.testing.assert_allclose(
            np.sort(frame.boxes.num_points), np.sort(kept.boxes.num_points), atol=3, rtol=0.1
        )
        assert abs(len(frame.points) - len(kept.points)) < 10
    counts = count_categories(loaded, CONFIG)
    assert counts["car"] >= 5
    assert counts["pedestrian"] >= 5


def test_only_the_training_splits_are_read(tmp_path):
    store = LocalStore(tmp_path)
    manifest = store_dataset(store, [make_scene(0)], split="test")
    with pytest.raises(DataError, match="no frame in train or sim"):
        load_frames(store, manifest, CONFIG)
    assert len(load_frames(store, manifest, CONFIG, ("test",))) == 1


def test_empty_frames_are_kept_as_background():
    points, _ = make_scene(0, {})
    frame = make_frame("a@0", points, Boxes.empty(), CONFIG)
    batch = Batches([frame], CONFIG).batch(0)
    assert all(len(t.cells) == 0 for t in batch.targets)
    assert all(t.codes.shape == (0, 10) for t in batch.targets)


def test_ranks_make_parts_of_one_batch(frames):
    config = replace(CONFIG, batch_size=5)
    whole = Batches(frames, config).batch(7)
    parts = [Batches(frames, config).part(r, 2).batch(7) for r in range(2)]
    assert [len(part.targets) for part in parts] == [2, 3]
    np.testing.assert_array_equal(whole.points, np.concatenate([p.points for p in parts]))
    for one, two in zip(whole.targets, parts[0].targets + parts[1].targets, strict=True):
        np.testing.assert_array_equal(one.heatmap, two.heatmap)


def test_threads_make_the_same_batches(frames):
    config = replace(CONFIG, order="epochs")
    alone = list(Batches(frames, config).ahead(1, 6, lambda batch: batch))
    batches = Batches(frames, config, threads=3, depth=2)
    for one, two in zip(alone, batches.ahead(1, 6, lambda batch: batch), strict=True):
        same(one, two)
    assert batches.stats.samples == 4 * 3
    assert 0 <= batches.stats.wait_share <= 1
    assert batches.stats.samples_per_s > 0
    assert batches.stats.first_s > 0


def test_waiting_for_data_is_told_from_using_it(frames):
    slow = Batches(frames, CONFIG)
    for _ in slow.ahead(0, 4, lambda batch: time.sleep(0.03)):
        pass
    assert slow.stats.wait_share > 0.8
    fast, made = Batches(frames, CONFIG, depth=2), []
    for number, _ in enumerate(fast.ahead(0, 4, made.append)):
        while len(made) < min(4, number + 2):  # a busy machine takes longer for a batch than we do
            time.sleep(0.01)
        time.sleep(0.1)
    assert fast.stats.wait_share < 0.5


def test_leaving_early_ends_the_threads(frames):
    before = set(threading.enumerate())  # of other tests some may end meanwhile
    coming = Batches(frames, CONFIG, threads=2, depth=3).ahead(0, 100, lambda batch: batch)
    next(coming)
    coming.close()
    assert set(threading.enumerate()) <= before
