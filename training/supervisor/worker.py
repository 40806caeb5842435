"""One worker: a child of the fork server that does its share of every step until it ends."""

from __future__ import annotations

import json
import os
import sys
import time
import traceback
from dataclasses import asdict, dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any, Final

import torch
import torch.distributed as dist
from torch import Tensor
from torch.distributed import TCPStore  # pyright: ignore[reportPrivateImportUsage]

from scene.errors import TrainError
from training.device import choose_device, copy_all, set_threads
from training.exits import exit_code_of
from training.group import join
from training.job import Job
from training.loop import Trainer
from training.make import Material
from training.parallel import Group, Outcome, digest, pack
from training.process import (
    EXIT_CORRUPTION,
    EXIT_NON_FINITE,
    EXIT_PEER_LOST,
    EXIT_PREEMPTED,
)
from training.steps import Preempted, Section, Watch, problem_of, run_steps
from training.supervisor import stage
from training.supervisor.board import Board
from training.supervisor.chaos import WorkerChaos
from training.supervisor.options import Options
from training.supervisor.snapshot import Snapshots
from training.trace import Trace

_STALL_SHARE: Final = 0.02  # of a step; snapshots that cost more are made less often
_MAX_EVERY: Final = 50
_STALLS: Final = 9
_EXCHANGE_TIMEOUT: Final = timedelta(hours=1)  # the supervisor sees a hang long before


class BadBatchError(TrainError):
    """A batch gave loss or gradients that must not be learned from."""


class CorruptionError(TrainError):
    """Two workers made different gradients from the same samples."""


@dataclass(frozen=True)
class Seat:
    """Everything a worker is given when it is forked.

    Attributes:
        job: what to train.
        options: how.
        rank: its number.
        world_size: number of workers.
        place: device index or seat that it takes.
        listener: descriptor of the listening socket that the first worker serves the rendezvous
            on, and its port; made anew for every group, so nothing of an older group is met.
        port: the port.
        material: memory file with the `Material`.
        left_out: steps not to learn from.
        folder: for what is left behind when something goes wrong.
    """

    job: Job
    options: Options
    rank: int
    world_size: int
    place: int
    listener: int
    port: int
    material: int
    left_out: frozenset[int]
    folder: Path


@dataclass(frozen=True, slots=True)
class Wreck:
    """Why a worker ended, written to a file by itself.

    Attributes:
        kind: class of the error.
        message: its text.
        where: class and code line of the innermost frame.
        step: steps done.
        trace: the traceback.
        evidence: numbers that show a bad batch or a corruption.
    """

    kind: str
    message: str
    where: str
    step: int
    trace: str
    evidence: dict[str, Any]

    @classmethod
    def read(cls, path: Path) -> Wreck | None:
        """Return what a worker left, or None if it had no time to."""
        try:
            return cls(**json.loads(path.read_text()))
        except (OSError, ValueError, TypeError):
            return None


def wreck_path(folder: Path, rank: int) -> Path:
    """Return where a worker writes why it ended."""
    return folder / f"worker-{rank}.json"


def work(seat: Seat, board: Board, snapshots: Snapshots) -> int:
    """Run a worker; return its exit code."""
    row = board.ranks[seat.rank]
    watch: _Supervised | None = None
    try:
        board.beat(seat.rank, Section.SETUP)
        sys.setswitchinterval(5e-4)
        device = _device(seat.place)
        set_threads(seat.job.config, device, seat.job.config.shards)
        group = Group(seat.rank, seat.world_size, seat.job.config.shards)
        if seat.world_size > 1:
            join(group, _meeting(seat), device, _EXCHANGE_TIMEOUT)
        trainer = Trainer(seat.job.config, device)
        trainer.restore(snapshots.demand())
        material: Material = stage.unpack(seat.material)
        watch = _Supervised(seat, board, snapshots, group, material)
        run_steps(trainer, material.batches, group, watch)
    except Preempted:
        return EXIT_PREEMPTED
    except BaseException as error:  # the one place where a worker's errors end
        code = _exit_code(error, Section(int(row["section"])), seat.world_size)
        evidence = watch.evidence if watch is not None else {}
        _leave(seat, error, int(row["step"]), evidence)
        return code
    return 0


