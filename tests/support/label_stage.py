"""A Dagster run of the label assets in a process of its own, killed at a chosen write.

`python -m tests.support.label_stage FOLDER RECORDING [--kill-at N]`: clips for the 3D editor.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from loop.config import LabelingConfig
from loop.workspace import Workspace
from storage.open import StoreConfig
from tests.support.stages import arm_kill

ASSETS = ["prelabels", "label_tasks", "annotations", "label_errors"]


def open_workspace(folder: Path) -> Workspace:
    """Return a workspace where people label clips in the editor."""
    return Workspace.open(
        StoreConfig(url=(folder / "store").resolve().as_uri()),
        StoreConfig(url=(folder / "landing").resolve().as_uri()),
        labeling=LabelingConfig(mode="cuboids", honeypot_share=0.2),
    )


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=Path)
    parser.add_argument("recording")
    parser.add_argument("--kill-at", type=int, default=0)
    arguments = parser.parse_args()
    from pipelines.runner import Runner

    runner = Runner(open_workspace(arguments.folder), arguments.folder)
    runner.instance.add_dynamic_partitions("recordings", [arguments.recording])
    if arguments.kill_at:
        arm_kill(arguments.kill_at)
    outcome = runner.run(ASSETS, arguments.recording)
    raise SystemExit(outcome.problem or 0)
