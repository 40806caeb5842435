"""Landed files become canonical recordings, sweeps and events."""

from dataclasses import asdict

import dagster as dg

from assets.automation import PER_RECORDING
from assets.checks import sweep_check_results, sweep_check_specs
from assets.metadata import picture, table
from assets.partitions import RECORDINGS
from loop.curate import detect_events
from loop.ingest import ingest_recording
from loop.workspace import Workspace
from scene.recording import RecordingId
from storage import layout

recordings = dg.AssetSpec(
    "recordings",
    partitions_def=RECORDINGS,
    group_name="ingest",
    kinds={"s3"},
    description="Files that a vehicle or robot dropped in the landing place; seen by a sensor.",
)


@dg.asset(
    deps=[recordings],
    partitions_def=RECORDINGS,
    group_name="ingest",
    kinds={"parquet"},
    check_specs=sweep_check_specs("sweeps"),
    description="Canonical sweeps with ego poses and signals; damage is quarantined.",
)
def sweeps(
    context: dg.AssetExecutionContext, workspace: dg.ResourceParam[Workspace]
) -> dg.MaterializeResult:
    """Read one landed recording; unreadable input fails the run with what was wrong and where."""
    recording = RecordingId(context.partition_key)
    result = ingest_recording(workspace, recording)
    checks = sweep_check_results(result.findings)
    if result.status != "ok" and all(check.passed for check in checks):
        raise dg.Failure(f"{recording} is quarantined: {result.message}", allow_retries=False)
    stored = layout.sweeps(recording) if result.num_sweeps else layout.signals_prefix(recording)
    return dg.MaterializeResult(
        metadata={
            "picture": picture(workspace.store, layout.preview(recording, "middle"), recording),
            "format": result.format,
            "note": result.message or "none",
            "sweeps": result.num_sweeps,
            "points": result.num_points,
            "bytes": result.size_bytes,
            "dagster/uri": f"{workspace.store.url}/{stored}",
            "reused": result.reused,
            "findings": table([asdict(finding) for finding in result.findings]),
        },
        data_version=dg.DataVersion(result.digest[:16] or "none"),
        check_results=checks,
    )


@dg.asset(
    deps=[sweeps],
    partitions_def=RECORDINGS,
    group_name="ingest",
    kinds={"delta"},
    automation_condition=PER_RECORDING,
    description="Moments worth a look: hard braking, dense traffic, few points.",
)
def events(
    context: dg.AssetExecutionContext, workspace: dg.ResourceParam[Workspace]
) -> dg.MaterializeResult:
    """Run the triggers over one recording."""
    rows = detect_events(workspace, RecordingId(context.partition_key))
    return dg.MaterializeResult(
        metadata={"dagster/row_count": len(rows), "events": table(rows.to_pylist())}
    )
