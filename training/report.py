"""What the training process tells the outside: Dagster through Pipes when it was started so."""

from __future__ import annotations

import logging
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Final, Protocol

import dagster_pipes

_LOG: Final = logging.getLogger("training")


class Reporter(Protocol):
    """Where progress and results go."""

    def log(self, message: str) -> None:
        """Tell a line of progress."""
        ...

    def materialization(self, metadata: Mapping[str, Any], data_version: str) -> None:
        """Tell that the model exists."""
        ...

    def check(self, name: str, passed: bool, metadata: Mapping[str, Any]) -> None:
        """Tell the outcome of a check on the model."""
        ...


class LogReporter:
    """Writes everything to stderr, for a training started by hand."""

    def log(self, message: str) -> None:
        """Write a line."""
        _LOG.info(message)

    def materialization(self, metadata: Mapping[str, Any], data_version: str) -> None:
        """Write the metadata."""
        _LOG.info("model %s: %s", data_version, dict(metadata))

    def check(self, name: str, passed: bool, metadata: Mapping[str, Any]) -> None:
        """Write the outcome."""
        _LOG.info("check %s: %s %s", name, "passed" if passed else "FAILED", dict(metadata))


class SilentReporter:
    """Says nothing: for all workers of a group but the first."""

    def log(self, message: str) -> None:
        """Drop a line."""

    def materialization(self, metadata: Mapping[str, Any], data_version: str) -> None:
        """Drop the metadata."""

    def check(self, name: str, passed: bool, metadata: Mapping[str, Any]) -> None:
        """Drop the outcome."""


class PipesReporter:
    """Streams to the Dagster step that started this process."""

    def __init__(self, pipes: dagster_pipes.PipesContext) -> None:
        self._pipes = pipes

    def log(self, message: str) -> None:
        """Send a log line, which appears in the run at once."""
        self._pipes.log.info(message)

    def materialization(self, metadata: Mapping[str, Any], data_version: str) -> None:
        """Report the asset."""
        self._pipes.report_asset_materialization(metadata=dict(metadata), data_version=data_version)

    def check(self, name: str, passed: bool, metadata: Mapping[str, Any]) -> None:
        """Report an asset check."""
        self._pipes.report_asset_check(name, passed, "ERROR", dict(metadata))


def set_up_logging() -> None:
    """Let progress through to stderr, and of libraries only warnings that matter."""
    logging.basicConfig(
        stream=sys.stderr, level=logging.WARNING, format="%(asctime)s %(name)s: %(message)s"
    )
    logging.getLogger().setLevel(logging.WARNING)  # also where somebody set up logging before
    logging.getLogger("onnx_ir").setLevel(logging.ERROR)  # it guesses types aloud
    _LOG.setLevel(logging.INFO)
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)  # it tells of optional packages


@contextmanager
def open_reporter() -> Iterator[Reporter]:
    """Yield a reporter to Dagster if it started this process, else to stderr."""
    set_up_logging()
    if not dagster_pipes.PipesEnvVarParamsLoader().is_dagster_pipes_process():
        yield LogReporter()
        return
    with dagster_pipes.open_dagster_pipes() as pipes:
        yield PipesReporter(pipes)
