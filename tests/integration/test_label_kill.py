"""A Dagster run of the label assets killed in its writes: nothing lost, nothing doubled."""

from __future__ import annotations

import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pyarrow as pa
import pytest

from labeling.clip_store import ClipStore
from loop.answers import known_answers
from loop.ingest import ingest_recording
from loop.label import push_tasks
from loop.label_errors import find_label_errors
from loop.landing import register, scan
from loop.prelabel import prelabel_recording
from loop.settle import pull_annotations
from recordings.export.run import export_recording
from scene.recording import RecordingId
from storage import schemas
from storage.rows import digest_of_rows
from tests.support.clip_answers import submit
from tests.support.label_stage import open_workspace
from tests.support.tiny_recording import TinyRecording

pytestmark = [pytest.mark.integration, pytest.mark.timeout(1500)]
ROOT = Path(__file__).resolve().parents[2]
TABLES = (
    "label_tasks", "label_answers", "label_answer_boxes", "label_reviews", "annotations",
    "annotated_frames", "label_errors", "lineage",
)  # fmt: skip


def run(folder: Path, name: str, kill_at: int = 0) -> int:
    command = [sys.executable, "-m", "tests.support.label_stage", str(folder), name]
    done = subprocess.run([*command, "--kill-at", str(kill_at)], cwd=ROOT, timeout=600, check=False)
    return done.returncode


def run_calmly(folder: Path, name: str) -> None:
    """Do what the assets do, in this process and without Dagster."""
    workspace, recording = open_workspace(folder), RecordingId(name)
    prelabel_recording(workspace, recording)
    push_tasks(workspace, recording)
    pull_annotations(workspace, recording)
    find_label_errors(workspace, recording)


def prepare(folder: Path) -> str:
    """Ingest the tiny drive and select its labelled frames."""
    workspace = open_workspace(folder)
    export_recording(TinyRecording(num_points=800), "mcap", folder / "landing" / "drive")
    (source,) = scan(workspace)
    register(workspace, source)
    assert ingest_recording(workspace, source.name).status == "ok"
    row = {"turn": 0, "recording": source.name, "arm": "trigger", "reason": "", "issue_id": "",
           "score": 1.0}  # fmt: skip
    times = sorted(known_answers(workspace, source.name))[:3]
    rows = [{**row, "timestamp_ns": time} for time in times]
    table = pa.Table.from_pylist(rows, schema=schemas.SELECTIONS)
    workspace.tables.replace("selections", table, {"turn": 0})
    return str(source.name)


def answer(folder: Path, name: str) -> None:
    """Two people answer; they disagree about the last frame."""
    workspace = open_workspace(folder)
    rows = workspace.tables.read("label_tasks", {"recording": name}).to_pylist()
    right = known_answers(workspace, name)
    times = sorted(r["timestamp_ns"] for r in rows if r["purpose"] == "label")
    (clip,) = {row["task_id"] for row in rows if row["purpose"] == "label"}
    submit(workspace, clip, "a", {time: right[time] for time in times})
    submit(workspace, clip, "b", {time: right[time] for time in times[:-1]})


def contents(folder: Path) -> dict[str, str]:
    """Return a digest of every label table, without the time of day, and the ids of all clips."""
    workspace = open_workspace(folder)
    found = {
        name: digest_of_rows(
            workspace.tables.read(
                name, columns=[c for c in schemas.SCHEMAS[name].names if c != "submitted_ns"]
            )
        )
        for name in TABLES
    }
    return found | {"clips": ",".join(ClipStore(workspace.store).task_ids())}


def test_a_run_killed_in_any_of_its_writes_ends_as_if_it_had_not_been(tmp_path: Path) -> None:
    calm = tmp_path / "calm"
    name = prepare(calm)
    shutil.copytree(calm, tmp_path / "killed")
    killed = tmp_path / "killed"
    run_calmly(calm, name)
    answer(calm, name)
    run_calmly(calm, name)
    assert run(killed, name, kill_at=2) == -signal.SIGKILL  # while the clips are sent
    assert run(killed, name) == 0
    answer(killed, name)
    for kill_at in (2, 4):  # between the tables of answers, and beside the review task
        assert run(killed, name, kill_at) == -signal.SIGKILL
    assert run(killed, name) == 0
    assert contents(killed) == contents(calm)
    workspace = open_workspace(killed)
    assert len(workspace.tables.read("annotated_frames")) == 2
    assert workspace.tables.read("label_reviews")["state"].to_pylist() == ["waiting"]
