"""Training on a real Ray cluster of this machine: killed workers, parts of a device, errors."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import psutil
import pytest

from storage.store import ObjectStore
from tests.integration.test_training_process import CONFIG, Workshop, run
from training.artifacts import is_complete, read_config
from training.checkpoint import newest_checkpoint
from training.identity import model_id_of
from training.job import Job
from training.process import EXIT_CONFIG, EXIT_PREEMPTED, StopRequest

ray = pytest.importorskip("ray", reason="pip install 'starloop[ray]'")
pytestmark = [pytest.mark.integration, pytest.mark.timeout(1800)]  # two cores start it slowly
SHARED = replace(CONFIG, shards=2, iterations=60, checkpoint_every=4)


@pytest.fixture(scope="module")
def cluster() -> Iterator[None]:
    """A cluster of this machine that pretends to have one accelerator."""
    for attempt in range(3):  # a busy machine may take longer than Ray waits for its own node
        try:
            ray.init(address="local", num_cpus=2, num_gpus=1, include_dashboard=False)
            break
        except Exception:
            ray.shutdown()
            if attempt == 2:
                raise
    yield
    ray.shutdown()


def _workers() -> list[psutil.Process]:
    """Return the processes of Ray that train, all of them descendants of this one."""
    found = []
    for process in psutil.Process().children(recursive=True):
        try:
            if "RayTrainWorker" in " ".join(process.cmdline()):
                found.append(process)
        except psutil.NoSuchProcess:
            continue
    return found


class Killer(threading.Thread):
    """Kills one worker once the first checkpoint is there; remembers how many there were."""

    def __init__(self, store: ObjectStore, run: str) -> None:
        super().__init__(daemon=True)
        self.seen, self._store, self._run = 0, store, run

    def run(self) -> None:
        until = time.monotonic() + 900
        while newest_checkpoint(self._store, self._run) is None and time.monotonic() < until:
            time.sleep(0.05)
        workers = _workers()
        self.seen = len(workers)
        workers[-1].kill()


def test_a_killed_worker_changes_nothing_and_two_share_a_device(
    cluster: None, tmp_path: Path
) -> None:
    from training.on_ray import Scale, train_on_ray

    plain = Workshop(tmp_path / "plain")
    path, name = plain.job(SHARED)
    assert run(path).returncode == 0
    shop = Workshop(tmp_path / "ray")
    job = Job.read(shop.job(SHARED)[0])
    assert job.model_id == name
    killer = Killer(shop.store, name)
    killer.start()
    # there is one device: two workers run at the same time only on parts of it
    scale = Scale(1, 2, devices_per_worker=0.5, backend="gloo")
    assert train_on_ray(job, scale, str(tmp_path / "state")) == (0, "")
    assert killer.seen == 2
    config = read_config(shop.store, name)
    assert config is not None
    assert config["resumed_from"] >= SHARED.checkpoint_every
    assert shop.digest(name) == plain.digest(name)


def test_asked_to_stop_the_workers_leave_a_checkpoint_after_the_same_step(
    cluster: None, tmp_path: Path
) -> None:
    from training.on_ray import Scale, train_on_ray

    shop = Workshop(tmp_path)
    job = Job.read(shop.job(replace(SHARED, iterations=100_000))[0])
    stop = StopRequest()
    asking = (stop, shop.store, job.model_id)
    threading.Thread(target=_ask_once_trained, args=asking, daemon=True).start()
    code, why = train_on_ray(job, Scale(2, 2, backend="gloo"), str(tmp_path / "state"), stop)
    assert code == EXIT_PREEMPTED
    left = newest_checkpoint(shop.store, job.model_id)
    assert left is not None
    assert f"checkpoint written at step {left.step}" in why
    assert 0 < left.step < 100_000


def _ask_once_trained(stop: StopRequest, store: ObjectStore, run: str) -> None:
    """Ask to stop once a checkpoint says that the workers are in their steps."""
    until = time.monotonic() + 900
    while newest_checkpoint(store, run) is None and time.monotonic() < until:
        time.sleep(0.2)
    stop.ask()


def test_an_order_that_cannot_work_is_not_tried_again(cluster: None, tmp_path: Path) -> None:
    from training.on_ray import Scale, train_on_ray

    shop = Workshop(tmp_path)
    missing = "0" * len(shop.dataset)
    name = model_id_of(missing, CONFIG, None)
    job = Job(shop.config, missing, CONFIG, None, name)
    code, why = train_on_ray(job, Scale(max_failures=2), str(tmp_path / "state"))
    assert code == EXIT_CONFIG
    assert missing[:8] in why
    assert not is_complete(shop.store, name)
