"""The sensor that reconciles answers: content cursor, idempotent runs, nothing depends on hooks."""

from __future__ import annotations

import json
from pathlib import Path

import dagster as dg

from loop.workspace import Workspace
from pipelines.label_sensor import answers
from storage import layout
from tests.support.label_stage import open_workspace
from tests.support.workspaces import make_workspace


def tick(workspace: Workspace, cursor: str | None) -> dg.SensorResult | dg.SkipReason:
    with dg.DagsterInstance.ephemeral() as instance:
        context = dg.build_sensor_context(
            instance=instance, cursor=cursor, resources={"workspace": workspace}
        )
        result = answers(context)
    assert isinstance(result, (dg.SensorResult, dg.SkipReason))
    return result


def answer(workspace: Workspace, recording: str, name: str, body: bytes = b"{}") -> None:
    key = f"{layout.CLIP_ANSWERS_PREFIX}{recording}/0123456789abcdef/{name}.json"
    workspace.store.put(key, body)


def requested(result: dg.SensorResult | dg.SkipReason) -> list[str | None]:
    assert isinstance(result, dg.SensorResult)
    return [request.partition_key for request in result.run_requests or []]


def test_a_new_or_changed_answer_requests_its_recording_once(tmp_path: Path) -> None:
    workspace = open_workspace(tmp_path)
    answer(workspace, "a", "one")
    answer(workspace, "b", "one")
    first = tick(workspace, None)
    assert requested(first) == ["a", "b"]
    assert isinstance(first, dg.SensorResult)
    again = tick(workspace, first.cursor)
    assert requested(again) == []
    answer(workspace, "b", "one", b'{"corrected": true}')
    answer(workspace, "c", "two")
    changed = tick(workspace, first.cursor)
    assert requested(changed) == ["b", "c"]
    # A tick that was lost after its runs were asked for asks under the same keys.
    keys = (
        [r.run_key for r in changed.run_requests or []]
        if isinstance(changed, dg.SensorResult)
        else []
    )
    lost = tick(workspace, first.cursor)
    assert isinstance(lost, dg.SensorResult)
    assert [r.run_key for r in lost.run_requests or []] == keys


def test_many_recordings_take_turns(tmp_path: Path) -> None:
    workspace = open_workspace(tmp_path)
    names = [f"r{i:02d}" for i in range(45)]
    for name in names:
        answer(workspace, name, "one")
    cursor, seen = None, []
    for _ in range(3):
        result = tick(workspace, cursor)
        assert len(requested(result)) <= 20
        seen += requested(result)
        assert isinstance(result, dg.SensorResult)
        cursor = result.cursor
    assert sorted(name for name in seen if name) == names
    assert set(json.loads(cursor or "")["seen"]) == set(names)


def test_nothing_to_do_where_nobody_labels(tmp_path: Path) -> None:
    assert isinstance(tick(make_workspace(tmp_path), None), dg.SkipReason)
