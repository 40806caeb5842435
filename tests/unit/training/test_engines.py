"""What is started on each engine."""

from __future__ import annotations

from pathlib import Path

import pytest

from scene.errors import ConfigError
from training.engines import ENGINES, training_command

JOB = Path("job.json")


def test_every_engine_gets_the_job_and_the_number_of_workers() -> None:
    for engine in ENGINES:
        arguments = training_command(engine, JOB, 3).arguments
        assert str(JOB) in arguments
        assert "3" in arguments


def test_what_an_engine_cannot_do_is_refused() -> None:
    with pytest.raises(ConfigError, match="makes no faults"):
        training_command("torchrun", JOB, 2, ["--chaos", "kill:1s"])
    with pytest.raises(ConfigError, match="knows no --chaos"):
        training_command("ray", JOB, 2, ["--chaos", "kill:1s"])
    with pytest.raises(ConfigError, match="none of starloop"):
        training_command("slurm", JOB, 2)
