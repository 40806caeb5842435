"""What is started on each engine."""

from __future__ import annotations

from pathlib import Path

import pytest

from scene.errors import ConfigError
from training.engines import ENGINES, Setup, training_command

JOB = Path("job.json")


def test_every_engine_gets_the_job_and_the_number_of_workers() -> None:
    for engine in ENGINES:
        arguments = training_command(engine, JOB, 3).arguments
        assert str(JOB) in arguments
        assert "3" in arguments


def test_what_an_engine_cannot_do_is_refused() -> None:
    with pytest.raises(ConfigError, match="makes no faults"):
        training_command("torchrun", JOB, 2, ["--chaos", "kill:1s"])
    with pytest.raises(ConfigError, match="makes no faults"):
        training_command("ray", JOB, 2, ["--chaos", "kill:1s"])
    with pytest.raises(ConfigError, match="none of starloop"):
        training_command("slurm", JOB, 2)


def test_a_setup_becomes_the_command_of_its_engine() -> None:
    chaos = Setup(workers="2", chaos="kill:30s").command(JOB).arguments
    assert chaos[1:] == [
        "-m", "training.train", "--job", "job.json", "--chaos", "kill:30s", "--workers", "2",
    ]  # fmt: skip
    setup = Setup(
        engine="ray", workers="1:4", devices_per_worker=0.1, accelerator_type="L4",
        ray_address="head:6379", ray_folder="s3://fleet/ray",
    )  # fmt: skip
    assert setup.command(JOB).arguments[1:] == [
        "-m", "training.on_ray", "--job", "job.json", "--workers", "1:4",
        "--devices-per-worker", "0.1", "--accelerator-type", "L4", "--folder", "s3://fleet/ray",
        "--address", "head:6379",
    ]  # fmt: skip


@pytest.mark.parametrize(("workers", "shards"), [("1", 1), ("2", 2), ("1:2", 2), ("2:4", 12)])
def test_every_number_of_workers_can_share_the_shards(workers: str, shards: int) -> None:
    assert Setup(engine="ray", workers=workers).shards == shards


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"engine": "slurm"}, "none of starloop"),
        ({"workers": "many"}, "least:most"),
        ({"workers": "0"}, "at least 1"),
        ({"workers": "1:4"}, "only engine ray takes a range"),
        ({"engine": "ray", "devices_per_worker": -1.0}, "such as 0.1"),
        ({"engine": "ray", "chaos": "kill:1s"}, "no faults on purpose"),
    ],
)
def test_a_setup_that_no_engine_can_do_is_refused(values: dict, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        Setup(**values)
