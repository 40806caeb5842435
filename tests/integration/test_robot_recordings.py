"""A robot's episode from the landing place to a Dagster partition with its checks and events."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import dagster as dg
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from assets.checks import SWEEP_CHECKS
from loop.workspace import Workspace
from pipelines.definitions import build_definitions
from pipelines.sensors import landing
from storage.local import LocalStore
from tests.support.lerobot_writer import write_v3
from tests.support.shared_data import shared_data
from tests.support.workspaces import make_workspace

pytestmark = pytest.mark.integration


def settled(workspace: Workspace, instance: dg.DagsterInstance) -> dict[str, str]:
    """Tick the landing sensor until it asks for runs; return partition by run key."""
    cursor = None
    for _ in range(2):
        context = dg.build_sensor_context(
            instance=instance, cursor=cursor, resources={"workspace": workspace}
        )
        result = landing(context)
        assert isinstance(result, dg.SensorResult)
        cursor = result.cursor
    for request in result.dynamic_partitions_requests or []:
        instance.add_dynamic_partitions(request.partitions_def_name, list(request.partition_keys))
    return {str(r.run_key): str(r.partition_key) for r in result.run_requests or []}


def run(
    workspace: Workspace, instance: dg.DagsterInstance, partition: str, assets: list[str]
) -> dg.ExecuteInProcessResult:
    job = build_definitions(workspace).resolve_implicit_global_asset_job_def()
    return job.execute_in_process(
        instance=instance,
        asset_selection=[dg.AssetKey(name) for name in assets],
        partition_key=partition,
        raise_on_error=False,
    )


def land(workspace: Workspace, folder: Path) -> None:
    assert isinstance(workspace.landing, LocalStore)
    shutil.copytree(folder, workspace.landing.root / folder.name)


def test_a_real_humanoid_goes_all_the_way(tmp_path: Path) -> None:
    workspace = make_workspace(tmp_path)
    land(workspace, shared_data("lerobot/unitree_g1_v2.1"))
    name = "unitree_g1_v2.1_episode_000029"
    with dg.DagsterInstance.ephemeral() as instance:
        assert list(settled(workspace, instance).values()) == [name]
        result = run(workspace, instance, name, ["sweeps", "events"])
        assert result.success
        checks = result.get_asset_check_evaluations()
        assert {check.check_name for check in checks} == {check.name for check in SWEEP_CHECKS}
        assert all(check.passed for check in checks)
        keys = {name: instance.get_materialized_partitions(dg.AssetKey(name))
                for name in ("sweeps", "events")}  # fmt: skip
        assert keys == {"sweeps": {name}, "events": {name}}
        (event,) = [
            e for e in result.get_asset_materialization_events()
            if e.asset_key == dg.AssetKey("sweeps")
        ]  # fmt: skip
        metadata = event.materialization.metadata
        assert "221 images" in str(metadata["note"].value)
        assert "data:image/jpeg;base64," in str(metadata["picture"].value)
        for step in ("label_tasks", "annotations"):
            assert run(workspace, instance, name, [step]).success
    fired = {row["trigger"] for row in workspace.tables.read("events").to_pylist()}
    assert fired == {"fast_motion", "tracking_error"}
    (row,) = workspace.tables.read("recordings").to_pylist()
    assert (row["status"], row["num_sweeps"], row["findings"]) == ("ok", 0, "[]")


def test_a_frozen_joint_fails_nothing_but_is_said_and_a_broken_clock_blocks(tmp_path: Path) -> None:
    workspace = make_workspace(tmp_path)
    folder = write_v3(tmp_path / "arm", {0: 60, 1: 60})
    path = folder / "data/chunk-000/file-000.parquet"
    rows = pq.read_table(path).to_pylist()
    for row in rows[:60]:
        row["observation.state"][1] = 0.5
    rows[80]["timestamp"] = 0.25
    pq.write_table(pa.Table.from_pylist(rows), path)
    land(workspace, folder)
    with dg.DagsterInstance.ephemeral() as instance:
        partitions = sorted(settled(workspace, instance).values())
        assert partitions == ["arm_episode_000000", "arm_episode_000001"]
        frozen, clock = (run(workspace, instance, p, ["sweeps", "events"]) for p in partitions)
    said = {check.check_name: check for check in frozen.get_asset_check_evaluations()}
    assert frozen.success
    assert "REC072 elbow: commanded to move" in (said["signals_sane"].description or "")
    failed = [check for check in clock.get_asset_check_evaluations() if not check.passed]
    assert [check.check_name for check in failed] == ["signals_sane"]
    assert not clock.success
    assert "REC070" in (failed[0].description or "")
    rows = {row["recording"]: row for row in workspace.tables.read("recordings").to_pylist()}
    assert [rows[p]["status"] for p in partitions] == ["ok", "quarantined"]
    assert json.loads(rows[partitions[0]]["findings"])[0]["code"] == "REC072"


def test_a_log_of_odometry_alone_is_a_recording(tmp_path: Path) -> None:
    workspace = make_workspace(tmp_path)
    assert isinstance(workspace.landing, LocalStore)
    shutil.copy(shared_data("mcap/nav2_turtlebot.mcap"), workspace.landing.root)
    with dg.DagsterInstance.ephemeral() as instance:
        (name,) = settled(workspace, instance).values()
        assert run(workspace, instance, name, ["sweeps", "events"]).success
    (row,) = workspace.tables.read("recordings").to_pylist()
    assert (row["status"], row["num_sweeps"]) == ("ok", 0)
    assert row["message"].startswith("no lidar: kept are ")
