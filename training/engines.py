"""How a training is started on each engine. The script and its exit codes are the same for all.

`starloop` is our supervisor (`training.supervisor`). `torchrun` is torch's own launcher, with the
settings without which its restarts race (pytorch#135712). `ray` is for many machines; it makes a
cluster of this one unless RAY_ADDRESS names another (`training.on_ray`).
"""

from __future__ import annotations

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


def training_command(
    engine: str, job: Path, workers: int, options: Sequence[str] = (), *, max_restarts: int = 100
) -> Command:
    """Return the command that trains a job file with some workers on this machine.

    Args:
        engine: a name of `ENGINES`.
        job: see `training.job`.
        workers: processes that share every batch; they must divide the job's shards.
        options: further arguments of `training.train`.
        max_restarts: of torchrun, which does not know whether there was progress.

    Raises:
        ConfigError: if the engine is unknown or cannot do what is asked.
    """
    script = ["-m", "training.train", "--job", str(job), *options]
    if engine == "starloop":
        return Command([sys.executable, *script, "--workers", str(workers)], {})
    if engine == "torchrun":
        if "--chaos" in options:
            raise ConfigError("torchrun makes no faults on purpose; use --engine starloop")
        launcher = [
            sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node",
            str(workers), "--monitor-interval", "0.1", "--max-restarts", str(max_restarts),
        ]  # fmt: skip
        # Without it a new attempt may read the addresses of the one before.
        return Command([*launcher, *script], {"TORCH_DISABLE_SHARE_RDZV_TCP_STORE": "1"})
    if engine == "ray":
        if options:
            raise ConfigError(f"engine ray knows no {options[0]}; use --engine starloop")
        ray = ["-m", "training.on_ray", "--job", str(job), "--workers", str(workers)]
        return Command([sys.executable, *ray], {})
    raise ConfigError(f"engine {engine!r} is none of {', '.join(ENGINES)}")
