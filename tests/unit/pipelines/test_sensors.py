"""The landing sensor: content cursor, settling files, idempotent runs."""

from __future__ import annotations

import json
from pathlib import Path

import dagster as dg
import pytest

from loop.workspace import Workspace
from pipelines.sensors import landing, settle
from recordings.discovery import Source
from scene.recording import RecordingId
from tests.support.workspaces import make_workspace


def source(name: str, digest: str) -> Source:
    return Source(RecordingId(name), f"{name}.mcap", (f"{name}.mcap",), digest)


def test_a_file_is_taken_when_it_stopped_changing() -> None:
    ready, cursor = settle([source("a", "1")], {})
    assert ready == []
    ready, cursor = settle([source("a", "2")], cursor)  # still being copied
    assert ready == []
    ready, cursor = settle([source("a", "2")], cursor)
    assert [s.name for s in ready] == ["a"]
    ready, cursor = settle([source("a", "2")], cursor)
    assert ready == []
    assert cursor == {"seen": {"a": "2"}, "pending": {}}


def test_new_content_under_an_old_name_is_taken_again() -> None:
    cursor = {"seen": {"a": "1"}, "pending": {"a": "2"}}
    ready, cursor = settle([source("a", "2")], cursor)
    assert [s.digest for s in ready] == ["2"]
    assert cursor["seen"] == {"a": "2"}


def test_a_tick_takes_a_bounded_number_and_forgets_none() -> None:
    sources = [source(f"r{i:03d}", "1") for i in range(120)]
    _, cursor = settle(sources, {})
    taken: list[str] = []
    for _ in range(3):
        ready, cursor = settle(sources, cursor)
        assert len(ready) <= 50
        taken += [s.name for s in ready]
    assert taken == [s.name for s in sources]


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    return make_workspace(tmp_path)


def tick(workspace: Workspace, instance: dg.DagsterInstance, cursor: str | None) -> dg.SensorResult:
    context = dg.build_sensor_context(
        instance=instance, cursor=cursor, resources={"workspace": workspace}
    )
    result = landing(context)
    assert isinstance(result, dg.SensorResult)
    return result


def test_a_dropped_file_requests_one_run_of_its_partition(workspace: Workspace) -> None:
    workspace.landing.put("drive one.mcap", b"\x89MCAP0\r\n")
    with dg.DagsterInstance.ephemeral() as instance:
        first = tick(workspace, instance, None)
        assert not first.run_requests
        second = tick(workspace, instance, first.cursor)
        third = tick(workspace, instance, second.cursor)
    (request,) = second.run_requests or []
    (added,) = second.dynamic_partitions_requests or []
    assert request.partition_key == "drive_one"
    assert added.partition_keys == ["drive_one"]
    assert [e.asset_key.to_user_string() for e in second.asset_events] == ["recordings"]
    assert not third.run_requests
    digest = json.loads(second.cursor or "")["seen"]["drive_one"]
    assert request.run_key == f"drive_one:{digest}"
