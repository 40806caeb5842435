"""What went wrong becomes known weaknesses, and weaknesses become the next frames to label."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from curation.issues import Issue, SliceScore, find_issues, update_ledger
from loop.evaluate import evaluate_model
from loop.search import search_pool, with_rates
from loop.settle import annotated_row, annotation_rows
from loop.simulate import SuiteResult, simulate_model
from loop.turns import champion_id, latest_dataset, latest_model
from loop.workspace import Workspace
from scene.errors import NotFoundError
from storage import layout, schemas
from storage.boxes import arrow_to_boxes

SIMULATOR = "simulator"


@dataclass(frozen=True)
class Feedback:
    """What a turn learned.

    Attributes:
        issues: the whole ledger after the turn.
        next_frames: by open issue, the frames of the pool it asks to label next.
        simulated_frames: labelled simulated frames that the next dataset gains.
    """

    issues: list[Issue]
    next_frames: dict[str, list[tuple[str, int]]]
    simulated_frames: int


def give_feedback(workspace: Workspace, turn: int) -> Feedback:
    """Update the ledger from the deployed model's weak slices and failed scenarios."""
    dataset, candidate = latest_dataset(workspace), latest_model(workspace)
    deployed = champion_id(workspace) or candidate
    measured = evaluate_model(workspace, deployed, dataset, turn)
    slices = [SliceScore(**piece) for piece in measured.slices]
    suite = simulate_model(workspace, deployed, turn)
    found = find_issues(slices, suite.scenarios, turn)
    rows = workspace.tables.read("issues").to_pylist()
    ledger = update_ledger([Issue.from_row(row) for row in rows], found, slices, turn)
    asked = search_pool(workspace, deployed, [issue for issue in ledger if issue.state == "open"])
    ledger = with_rates(ledger, asked)
    table = pa.Table.from_pylist([issue.to_row() for issue in ledger], schema=schemas.ISSUES)
    workspace.tables.replace("issues", table, {})
    suites = [suite]
    if deployed != candidate:
        suites.append(simulate_model(workspace, candidate, turn))
    simulated = sum(_label_failures(workspace, failed) for failed in suites)
    frames = json.dumps(asked.frames, indent=1, sort_keys=True).encode()
    workspace.store.put(layout.turn_feedback(turn), frames)
    return Feedback(ledger, asked.frames, simulated)


def _label_failures(workspace: Workspace, suite: SuiteResult) -> int:
    """Enter the critical frames of failed scenarios as annotated by the simulator; count them."""
    return sum(
        _label_failure(workspace, scenario) for scenario in suite.scenarios if scenario["recording"]
    )


def _label_failure(workspace: Workspace, scenario: dict[str, Any]) -> int:
    name = scenario["recording"]
    try:
        with workspace.store.open(layout.simulated_boxes(name)) as file:
            boxes = pq.read_table(file)
    except NotFoundError:
        return 0
    frames = arrow_to_boxes(boxes)
    rows = [annotated_row(name, t, SIMULATOR, SIMULATOR, b) for t, b in sorted(frames.items())]
    table = pa.Table.from_pylist(rows, schema=schemas.ANNOTATED_FRAMES)
    exact = annotation_rows(boxes, SIMULATOR, review="accepted")
    workspace.tables.replace("annotations", exact, {"recording": name})
    workspace.tables.replace("annotated_frames", table, {"recording": name})
    return len(rows)
