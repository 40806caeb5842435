"""Damaged recordings are quarantined with one clear message; the others go on."""

from __future__ import annotations

import io
import json
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console

from pipelines.progress import Progress
from pipelines.runner import Runner
from pipelines.settings import Settings
from pipelines.status import print_status
from pipelines.turn import LoopRunner
from scene.recording import RecordingId
from storage import layout
from storage.sweeps import SweepFile
from tests.support.workspaces import small_fleet

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(600)]

PCD = """# .PCD v0.7
VERSION 0.7
FIELDS x y z
SIZE 4 4 4
TYPE F F F
COUNT 1 1 1
WIDTH {width}
HEIGHT 1
VIEWPOINT 0 0 0 1 0 0 0
POINTS {width}
DATA binary
"""


def write_pcd(path: Path, points: np.ndarray, width: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(PCD.format(width=width).encode() + points.astype("<f4").tobytes())


@pytest.fixture(scope="module")
def ingested(tmp_path_factory: pytest.TempPathFactory) -> tuple[Settings, dict[str, dict], str]:
    """Return settings, rows of table `recordings` by name, and what was printed meanwhile."""
    home = tmp_path_factory.mktemp("bad")
    landing = home / "landing"
    (good,) = small_fleet(landing, num_early=1, num_late=0, sweeps=12)
    (landing / "empty.mcap").write_bytes(b"")
    (landing / "text.mcap").write_text("this is no recording\n" * 40)
    cut = good.read_bytes()
    (landing / "cut.mcap").write_bytes(cut[: int(len(cut) * 0.6)])
    rng = np.random.default_rng(1)
    write_pcd(landing / "count" / "0000.pcd", rng.normal(size=(50, 3)), width=80)
    write_pcd(landing / "nan" / "0000.pcd", np.full((60, 3), np.nan), width=60)
    settings = Settings(home=home, _env_file=None)
    printed = io.StringIO()
    workspace = settings.workspace()
    loop = LoopRunner(Runner(workspace, home), Progress(Console(file=printed, width=400)))
    assert loop.ingest() == 5
    rows = {row["recording"]: row for row in workspace.tables.read("recordings").to_pylist()}
    return settings, rows, printed.getvalue()


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("empty", ("empty",)),
        ("text", ("this is text",)),
        ("cut", ("cut.mcap",)),
        ("count", ("80", "50")),
        ("nan", ("NaN",)),
    ],
)
def test_each_is_quarantined_with_what_is_wrong(
    ingested, name: str, words: tuple[str, ...]
) -> None:
    settings, rows, printed = ingested
    row = next(row for key, row in rows.items() if key.startswith(name))
    assert row["status"] == "quarantined"
    for word in words:
        assert word.lower() in row["message"].lower(), row["message"]
    assert row["recording"] in printed
    workspace = settings.workspace()
    key = layout.quarantine(RecordingId(row["recording"]), "reason.json")
    assert json.loads(workspace.store.get(key))["message"] == row["message"]
    assert not workspace.store.exists(layout.sweeps(RecordingId(row["recording"])))


def test_the_readable_part_is_kept(ingested) -> None:
    settings, rows, _ = ingested
    name = RecordingId(next(key for key in rows if key.startswith("cut")))
    with SweepFile(settings.workspace().store, layout.quarantined_sweeps(name)) as sweeps:
        assert 1 <= len(sweeps) < 12
        assert len(sweeps.read(0)) > 1000


def test_the_others_go_on_and_status_tells(ingested) -> None:
    settings, rows, _ = ingested
    (good,) = [row for row in rows.values() if row["status"] == "ok"]
    assert good["num_sweeps"] == 12
    frames = settings.workspace().tables.read("frames")
    assert set(frames["recording"].to_pylist()) == {good["recording"]}
    text = io.StringIO()
    print_status(settings, Console(file=text, width=200))
    assert "1 recordings usable, 5 quarantined" in text.getvalue()
    for row in rows.values():
        if row["status"] == "quarantined":
            assert row["message"][:40] in text.getvalue()


def test_a_repaired_file_is_taken_up_again(ingested) -> None:
    settings, rows, _ = ingested
    good = next(name for name, row in rows.items() if row["status"] == "ok")
    source = settings.home / "landing" / f"{good}.mcap"
    target = settings.home / "landing" / "cut.mcap"
    temporary = target.with_suffix(".part")
    temporary.write_bytes(source.read_bytes())
    temporary.replace(target)
    workspace = settings.workspace()
    loop = LoopRunner(Runner(workspace, settings.home), Progress(Console(file=io.StringIO())))
    assert loop.ingest() == 0
    (row,) = workspace.tables.read("recordings", {"recording": "cut"}).to_pylist()
    assert (row["status"], row["num_sweeps"]) == ("ok", 12)
