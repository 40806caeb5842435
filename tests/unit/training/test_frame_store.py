from dataclasses import replace

import numpy as np
import pytest

from scene.errors import DataError, NotFoundError, StoreError
from storage.local import LocalStore
from tests.support.tiny_scenes import make_scene, store_dataset
from training import config as recipes
from training import frame_store
from training.data import Batches, DataOptions, count_categories, load_frames, open_frames
from training.frame_store import StoreFrames

CONFIG = replace(recipes.small(), categories=("car", "pedestrian"), batch_size=3, order="epochs")


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    store = LocalStore(tmp_path_factory.mktemp("store"))
    return store, store_dataset(store, [make_scene(i, columns=200) for i in range(6)])


def larger_than_memory(dataset, folder="", **options):
    store, manifest = dataset
    chosen = DataOptions(memory_bytes=10_000, cache_folder=str(folder), **options)
    frames = open_frames(store, manifest, CONFIG, chosen)
    assert isinstance(frames, StoreFrames)
    return frames


def same(first, second):
    np.testing.assert_array_equal(first.points, second.points)
    for one, two in zip(first.targets, second.targets, strict=True):
        np.testing.assert_array_equal(one.heatmap, two.heatmap)


def test_a_small_dataset_stays_in_memory(dataset):
    frames = open_frames(*dataset, CONFIG, DataOptions())
    assert isinstance(frames, list)
    assert len(frames) == 6


def test_frames_are_those_in_memory_to_half_a_step(dataset):
    lazy, eager = larger_than_memory(dataset), load_frames(*dataset, CONFIG)
    assert len(lazy) == len(eager)
    for i, frame in enumerate(eager):
        assert lazy[i].frame_id == frame.frame_id
        assert np.abs(lazy[i].points - frame.points).max() < 0.0021
        np.testing.assert_array_equal(lazy[i].points[:, 3], frame.points[:, 3])
        np.testing.assert_array_equal(lazy[i].boxes.num_points, frame.boxes.num_points)
    assert count_categories(lazy, CONFIG) == count_categories(eager, CONFIG)


def test_a_batch_is_the_same_cold_warm_or_without_a_cache(dataset, tmp_path):
    cold = larger_than_memory(dataset, tmp_path)
    first = list(Batches(cold, CONFIG, threads=2, depth=2).ahead(0, 4, lambda batch: batch))
    assert cold.cache is not None
    assert cold.cache.stats.written == 6
    warm = larger_than_memory(dataset, tmp_path)
    again = list(Batches(warm, CONFIG, threads=2, depth=2).ahead(0, 4, lambda batch: batch))
    assert warm.cache is not None
    assert warm.cache.stats.misses == 0
    bare = Batches(larger_than_memory(dataset), CONFIG)
    for step in range(4):
        same(first[step], again[step])
        same(first[step], bare.batch(step))


def test_a_damaged_entry_is_fetched_again(dataset, tmp_path):
    frames = larger_than_memory(dataset, tmp_path)
    before = frames[2].points
    for path in tmp_path.glob("*/*"):
        path.write_bytes(path.read_bytes()[:-3] + b"xyz")
    np.testing.assert_array_equal(frames[2].points, before)
    assert frames.cache is not None
    assert frames.cache.stats.damaged == 1


def test_changed_sweeps_are_not_taken_from_the_cache(dataset, tmp_path):
    store = LocalStore(tmp_path / "store")
    manifest = store_dataset(store, [make_scene(0, columns=100)])
    old = larger_than_memory((store, manifest), tmp_path / "cache")[0]
    store_dataset(store, [make_scene(1, columns=100)])
    new = larger_than_memory((store, manifest), tmp_path / "cache")[0]
    assert len(old.points) != len(new.points)


def test_an_error_in_a_thread_names_frame_and_object(dataset, tmp_path):
    store = LocalStore(tmp_path)
    manifest = store_dataset(store, [make_scene(i, columns=100) for i in range(4)])
    frames = larger_than_memory((store, manifest), "")
    key = frames.rows[0].key
    path = tmp_path / key
    raw = bytearray(path.read_bytes())
    raw[len(raw) // 2 - 2000 : len(raw) // 2] = bytes(2000)
    batches = Batches(frames, replace(CONFIG, paste=()), threads=2, depth=2)
    path.write_bytes(raw)
    frames.close()
    with pytest.raises(DataError, match=r"frame tiny\.0001@\d+ of sweeps/tiny\.0001\.parquet"):
        list(batches.ahead(0, 8, lambda batch: None))


def test_a_store_that_is_away_for_a_while_is_waited_for(dataset, monkeypatch):
    monkeypatch.setattr(frame_store, "_RETRY_AFTER_S", (0.01, 0.01))
    calls = []

    def away(times, error):
        def action():
            calls.append(error)
            if len(calls) <= times:
                raise error("not now")
            return "there"

        calls.clear()
        return action

    assert frame_store._patiently(away(2, StoreError)) == "there"
    with pytest.raises(StoreError, match="not now"):
        frame_store._patiently(away(3, StoreError))
    with pytest.raises(NotFoundError):
        frame_store._patiently(away(1, NotFoundError))
    assert len(calls) == 1
