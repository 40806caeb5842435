"""What starts by itself: new recordings, and the assets that follow from them."""

import json
from collections.abc import Mapping

import dagster as dg

from assets.evaluate import evaluation, simulation
from assets.feedback import feedback, report
from assets.ingest import events
from assets.label import annotations, label_tasks, prelabels
from assets.label_quality import label_errors, label_quality
from assets.partitions import RECORDINGS
from assets.release import deployment, release
from assets.train import dataset, detector
from loop.landing import register, scan
from loop.workspace import Workspace
from pipelines.jobs import ingest
from pipelines.label_sensor import answers
from recordings.discovery import Source

_PER_TICK = 50  # validation of dynamic keys happens inside Dagster's 60 s tick limit


@dg.sensor(
    job=ingest,
    minimum_interval_seconds=10,
    default_status=dg.DefaultSensorStatus.RUNNING,
    description="Sees new and changed recordings in the landing place.",
)
def landing(
    context: dg.SensorEvaluationContext, workspace: dg.ResourceParam[Workspace]
) -> dg.SensorResult:
    """Request a run for every recording whose content is new and no longer changing."""
    cursor = json.loads(context.cursor or "{}")
    ready, new_cursor = settle(scan(workspace), cursor)
    for source in ready:
        register(workspace, source)
    return dg.SensorResult(
        run_requests=[
            dg.RunRequest(run_key=f"{source.name}:{source.digest}", partition_key=source.name)
            for source in ready
        ],
        dynamic_partitions_requests=[RECORDINGS.build_add_request([s.name for s in ready])],
        asset_events=[landed(source) for source in ready],
        cursor=json.dumps(new_cursor),
    )


def settle(
    sources: list[Source], cursor: Mapping[str, Mapping[str, str]]
) -> tuple[list[Source], dict[str, dict[str, str]]]:
    """Return the sources to ingest now, and the next cursor.

    A source is ready when it differs from what was ingested before and is the same as at the last
    tick: a file that is still being copied is left to settle. Only content counts, not the clock.
    """
    seen, pending = dict(cursor.get("seen", {})), cursor.get("pending", {})
    fresh = [source for source in sources if seen.get(source.name) != source.digest]
    ready = [source for source in fresh if pending.get(source.name) == source.digest][:_PER_TICK]
    seen.update({source.name: source.digest for source in ready})
    taken = {source.name for source in ready}
    waiting: dict[str, str] = {
        str(source.name): source.digest for source in fresh if source.name not in taken
    }
    return ready, {"seen": seen, "pending": waiting}


def landed(source: Source) -> dg.AssetMaterialization:
    """Return the event that says that a recording is in the landing place."""
    return dg.AssetMaterialization(
        "recordings",
        partition=source.name,
        metadata={"source": source.prefix, "files": len(source.keys), "digest": source.digest},
        tags={"dagster/data_version": source.digest[:16]},
    )


per_recording = dg.AutomationConditionSensorDefinition(
    "per_recording",
    target=dg.AssetSelection.assets(
        events, prelabels, label_tasks, annotations, label_errors, label_quality
    ),
    default_status=dg.DefaultSensorStatus.RUNNING,
    description="Cheap steps of one recording follow by themselves.",
)
whole_fleet = dg.AutomationConditionSensorDefinition(
    "whole_fleet",
    target=dg.AssetSelection.assets(
        dataset, detector, evaluation, simulation, release, deployment, feedback, report
    ),
    default_status=dg.DefaultSensorStatus.STOPPED,
    description="Training, evaluation and release follow new annotations. Costs compute: off.",
)
SENSORS = (landing, answers, per_recording, whole_fleet)
