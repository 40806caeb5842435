"""Everything Dagster may run, listed by name."""

from collections.abc import Mapping
from pathlib import Path

import dagster as dg

from assets.evaluate import evaluation, simulation
from assets.feedback import feedback, report
from assets.ingest import events, recordings, sweeps
from assets.label import annotations, label_tasks, prelabels, selection
from assets.label_quality import label_errors, label_quality
from assets.processes import TrainingProcess
from assets.release import deployment, release
from assets.train import dataset, detector
from loop.workspace import Workspace
from pipelines.jobs import JOBS
from pipelines.schedules import SCHEDULES
from pipelines.sensors import SENSORS
from pipelines.settings import TrainingSettings, load_settings

PROJECT = Path(__file__).resolve().parents[1]
ASSETS = (
    recordings,
    sweeps,
    events,
    selection,
    prelabels,
    label_tasks,
    annotations,
    label_errors,
    label_quality,
    dataset,
    detector,
    evaluation,
    simulation,
    release,
    deployment,
    feedback,
    report,
)


def build_definitions(
    workspace: Workspace,
    loggers: Mapping[str, dg.LoggerDefinition] | None = None,
    training: TrainingSettings | None = None,
) -> dg.Definitions:
    """Return the definitions that work on one workspace.

    Args:
        workspace: the data.
        loggers: extra ones, by name.
        training: who looks after a training; one supervised worker if nothing is said.
    """
    training = training or TrainingSettings()
    return dg.Definitions(
        assets=ASSETS,
        jobs=JOBS,
        schedules=SCHEDULES,
        sensors=SENSORS,
        resources={
            "workspace": workspace,
            "training_process": TrainingProcess(PROJECT, training.grace_s),
            "training_setup": training.setup(),
        },
        executor=dg.in_process_executor,
        loggers=loggers,
    )


@dg.definitions
def defs() -> dg.Definitions:
    """Return the definitions for the workspace that the settings name."""
    settings = load_settings()
    return build_definitions(settings.workspace(), training=settings.training)
