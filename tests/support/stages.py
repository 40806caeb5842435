"""The stages of the loop in a process of their own, killed at a chosen write.

`python -m tests.support.stages FOLDER STAGE [--kill-at N]` runs one stage on the workspace in
FOLDER. With `--kill-at N` the process sends itself SIGKILL in its N-th write.
"""

from __future__ import annotations

import argparse
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from loop.config import LoopConfig
from loop.workspace import Workspace
from storage import tables
from tests.support.workspaces import make_workspace

ROOT = Path(__file__).resolve().parents[2]
CONFIG = LoopConfig(
    bootstrap_frames=8,
    label_budget=6,
    recipe="small",
    iterations=6,
    finetune_iterations=4,
    num_threads=1,
    categories=("car", "pedestrian"),
)


def ingest(workspace: Workspace) -> None:
    from loop.ingest import ingest_recording
    from loop.landing import register, scan

    for source in scan(workspace):
        register(workspace, source)
        result = ingest_recording(workspace, source.name)
        if result.status != "ok":
            raise SystemExit(f"{source.name}: {result.message}")


def events(workspace: Workspace) -> None:
    from loop.curate import detect_events
    from loop.landing import scan

    for source in scan(workspace):
        detect_events(workspace, source.name)


def selection(workspace: Workspace) -> None:
    from loop.curate import select
    from loop.turns import current_turn

    select(workspace, current_turn(workspace))


def label_tasks(workspace: Workspace) -> None:
    from loop.label import push_tasks
    from loop.landing import scan

    for source in scan(workspace):
        push_tasks(workspace, source.name)


def annotations(workspace: Workspace) -> None:
    from loop.landing import scan
    from loop.settle import pull_annotations

    for source in scan(workspace):
        pull_annotations(workspace, source.name)


def label_quality(workspace: Workspace) -> None:
    from loop.label_errors import find_label_errors
    from loop.label_quality import measure_labels
    from loop.landing import scan

    for source in scan(workspace):
        find_label_errors(workspace, source.name)
    measure_labels(workspace)


def dataset(workspace: Workspace) -> None:
    from loop.dataset import build_dataset
    from loop.turns import current_turn

    build_dataset(workspace, current_turn(workspace))


def detector(workspace: Workspace) -> None:
    """Train in this very process, so that a kill hits the training itself."""
    import tempfile

    from loop.train import model_config, plan_training, record_model
    from loop.turns import current_turn, latest_dataset
    from training.train import main

    turn = current_turn(workspace)
    job = plan_training(workspace, latest_dataset(workspace), turn)
    if model_config(workspace, job.model_id) is None:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "job.json"
            path.write_text(job.to_json(workspace))
            code = main(["--job", str(path)])
            if code:
                raise SystemExit(code)
    record_model(workspace, job, turn)


def evaluation(workspace: Workspace) -> None:
    from loop.evaluate import evaluate_model
    from loop.turns import current_turn, latest_dataset, latest_model

    model, data = latest_model(workspace), latest_dataset(workspace)
    evaluate_model(workspace, model, data, current_turn(workspace))


def simulation(workspace: Workspace) -> None:
    from loop.simulate import simulate_model
    from loop.turns import current_turn, latest_model

    simulate_model(workspace, latest_model(workspace), current_turn(workspace))


def release(workspace: Workspace) -> None:
    from loop.release import release_candidate
    from loop.turns import current_turn

    release_candidate(workspace, current_turn(workspace))


def feedback(workspace: Workspace) -> None:
    from loop.feedback import give_feedback
    from loop.turns import current_turn

    give_feedback(workspace, current_turn(workspace))


def report(workspace: Workspace) -> None:
    from loop.report import write_report
    from loop.turns import current_turn

    write_report(workspace, current_turn(workspace))


STAGES: dict[str, Callable[[Workspace], None]] = {
    function.__name__: function
    for function in (
        ingest, events, selection, label_tasks, annotations, label_quality, dataset, detector,
        evaluation,
        simulation, release, feedback, report,
    )
}  # fmt: skip


def run_stage(folder: Path, stage: str, kill_at: int = 0) -> int:
    """Run a stage in a new process; return its exit code (negative: killed by that signal)."""
    command = [sys.executable, "-m", "tests.support.stages", str(folder), stage]
    done = subprocess.run([*command, "--kill-at", str(kill_at)], cwd=ROOT, timeout=900, check=False)
    return done.returncode


def arm_kill(count: int) -> None:
    """Arm the kill: in its `count`-th write the process dies.

    An object dies with its bytes on disk but not yet in place; a table right after its commit,
    before the caller hears of it.
    """
    left = [count]

    def strike() -> None:
        left[0] -= 1
        if left[0] == 0:
            os.kill(os.getpid(), signal.SIGKILL)

    rename, write = Path.rename, tables.write_deltalake

    def armed_rename(self: Path, target: Path) -> Path:
        strike()
        return rename(self, target)

    def armed_write(*args: object, **kwargs: object) -> None:
        write(*args, **kwargs)
        strike()

    Path.rename = armed_rename
    tables.write_deltalake = armed_write


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=Path)
    parser.add_argument("stage", choices=list(STAGES))
    parser.add_argument("--kill-at", type=int, default=0)
    arguments = parser.parse_args()
    if arguments.kill_at:
        arm_kill(arguments.kill_at)
    STAGES[arguments.stage](make_workspace(arguments.folder, CONFIG))
