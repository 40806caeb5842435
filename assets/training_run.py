"""What one run may choose about its training, in the Launchpad or by a schedule's run config."""

from dataclasses import replace

import dagster as dg
from pydantic import Field

from training.engines import Setup


class TrainingRun(dg.Config):
    """How this run trains. What is left empty is as the settings (`STARLOOP_TRAINING__...`) say."""

    engine: str = Field(
        default="",
        description="starloop (our supervisor, this machine), torchrun (this machine) or ray.",
    )
    workers: str = Field(
        default="",
        description="Processes that share every batch: 2; of Ray also 1:4, between which it may "
        "shrink and grow.",
    )
    devices_per_worker: float | None = Field(
        default=None, description="Of Ray: accelerators of a worker; 0.1 lets ten share one."
    )
    accelerator_type: str = Field(
        default="", description="Of Ray: such as L4, in a cluster of several kinds."
    )
    ray_address: str = Field(
        default="", description="Of Ray: http://head:8265; a cluster of this machine if not set."
    )
    chaos: str = Field(
        default="", description="Of starloop: faults on purpose, such as kill:30s,hang:2m."
    )

    def over(self, setup: Setup) -> Setup:
        """Return the settings with what this run chose.

        Raises:
            ConfigError: if no engine can do what results.
        """
        chosen = {
            name: value for name, value in self.model_dump().items() if value not in ("", None)
        }
        return replace(setup, **chosen)
