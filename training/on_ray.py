"""The same training on a Ray cluster: `python -m training.on_ray --job job.json --workers 1:4`.

Ray Train places the workers, restarts the group after a lost worker or node and lets it shrink
and grow between two sizes. What a worker does is `training.train.run_job`: it resumes from the
newest checkpoint in the store, and gradients are added in an order that does not depend on the
number of workers, so the model has the same bits whatever happened on the way. A step that hangs
ends its worker's process at a deadline, which Ray sees at once, where its own health check takes
minutes. SIGTERM to this process is passed on to the workers: they end after the same step, with a
checkpoint. Exit codes are those of `training.train`.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from scene.errors import ConfigError
from storage.open import open_store
from training import artifacts
from training.engines import worker_range
from training.exits import EXPECTED, exit_code_of
from training.job import Job
from training.make import report_model
from training.process import EXIT_CONFIG, EXIT_PREEMPTED, StopRequest
from training.report import LogReporter, open_reporter, set_up_logging
from training.train import run_job

_HOW_TO_INSTALL: Final = "Ray is not installed: pip install 'starloop[ray]'"
_LOOK_EVERY_S: Final = 0.5


@dataclass(frozen=True, slots=True)
class Scale:
    """What a training asks of the cluster, in Ray's terms.

    Attributes:
        min_workers, max_workers: between which the group may shrink and grow; every size in
            between that is used must divide the config's `shards`.
        cpus_per_worker: cores.
        devices_per_worker: accelerators, also a fraction: 0.1 lets ten workers share one. Ray
            only keeps the books; nothing stops a worker from using more memory than its part.
        backend: of torch's collectives; empty: nccl where workers have accelerators, else gloo.
        accelerator_type: such as "A100" or "L4" in a mixed cluster; empty for any.
        max_failures: restarts of the group before it gives up.
    """

    min_workers: int = 1
    max_workers: int = 1
    cpus_per_worker: float = 1.0
    devices_per_worker: float = 0.0
    backend: str = ""
    accelerator_type: str = ""
    max_failures: int = 8

    def check(self, shards: int) -> None:
        """Refuse what could not run at every size.

        Raises:
            ConfigError: if a size does not divide the shards, or the numbers make no sense.
        """
        if not 1 <= self.min_workers <= self.max_workers:
            raise ConfigError(
                f"workers {self.min_workers}:{self.max_workers}: expected least:most, at least 1"
            )
        odd = [n for n in range(self.min_workers, self.max_workers + 1) if shards % n]
        if odd:
            raise ConfigError(
                f"a group may come to have {odd[0]} workers, which cannot share {shards} shards "
                "evenly; set the recipe's `shards` to a multiple of every size between the two"
            )

    @classmethod
    def parse(cls, workers: str, **others: Any) -> Scale:
        """Read `2` or `1:4`.

        Raises:
            ConfigError: if it is neither.
        """
        return cls(*worker_range(workers), **others)


class Bell:
    """Lives in an actor of its own, where all workers hear whether they are asked to stop."""

    def __init__(self) -> None:
        self._rung = False

    def ring(self) -> None:
        """Ask all to stop."""
        self._rung = True

    def rung(self) -> bool:
        """Return whether they are asked to."""
        return self._rung


def train_on_ray(
    job: Job, scale: Scale, folder: str, stop: StopRequest | None = None
) -> tuple[int, str]:
    """Train on the cluster that this process is connected to.

    Args:
        job: what to train.
        scale: on what.
        folder: where Ray Train keeps the state of the run: a directory that all nodes see, or one
            of this machine for a cluster of one.
        stop: once it is true, the workers finish the step that they are in, write a checkpoint
            and end.

    Returns:
        The exit code of `training.train`, and why if it is not 0.

    Raises:
        ConfigError: if the group could come to a size that cannot share the work.
    """
    from ray.train import FailureConfig, RunConfig, ScalingConfig
    from ray.train.torch import TorchConfig, TorchTrainer

    scale.check(job.config.shards)
    bell = _hang_bell(stop or StopRequest())
    elastic = scale.min_workers != scale.max_workers
    needs: dict[str, float] = {"CPU": scale.cpus_per_worker}
    if scale.devices_per_worker:
        needs["GPU"] = scale.devices_per_worker
    trainer = TorchTrainer(
        _work,
        train_loop_config={"job": job.to_dict(), "bell": bell},
        torch_config=TorchConfig(backend=scale.backend or None),
        scaling_config=ScalingConfig(
            num_workers=(scale.min_workers, scale.max_workers) if elastic else scale.max_workers,
            use_gpu=bool(scale.devices_per_worker),
            resources_per_worker=needs,
            accelerator_type=scale.accelerator_type or None,
        ),
        run_config=RunConfig(
            name=job.model_id,
            storage_path=folder,
            failure_config=FailureConfig(max_failures=scale.max_failures),
        ),
    )
    outcome: Any = trainer.fit().return_value  # of the first worker
    return outcome


def _work(settings: dict[str, Any]) -> tuple[int, str]:
    """Do one worker's part; errors that a restart cannot help are returned, not raised."""
    set_up_logging()
    stop = StopRequest()
    threading.Thread(target=_listen, args=(settings["bell"], stop), daemon=True).start()
    try:
        run_job(Job.from_dict(settings["job"]), LogReporter(), stop)
    except EXPECTED as error:
        return exit_code_of(error), str(error)
    return 0, ""


