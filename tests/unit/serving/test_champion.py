from __future__ import annotations

import json

import pytest

from serving.champion import Champion, UnavailableError
from serving.gate import GateInput, decide
from serving.registry import Registry
from storage import layout
from storage.local import LocalStore
from tests.support.tiny_onnx import put_tiny_model


class Change:
    before, after, low, high, num_boxes = 0.5, 0.5, 0.0, 0.0, 10


@pytest.fixture
def store(tmp_path):
    return LocalStore(tmp_path / "bucket")


def release(store, model_id, champion_id=None):
    registry = Registry(store)
    facts = GateInput(
        model_id=model_id, onnx_digest=put_tiny_model(store, model_id), artifacts_complete=True,
        parity_passed=True, mean_ap=0.5, champion_id=champion_id, differences={"car": Change()},
        candidate_collisions={"cut_in": False}, champion_collisions={"cut_in": False},
    )  # fmt: skip
    registry.record(decide(facts))
    registry.promote(model_id)


def test_before_the_first_release_it_says_that_there_was_none(store):
    with pytest.raises(UnavailableError, match="approved none yet"):
        Champion(store, refresh_s=0.0, num_threads=1).detector()


def test_a_released_model_that_is_gone_is_not_called_unreleased(store):
    release(store, "m-1")
    store.delete(layout.model("m-1", "model.onnx"))
    with pytest.raises(UnavailableError, match="'m-1' is not complete"):
        Champion(store, refresh_s=0.0, num_threads=1).detector()


def test_a_new_champion_with_the_same_graph_is_served_under_its_own_name_and_threshold(store):
    release(store, "m-1")
    champion = Champion(store, refresh_s=0.0, num_threads=1)
    assert champion.detector().model_id == "m-1"
    release(store, "m-2", "m-1")  # the same bytes
    key = layout.model("m-2", "config.json")
    store.put(key, json.dumps(json.loads(store.get(key)) | {"score_threshold": 0.7}).encode())
    assert champion.detector().model_id == "m-2"
    assert champion.detector().score_threshold == 0.7


def test_the_same_champion_is_not_loaded_again_when_the_history_grows(store):
    release(store, "m-1")
    champion = Champion(store, refresh_s=0.0, num_threads=1)
    first = champion.detector()
    key = layout.release_alias("champion")
    store.put(key, store.get(key) + b"\n")
    assert champion.detector() is first
