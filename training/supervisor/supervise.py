"""The supervisor: forks workers, perceives faults, does what the policy says, keeps the account.

It is a fork server: everything is imported before the first fork, it has one thread, and it never
touches an accelerator. Dataset, network and checkpoint are read by a child into shared memory;
another child writes checkpoints; a third exports the model. So no fault of theirs is its own.
"""

from __future__ import annotations

import math
import os
import time
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

from storage.open import open_store
from training import artifacts
from training.checkpoint import delete_checkpoints
from training.job import Job
from training.make import report_model
from training.process import EXIT_CONFIG, EXIT_FAILED, EXIT_PREEMPTED, StopRequest
from training.report import Reporter
from training.supervisor.board import Board
from training.supervisor.crew import Crew
from training.supervisor.devices import open_device_watch
from training.supervisor.family import Child, fork, wait_any
from training.supervisor.goodput import Goodput, Ledger, process_start_ns
from training.supervisor.monitor import Monitor
from training.supervisor.options import Options
from training.supervisor.persist import persist
from training.supervisor.policy import Act, Action, Fault, Kind, decide
from training.supervisor.prepare import export, preload, prepare, spill, spill_store, told
from training.supervisor.snapshot import Snapshots
from training.ticker import Ticker
from training.trace import Trace

_TRIES: Final = 3
_LAST_CHECKPOINT_S: Final = 30.0
_LAST_TRIES: Final = 6  # of the final write, before it goes to this machine's disk
_GENTLE: Final = 10
_SHOWN: Final = 1500  # characters of a fault's detail in the log


def supervise(job: Job, options: Options, reporter: Reporter, stop: StopRequest) -> int:
    """Train to the end whatever happens, export and report; return the exit code."""
    store = open_store(job.store)
    account: Goodput | None = None
    if artifacts.is_complete(store, job.model_id):
        reporter.log(f"model {job.model_id} is already finished; nothing to train")
    else:
        with TemporaryDirectory(prefix="starloop-faults-") as folder:
            supervisor = Supervisor(job, options, reporter, stop, Path(folder))
            code = supervisor.run()
            account = supervisor.account
        if code != 0 or not options.export:
            return code
    for place in (store, spill_store()):
        delete_checkpoints(place, job.model_id)
    extra = {} if account is None else {"goodput": {"type": "json", "raw_value": account.to_dict()}}
    report_model(store, job, reporter, extra)
    return 0


