"""The dataset, and the detector trained on it by processes of their own, here or on a cluster."""

from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import dagster as dg

from assets.automation import ON_NEW_DATA
from assets.goodput import fault_table, time_table
from assets.label import annotations
from assets.processes import TrainingProcess
from assets.ray_jobs import goes_to_a_cluster, run_ray_job
from assets.training_run import TrainingRun
from loop.dataset import build_dataset
from loop.train import TrainJob, model_config, model_is_complete, plan_training, record_model
from loop.turns import current_turn, latest_dataset
from loop.workspace import Workspace
from training.engines import Setup

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
    description="The lidar detector, trained by supervised workers here or on a Ray cluster; "
    "a cancelled or failed run leaves a checkpoint, and the next one resumes.",
)  # fmt: skip
def detector(
    context: dg.AssetExecutionContext,
    config: TrainingRun,
    workspace: dg.ResourceParam[Workspace],
    training_process: dg.ResourceParam[TrainingProcess],
    training_setup: dg.ResourceParam[Setup],
) -> dg.MaterializeResult:
    """Train on the newest dataset, starting from the champion; equal work is not done twice."""
    turn, setup = current_turn(workspace), config.over(training_setup)
    job = plan_training(workspace, latest_dataset(workspace), turn, setup.shards)
    reused = model_config(workspace, job.model_id) is not None
    metadata = {} if reused else _train(context, workspace, training_process, setup, job)
    made = record_model(workspace, job, turn)
    parity = made["parity"]
    return dg.MaterializeResult(
        metadata={
            **metadata,
            "turn": turn,
            "model": job.model_id,
            "dataset": job.dataset,
            "started_from": job.init_model or "scratch",
            "reused": reused,
        },
        data_version=dg.DataVersion(made["onnx_digest"][:16]),
        check_results=[
            dg.AssetCheckResult(
                check_name=_CHECKPOINT, passed=model_is_complete(workspace, job.model_id)
            ),
            dg.AssetCheckResult(check_name=_PARITY, passed=bool(parity["passed"]), metadata=parity),
        ],
    )


def _train(
    context: dg.AssetExecutionContext,
    workspace: Workspace,
    process: TrainingProcess,
    setup: Setup,
    job: TrainJob,
) -> dict[str, Any]:
    """Train with the engine that was chosen; return the metadata it reported, and tables of it."""
    context.log.info("engine %s, workers %s", setup.engine, setup.workers)
    if goes_to_a_cluster(setup):
        result = run_ray_job(context, setup, job.to_json(workspace, secrets=False))
    else:
        result = _train_here(context, workspace, process, setup, job)
    told: Mapping[str, Any] = result.metadata or {}
    account = getattr(told.get("goodput"), "value", None)
    tables = {"time": time_table(account), "faults": fault_table(account)} if account else {}
    return {**told, **tables, "engine": setup.engine, "workers": setup.workers}


def _train_here(
    context: dg.AssetExecutionContext,
    workspace: Workspace,
    process: TrainingProcess,
    setup: Setup,
    job: TrainJob,
) -> dg.MaterializeResult:
    """Run the engine as a child of this process."""
    with TemporaryDirectory(prefix="starloop-train-") as folder:
        path = Path(folder) / "job.json"
        path.touch(mode=0o600)  # it may hold the store's secret
        path.write_text(job.to_json(workspace))
        command = setup.command(path)
        return process.run(context, command.arguments, command.environment)
