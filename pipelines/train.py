"""`starloop train` with options: one supervised training outside the loop, with faults if asked."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory

import click

from loop.train import data_options
from loop.turns import latest_dataset
from pipelines.settings import Settings
from scene.errors import ConfigError
from training.identity import model_id_of
from training.job import Job
from training.recipes import recipe


@dataclass(frozen=True)
class TrainOptions:
    """What the command line asks for.

    Attributes:
        recipe: name of a recipe.
        dataset: digest, or "latest".
        workers: processes that share every batch; of Ray also a range such as 1:4; empty as set.
        engine: see `training.engines`; empty as set.
        chaos: faults on purpose, empty for none.
        iterations: optimiser steps; 0 for the recipe's own number.
    """

    recipe: str
    dataset: str
    workers: str
    engine: str
    chaos: str
    iterations: int


def run(settings: Settings, options: TrainOptions) -> int:
    """Train; return the exit code of the training process.

    Raises:
        ConfigError: if the options contradict each other.
        NotFoundError: if there is no dataset yet.
    """
    setup = replace(
        settings.training.setup(),
        engine=options.engine or settings.training.engine,
        workers=options.workers or settings.training.workers,
        chaos=options.chaos,
    )
    if setup.engine == "ray" and setup.ray_address.startswith("http"):
        raise ConfigError(
            f"ray_address {setup.ray_address} takes jobs, which Dagster's asset `detector` sends; "
            "here, name the head's own address, such as head:6379"
        )
    workspace = settings.workspace()
    digest = options.dataset
    if digest == "latest":
        digest = latest_dataset(workspace)
    config = recipe(options.recipe)
    if config.batch_size % setup.shards:
        raise ConfigError(
            f"recipe {options.recipe} has batches of {config.batch_size} frames, which "
            f"{setup.workers} workers cannot share evenly"
        )
    config = replace(
        config,
        shards=setup.shards,
        iterations=options.iterations or config.iterations,
    )
    model = model_id_of(digest, config, None)
    with TemporaryDirectory(prefix="starloop-train-") as folder:
        path = Path(folder) / "job.json"
        path.touch(mode=0o600)  # it may hold the store's secret
        path.write_text(
            json.dumps(
                Job(
                    workspace.store_config, digest, config, None, model, data_options(workspace)
                ).to_dict()
            )
        )
        command = setup.command(path)
        click.echo(f"model {model}, dataset {digest[:12]}, engine {setup.engine}")
        child = subprocess.Popen(
            command.arguments,
            cwd=Path(__file__).resolve().parents[1],
            env={**os.environ, **command.environment},
        )
        return _wait(child)


def _wait(child: subprocess.Popen[bytes]) -> int:
    """Return the exit code; Ctrl-C reaches the child by itself, and is waited for."""
    while True:
        try:
            return child.wait()
        except KeyboardInterrupt:
            click.echo("stopping in good order; wait", err=True)


def exit_with(code: int) -> None:
    """End the command with the training's exit code."""
    sys.exit(code if code >= 0 else 128 - code)
