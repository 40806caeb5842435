"""Running a long process beside Dagster: streamed, cancellable, never left behind."""

from __future__ import annotations

import os
import subprocess
import time
import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import dagster as dg
import psutil

_POLL_S = 0.2
_LAST_S = 3.0  # for what is left of a family after its head had its time
_PREEMPTED = 75  # the process saved a checkpoint after SIGTERM and can go on later


@dataclass(frozen=True)
class TrainingProcess:
    """Runs the training entry point as a child process with a Dagster Pipes session.

    Attributes:
        working_directory: where the child starts; the packages are importable from there.
        grace_s: how long the process may take to save a checkpoint when it is cancelled.
    """

    working_directory: Path
    grace_s: float = 60.0

    def run(
        self,
        context: dg.AssetExecutionContext,
        command: Sequence[str],
        variables: Mapping[str, str] | None = None,
    ) -> dg.MaterializeResult:
        """Run to the end and return what the process reported through Pipes.

        On cancel or any other interruption no process of the tree survives.

        Args:
            context: of the step.
            command: what to start; it may start others.
            variables: of its environment, beside the present ones.

        Raises:
            dg.Failure: if the process failed, or ended without reporting a result.
        """
        # Pipes works in the pinned Dagster; its preview warning would greet every user.
        warnings.filterwarnings("ignore", category=dg.PreviewWarning, module="dagster")
        with dg.open_pipes_session(
            context=context,
            context_injector=dg.PipesEnvContextInjector(),
            message_reader=dg.PipesTempFileMessageReader(),
        ) as session:
            environment = {
                **os.environ, **(variables or {}), **session.get_bootstrap_env_vars()
            }  # fmt: skip
            child = subprocess.Popen(
                list(command), cwd=self.working_directory, env=environment, start_new_session=True
            )
            context.log.info("training process %d started", child.pid)
            try:
                while child.poll() is None:
                    time.sleep(_POLL_S)
            except BaseException:
                stop_tree(child.pid, self.grace_s)
                child.wait()
                raise
        if child.returncode != 0:
            raise dg.Failure(_explain(child.returncode), allow_retries=False)
        return reported(session.get_results(implicit_materializations=False), "training process")


def reported(results: Iterable[object], who: str) -> dg.MaterializeResult:
    """Return what a training reported through Pipes.

    Raises:
        dg.Failure: if it ended without reporting a model.
    """
    for result in results:
        if isinstance(result, dg.MaterializeResult):
            return result
    raise dg.Failure(
        f"the {who} ended without reporting a model; see its output above", allow_retries=False
    )


def stop_tree(pid: int, grace_s: float) -> None:
    """Stop a process and all its descendants.

    The process alone is asked by SIGTERM and has `grace_s` seconds: it knows how its family ends
    in good order, workers together after one step, and Ray's own processes after those. Whoever
    is left then gets SIGTERM too, and SIGKILL soon after.
    """
    try:
        parent = psutil.Process(pid)
        family = {parent, *parent.children(recursive=True)}
    except psutil.NoSuchProcess:
        return
    _signal(parent.terminate)
    deadline = time.monotonic() + grace_s
    while parent.is_running() and time.monotonic() < deadline:
        gone, _ = psutil.wait_procs([parent], timeout=_POLL_S)
        if gone:
            break
        family |= _children(parent)
    family |= _children(parent)
    for process in family:
        _signal(process.terminate)
    _, alive = psutil.wait_procs(family, timeout=min(_LAST_S, grace_s))
    for process in alive:
        _signal(process.kill)
    psutil.wait_procs(alive, timeout=_LAST_S)


def _children(parent: psutil.Process) -> set[psutil.Process]:
    """Return the descendants that a process has now; those of one that is gone are not known."""
    try:
        return set(parent.children(recursive=True))
    except psutil.NoSuchProcess:
        return set()


def _signal(send: Callable[[], None]) -> None:
    try:
        send()
    except psutil.NoSuchProcess:
        return


def _explain(code: int) -> str:
    if code == _PREEMPTED:
        return "training was stopped and saved a checkpoint; run it again to go on from there"
    if code < 0:
        return f"training was killed by signal {-code}; run it again to resume from its checkpoint"
    return f"training failed with exit code {code}; the reason is in the output above"
