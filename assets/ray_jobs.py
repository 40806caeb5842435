"""A training as a job of a Ray cluster, through dagster-ray: near or far, or made by KubeRay."""

from __future__ import annotations

import json
import shlex
import time
from pathlib import Path
from typing import Any

import dagster as dg

from assets.processes import reported
from scene.errors import ConfigError
from training.engines import Setup

_STOP_S = 60  # Ray gives a job 3 seconds to end, unless told otherwise
_NO_AGENT = "No available agent"  # what a cluster answers that has just come up
_AGENT_S = 120.0
_AGENT_PAUSE_S = 3.0


def goes_to_a_cluster(setup: Setup) -> bool:
    """Return whether a training is sent to a cluster as a job, instead of started here."""
    return setup.engine == "ray" and (
        bool(setup.ray_manifest) or setup.ray_address.startswith(("http://", "https://"))
    )


def submission(setup: Setup, job: str) -> dict[str, Any]:
    """Return the job as Ray's job API takes it.

    Args:
        setup: number and kind of the workers.
        job: content of a job file, without secrets: all users of a cluster can read it.
    """
    short = json.dumps(json.loads(job), separators=(",", ":"))
    entrypoint = [
        "python", "-m", "training.on_ray", "--job", short, "--workers", setup.workers,
        "--address", "auto", *setup.ray_arguments(),
    ]  # fmt: skip
    return {
        "entrypoint": shlex.join(entrypoint),
        "runtime_env": {"env_vars": {"RAY_JOB_STOP_WAIT_TIME_S": str(_STOP_S)}},
    }


def read_manifest(path: Path) -> dict[str, Any]:
    """Return the RayJob in a file.

    Raises:
        ConfigError: if there is none.
    """
    import yaml

    try:
        documents = [d for d in yaml.safe_load_all(path.read_text(encoding="utf-8")) if d]
    except (OSError, yaml.YAMLError) as error:
        raise ConfigError(f"ray_manifest {path}: {error}") from error
    jobs = [d for d in documents if isinstance(d, dict) and d.get("kind") == "RayJob"]
    if len(jobs) != 1:
        raise ConfigError(f"ray_manifest {path}: expected one RayJob, found {len(jobs)}")
    return jobs[0]


def run_ray_job(context: dg.AssetExecutionContext, setup: Setup, job: str) -> dg.MaterializeResult:
    """Run a training on a cluster to its end and return what it reported through Pipes.

    A cancelled run stops the job, whose workers then write a checkpoint.

    Raises:
        ConfigError: if a package is missing.
        dg.Failure: if the job failed, or ended without reporting a model.
    """
    try:
        done = _run(context, setup, job)
    except RuntimeError as error:  # dagster-ray knows no other for a job that failed
        raise dg.Failure(str(error), allow_retries=False) from error
    return reported(done.get_results(implicit_materializations=False), "Ray job")


def _run(context: dg.AssetExecutionContext, setup: Setup, job: str) -> Any:
    """Run a job; a cluster that does not take any yet is asked again for two minutes."""
    until = time.monotonic() + _AGENT_S
    while True:
        try:  # a client each time: its reader of messages ends with the session of a try
            return _client(setup)(context, submission(setup, job))
        except RuntimeError as error:
            if _NO_AGENT not in str(error) or time.monotonic() > until:
                raise
            context.log.info("the Ray cluster takes no jobs yet; asking again")
            time.sleep(_AGENT_PAUSE_S)


def _client(setup: Setup) -> Any:
    """Return a function that runs a submission."""
    if setup.ray_manifest:
        try:
            from dagster_ray.kuberay import PipesKubeRayJobClient
        except ImportError as error:
            raise ConfigError(
                "a RayJob on Kubernetes needs: pip install 'starloop[kuberay]'"
            ) from error
        manifest = read_manifest(Path(setup.ray_manifest))
        return lambda context, params: PipesKubeRayJobClient().run(
            context=context, submit_job_params=params, ray_job=manifest
        )
    try:
        from dagster_ray import PipesRayJobClient
    except ImportError as error:
        raise ConfigError("engine ray needs: pip install 'starloop[ray]'") from error
    client = PipesRayJobClient(address=setup.ray_address)
    return lambda context, params: client.run(context=context, submit_job_params=params)
