"""The training process: `python -m training.train --job job.json`.

Alone it is one process that trains. With `--workers` it is a supervisor whose workers share every
batch and which survives their faults (`training.supervisor`). Where RANK and WORLD_SIZE are set, by
torchrun or by Ray, it is one worker of a group that somebody else looks after.

Exit codes: 0 finished; 75 asked to stop, checkpoint written, start again to go on; 76 a hang that
restarts did not cure; 77 too many steps gave NaN; 78 the job, its dataset or its starting model is
wrong, trying again cannot help; 79 two workers disagree on the same gradients; 1 anything else.
"""

from __future__ import annotations

from training.process import (
    EXIT_CONFIG,
    EXIT_NON_FINITE,
    EXIT_PREEMPTED,
    StopRequest,
    die_with_parent,
)

if __name__ == "__main__":
    die_with_parent()  # before the slow imports: no orphan survives a killed parent

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final

# Waiting threads sleep: on a busy machine spinning costs several times the work itself.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
# Numpy's own threads would forbid to fork workers, and gain nothing here.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

from scene.errors import ConfigError
from storage.open import open_store
from training import artifacts
from training.checkpoint import delete_checkpoints
from training.device import choose_device, set_threads
from training.exits import EXPECTED, exit_code_of
from training.group import open_group
from training.job import Job
from training.make import (
    describe_task,
    finish,
    load_material,
    make_trainer,
    report_model,
)
from training.report import Reporter, SilentReporter, open_reporter
from training.steps import train
from training.ticker import Ticker
from training.trace import open_trace

_WORDS: Final = {EXIT_PREEMPTED: "stopped", EXIT_NON_FINITE: "failed", EXIT_CONFIG: "cannot train"}
_ALONE_S: Final = 5.0  # one worker holds up nobody; other machines of the host may hold it up
_SWITCH_S: Final = 5e-4  # the thread that makes batches must not hold up the one that trains


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a job file; return the exit code."""
    options = _parser().parse_args(arguments)
    stop = StopRequest()
    stop.listen()
    sys.setswitchinterval(_SWITCH_S)
    with open_reporter() as reporter:
        try:
            return _run(options, reporter, stop)
        except EXPECTED as error:
            code = exit_code_of(error)
            reporter.log(f"{_WORDS[code]}: {error}")
            return code


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m training.train", description=__doc__)
    parser.add_argument("--job", type=Path, required=True, help="JSON file, see training.job")
    parser.add_argument("--workers", type=int, default=0, help="supervise so many workers")
    parser.add_argument("--spares", type=int, default=0, help="places to use when one is excluded")
    parser.add_argument("--chaos", default="", help="faults on purpose, see training.supervisor")
    parser.add_argument("--replay-every", type=int, default=0, help="steps between replayed steps")
    parser.add_argument(
        "--exchange-timeout-s", type=float, default=300.0,
        help="of a group that somebody else looks after: how long an exchange may take",
    )  # fmt: skip
    parser.add_argument("--trace", type=Path, help="append a JSON line for every step and fault")
    return parser


def _run(options: argparse.Namespace, reporter: Reporter, stop: StopRequest) -> int:
    job = Job.read(options.job)
    supervised = options.workers and "RANK" not in os.environ
    if not supervised and (options.spares or options.chaos or options.replay_every):
        raise ConfigError("--spares, --chaos and --replay-every need --workers, and our supervisor")
    if supervised:
        from training.supervisor.hangs import Patience
        from training.supervisor.options import Options
        from training.supervisor.supervise import supervise

        chosen = Options(
            workers=options.workers,
            spares=options.spares,
            chaos=options.chaos,
            replay_every=options.replay_every,
            trace=options.trace,
            patience=Patience() if options.workers > 1 else Patience(least_s=_ALONE_S),
        )
        return supervise(job, chosen, reporter, stop)
    run_job(job, reporter, stop, options.trace, options.exchange_timeout_s)
    return 0


def run_job(
    job: Job,
    reporter: Reporter,
    stop: StopRequest,
    trace: Path | None = None,
    exchange_timeout_s: float = 300.0,
) -> None:
    """Train, export and report; a model that is already finished is only reported.

    As one worker of a group (RANK, WORLD_SIZE) only the first one writes and reports.

    Raises:
        Preempted: if `stop` became true while training.
        NonFiniteError: if too many steps gave NaN.
        ConfigError, DataError, NotFoundError: if the job cannot be done as it is.
    """
    store = open_store(job.store)
    device = choose_device()
    with open_group(job.config.shards, device, exchange_timeout_s) as group:
        first = group.rank == 0
        if artifacts.is_complete(store, job.model_id):
            reporter.log(f"model {job.model_id} is already finished; nothing to train")
        else:
            reporter = reporter if first else SilentReporter()
            set_threads(job.config, device, group.world_size)
            material = load_material(store, job)
            reporter.log(describe_task(job, material, device))
            trainer = make_trainer(store, job, device)
            on_step = open_trace(trace, group.rank, Ticker(reporter))
            train(trainer, material.batches, store, job.model_id, on_step, stop, group)
            if first:
                reporter.log("exporting and comparing the exported file with the network")
                finish(store, job, trainer, material)
    if first:
        delete_checkpoints(store, job.model_id)
        report_model(store, job, reporter)


if __name__ == "__main__":
    sys.exit(main())
