"""How a supervised training runs. None of it changes which model comes out."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from scene.errors import ConfigError
from training.supervisor.chaos import Injection, parse
from training.supervisor.hangs import Patience
from training.supervisor.policy import Limits


@dataclass(frozen=True, kw_only=True, slots=True)
class Options:
    """Settings of one attempt.

    Attributes:
        workers: processes that share every batch.
        spares: places beyond them that are used when one is excluded.
        chaos: faults on purpose, see `training.supervisor.chaos.parse`.
        replay_every: steps between two that are done again on another worker and compared; 0
            for never.
        snapshot_every: steps between snapshots in memory; 0 chooses it so that they hold up a step
            by 2 % at most on the average.
        trace: file that steps and faults are appended to, or None.
        export: whether to write the model at the end; else the last checkpoint stays.
        limits: when patience with faults ends.
        patience: when patience with a section ends.
        drain_s: how long an orderly end may take before the workers are killed; everything up to
            the newest snapshot is safe either way.
    """

    workers: int = 2
    spares: int = 0
    chaos: str = ""
    replay_every: int = 0
    snapshot_every: int = 0
    trace: Path | None = None
    export: bool = True
    limits: Limits = field(default_factory=Limits)
    patience: Patience = field(default_factory=Patience)
    drain_s: float = 20.0

    def __post_init__(self) -> None:
        """Refuse settings that cannot work."""
        if self.workers < 1 or min(self.spares, self.replay_every, self.snapshot_every) < 0:
            raise ConfigError(
                f"workers must be >= 1, spares, replay_every and snapshot_every >= 0; got "
                f"{self.workers}, {self.spares}, {self.replay_every}, {self.snapshot_every}"
            )
        places = self.workers + self.spares
        beyond = [
            i for i in self.injections if i.rank >= (places if i.kind == "slow" else self.workers)
        ]
        if beyond:
            raise ConfigError(
                f"chaos {self.chaos!r}: {beyond[0].kind}@{beyond[0].rank}, but workers are 0 to "
                f"{self.workers - 1}"
            )

    @property
    def injections(self) -> tuple[Injection, ...]:
        """The faults on purpose."""
        return parse(self.chaos)
