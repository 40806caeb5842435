"""What the shorter commands do."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path

import click

from pipelines.progress import Progress
from pipelines.runner import Runner, dagster_home
from pipelines.services.ports import check_free, listen
from pipelines.settings import PREFIX, Settings
from pipelines.turn import LoopRunner
from scene.errors import ConfigError
from storage import lineage
from storage.local import LocalStore


def ingest_landing(settings: Settings, path: Path | None) -> int:
    """Ingest what landed; return 1 if anything was quarantined, else 0."""
    workspace = settings.workspace()
    if path is not None:
        _copy_in(workspace.landing, path)
    return int(LoopRunner(Runner(workspace, settings.home), Progress()).ingest() > 0)


def _copy_in(landing: object, path: Path) -> None:
    """Copy a file or folder into the landing place, if that is a folder of this machine."""
    if not isinstance(landing, LocalStore):
        raise ConfigError("the landing place is a bucket: upload the recording there")
    if path.is_dir():
        shutil.copytree(path, landing.root / path.name, dirs_exist_ok=True)
    else:
        landing.put_file(path.name, path)


def run_stages(settings: Settings, names: Sequence[str]) -> None:
    """Run some stages of the current turn, one after the other."""
    loop = LoopRunner(Runner(settings.workspace(), settings.home, settings.training), Progress())
    for name in names:
        loop.stage(name)


def serve_champion(settings: Settings, host: str, port: int) -> None:
    """Run the HTTP endpoint until it is stopped."""
    import uvicorn

    from serving.server import create_app

    workspace = settings.workspace()
    listener = listen(port, host)
    app = create_app(workspace.store, workspace.tables)
    address = f"http://{host}:{listener.getsockname()[1]}"
    click.echo(f"serving the champion on {address} (Ctrl-C stops)")
    uvicorn.Server(uvicorn.Config(app, log_level="info")).run(sockets=[listener])


def print_lineage(settings: Settings, key: str, *, down: bool) -> None:
    """Print the family tree of a key."""
    walk = lineage.descendants if down else lineage.ancestors
    nodes = walk(settings.workspace().tables, key)
    if not nodes:
        click.echo(f"nothing is known about {key!r}; try a recording id, model id or digest")
        sys.exit(1)
    for depth, node in nodes:
        click.echo(f"{'  ' * depth}{node.kind:<11} {node.key}  {node.digest[:12]}")


def start_dev(settings: Settings, port: int) -> None:
    """Replace this process by Dagster's web server and daemon."""
    check_free(port)
    home = dagster_home(settings.home)
    workspace = settings.workspace()
    runner = Runner(workspace, settings.home)  # first start of SQLite must not race
    runner.instance.dispose()
    click.echo(f"landing folder: {workspace.landing.url}")
    click.echo(f"web pages:      http://127.0.0.1:{port}")
    environment = {
        **os.environ,
        "DAGSTER_HOME": str(home),
        f"{PREFIX}HOME": str(settings.home.resolve()),
    }
    project = Path(__file__).resolve().parents[1]
    os.chdir(project)
    dagster = Path(sys.executable).with_name("dagster")
    command = [str(dagster), "dev", "-w", "workspace.yaml", "-h", "127.0.0.1", "-p", str(port)]
    os.execve(dagster, command, environment)  # noqa: S606
