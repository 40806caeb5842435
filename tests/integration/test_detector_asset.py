"""The asset `detector` as the Launchpad starts it: killed, cancelled, resumed, on a Ray cluster.

Whatever happens on the way, the model has the bits of the training that nothing happened to.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import psutil
import pytest

from pipelines.services.ports import free_ports
from tests.support.detector_asset import ROOT, Plant
from tests.support.fault_lab import UNHURRIED
from training.checkpoint import newest_checkpoint
from training.engines import Setup

pytestmark = [pytest.mark.integration, pytest.mark.timeout(1200)]
ITERATIONS = 10


@pytest.fixture(scope="module")
def instance() -> Iterator[dg.DagsterInstance]:
    with dg.DagsterInstance.ephemeral() as made:
        yield made


@pytest.fixture(scope="module")
def calm(tmp_path_factory: pytest.TempPathFactory, instance: dg.DagsterInstance) -> str:
    """The bits of a training of two workers that nothing happened to."""
    plant = Plant(tmp_path_factory.mktemp("calm"), ITERATIONS)
    result = plant.materialise(instance, workers="2")
    assert result.success
    told = plant.metadata(result)
    assert (told["engine"], told["workers"]) == ("starloop", "2")
    assert "killed" not in told["goodput"]["faults"]  # a busy machine may look like a hang
    assert told["resumed_from"] == 0
    assert told["samples_per_s"] > 0
    assert "| productive |" in told["time"]
    return plant.bits(told["model"])


class Cancel(threading.Thread):
    """Interrupts the run, as Dagster does for the button, once a step was told."""

    def __init__(self, instance: dg.DagsterInstance) -> None:
        super().__init__(daemon=True)
        self.family: list[psutil.Process] = []
        self._others = set(psutil.Process().children(recursive=True))  # of other tests
        self._instance, self._known = instance, {r.run_id for r in instance.get_runs()}

    def run(self) -> None:
        until = time.monotonic() + 600
        while time.monotonic() < until and not self._training():
            time.sleep(0.1)
        self.family = list(set(psutil.Process().children(recursive=True)) - self._others)
        signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGINT)

    def _training(self) -> bool:
        return any(
            "it/s" in record.user_message
            for run in self._instance.get_runs()
            if run.run_id not in self._known
            for record in self._instance.all_logs(run.run_id)
        )


def test_cancelled_resumed_and_killed_it_makes_the_same_bits(
    calm: str, instance: dg.DagsterInstance, tmp_path: Path
) -> None:
    plant = Plant(tmp_path, ITERATIONS)
    cancel = Cancel(instance)
    cancel.start()
    assert not plant.materialise(instance, workers="2", chaos=UNHURRIED).success
    cancel.join()
    assert len(cancel.family) >= 3  # the supervisor and its workers
    assert not [process for process in cancel.family if process.is_running()]
    model = next(stat.key for stat in plant.workspace.store.list("checkpoints/")).split("/")[1]
    left = newest_checkpoint(plant.workspace.store, model)
    assert left is not None
    assert 0 < left.step < ITERATIONS, "cancelled too late"
    result = plant.materialise(instance, workers="2", chaos=f"kill@1:{left.step + 1}")
    assert result.success
    told = plant.metadata(result)
    assert told["model"] == model
    assert told["resumed_from"] == left.step
    assert told["goodput"]["faults"]["killed"] == 1
    assert "| killed | 1 | 1 |" in told["faults"]
    assert plant.bits(model) == calm


@pytest.fixture(scope="module")
def head() -> Iterator[str]:
    """A Ray cluster beside this process, as far away as one on another machine; its address."""
    pytest.importorskip("ray", reason="pip install 'starloop[ray]'")
    [port] = free_ports(1)
    node = {
        "num_cpus": 2, "num_gpus": 1, "include_dashboard": True, "dashboard_host": "127.0.0.1",
        "dashboard_port": port, "dashboard_agent_listen_port": 0,  # 52365 may be another cluster's
    }  # fmt: skip
    script = (
        "import time; from ray.cluster_utils import Cluster; "
        f"Cluster(initialize_head=True, head_node_args={node}); "
        "print('up', flush=True); time.sleep(1e6)"
    )
    environment = {
        **os.environ,
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "PYTHONPATH": str(ROOT),
        "RAY_AUTH_MODE": "disabled",  # Ray reads it when first imported: too early to set it here
    }
    for _ in range(3):  # a busy machine may take longer than Ray waits for its own node
        process = subprocess.Popen(
            [sys.executable, "-c", script], env=environment, stdout=subprocess.PIPE, text=True
        )
        assert process.stdout is not None
        if process.stdout.readline() == "up\n":
            break
        assert process.wait() != 0
    else:
        pytest.fail("Ray's head did not come up in three tries; see its output above")
    yield f"http://127.0.0.1:{port}"
    family = psutil.Process(process.pid).children(recursive=True)
    process.terminate()
    process.wait()
    for member in family:
        if member.is_running():
            member.kill()


def test_as_a_job_of_a_ray_cluster_with_tenths_of_a_device_it_makes_the_same_bits(
    calm: str, head: str, instance: dg.DagsterInstance, tmp_path: Path
) -> None:
    setup = Setup(engine="ray", workers="1:2", ray_address=head, backend="gloo")
    plant = Plant(tmp_path, ITERATIONS, setup)
    result = plant.materialise(instance, devices_per_worker=0.1)
    assert result.success
    told = plant.metadata(result)
    assert (told["engine"], told["workers"]) == ("ray", "1:2")
    assert told["Ray Job ID"].startswith("pipes-")
    assert plant.bits(told["model"]) == calm
    checks = {e.check_name: e.passed for e in result.get_asset_check_evaluations()}
    assert checks == {"checkpoint_exists": True, "onnx_parity": True}
