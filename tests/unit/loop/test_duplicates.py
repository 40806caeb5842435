"""Ingest says that a drive is there already, whole or in part."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from loop.curate import splits
from loop.duplicates import groups_with_shared_moments
from loop.ingest import IngestResult, ingest_recording
from loop.landing import register, scan
from loop.workspace import Workspace
from tests.support.workspaces import make_workspace, small_fleet


def ingested(workspace: Workspace) -> dict[str, IngestResult]:
    results = {}
    for source in scan(workspace):
        register(workspace, source)
        results[str(source.name)] = ingest_recording(workspace, source.name)
    return results


@pytest.mark.slow
def test_a_copy_under_another_name_is_told_and_others_are_not(tmp_path: Path) -> None:
    workspace = make_workspace(tmp_path)
    one, other = small_fleet(tmp_path / "landing", num_early=2, num_late=0, sweeps=8)
    first = ingested(workspace)
    assert {name: result.findings for name, result in first.items()} == {
        one.stem: (),
        other.stem: (),
    }
    shutil.copy(one, tmp_path / "landing" / "upload.mcap")
    (finding,) = ingested(workspace)["upload"].findings
    assert (finding.code, finding.severity) == ("REC052", "warning")
    assert finding.message == f"its sweeps are those of {one.stem}"
    assert len(workspace.tables.read("fingerprints", {"recording": "upload"})) >= 3
    names = [one.stem, other.stem, "upload"]
    assert groups_with_shared_moments(workspace.tables, names) == [sorted([one.stem, "upload"])]
    side = {name: where for name, _, where in splits(workspace).frames}
    assert side[one.stem] == side["upload"] != side[other.stem]
