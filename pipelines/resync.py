"""Dagster's event log rebuilt from the tables: `starloop resync`."""

from __future__ import annotations

from collections.abc import Iterator

import dagster as dg

from assets.partitions import RECORDINGS
from loop.landing import scan
from loop.workspace import Workspace
from pipelines.runner import dagster_home
from pipelines.sensors import landed
from pipelines.settings import Settings

_TURN_TABLES = {
    "dataset": ("datasets", "digest"),
    "detector": ("models", "model_id"),
    "release": ("releases", "model_id"),
}


def resync_instance(settings: Settings) -> int:
    """Report every object of the bucket as materialised; return how many were reported."""
    workspace = settings.workspace()
    with dg.DagsterInstance.from_config(str(dagster_home(settings.home))) as instance:
        sources = scan(workspace)
        rows = workspace.tables.read("recordings").to_pylist()
        names = sorted({source.name for source in sources} | {row["recording"] for row in rows})
        instance.add_dynamic_partitions(RECORDINGS.name or "recordings", names)
        events = [*(landed(source) for source in sources), *_stored(workspace, rows)]
        for event in events:
            instance.report_runless_asset_event(event)
    return len(events)


def _stored(workspace: Workspace, rows: list[dict]) -> Iterator[dg.AssetMaterialization]:
    """Return what the tables say is there."""
    for row in rows:
        if row["status"] != "ok":
            continue
        metadata = {"sweeps": row["num_sweeps"], "points": row["num_points"], "resynced": True}
        tags = {"dagster/data_version": row["sweeps_digest"][:16]}
        for asset in ("sweeps", "events"):
            yield dg.AssetMaterialization(
                asset,
                partition=row["recording"],
                metadata=metadata,
                tags=tags if asset == "sweeps" else None,
            )
    annotated = workspace.tables.read("annotated_frames", columns=["recording"])
    known = {row["recording"] for row in rows}
    for name in sorted(set(annotated["recording"].to_pylist()) & known):
        yield dg.AssetMaterialization("annotations", partition=name, metadata={"resynced": True})
    for asset, (table, key) in _TURN_TABLES.items():
        turns = workspace.tables.read(table).to_pylist()
        if turns:
            newest = max(turns, key=lambda row: row["turn"])
            yield dg.AssetMaterialization(asset, metadata={key: newest[key], "resynced": True})
