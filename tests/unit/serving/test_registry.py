from __future__ import annotations

import json
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace

import pytest

from scene.errors import ConflictError, FormatError, GateError
from serving.gate import Decision, GateInput, decide
from serving.registry import Registry
from storage import layout
from storage.local import LocalStore
from storage.tables import Tables
from tests.support.tiny_onnx import put_tiny_model, tiny_onnx


@dataclass(frozen=True)
class Change:
    before: float = 0.4
    after: float = 0.5
    low: float = 0.0
    high: float = 0.2
    num_boxes: int = 50


@pytest.fixture
def store(tmp_path):
    return LocalStore(tmp_path / "bucket")


def judged(store, model_id, champion_id=None, *, approved=True, offset_m=0.0) -> Decision:
    return decide(
        GateInput(
            model_id=model_id,
            onnx_digest=put_tiny_model(store, model_id, offset_m),
            artifacts_complete=True,
            parity_passed=approved,
            mean_ap=0.4,
            champion_id=champion_id,
            differences={"car": Change()},
            candidate_collisions={"cut_in": False},
            champion_collisions={"cut_in": False},
        )
    )


def test_promotes_only_what_the_gate_approved(store):
    registry = Registry(store)
    assert registry.champion() is None
    with pytest.raises(GateError, match="never put before the gate"):
        registry.promote("m-1")
    registry.record(judged(store, "m-bad", approved=False))
    with pytest.raises(GateError, match="refused model m-bad: export parity"):
        registry.promote("m-bad")
    decision = judged(store, "m-1")
    registry.record(decision)
    release = registry.promote("m-1")
    assert registry.champion() == release
    assert (release.sequence, release.action, release.previous) == (1, "promote", "")
    assert release.onnx_digest == decision.onnx_digest
    assert release.decision_digest == decision.digest


def test_promoting_again_changes_nothing(store):
    registry = Registry(store, Tables(store))
    registry.record(judged(store, "m-1"))
    registry.record(judged(store, "m-1"))
    registry.promote("m-1")
    etag = store.stat(layout.release_alias("champion")).etag
    assert registry.promote("m-1").sequence == 1
    assert store.stat(layout.release_alias("champion")).etag == etag
    assert len(Tables(store).read("audit")) == 1


def test_another_decision_about_the_same_model_is_refused(store):
    registry = Registry(store)
    refused = judged(store, "m-1", approved=False)
    registry.record(refused)
    with pytest.raises(GateError, match="another decision"):
        registry.record(judged(store, "m-1"))
    assert registry.decision("m-1") == refused


def test_a_file_changed_after_the_decision_is_refused(store):
    registry = Registry(store)
    registry.record(judged(store, "m-1"))
    store.put(layout.model("m-1", "model.onnx"), tiny_onnx(1.0))
    with pytest.raises(GateError, match="the gate approved a file with digest"):
        registry.promote("m-1")
    store.delete(layout.model("m-1", "model.onnx"))
    with pytest.raises(GateError, match="its file is gone"):
        registry.promote("m-1")


def test_approval_counts_only_against_the_champion_it_was_compared_with(store):
    registry = Registry(store)
    for decision in (
        judged(store, "m-1"),
        judged(store, "m-2", "m-1", offset_m=1),
        judged(store, "m-3", "m-1", offset_m=2),
    ):
        registry.record(decision)
    registry.promote("m-1")
    registry.promote("m-2")
    with pytest.raises(GateError, match="approved against m-1, but the champion is m-2"):
        registry.promote("m-3")


def test_rollback_goes_to_a_former_champion_only_and_stays(store):
    registry = Registry(store, Tables(store))
    registry.record(judged(store, "m-1"))
    registry.record(judged(store, "m-2", "m-1", offset_m=1))
    registry.record(judged(store, "m-3", "m-1", offset_m=2))
    registry.promote("m-1")
    registry.promote("m-2")
    with pytest.raises(GateError, match="never champion"):
        registry.rollback("m-3")
    assert registry.rollback("m-1", actor="li").action == "rollback"
    with pytest.raises(GateError, match="was champion before"):
        registry.promote("m-2")  # what a re-run of the release step would do
    moves = [(r.sequence, r.action, r.model_id, r.previous) for r in registry.history()]
    assert moves == [
        (1, "promote", "m-1", ""), (2, "promote", "m-2", "m-1"), (3, "rollback", "m-1", "m-2")
    ]  # fmt: skip
    audit = sorted(Tables(store).read("audit").to_pylist(), key=lambda row: row["at_ns"])
    assert [(row["actor"], row["subject"]) for row in audit] == [
        ("gate", "m-1"), ("gate", "m-2"), ("li", "m-1")
    ]  # fmt: skip


def test_damaged_alias_and_decision_are_named(store):
    registry = Registry(store)
    store.put(layout.release_alias("champion"), b'{"history": [{"x": 1}]}')
    with pytest.raises(FormatError, match=r"champion\.json is damaged"):
        registry.champion()
    store.put(layout.release("m-1"), b"{")
    with pytest.raises(FormatError, match="not JSON"):
        registry.decision("m-1")


def test_a_move_between_reading_and_writing_is_noticed(store, monkeypatch):
    registry = Registry(store)
    for decision in (
        judged(store, "m-1"), judged(store, "m-2", "m-1"), judged(store, "m-3", "m-1")
    ):  # fmt: skip
        registry.record(decision)
    registry.promote("m-1")
    stale = registry._alias()
    registry.promote("m-2")
    monkeypatch.setattr(registry, "_alias", lambda: stale)
    with pytest.raises(ConflictError, match="the champion changed meanwhile"):
        registry.promote("m-3")
    monkeypatch.undo()
    assert json.loads(store.get(layout.release_alias("champion")))["champion"] == "m-2"


def test_of_racing_promotions_one_wins(store):
    names = [f"m-{i}" for i in range(8)]
    for i, name in enumerate(names):
        Registry(store).record(judged(store, name, offset_m=i))
    together = threading.Barrier(len(names))

    def race(name):
        registry = Registry(LocalStore(store.root))
        together.wait()
        try:
            return registry.promote(name).model_id
        except (ConflictError, GateError):
            return None

    with ThreadPoolExecutor(len(names)) as pool:
        winners = [name for name in pool.map(race, names) if name]
    assert len(winners) == 1
    assert [release.model_id for release in Registry(store).history()] == winners


def test_decision_of_the_facts_is_what_is_stored(store):
    decision = judged(store, "m-1")
    Registry(store).record(decision)
    assert Registry(store).decision("m-1") == decision
    assert replace(decision, approved=False).digest != decision.digest