class _Supervised(Watch):
    """Beats the heart, takes the snapshots and makes the faults that were asked for."""

    def __init__(
        self, seat: Seat, board: Board, snapshots: Snapshots, group: Group, material: Material
    ) -> None:
        self.left_out = seat.left_out
        self.evidence: dict[str, Any] = {}
        self._seat, self._board, self._snapshots = seat, board, snapshots
        self._group, self._material = group, material
        self._row, self._control = board.ranks[seat.rank], board.control[0]
        self._chaos = WorkerChaos(
            seat.options.injections, board, seat.rank, seat.world_size, seat.place
        )
        self._trace = Trace(seat.options.trace)
        self._data = self._compute = 0.0
        self._stalls: list[float] = []
        if seat.options.snapshot_every:
            self._control["snapshot_every"] = seat.options.snapshot_every

    def section(self, section: Section) -> None:
        """Beat."""
        now = time.monotonic()
        if section == Section.DATA:
            self._data = now
            if not self._row["begun"]:
                self._row["first_ns"] = time.monotonic_ns()
        elif section == Section.COMPUTE:
            self._compute = now
            if self._seat.rank == 0:
                self._control["data_s"] += now - self._data
        self._board.beat(self._seat.rank, section)

    def packed(self, trainer: Trainer, packets: list[Tensor], before: list[Tensor]) -> None:
        """Note the time of the own work; make faults; do a neighbour's work again if it is time."""
        self._chaos.strike(trainer.step, packets, time.monotonic() - self._compute)
        self._board.computed(self._seat.rank, time.monotonic() - self._compute)
        every = self._seat.options.replay_every
        if every and trainer.step % every == 0:
            self._replay(trainer, packets, before)

    def accepts(self, trainer: Trainer, outcome: Outcome) -> bool:
        """Return True, or end the group with the evidence of a bad batch."""
        problem = problem_of(trainer, outcome)
        if problem is None:
            return True
        self.evidence = {
            "losses_by_shard": [repr(loss) for loss in outcome.losses],
            "gradient_norm": repr(outcome.norm),
            "frames": self._material.batches.frame_ids(trainer.step),
        }
        raise BadBatchError(f"step {trainer.step + 1}: {problem}")

    def finished(self, trainer: Trainer, loss: float | None) -> None:
        """Note the step; take a snapshot where one is due."""
        step_s = time.monotonic() - (self._compute if loss is not None else self._data)
        trainer.progress.seconds += step_s
        if self._seat.rank == 0:
            self._save(trainer, step_s)
        row = self._row
        row["loss"] = float("nan") if loss is None else loss
        row["begun"] += 1
        row["last_ns"] = time.monotonic_ns()
        row["step"] = trainer.step
        self._trace.add("step", rank=self._seat.rank, pid=os.getpid(), step=trainer.step)

    def stopping(self) -> bool:
        """Return whether the supervisor asked for the end."""
        return bool(self._control["stop"])

    def _save(self, trainer: Trainer, step_s: float) -> None:
        """Account for the step and copy the training out of this process."""
        control = self._control
        self._board.step_s[trainer.step - 1] = step_s
        control["step_s"] += step_s
        every = int(control["snapshot_every"])
        last = trainer.step == trainer.config.iterations or bool(control["stop"])
        if trainer.step % every and not last:
            return
        self._board.beat(self._seat.rank, Section.SNAPSHOT)
        begun = time.monotonic()
        self._snapshots.write(trainer.step, trainer.tensors(), trainer.progress.to_dict())
        stall_s = time.monotonic() - begun
        control["snapshot_s"] += stall_s
        if not self._seat.options.snapshot_every:
            control["snapshot_every"] = self._affordable(stall_s)

    def _affordable(self, stall_s: float) -> int:
        """Return how many steps apart snapshots may be to cost next to nothing."""
        self._stalls = [*self._stalls[-_STALLS:], stall_s]
        usual_s = self._board.median_step_s()
        if len(self._stalls) < _STALLS or not usual_s > 0:
            return 1
        share = sorted(self._stalls)[_STALLS // 2] / usual_s
        return max(1, min(_MAX_EVERY, round(share / _STALL_SHARE)))

    def _replay(self, trainer: Trainer, packets: list[Tensor], before: list[Tensor]) -> None:
        """Make the first shard of the next worker again and compare all checksums.

        Raises:
            CorruptionError: if two workers disagree.
        """
        group = self._group
        shard = (group.rank + 1) % group.world_size
        again = self._material.batches.part(shard, group.shards).batch(trainer.step)
        own = digest(packets[0])
        copy_all(list(trainer.net.buffers()), before)
        replayed = digest(pack(trainer, trainer.prepare(again), stop=False))
        mine = torch.tensor([own, replayed], device=trainer.device)
        told = mine.new_empty(group.world_size * 2)
        if group.world_size > 1:
            dist.all_gather_single(told, mine)
        else:
            told = mine
        sums = told.view(-1, 2).cpu().tolist()
        for rank, (_, seen) in enumerate(sums):
            other = (rank + 1) % group.world_size
            if seen != sums[other][0]:
                self.evidence = {"step": trainer.step, "checksums": sums}
                raise CorruptionError(
                    f"step {trainer.step + 1}: worker {other} made other gradients of its samples "
                    f"than worker {rank} did"
                )


def _device(place: int) -> torch.device:
    """Return the accelerator of a place, or the CPU."""
    device = choose_device()
    if device.type == "cpu":
        return device
    torch.accelerator.set_device_index(place)
    return torch.device(device.type, place)


def _meeting(seat: Seat) -> TCPStore:
    """Return the store where the workers of this group, and no other, meet."""
    return TCPStore(
        "127.0.0.1",
        seat.port,
        seat.world_size,
        is_master=seat.rank == 0,
        timeout=timedelta(seconds=60),
        wait_for_workers=False,
        master_listen_fd=seat.listener if seat.rank == 0 else None,
        use_libuv=True,
    )


def _exit_code(error: BaseException, section: Section, world_size: int) -> int:
    """Return the typed exit code of an error."""
    match error:
        case BadBatchError():
            return EXIT_NON_FINITE
        case CorruptionError():
            return EXIT_CORRUPTION
        case RuntimeError() if section == Section.EXCHANGE and world_size > 1:
            return EXIT_PEER_LOST
        case _:
            return exit_code_of(error)


def _leave(seat: Seat, error: BaseException, step: int, evidence: dict[str, Any]) -> None:
    """Write why this worker ends."""
    frames = traceback.extract_tb(error.__traceback__)
    last = frames[-1] if frames else None
    line = f"{Path(last.filename).name}:{last.lineno} {last.name}" if last else "?"
    wreck = Wreck(
        type(error).__name__,
        str(error),
        f"{type(error).__name__} at {line}",
        step,
        "".join(traceback.format_exception(error)),
        evidence,
    )
    wreck_path(seat.folder, seat.rank).write_text(json.dumps(asdict(wreck)))