def _hang_bell(stop: StopRequest) -> Any:
    """Return a bell that rings once `stop` is true."""
    import ray

    actor: Any = ray.remote(Bell)
    bell = actor.options(num_cpus=0).remote()

    def wait() -> None:
        while not stop():
            time.sleep(_LOOK_EVERY_S)
        if ray.is_initialized():
            ray.get(bell.ring.remote())

    threading.Thread(target=wait, daemon=True).start()
    return bell


def _listen(bell: Any, stop: StopRequest) -> None:
    """Ask this worker to stop once the bell rings; it falls silent with its driver."""
    import ray
    from ray.exceptions import RayError

    try:
        while not ray.get(bell.rung.remote()):
            time.sleep(_LOOK_EVERY_S)
        stop.ask()
    except RayError:
        return


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a job file on a Ray cluster; return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m training.on_ray", description=__doc__)
    parser.add_argument(
        "--job", required=True, help="JSON file, or its content, see training.job.Job"
    )
    parser.add_argument("--workers", default="1", help="how many: 2, or least:most such as 1:4")
    parser.add_argument("--address", default="", help="of a cluster; else one is made here")
    parser.add_argument("--devices-per-worker", type=float, default=0.0, help="0.1 is a tenth")
    parser.add_argument("--accelerator-type", default="", help="such as L4, in a mixed cluster")
    parser.add_argument("--backend", default="", help="of collectives: gloo, nccl, hccl, ...")
    parser.add_argument("--folder", default="", help="for Ray's state, seen by all nodes")
    told = parser.parse_args(arguments)
    try:
        import ray
    except ImportError:
        sys.stderr.write(_HOW_TO_INSTALL + "\n")
        return EXIT_CONFIG
    with open_reporter() as reporter, tempfile.TemporaryDirectory(prefix="starloop-ray-") as own:
        try:
            job = Job.parse(told.job) if told.job.startswith("{") else Job.read(Path(told.job))
            scale = Scale.parse(
                told.workers,
                devices_per_worker=told.devices_per_worker,
                accelerator_type=told.accelerator_type,
                backend=told.backend,
            )
            scale.check(job.config.shards)
        except ConfigError as error:
            reporter.log(f"cannot train: {error}")
            return EXIT_CONFIG
        address = told.address or os.environ.get("RAY_ADDRESS", "")
        if address:
            ray.init(address=address)
        else:
            ray.init(address="local", include_dashboard=False)
        stop = StopRequest()
        stop.listen()  # after Ray, which would end this process at once
        try:
            code, why = train_on_ray(job, scale, told.folder or own, stop)
        finally:
            ray.shutdown()
        if code:
            reporter.log(f"stopped: {why}" if code == EXIT_PREEMPTED else f"failed: {why}")
            return code
        store = open_store(job.store)
        if not artifacts.is_complete(store, job.model_id):
            reporter.log(f"failed: model {job.model_id} is not in the store")
            return 1
        report_model(store, job, reporter)
    return 0


if __name__ == "__main__":
    sys.exit(main())
