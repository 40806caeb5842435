"""The exported model drives the scenario suite; failures keep their frames."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from loop.dataset import SIMULATED_PREFIX
from loop.predictions import load_detector
from loop.workspace import Workspace
from scene.calibration import Calibration
from scene.errors import NotFoundError
from scene.pose import SE3, Trajectory
from scene.recording import RecordingId
from simulation.closed_loop import ScenarioResult, run
from simulation.scenario import SUITE, Scenario, suite_digest
from storage import layout, lineage, schemas
from storage.boxes import boxes_to_arrow
from storage.lineage import Node
from storage.sweeps import write_sweeps

Progress = Callable[[str], None]


@dataclass(frozen=True)
class SuiteResult:
    """Verdicts of one model.

    Attributes:
        model_id: which model drove.
        suite: digest of scenarios and seed.
        scenarios: one dictionary a scenario, see `ScenarioResult.to_dict`, plus `title`, `hazard`
            and `recording`, the simulated recording that holds the critical frames (or "").
    """

    model_id: str
    suite: str
    scenarios: list[dict[str, Any]]


def simulate_model(
    workspace: Workspace, model_id: str, turn: int, progress: Progress | None = None
) -> SuiteResult:
    """Drive every scenario with the model; computed once for a model and a suite."""
    seed = workspace.config.scenario_seed
    suite = f"{suite_digest(SUITE)[:12]}-{seed}"
    key = layout.simulation(model_id, suite)
    try:
        return SuiteResult(model_id, suite, json.loads(workspace.store.get(key)))
    except NotFoundError:
        pass
    detector = load_detector(workspace, model_id)
    scenarios: list[dict[str, Any]] = []
    for scenario in SUITE:
        result = run(scenario, detector, seed=seed)
        recording = _keep_critical(workspace, scenario, result, model_id)
        scenarios.append(
            {
                **result.to_dict(),
                "title": scenario.title,
                "hazard": scenario.hazard,
                "recording": recording,
            }
        )
        if progress:
            progress(f"{scenario.name}: {result.verdict}")
    outcome = SuiteResult(model_id, suite, scenarios)
    _write_rows(workspace, outcome, turn)
    stat = workspace.store.put(key, json.dumps(scenarios, indent=1).encode())
    lineage.record(
        workspace.tables,
        Node("simulation", key, stat.etag),
        [Node("model", f"models/{model_id}", detector.digest)],
    )
    return outcome


def _keep_critical(
    workspace: Workspace, scenario: Scenario, result: ScenarioResult, model_id: str
) -> str:
    """Write the critical frames of a failure as a simulated recording; return its name."""
    if result.verdict != "perception_failure" or not result.critical:
        return ""
    name = f"{SIMULATED_PREFIX}{scenario.name}-{model_id}"
    frames = sorted(result.critical, key=lambda frame: frame.sweep.timestamp_ns)
    poses = [frame.map_SE3_ego for frame in frames]
    track = Trajectory(
        np.array([frame.sweep.timestamp_ns for frame in frames], dtype=np.int64),
        np.stack([pose.quat_wxyz for pose in poses]),
        np.stack([pose.translation_m for pose in poses]),
    )
    write_sweeps(
        workspace.store,
        layout.simulated_sweeps(name),
        (frame.sweep for frame in frames),
        track,
        Calibration({"lidar": SE3.identity()}),
        sensor="lidar",
    )
    boxes = boxes_to_arrow(
        RecordingId(name), {frame.sweep.timestamp_ns: frame.boxes for frame in frames}
    )
    sink = pa.BufferOutputStream()
    pq.write_table(boxes, sink, compression="zstd")
    workspace.store.put(layout.simulated_boxes(name), sink.getvalue().to_pybytes())
    return name


def _write_rows(workspace: Workspace, outcome: SuiteResult, turn: int) -> None:
    rows = [
        {
            "model_id": outcome.model_id,
            "suite": outcome.suite,
            "turn": turn,
            **{name: scenario[name] for name in _COLUMNS},
        }
        for scenario in outcome.scenarios
    ]
    table = pa.Table.from_pylist(rows, schema=schemas.SIMULATIONS)
    scope = {"model_id": outcome.model_id, "suite": outcome.suite}
    workspace.tables.replace("simulations", table, scope)


_COLUMNS = (
    "scenario",
    "verdict",
    "collision",
    "impact_speed_mps",
    "min_ttc_s",
    "first_failed_frame",
    "ground_truth_passes",
)
