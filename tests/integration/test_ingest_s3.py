"""Landing and store in buckets of a real S3 server: the same recordings, the same bytes."""

from __future__ import annotations

import io
import uuid
from pathlib import Path

import numpy as np
import pytest
from pydantic import SecretStr
from rich.console import Console

from pipelines.progress import Progress
from pipelines.runner import Runner
from pipelines.settings import Settings, StoreSettings
from pipelines.turn import LoopRunner
from storage.open import open_store
from storage.sweeps import SweepFile
from tests.support.rgw import Rgw, shared_rgw
from tests.support.workspaces import small_fleet

pytestmark = pytest.mark.integration


def settings_on(server: Rgw, home: Path) -> Settings:
    """Return settings with both buckets on the server."""
    suffix = uuid.uuid4().hex[:8]

    def bucket(name: str) -> StoreSettings:
        return StoreSettings(
            url=f"s3://{name}-{suffix}/team",
            endpoint=server.endpoint,
            access_key=SecretStr(server.access_key),
            secret_key=SecretStr(server.secret_key),
        )

    return Settings(home=home, store=bucket("store"), landing=bucket("landing"), _env_file=None)


def ingest(settings: Settings) -> int:
    runner = Runner(settings.workspace(), settings.home)
    return LoopRunner(runner, Progress(Console(file=io.StringIO()))).ingest()


def write_pcd(path: Path, points: np.ndarray) -> None:
    head = (
        "VERSION 0.7\nFIELDS x y z\nSIZE 4 4 4\nTYPE F F F\nCOUNT 1 1 1\n"
        f"WIDTH {len(points)}\nHEIGHT 1\nPOINTS {len(points)}\nDATA binary\n"
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(head.encode() + points.astype("<f4").tobytes())


def test_recordings_in_a_bucket_are_ingested_like_those_in_a_folder(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    local = tmp_path / "local"
    small_fleet(local / "landing", num_early=1, num_late=0)
    for index in range(3):
        points = rng.uniform(-20, 20, (500, 3)) * [1, 1, 0.1]
        write_pcd(local / "landing" / "robot" / f"{index:04d}.pcd", points)
    remote = settings_on(shared_rgw(), tmp_path / "remote")
    landing = open_store(remote.landing.to_config(tmp_path))
    for path in (local / "landing").rglob("*"):
        if path.is_file():
            landing.put_file(path.relative_to(local / "landing").as_posix(), path)
    here = Settings(home=local, _env_file=None)
    assert (ingest(here), ingest(remote)) == (0, 0)
    tables = [s.workspace().tables.read("recordings") for s in (here, remote)]
    names = ["recording", "format", "status", "num_sweeps", "num_points", "sweeps_digest"]
    assert tables[0].select(names).to_pylist() == tables[1].select(names).to_pylist()
    assert len(tables[0]) == 2
    store = remote.workspace().store
    with SweepFile(store, f"sweeps/{tables[1]['recording'][0]}.parquet") as sweeps:
        assert len(sweeps.read(len(sweeps) - 1)) > 1000
