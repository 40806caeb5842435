"""The dataset, and the detector trained on it in a process of its own."""

import sys
from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import dagster as dg

from assets.automation import ON_NEW_DATA
from assets.label import annotations
from assets.processes import TrainingProcess
from loop.dataset import build_dataset
from loop.train import TrainJob, model_config, model_is_complete, plan_training, record_model
from loop.turns import current_turn, latest_dataset
from loop.workspace import Workspace

_CHECKPOINT, _PARITY = "checkpoint_exists", "onnx_parity"


@dg.asset(
    deps=[annotations],
    group_name="train",
    kinds={"parquet"},
    automation_condition=ON_NEW_DATA,
    description="Immutable manifest of annotated frames, split by recording, with a digest.",
)
def dataset(workspace: dg.ResourceParam[Workspace]) -> dg.MaterializeResult:
    """Freeze what is annotated now."""
    turn = current_turn(workspace)
    manifest = build_dataset(workspace, turn)
    counts = manifest.frames["split"].value_counts().to_pylist()
    return dg.MaterializeResult(
        metadata={
            "turn": turn,
            "digest": manifest.digest,
            "boxes": len(manifest.boxes),
            "split_unit": manifest.split_unit,
            **{f"frames_{item['values']}": item["counts"] for item in counts},
        },
        data_version=dg.DataVersion(manifest.digest[:16]),
    )


@dg.asset(
    deps=[dataset],
    group_name="train",
    kinds={"pytorch", "onnx"},
    pool="gpu",
    check_specs=[
        dg.AssetCheckSpec(
            _CHECKPOINT, asset="detector", blocking=True,
            description="The finished model is in the bucket with the digest that was reported.",
        ),
        dg.AssetCheckSpec(
            _PARITY, asset="detector", blocking=True,
            description="The exported file gives the same boxes as the trained network.",
        ),
    ],
    description="The lidar detector, trained in its own process; resumes from its last checkpoint.",
)  # fmt: skip
def detector(
    context: dg.AssetExecutionContext,
    workspace: dg.ResourceParam[Workspace],
    training_process: dg.ResourceParam[TrainingProcess],
) -> dg.MaterializeResult:
    """Train on the newest dataset, starting from the champion; equal work is not done twice."""
    turn = current_turn(workspace)
    job = plan_training(workspace, latest_dataset(workspace), turn)
    reused = model_config(workspace, job.model_id) is not None
    metadata = {} if reused else dict(_train(context, workspace, training_process, job))
    config = record_model(workspace, job, turn)
    parity = config["parity"]
    return dg.MaterializeResult(
        metadata={
            **metadata,
            "turn": turn,
            "model": job.model_id,
            "dataset": job.dataset,
            "started_from": job.init_model or "scratch",
            "reused": reused,
        },
        data_version=dg.DataVersion(config["onnx_digest"][:16]),
        check_results=[
            dg.AssetCheckResult(
                check_name=_CHECKPOINT, passed=model_is_complete(workspace, job.model_id)
            ),
            dg.AssetCheckResult(check_name=_PARITY, passed=bool(parity["passed"]), metadata=parity),
        ],
    )


def _train(
    context: dg.AssetExecutionContext, workspace: Workspace, process: TrainingProcess, job: TrainJob
) -> Mapping[str, Any]:
    """Run the training process; return the metadata it reported."""
    with TemporaryDirectory(prefix="starloop-train-") as folder:
        path = Path(folder) / "job.json"
        path.write_text(job.to_json(workspace))
        path.chmod(0o600)  # it may hold the store's secret
        command = [sys.executable, "-m", "training.train", "--job", str(path)]
        return process.run(context, command).metadata or {}
