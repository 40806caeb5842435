import json
from dataclasses import replace

import pytest

from scene.errors import ConfigError, FormatError, NotFoundError
from storage import layout
from storage.local import LocalStore
from storage.open import StoreConfig
from training import config as recipes
from training.artifacts import is_complete, read_config, read_weights, write_model
from training.dataset import DataOptions
from training.identity import model_id_of
from training.job import Job
from training.make import head_groups, learned_rows, thin_curve


def test_a_model_is_there_only_when_it_is_whole(tmp_path):
    store = LocalStore(tmp_path)
    assert read_config(store, "m-1") is None
    assert not is_complete(store, "m-1")
    write_model(store, "m-1", b"graph", b"weights", {"categories": ["car"]})
    assert is_complete(store, "m-1")
    data, config = read_weights(store, "m-1")
    assert data == b"weights"
    assert config["model_id"] == "m-1"
    assert config["categories"] == ["car"]
    for name in ("model.onnx", "weights.safetensors"):
        whole = store.get(layout.model("m-1", name))
        store.put(layout.model("m-1", name), whole + b"x")
        assert not is_complete(store, "m-1")
        store.delete(layout.model("m-1", name))
        assert not is_complete(store, "m-1")
        store.put(layout.model("m-1", name), whole)
        assert is_complete(store, "m-1")
    store.put(layout.model("m-1", "weights.safetensors"), b"other")
    with pytest.raises(FormatError, match="digest differs"):
        read_weights(store, "m-1")
    with pytest.raises(NotFoundError, match="never finished"):
        read_weights(store, "m-2")


def job(tmp_path):
    config = recipes.small()
    store = StoreConfig(url=f"file://{tmp_path}")
    return Job(store, "d" * 64, config, None, model_id_of("d" * 64, config, None))


def test_job_file_round_trip(tmp_path):
    path = tmp_path / "job.json"
    path.write_text(json.dumps(job(tmp_path).to_dict()))
    assert Job.read(path) == job(tmp_path)
    chosen = replace(job(tmp_path), data=DataOptions(cache_folder="/cache", cache_bytes=7))
    assert Job.from_dict(chosen.to_dict()) == chosen


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"model_id": "m-000000000000"}, "model_id_of"),
        ({"config": {"unknown": 1}}, "unknown"),
        ({"store": {"path": "x"}}, "store"),
        ({"more": 1}, "expected"),
        ({"data": {"cache": "/x"}}, r"unknown settings \['cache'\]"),
        ({"data": {"threads": -1}}, "must not be negative"),
    ],
)
def test_wrong_jobs_are_refused(tmp_path, change, message):
    with pytest.raises(ConfigError, match=message):
        Job.from_dict({**job(tmp_path).to_dict(), **change})


def test_broken_job_files_are_refused(tmp_path):
    path = tmp_path / "job.json"
    for text in ("{", "[]"):
        path.write_text(text)
        with pytest.raises(ConfigError, match=r"job\.json"):
            Job.read(path)
    with pytest.raises(ConfigError, match=r"none\.json"):
        Job.read(tmp_path / "none.json")


def test_rows_never_taught_start_afresh():
    config = {"categories": ["car", "pedestrian"], "num_boxes": {"car": 40, "pedestrian": 0}}
    assert learned_rows(config) == ["car", ""]


def test_centre_heads_of_a_model_are_those_it_was_trained_with():
    names, groups = ["car", "truck"], [["truck"], ["car"]]
    assert head_groups({"categories": names, "train_config": {"groups": groups}}) == groups
    assert head_groups({"categories": names, "train_config": {"groups": []}}) == [names]
    assert head_groups({"categories": names, "train_config": {}}) == [
        names
    ]  # before there were any


def test_curve_keeps_its_last_point():
    curve = [(step, 1 / step) for step in range(10, 1010, 10)]
    thin = thin_curve(curve)
    assert len(thin) <= 40
    assert thin[-1] == [1000, 0.001]
    assert thin_curve([]) == []
    assert replace(recipes.demo()).iterations > 0
