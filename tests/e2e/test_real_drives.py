"""Real recordings go through the assets, from landing to metrics."""

from __future__ import annotations

import io
from pathlib import Path

import pytest
from rich.console import Console

from loop.workspace import Workspace
from pipelines.demo import settings_for
from pipelines.progress import Progress
from pipelines.runner import Runner
from pipelines.settings import PolicySettings, Settings
from pipelines.turn import LoopRunner
from tests.support.shared_data import shared_data

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(900)]
KITTI = "kitti_raw/2011_09_26/2011_09_26_drive_0001_sync"
FEW = PolicySettings(recipe="small", iterations=10, bootstrap_frames=10, num_threads=1)


def drive(data: Path, home: Path, stages: tuple[str, ...]) -> Workspace:
    """Ingest the recordings at `data` in place and run stages of the first turn."""
    settings = settings_for(Settings(home=home, loop=FEW, _env_file=None), data)
    workspace = settings.workspace()
    loop = LoopRunner(Runner(workspace, settings.home), Progress(Console(file=io.StringIO())))
    assert loop.ingest() == 0
    for stage in stages:
        loop.stage(stage)
    return workspace


@pytest.mark.parametrize(
    ("data", "format_name", "num_sweeps", "metrics"),
    [
        ("av2_layout/pandaset_002", "argoverse2", 22, {"AP/car"}),
        (KITTI, "kitti", 108, {"AP/car"}),
    ],
)
def test_labelled_drives_reach_metrics(
    tmp_path: Path, data: str, format_name: str, num_sweeps: int, metrics: set[str]
) -> None:
    stages = ("selection", "label", "dataset", "detector", "evaluation")
    workspace = drive(shared_data(data), tmp_path, stages)
    (row,) = workspace.tables.read("recordings").to_pylist()
    assert row["format"].startswith(format_name)
    assert (row["status"], row["num_sweeps"]) == ("ok", num_sweeps)
    assert row["has_ground_truth"]
    rows = workspace.tables.read("evaluations").to_pylist()
    found = {row["metric"]: row["value"] for row in rows}
    assert metrics | {"mAP", "NDS"} <= set(found)
    assert {name: v for name, v in found.items() if name in metrics and not 0 <= v <= 1} == {}


def test_a_ros_recording_without_labels_reaches_its_events(tmp_path: Path) -> None:
    workspace = drive(shared_data("mcap/derived_pandaset_002_front_ros2"), tmp_path, ())
    (row,) = workspace.tables.read("recordings").to_pylist()
    assert (row["status"], row["num_sweeps"], row["has_ground_truth"]) == ("ok", 8, False)
    assert len(workspace.tables.read("frames")) == 8
    assert len(workspace.tables.read("events")) > 0
