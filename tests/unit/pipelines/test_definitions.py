"""The wiring: what is registered, and that all descriptions of it agree."""

from __future__ import annotations

import tomllib
from pathlib import Path

import dagster as dg
import pytest
import yaml

from pipelines.definitions import build_definitions
from tests.support.workspaces import make_workspace

ROOT = Path(__file__).resolve().parents[3]

GRAPH = {
    "recordings": set(),
    "sweeps": {"recordings"},
    "events": {"sweeps"},
    "selection": {"events"},
    "prelabels": {"selection"},
    "label_tasks": {"selection", "prelabels"},
    "annotations": {"label_tasks"},
    "label_errors": {"annotations"},
    "label_quality": {"annotations", "label_errors"},
    "dataset": {"annotations"},
    "detector": {"dataset"},
    "evaluation": {"detector"},
    "simulation": {"detector"},
    "release": {"evaluation", "simulation"},
    "deployment": {"release"},
    "feedback": {"deployment"},
    "report": {"feedback"},
}
PER_RECORDING = {
    "recordings", "sweeps", "events", "prelabels", "label_tasks", "annotations", "label_errors",
}  # fmt: skip


@pytest.fixture(scope="module")
def definitions(tmp_path_factory: pytest.TempPathFactory) -> dg.Definitions:
    return build_definitions(make_workspace(tmp_path_factory.mktemp("workspace")))


def test_definitions_load(definitions: dg.Definitions) -> None:
    dg.Definitions.validate_loadable(definitions)


def test_asset_graph(definitions: dg.Definitions) -> None:
    graph = definitions.resolve_asset_graph()
    found = {
        key.to_user_string(): {parent.to_user_string() for parent in graph.get(key).parent_keys}
        for key in graph.get_all_asset_keys()
    }
    assert found == GRAPH
    partitioned = {
        k.to_user_string() for k in graph.get_all_asset_keys() if graph.get(k).is_partitioned
    }
    assert partitioned == PER_RECORDING


def test_blocking_checks(definitions: dg.Definitions) -> None:
    graph = definitions.resolve_asset_graph()
    checks = {
        f"{key.asset_key.to_user_string()}/{key.name}": graph.get_check_spec(key).blocking
        for key in graph.asset_check_keys
    }
    assert checks == {
        "sweeps/content_sane": True,
        "sweeps/time_sane": True,
        "sweeps/geometry_sane": True,
        "sweeps/poses_sane": True,
        "sweeps/calibration_sane": True,
        "sweeps/labels_sane": True,
        "sweeps/signals_sane": True,
        "label_tasks/every_selected_frame_has_one_task": True,
        "annotations/nothing_in_dispute": False,
        "label_quality/annotators_agree": False,
        "label_quality/honeypots_answered_well": False,
        "label_quality/prelabels_save_time": False,
        "label_quality/few_probable_errors": False,
        "detector/checkpoint_exists": True,
        "detector/onnx_parity": True,
    }


def test_workspace_file_and_project_file_name_the_same_module() -> None:
    workspace = yaml.safe_load((ROOT / "workspace.yaml").read_text())
    module = workspace["load_from"][0]["python_module"]
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]
    settings = project["dg"]["project"]
    assert module["module_name"] == settings["code_location_target_module"]
    assert module["location_name"] == settings["code_location_name"]
    assert "dagster" not in project  # it would silently beat workspace.yaml


def test_instance_configuration(tmp_path: Path) -> None:
    text = (ROOT / "dagster.yaml").read_text()
    config = yaml.safe_load(text)
    assert config["telemetry"] == {"enabled": False}
    # without it, a cancelled GPU run holds its pool slot for ever
    assert config["run_monitoring"]["free_slots_after_run_end_seconds"] == 60
    (tmp_path / "dagster.yaml").write_text(text)
    with dg.DagsterInstance.from_config(str(tmp_path)) as instance:
        assert instance.telemetry_enabled is False
        assert instance.run_monitoring_settings["free_slots_after_run_end_seconds"] == 60


def test_gpu_work_waits_for_its_pool(definitions: dg.Definitions) -> None:
    job = definitions.resolve_job_def("turn")
    pools = {
        name for node in job.nodes for name in [getattr(node.definition, "pool", None)] if name
    }
    assert pools == {"gpu"}


def test_sensors_that_cost_compute_are_off(definitions: dg.Definitions) -> None:
    status = {s.name: s.default_status.value for s in definitions.sensors or []}
    assert status == {
        "landing": "RUNNING", "answers": "RUNNING", "per_recording": "RUNNING",
        "whole_fleet": "STOPPED",
    }  # fmt: skip
    for schedule in definitions.schedules or []:
        assert schedule.default_status.value == "STOPPED"
