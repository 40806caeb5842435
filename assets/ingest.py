"""Landed files become canonical recordings, sweeps and events."""

from __future__ import annotations

import dagster as dg

from assets.automation import PER_RECORDING
from assets.metadata import picture, table
from assets.partitions import RECORDINGS
from loop.curate import detect_events
from loop.ingest import IngestResult, ingest_recording
from loop.workspace import Workspace
from recordings.quality import BLOCKING_RULES
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
    automation_condition=PER_RECORDING,
    check_specs=[
        dg.AssetCheckSpec(name, asset="sweeps", blocking=True, description=description)
        for name, description in BLOCKING_RULES.items()
    ],
    description="Canonical sweeps with ego poses, in the point codec; damage is quarantined.",
)
def sweeps(
    context: dg.AssetExecutionContext, workspace: dg.ResourceParam[Workspace]
) -> dg.MaterializeResult:
    """Read one landed recording; unreadable input fails the run with what was wrong and where."""
    recording = RecordingId(context.partition_key)
    result = ingest_recording(workspace, recording)
    checks = list(_check_results(result))
    if result.status != "ok" and all(check.passed for check in checks):
        raise dg.Failure(f"{recording} is quarantined: {result.message}", allow_retries=False)
    return dg.MaterializeResult(
        metadata={
            "picture": picture(workspace.store, layout.preview(recording, "middle"), recording),
            "format": result.format,
            "sweeps": result.num_sweeps,
            "points": result.num_points,
            "bytes": result.size_bytes,
            "dagster/uri": f"{workspace.store.url}/{layout.sweeps(recording)}",
            "reused": result.reused,
            "findings": table([vars_of(finding) for finding in result.findings]),
        },
        data_version=dg.DataVersion(result.digest[:16] or "none"),
        check_results=checks,
    )


def vars_of(finding: object) -> dict[str, object]:
    """Return the fields of a finding as a row."""
    return {name: getattr(finding, name) for name in ("code", "severity", "message", "remedy")}


def _check_results(result: IngestResult) -> list[dg.AssetCheckResult]:
    """Return one check result for each blocking rule."""
    failed = {f.rule: f for f in result.findings if f.severity == "error"}
    return [
        dg.AssetCheckResult(
            check_name=name,
            passed=name not in failed,
            description=failed[name].message if name in failed else None,
        )
        for name in BLOCKING_RULES
    ]


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