class Supervisor:
    """One training from its first process to its last.

    Attributes:
        account: where the time went, once `run` is over.
    """

    def __init__(
        self, job: Job, options: Options, reporter: Reporter, stop: StopRequest, folder: Path
    ) -> None:
        self.account: Goodput | None = None
        self._job, self._options, self._reporter = job, options, reporter
        self._stop, self._folder = stop, folder
        self._ledger = Ledger(process_start_ns())
        self._trace = Trace(options.trace)
        self._material = os.memfd_create("starloop-material")
        self._memory = os.memfd_create("starloop-snapshots")
        self._left_out: set[int] = set()
        self._attempts = 0

    def run(self) -> int:
        """Run everything; return the exit code."""
        preload(self._job.config)
        try:
            code = self._prepare()
            if code == 0:
                code = self._train()
            return code
        finally:
            os.close(self._material)
            os.close(self._memory)

    def _prepare(self) -> int:
        """Read what training needs into shared memory."""
        for _ in range(_TRIES):
            child = fork(
                "prepare",
                lambda: prepare(self._job, self._folder, self._material, self._memory),
                self._folder,
            )
            while child.wait(0.1) is None:
                if self._stop():
                    child.kill()
                    return EXIT_PREEMPTED
            facts = told(self._folder)
            if child.code == 0:
                self._reporter.log(facts["text"])
                self._started = int(facts["step"])
                if self._started:
                    self._reporter.log(f"resumed from step {self._started}")
                self._snapshots = Snapshots(self._memory, facts["room"])
                count = facts["places"] or self._options.workers + self._options.spares
                self._places = list(range(count))
                return 0
            self._reporter.log(f"cannot train: {facts.get('error', f'exit code {child.code}')}")
            if child.code == EXIT_CONFIG:
                return EXIT_CONFIG
        return EXIT_FAILED

    def _train(self) -> int:
        """Work in crews until the last step, then export."""
        self._board = Board(self._workers, self._job.config.iterations)
        self._board.control["persisted"] = self._snapshots.step
        self._ticker = Ticker(self._reporter)
        monitor = Monitor(self._options, self._board, open_device_watch(), self._stop.ask)
        self._persister = self._fork_persister()
        try:
            code = self._crews(monitor)
            self._ledger.end_ns = time.monotonic_ns()
            safe = self._last_checkpoint()
            if code == 0 and self._options.export:
                code = self._export()
            elif code == EXIT_PREEMPTED:
                self._reporter.log(f"stopped: {safe}")
        finally:
            self._persister.kill()
        self.account = self._ledger.account(self._board)
        for line in self.account.table():
            self._reporter.log(line)
        self._trace.add("account", **self.account.to_dict())
        return code

    @property
    def _workers(self) -> int:
        """How many workers the places left can hold: the shards must divide evenly."""
        most = min(self._options.workers, len(self._places), self._job.config.shards)
        return max((n for n in range(1, most + 1) if self._job.config.shards % n == 0), default=0)

    def _crews(self, monitor: Monitor) -> int:
        """One crew after the other until one is done; return the exit code."""
        while True:
            crew = self._start_crew()
            try:
                found = self._watch(crew, monitor)
                now_ns = time.monotonic_ns()
                if found is None:
                    return EXIT_PREEMPTED if crew.preempted else 0
                fault, action = found
                if action.act == Act.DRAIN:
                    self._drain(crew)
            finally:
                crew.end()
            if action.act in (Act.STOP, Act.DRAIN):
                return action.code
            lost = max(0, int(self._board.ranks["step"].max()) - self._snapshots.step)
            self._ledger.down(fault, action, self._board, now_ns, lost)
            self._obey(fault, action)

    def _start_crew(self) -> Crew:
        self._attempts += 1
        crew = Crew.start(
            self._job,
            self._options,
            self._places[: self._workers],
            self._board,
            self._snapshots,
            self._material,
            frozenset(self._left_out),
            self._folder / f"attempt-{self._attempts}",
        )
        pids = [child.pid for child in crew.children]
        self._trace.add("crew", attempt=self._attempts, pids=pids)
        return crew

    def _watch(self, crew: Crew, monitor: Monitor) -> tuple[Fault, Action] | None:
        """Wait until the crew is done (None) or must end (the fault and its answer)."""
        up = False
        while True:
            wait_any([*crew.children, self._persister], monitor.wait_s)
            fault = crew.broken()
            if fault is None and crew.finished:
                return None
            if self._persister.code is not None:
                self._persister = self._fork_persister()
            up = up or self._note_first_step()
            self._tick()
            fault = fault or monitor.look(crew) or self._asked_to_stop()
            if fault is None:
                continue
            newest = int(self._board.ranks["step"].max())
            fault = replace(fault, step=max(fault.step, newest))
            action = self._judge(fault)
            if action.act != Act.NOTE:
                return fault, action

    def _note_first_step(self) -> bool:
        first_ns = int(self._board.ranks[0]["first_ns"])
        if first_ns:
            self._ledger.up(first_ns)
        return first_ns > 0

    def _tick(self) -> None:
        """Tell the progress."""
        row = self._board.ranks[0]
        if row["begun"]:
            loss = float(row["loss"])
            total = self._job.config.iterations
            self._ticker.tell(int(row["step"]), total, loss if math.isfinite(loss) else None)

    def _asked_to_stop(self) -> Fault | None:
        return Fault(Kind.PREEMPTION, detail="asked to stop by a signal") if self._stop() else None

    def _judge(self, fault: Fault) -> Action:
        """Ask the policy; tell everybody."""
        spares = max(0, len(self._places) - self._workers) + (self._workers > 1)
        action = decide(fault, self._ledger.faults, spares=spares, limits=self._options.limits)
        self._ledger.fault(fault, action)
        self._trace.add(
            "fault", kind=fault.kind, rank=fault.rank, step=fault.step, act=action.act,
            seconds=fault.seconds, detail=fault.detail,
        )  # fmt: skip
        who = f" of worker {fault.rank}" if fault.rank >= 0 else ""
        self._reporter.log(
            f"fault: {fault.kind}{who} after step {fault.step}: {fault.detail[:_SHOWN]}"
        )
        self._reporter.log(f"answer: {action.act} ({action.reason})")
        return action

    def _obey(self, fault: Fault, action: Action) -> None:
        """Prepare the next crew as the answer says."""
        if action.act == Act.SKIP:
            self._left_out.add(fault.step)
        elif action.act == Act.REPLACE and fault.place in self._places:
            self._places.remove(fault.place)
            self._reporter.log(f"place {fault.place} is excluded, {self._workers} workers go on")

    def _drain(self, crew: Crew) -> None:
        """Let the workers end after the step they are in; kill those that do not."""
        self._board.control["stop"] = 1
        end = time.monotonic() + self._options.drain_s
        while not crew.finished and crew.broken() is None and time.monotonic() < end:
            wait_any(crew.children, end - time.monotonic())

    def _last_checkpoint(self) -> str:
        """Have the newest snapshot written, to the store or else to this machine; say where."""
        step = self._snapshots.step
        self._board.control["final"] = 1
        end = time.monotonic() + _LAST_CHECKPOINT_S
        while time.monotonic() < end and int(self._board.control[0]["persisted"]) < step:
            if self._persister.wait(0.05) is not None:
                if int(self._board.control[0]["persisted"]) >= step:
                    break
                self._persister = self._fork_persister()
            if int(self._board.control[0]["persist_failures"]) >= _LAST_TRIES:
                break
        if int(self._board.control[0]["persisted"]) >= step:
            return f"checkpoint written at step {step}"
        path = spill(self._job, self._snapshots)
        text = (
            f"the object store is away; checkpoint of step {step} left at {path}, found from there"
        )
        self._reporter.log(text)
        return text

    def _fork_persister(self) -> Child:
        job, board, snapshots = self._job, self._board, self._snapshots

        def work() -> int:
            os.nice(_GENTLE)  # the workers go first
            every = job.config.checkpoint_every
            return persist(board, snapshots, lambda: open_store(job.store), job.model_id, every)

        return fork("persister", work, self._folder)

    def _export(self) -> int:
        """Write the model's files in a child; tried again if the child dies."""
        self._reporter.log("exporting and comparing the exported file with the network")
        for _ in range(_TRIES):
            child = fork(
                "export",
                lambda: export(
                    self._job,
                    self._material,
                    self._snapshots,
                    self._started,
                    self._board.data(self._job.config.batch_size),
                ),
                self._folder,
            )
            while child.wait(0.1) is None:
                if self._stop():
                    child.kill()
                    return EXIT_PREEMPTED
            if child.code == 0:
                return 0
            self._reporter.log(f"the export ended with exit code {child.code}")
        return EXIT_FAILED
