"""The bucket is the truth: Dagster's view can be rebuilt from it."""

from __future__ import annotations

import io
import shutil
from pathlib import Path

import dagster as dg
import pytest
from rich.console import Console

from pipelines.progress import Progress
from pipelines.resync import resync_instance
from pipelines.runner import Runner, dagster_home
from pipelines.settings import Settings
from pipelines.turn import LoopRunner
from tests.support.workspaces import small_fleet

pytestmark = pytest.mark.integration


def materialized(settings: Settings) -> dict[str, set[str]]:
    with dg.DagsterInstance.from_config(str(dagster_home(settings.home))) as instance:
        return {
            name: set(instance.get_materialized_partitions(dg.AssetKey(name)))
            for name in ("recordings", "sweeps", "events")
        }


def test_a_lost_event_log_is_rebuilt_from_the_bucket(tmp_path: Path) -> None:
    settings = Settings(home=tmp_path, _env_file=None)
    small_fleet(tmp_path / "landing", num_early=2, num_late=0)
    (tmp_path / "landing" / "broken.mcap").write_bytes(b"nothing")
    loop = LoopRunner(Runner(settings.workspace(), tmp_path), Progress(Console(file=io.StringIO())))
    assert loop.ingest() == 1
    before = materialized(settings)
    assert len(before["sweeps"]) == 2
    shutil.rmtree(tmp_path / "dagster")
    assert materialized(settings) == {"recordings": set(), "sweeps": set(), "events": set()}
    assert resync_instance(settings) == 3 + 2 * 2
    assert materialized(settings) == before
