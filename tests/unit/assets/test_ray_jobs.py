"""What a training as a Ray job asks of a cluster, and of Kubernetes through KubeRay."""

from __future__ import annotations

import json
import re
import shlex
from dataclasses import replace
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
import yaml

from assets import ray_jobs
from assets.ray_jobs import goes_to_a_cluster, read_manifest, run_ray_job, submission
from loop.config import LoopConfig
from loop.train import plan_training
from pipelines.settings import PREFIX, TrainingSettings
from scene.errors import ConfigError
from tests.support.workspaces import make_workspace
from training.engines import Setup
from training.job import Job

ROOT = Path(__file__).resolve().parents[3]
MANIFEST = ROOT / "deploy" / "ray" / "training.yaml"
SETUP = Setup(
    engine="ray", workers="1:4", devices_per_worker=0.5, accelerator_type="L4",
    ray_folder="s3://fleet/ray", ray_manifest=str(MANIFEST),
)  # fmt: skip


@pytest.fixture
def job(tmp_path: Path) -> str:
    workspace = make_workspace(tmp_path, LoopConfig(recipe="small", shards=4))
    return plan_training(workspace, "d" * 64, 0).to_json(workspace, secrets=False)


def test_where_a_training_goes() -> None:
    assert goes_to_a_cluster(SETUP)
    assert goes_to_a_cluster(Setup(engine="ray", ray_address="http://head:8265"))
    assert not goes_to_a_cluster(Setup(engine="ray"))  # a cluster of this machine
    assert not goes_to_a_cluster(Setup(engine="ray", ray_address="head:6379"))
    assert not goes_to_a_cluster(Setup(ray_address="http://head:8265"))  # not asked for


def test_the_entrypoint_is_the_training_with_its_settings(job: str) -> None:
    words = shlex.split(submission(SETUP, job)["entrypoint"])
    assert words[:4] == ["python", "-m", "training.on_ray", "--job"]
    assert Job.parse(words[4]) == Job.parse(job)
    assert words[5:] == [
        "--workers", "1:4", "--address", "auto", "--devices-per-worker", "0.5",
        "--accelerator-type", "L4", "--folder", "s3://fleet/ray",
    ]  # fmt: skip


def test_no_secret_is_in_what_a_cluster_is_told(tmp_path: Path) -> None:
    workspace = make_workspace(tmp_path, LoopConfig(recipe="small"))
    keys = replace(workspace.store_config, access_key="me", secret_key="hunter2")
    workspace = replace(workspace, store_config=keys)
    planned = plan_training(workspace, "d" * 64, 0)
    assert "hunter2" in planned.to_json(workspace)
    told = submission(SETUP, planned.to_json(workspace, secrets=False))
    assert "hunter2" not in json.dumps(told)


def test_the_manifest_names_what_the_settings_name() -> None:
    manifest = read_manifest(MANIFEST)
    spec = manifest["spec"]
    cluster = spec["rayClusterSpec"]
    lock = (ROOT / "constraints.txt").read_text()
    assert f"ray=={cluster['rayVersion']}\n" in lock
    assert "name" not in manifest["metadata"]  # two runs may not meet
    assert (spec["shutdownAfterJobFinishes"], spec["backoffLimit"]) == (True, 0)
    (group,) = cluster["workerGroupSpecs"]
    least, most = (int(n) for n in SETUP.workers.split(":"))
    assert group["minReplicas"] < least <= most <= group["maxReplicas"]
    resources = json.loads(json.loads(group["rayStartParams"]["resources"]))
    assert resources == {f"accelerator_type:{SETUP.accelerator_type}": 1}
    (container,) = group["template"]["spec"]["containers"]
    assert container["resources"]["limits"]["nvidia.com/gpu"] == group["rayStartParams"]["num-gpus"]
    text = MANIFEST.read_text()
    named = re.findall(rf"{PREFIX}TRAINING__(\w+)=", text)
    assert {name.lower() for name in named} <= set(TrainingSettings.model_fields)
    assert len(named) >= 6


class Recorder:
    """Stands where Kubernetes would be, which is not there: keeps what it is asked to create."""

    bodies: list[dict[str, Any]] = []  # noqa: RUF012

    def create(self, body: dict[str, Any], namespace: str) -> None:
        assert body["metadata"]["namespace"] == namespace
        self.bodies.append(body)

    def wait_until_running(self, **_: Any) -> None:
        raise RuntimeError("no node could be had")


@pytest.mark.slow
def test_kubernetes_is_asked_for_the_manifest_with_the_job_in_it(
    job: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    pipes = pytest.importorskip("dagster_ray.kuberay.pipes", reason="starloop[kuberay]")
    monkeypatch.setattr(pipes, "RayJobClient", Recorder)

    @dg.asset
    def trained(context):  # Dagster does not resolve string annotations here
        return run_ray_job(context, SETUP, job)

    result = dg.materialize([trained], raise_on_error=False)
    failure = next(event for event in result.all_events if event.is_step_failure)
    assert "no node could be had" in str(failure.step_failure_data.error)
    (body,) = Recorder.bodies
    assert body["spec"]["entrypoint"] == submission(SETUP, job)["entrypoint"]
    variables = yaml.safe_load(body["spec"]["runtimeEnvYAML"])["env_vars"]
    assert {"DAGSTER_PIPES_CONTEXT", "DAGSTER_PIPES_MESSAGES", "RAY_JOB_STOP_WAIT_TIME_S"} <= set(
        variables
    )
    template = read_manifest(MANIFEST)["spec"]["rayClusterSpec"]
    assert body["spec"]["rayClusterSpec"] == template


@pytest.mark.parametrize(
    ("answer", "asked"),
    [("500: No available agent to submit job", 3), ("500: the job failed", 1)],
)
def test_only_a_cluster_that_takes_no_jobs_yet_is_asked_again(
    answer: str, asked: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = []

    def client(*_: Any) -> Any:
        calls.append(answer)
        raise RuntimeError(answer if len(calls) < 3 else "the job failed")

    clients = []
    monkeypatch.setattr(ray_jobs, "_AGENT_PAUSE_S", 0.0)
    monkeypatch.setattr(ray_jobs, "_client", lambda _: clients.append(1) or client)

    @dg.asset
    def trained(context):  # Dagster does not resolve string annotations here
        return run_ray_job(context, SETUP, "{}")

    assert not dg.materialize([trained], raise_on_error=False).success
    assert len(calls) == len(clients) == asked  # the reader of a client serves one session


@pytest.mark.parametrize(
    "text", ["", "kind: RayCluster", "a: [", "kind: RayJob\n---\nkind: RayJob"]
)
def test_a_file_without_one_job_is_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "job.yaml"
    path.write_text(text)
    with pytest.raises(ConfigError, match="ray_manifest"):
        read_manifest(path)
