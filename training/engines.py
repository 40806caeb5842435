"""How a training is started on each engine. The script and its exit codes are the same for all.

`starloop` is our supervisor (`training.supervisor`). `torchrun` is torch's own launcher, with the
settings without which its restarts race (pytorch#135712). `ray` is for many machines; it makes a
cluster of this one unless an address names another (`training.on_ray`). Imports no torch.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal, get_args

from scene.errors import ConfigError

Engine = Literal["starloop", "torchrun", "ray"]
ENGINES: Final[tuple[str, ...]] = get_args(Engine)


@dataclass(frozen=True, slots=True)
class Command:
    """What to start.

    Attributes:
        arguments: the command line.
        environment: variables to set beside the present ones.
    """

    arguments: list[str]
    environment: dict[str, str]


@dataclass(frozen=True, kw_only=True, slots=True)
class Setup:
    """Who looks after a training, and on how much. Decides nothing about the model but `shards`.

    Attributes:
        engine: a name of `ENGINES`.
        workers: processes that share every batch: `2`; of Ray also `1:4`, between which the group
            may shrink and grow.
        devices_per_worker: of Ray: accelerators of a worker, also a part: ten workers of 0.1 share
            one.
        accelerator_type: of Ray: such as `L4`, in a cluster of several kinds.
        backend: of Ray: library of collectives, such as hccl; empty: nccl where workers have
            accelerators, else gloo.
        ray_address: of Ray: `http://head:8265` of a cluster to send the training to as a job, or
            its `head:6379`; empty for a cluster made of this machine.
        ray_manifest: of Ray on Kubernetes: file of a RayJob, such as `deploy/ray/training.yaml`; a
            cluster is made for the training and goes with it.
        ray_folder: of Ray: directory or bucket that all nodes see, for the state of the run.
        chaos: of starloop: faults on purpose, see `training.supervisor.chaos`.
    """

    engine: str = "starloop"
    workers: str = "1"
    devices_per_worker: float = 0.0
    accelerator_type: str = ""
    backend: str = ""
    ray_address: str = ""
    ray_folder: str = ""
    ray_manifest: str = ""
    chaos: str = ""

    def __post_init__(self) -> None:
        """Refuse what no engine can do.

        Raises:
            ConfigError: if the engine is unknown, or the workers are not a number or a range.
        """
        _check_engine(self.engine)
        least, most = worker_range(self.workers)
        if least != most and self.engine != "ray":
            raise ConfigError(
                f"workers {self.workers!r}: only engine ray takes a range; {self.engine} takes the "
                "largest number, and starloop goes on with fewer by itself when a place is lost"
            )
        if self.devices_per_worker < 0:
            raise ConfigError(
                f"devices_per_worker {self.devices_per_worker}: expected 0 or more, such as 0.1"
            )
        if self.chaos and self.engine != "starloop":
            raise ConfigError(f"engine {self.engine} makes no faults on purpose; use starloop")

    @property
    def shards(self) -> int:
        """Parts of a batch that every number of workers which may come can share evenly."""
        least, most = worker_range(self.workers)
        return math.lcm(*range(least, most + 1))

    def ray_arguments(self) -> list[str]:
        """Return the further arguments of `training.on_ray`."""
        told = [
            ("--devices-per-worker", f"{self.devices_per_worker:g}", self.devices_per_worker),
            ("--accelerator-type", self.accelerator_type, self.accelerator_type),
            ("--backend", self.backend, self.backend),
            ("--folder", self.ray_folder, self.ray_folder),
        ]
        return [text for name, value, given in told if given for text in (name, value)]

    def command(self, job: Path) -> Command:
        """Return the command that trains a job file from this machine.

        Raises:
            ConfigError: if the engine cannot do what is asked.
        """
        options = {
            "starloop": ["--chaos", self.chaos] if self.chaos else [],
            "torchrun": [],
            "ray": [
                *self.ray_arguments(),
                *(["--address", self.ray_address] if self.ray_address else []),
            ],
        }
        return training_command(self.engine, job, self.workers, options[self.engine])


def worker_range(workers: str) -> tuple[int, int]:
    """Return the least and the most of `2` or `1:4`.

    Raises:
        ConfigError: if it is neither, or not at least 1.
    """
    least, _, most = workers.partition(":")
    try:
        bounds = int(least), int(most or least)
    except ValueError as error:
        raise ConfigError(f"workers {workers!r}: expected a number, or least:most") from error
    if not 1 <= bounds[0] <= bounds[1]:
        raise ConfigError(
            f"workers {bounds[0]}:{bounds[1]}: expected least:most, at least 1 and in this order"
        )
    return bounds


def training_command(
    engine: str,
    job: Path,
    workers: int | str,
    options: Sequence[str] = (),
    *,
    max_restarts: int = 100,
) -> Command:
    """Return the command that trains a job file with some workers.

    Args:
        engine: a name of `ENGINES`.
        job: see `training.job`.
        workers: processes that share every batch; they must divide the job's shards.
        options: further arguments of `training.train`, of engine ray of `training.on_ray`.
        max_restarts: of torchrun, which does not know whether there was progress.

    Raises:
        ConfigError: if the engine is unknown or cannot do what is asked.
    """
    _check_engine(engine)
    script = ["-m", "training.train", "--job", str(job), *options]
    if engine == "starloop":
        return Command([sys.executable, *script, "--workers", str(workers)], {})
    if "--chaos" in options:
        raise ConfigError(f"{engine} makes no faults on purpose; use --engine starloop")
    if engine == "torchrun":
        launcher = [
            sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node",
            str(workers), "--monitor-interval", "0.1", "--max-restarts", str(max_restarts),
        ]  # fmt: skip
        # Without it a new attempt may read the addresses of the one before.
        return Command([*launcher, *script], {"TORCH_DISABLE_SHARE_RDZV_TCP_STORE": "1"})
    ray = ["-m", "training.on_ray", "--job", str(job), "--workers", str(workers), *options]
    return Command([sys.executable, *ray], {})


def _check_engine(engine: str) -> None:
    if engine not in ENGINES:
        raise ConfigError(f"engine {engine!r} is none of {', '.join(ENGINES)}")
