"""Materialises assets in this process, against the same Dagster instance that the UI shows."""

from __future__ import annotations

import logging
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import dagster as dg

from assets.partitions import RECORDINGS
from loop.landing import register
from loop.workspace import Workspace
from pipelines.definitions import PROJECT, build_definitions
from pipelines.sensors import landed
from pipelines.settings import TrainingSettings
from recordings.discovery import Source

# Capturing output starts two processes a run; on a terminal the output is there already.
_NO_COMPUTE_LOGS = """
compute_logs:
  module: dagster.core.storage.noop_compute_log_manager
  class: NoOpComputeLogManager
"""
_LISTENERS: list[Callable[[str], None]] = []


class _Forward(logging.Handler):
    """Passes what steps say to whoever listens; Dagster's own events are in its UI."""

    def emit(self, record: logging.LogRecord) -> None:
        """Pass one message on."""
        meta = getattr(record, "dagster_meta", {})
        if meta.get("dagster_event") is None:
            for listener in _LISTENERS:
                listener(str(meta.get("orig_message", record.getMessage())))


def _forwarding_logger(_context: dg.InitLoggerContext) -> logging.Logger:
    """Return a logger that forwards messages of steps."""
    logger = logging.getLogger("starloop.progress")
    logger.setLevel(logging.INFO)
    logger.propagate = False
    logger.handlers = [_Forward()]
    return logger


_PROGRESS = dg.LoggerDefinition(
    _forwarding_logger, description="Shows what steps say on the command line."
)


@dataclass(frozen=True)
class RunOutcome:
    """What one run did.

    Attributes:
        problem: why it failed, in one line; empty when it succeeded.
        metadata: by asset name, the metadata of what it materialised.
    """

    problem: str
    metadata: dict[str, dict[str, Any]]


def dagster_home(home: Path) -> Path:
    """Return the folder of the Dagster instance, with the project's configuration in it."""
    folder = (home / "dagster").resolve()
    folder.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(PROJECT / "dagster.yaml", folder / "dagster.yaml")
    return folder


class Runner:
    """Runs assets one after the other on one workspace.

    Args:
        workspace: the data.
        home: folder that holds the Dagster instance.
        training: who looks after a training; one supervised worker if nothing is said.
    """

    def __init__(
        self, workspace: Workspace, home: Path, training: TrainingSettings | None = None
    ) -> None:
        self.workspace = workspace
        folder = dagster_home(home)
        text = (folder / "dagster.yaml").read_text() + _NO_COMPUTE_LOGS
        (folder / "command-line.yaml").write_text(text)
        self.instance = dg.DagsterInstance.from_config(str(folder), "command-line.yaml")
        definitions = build_definitions(workspace, {"progress": _PROGRESS}, training)
        self._job = definitions.resolve_implicit_global_asset_job_def()

    def run(
        self,
        assets: Sequence[str],
        partition: str | None = None,
        listener: Callable[[str], None] | None = None,
    ) -> RunOutcome:
        """Materialise assets in one run; a failure is returned, not raised.

        Args:
            assets: names of the assets.
            partition: the recording, for partitioned assets.
            listener: called with every message that the steps log.
        """
        _LISTENERS[:] = [listener] if listener else []
        result = self._job.execute_in_process(
            instance=self.instance,
            asset_selection=[dg.AssetKey(name) for name in assets],
            partition_key=partition,
            run_config={"loggers": {"progress": {}}},
            raise_on_error=False,
        )
        metadata = {
            event.asset_key.to_user_string(): {
                name: value.value for name, value in event.materialization.metadata.items()
            }
            for event in result.get_asset_materialization_events()
            if event.asset_key is not None
        }
        return RunOutcome("" if result.success else _problem(result), metadata)

    def land(self, source: Source) -> None:
        """Make a landed recording known: its partition, and the event that it is there."""
        register(self.workspace, source)
        name = RECORDINGS.name or "recordings"
        self.instance.add_dynamic_partitions(name, [source.name])
        self.instance.report_runless_asset_event(landed(source))


def _problem(result: dg.ExecuteInProcessResult) -> str:
    """Return the innermost message of the first failure."""
    for event in result.all_events:
        if not event.is_step_failure:
            continue
        data = event.step_failure_data
        if data.user_failure_data is not None and data.user_failure_data.description:
            return data.user_failure_data.description
        error = data.error
        while error is not None and error.cause is not None:
            error = error.cause
        if error is not None:
            return error.message.strip()
    return "the run failed; see it in the Dagster UI"
