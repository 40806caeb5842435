"""The training process as Dagster runs it: silence is failure, a cancel leaves nobody behind."""

import signal
import sys
import textwrap
import threading
import time
from pathlib import Path

import dagster as dg
import psutil
import pytest

from assets.processes import TrainingProcess, stop_tree

pytestmark = pytest.mark.integration
ROOT = Path(__file__).resolve().parents[2]


def run(script: str, tmp_path: Path) -> dg.ExecuteInProcessResult:
    path = tmp_path / "child.py"
    path.write_text(textwrap.dedent(script))

    @dg.asset
    def trained(context: dg.AssetExecutionContext) -> dg.MaterializeResult:
        process = TrainingProcess(ROOT, grace_s=2.0)
        return process.run(context, [sys.executable, str(path)])

    return dg.materialize([trained], raise_on_error=False)


def test_a_process_that_reports_nothing_is_a_failure(tmp_path: Path) -> None:
    assert not run("print('did nothing')", tmp_path).success


def test_a_process_that_fails_is_a_failure(tmp_path: Path) -> None:
    result = run("raise SystemExit(3)", tmp_path)
    failure = next(event for event in result.all_events if event.is_step_failure)
    assert "exit code 3" in failure.step_failure_data.user_failure_data.description


def test_what_the_process_reports_arrives(tmp_path: Path) -> None:
    result = run(
        """
        from dagster_pipes import open_dagster_pipes
        with open_dagster_pipes() as pipes:
            pipes.report_asset_materialization(metadata={"loss": 0.5}, data_version="abc")
        """,
        tmp_path,
    )
    (event,) = result.get_asset_materialization_events()
    assert event.materialization.metadata["loss"].value == 0.5


STUBBORN = """
    import signal, subprocess, sys, time
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    child = subprocess.Popen(
        [sys.executable, "-c",
         "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); time.sleep(600)"],
        start_new_session=True,
    )
    open(sys.argv[0] + ".pids", "w").write(str(child.pid))
    time.sleep(600)
"""


def test_no_process_of_the_tree_survives_an_interruption(tmp_path: Path) -> None:
    def interrupt() -> None:
        pids = tmp_path / "child.py.pids"
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline and not (pids.exists() and pids.read_text()):
            time.sleep(0.05)
        signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGINT)

    watcher = threading.Thread(target=interrupt)
    watcher.start()
    try:
        interrupted = not run(STUBBORN, tmp_path).success
    except (KeyboardInterrupt, dg.DagsterExecutionInterruptedError):
        interrupted = True
    watcher.join()
    assert interrupted
    grandchild = int((tmp_path / "child.py.pids").read_text())
    assert not psutil.pid_exists(grandchild)
    ours = [p for p in psutil.Process().children(recursive=True) if "child.py" in str(p.cmdline())]
    assert ours == []


def test_stopping_a_process_that_is_gone_is_fine() -> None:
    stop_tree(2**22 - 3, 0.1)
