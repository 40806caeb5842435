"""Every stage is killed in a write and run again: nothing doubled, nothing missing."""

from __future__ import annotations

import hashlib
import json
import signal
from pathlib import Path

import pytest

from storage.local import LocalStore
from storage.rows import digest_of_rows
from storage.schemas import SCHEMAS
from tests.support.stages import CONFIG, STAGES, run_stage
from tests.support.workspaces import make_workspace, small_fleet

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(1500)]

# Which write of the stage the kill hits: early enough to exist, late enough to have begun.
KILL_AT = {"ingest": 9, "label_tasks": 2, "annotations": 4, "detector": 3, "simulation": 2}

_HISTORY = {"seconds", "resumed_from", "data"}


def contents(folder: Path) -> dict[str, str]:
    """Return a digest of every object that is not a table's file, and of every table's rows."""
    workspace = make_workspace(folder, CONFIG)
    store = workspace.store
    assert isinstance(store, LocalStore)
    found = {
        stat.key: hashlib.sha256(without_history(store.get(stat.key))).hexdigest()
        for stat in store.list()
        if not stat.key.startswith(("tables/", "checkpoints/", "reports/"))
    }
    for name, schema in SCHEMAS.items():
        if name != "audit":  # it tells the time
            columns = [column for column in schema.names if column != "seconds"]
            found[f"table {name}"] = digest_of_rows(workspace.tables.read(name, columns=columns))
    return found


def without_history(content: bytes) -> bytes:
    """Return a model's configuration without how its training went; anything else as is."""
    if not content.startswith(b"{"):
        return content
    body = json.loads(content)
    return json.dumps({k: v for k, v in body.items() if k not in _HISTORY}).encode()


def test_killed_stages_end_where_undisturbed_ones_do(tmp_path: Path) -> None:
    calm, killed = tmp_path / "calm", tmp_path / "killed"
    small_fleet(tmp_path / "fleet")
    for folder in (calm, killed):
        folder.mkdir()
        (folder / "landing").symlink_to(tmp_path / "fleet", target_is_directory=True)
    for stage in STAGES:
        assert run_stage(calm, stage) == 0, stage
        assert run_stage(killed, stage, KILL_AT.get(stage, 1)) == -signal.SIGKILL, stage
        if stage == "report":  # a turn cut off at its very end is begun anew and finds its work
            for earlier in list(STAGES)[:-1]:
                assert run_stage(killed, earlier) == 0, earlier
        assert run_stage(killed, stage) == 0, stage
    # It counts labels of held-out frames too, which evaluation added after its first run.
    assert run_stage(calm, "label_quality") == 0
    expected, found = contents(calm), contents(killed)
    assert {k: v for k, v in found.items() if expected.get(k) != v} == {}
    assert sorted(found) == sorted(expected)
    leftovers = [p for p in (killed / "store").rglob(".*.tmp") if p.is_file()]
    assert len(leftovers) <= len(STAGES)  # what a kill leaves is hidden, and never listed
