"""The training process as Dagster starts it: learns, exports, survives kills, leaves no orphan."""

from __future__ import annotations

import hashlib
import json
import os
import re
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import dagster as dg
import numpy as np
import psutil
import pytest

from scene.box import Boxes
from storage import layout
from storage.open import StoreConfig, open_store
from tests.support.tiny_scenes import make_scene, store_dataset
from training import config as recipes
from training.artifacts import is_complete, read_config
from training.config import TrainConfig
from training.dataset import DataOptions
from training.identity import model_id_of
from training.job import Job

pytestmark = pytest.mark.integration
ROOT = Path(__file__).resolve().parents[2]
CONFIG = replace(
    recipes.small(), categories=("car", "pedestrian"), iterations=24, checkpoint_every=4
)


class Workshop:
    """A store with a dataset, and job files."""

    def __init__(self, folder: Path, num_scenes: int = 6) -> None:
        self.folder = folder
        self.config = StoreConfig(url=f"file://{folder / 'store'}")
        self.store = open_store(self.config)
        scenes = [make_scene(i) for i in range(num_scenes)]
        self.dataset = store_dataset(self.store, scenes).digest

    def job(
        self, config: TrainConfig = CONFIG, init: str | None = None, data: DataOptions | None = None
    ) -> tuple[Path, str]:
        """Write a job file; return its path and the model's name."""
        name = model_id_of(self.dataset, config, init)
        path = self.folder / f"{name}.json"
        job = Job(self.config, self.dataset, config, init, name, data or DataOptions())
        path.write_text(json.dumps(job.to_dict()))
        return path, name

    def digest(self, model: str) -> str:
        """Return the digest of a finished model's weights."""
        return hashlib.sha256(
            self.store.get(layout.model(model, "weights.safetensors"))
        ).hexdigest()


@pytest.fixture
def workshop(tmp_path: Path) -> Workshop:
    return Workshop(tmp_path)


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> tuple[Workshop, str]:
    """A workshop with one finished model, never interrupted."""
    shop = Workshop(tmp_path_factory.mktemp("finished"))
    path, name = shop.job()
    done = run(path)
    assert done.returncode == 0, done.stderr
    return shop, name


def command(path: Path) -> list[str]:
    return [sys.executable, "-m", "training.train", "--job", str(path)]


def run(path: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command(path), cwd=ROOT, capture_output=True, text=True, timeout=300, check=False
    )


def start_until(path: Path, pattern: str) -> subprocess.Popen[str]:
    """Start a training and return once a line of its output matches."""
    process = subprocess.Popen(command(path), cwd=ROOT, stderr=subprocess.PIPE, text=True)
    assert process.stderr is not None
    for line in process.stderr:
        if re.search(pattern, line):
            return process
    raise AssertionError(f"the training ended before {pattern!r}")


def wait_for_step(shop: Workshop, name: str, step: int, process: subprocess.Popen[str]) -> None:
    """Return once a checkpoint of at least that step is in the store."""
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline:
        keys = [stat.key for stat in shop.store.list(layout.checkpoint(name, "step-"))]
        if keys and int(re.findall(r"step-(\d+)", keys[-1])[0]) >= step:
            return
        assert process.poll() is None, "the training ended early"
        time.sleep(0.01)
    raise AssertionError(f"no checkpoint of step {step}")


def test_model_is_written_whole_and_not_made_twice(finished: tuple[Workshop, str]) -> None:
    shop, name = finished
    assert is_complete(shop.store, name)
    config = read_config(shop.store, name)
    assert config is not None
    assert config["dataset"] == shop.dataset
    assert config["parity"]["passed"]
    assert config["num_boxes"]["car"] > 10
    assert config["loss_curve"][-1][1] < config["loss_curve"][0][1]
    assert TrainConfig.from_dict(config["train_config"]) == CONFIG
    assert not list(shop.store.list("checkpoints/"))
    before = {stat.key: stat.modified_ns for stat in shop.store.list("models/")}
    again = run(shop.job()[0])
    assert again.returncode == 0
    assert "already finished" in again.stderr
    assert {stat.key: stat.modified_ns for stat in shop.store.list("models/")} == before


def test_killed_while_training_it_resumes_to_the_same_bits(
    workshop: Workshop, finished: tuple[Workshop, str]
) -> None:
    path, name = workshop.job()
    assert name == finished[1]
    for step in (4, 12):
        process = start_until(path, "training m-")
        wait_for_step(workshop, name, step, process)
        process.kill()
        process.wait()
        assert read_config(workshop.store, name) is None
    last = run(path)
    assert last.returncode == 0, last.stderr
    assert "resumed from step" in last.stderr
    config = read_config(workshop.store, name)
    assert config is not None
    assert config["resumed_from"] >= 12
    assert workshop.digest(name) == finished[0].digest(name)
    onnx = [shop.store.get(layout.model(name, "model.onnx")) for shop in (workshop, finished[0])]
    assert onnx[0] == onnx[1]


def test_killed_while_exporting_no_step_is_lost(
    workshop: Workshop, finished: tuple[Workshop, str]
) -> None:
    path, name = workshop.job()
    process = start_until(path, "exporting")
    process.kill()
    process.wait()
    assert read_config(workshop.store, name) is None
    last = run(path)
    assert last.returncode == 0, last.stderr
    assert "step 24/24" not in last.stderr
    assert workshop.digest(name) == finished[0].digest(name)


def test_asked_to_stop_it_saves_and_says_so(
    workshop: Workshop, finished: tuple[Workshop, str]
) -> None:
    path, name = workshop.job()
    process = start_until(path, r"step \d+/24")
    process.send_signal(signal.SIGTERM)
    assert process.stderr is not None
    rest = process.stderr.read()
    assert process.wait(timeout=60) == 75, rest
    assert "checkpoint written at step" in rest
    last = run(path)
    assert last.returncode == 0, last.stderr
    assert "resumed from step" in last.stderr
    assert workshop.digest(name) == finished[0].digest(name)


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="needs prctl of Linux")
def test_it_dies_with_its_parent(workshop: Workshop) -> None:
    path, _ = workshop.job(replace(CONFIG, iterations=100_000, seed=3))
    code = (
        "import subprocess, sys\n"
        f"child = subprocess.Popen({command(path)!r}, cwd={str(ROOT)!r})\n"
        "sys.stdout.write(f'{child.pid}\\n'); sys.stdout.flush(); child.wait()\n"
    )
    parent = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    assert parent.stdout is not None
    child = psutil.Process(int(parent.stdout.readline()))
    deadline = time.monotonic() + 60
    while not child.memory_maps() or not any("libtorch" in m.path for m in child.memory_maps()):
        assert time.monotonic() < deadline, "torch was never loaded"
        time.sleep(0.05)
    os.kill(parent.pid, signal.SIGKILL)
    parent.wait()
    _, alive = psutil.wait_procs([child], timeout=60)
    assert not alive


def test_finetuning_starts_where_the_model_ended(finished: tuple[Workshop, str]) -> None:
    shop, name = finished
    tuned = replace(CONFIG, categories=("pedestrian", "car"), iterations=10, learning_rate=1e-4)
    path, second = shop.job(tuned, name)
    done = run(path)
    assert done.returncode == 0, done.stderr
    config, start = read_config(shop.store, second), read_config(shop.store, name)
    assert config is not None
    assert start is not None
    assert config["init_model"] == name
    assert config["loss_curve"][0][1] < 0.7 * start["loss_curve"][0][1]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"init_model": "m-000000000000"}, "never finished"),
        ({"dataset": "0" * 64}, "manifest.json"),
        ({"model_id": "m-000000000000"}, "model_id_of"),
    ],
)
def test_jobs_that_cannot_be_done_end_with_78(
    workshop: Workshop, change: dict[str, str], message: str
) -> None:
    path, _ = workshop.job()
    values = json.loads(path.read_text()) | change
    if "model_id" not in change:
        values["model_id"] = model_id_of(values["dataset"], CONFIG, values["init_model"])
    path.write_text(json.dumps(values))
    done = run(path)
    assert done.returncode == 78, done.stderr
    assert message in done.stderr
    assert "Traceback" not in done.stderr


def test_a_dataset_larger_than_memory_makes_the_same_model_cold_and_warm(
    workshop: Workshop,
) -> None:
    data = DataOptions(memory_bytes=0, cache_folder=str(workshop.folder / "cache"))
    path, name = workshop.job(replace(CONFIG, iterations=6, order="epochs"), data=data)
    digests, caches = [], []
    for _ in range(2):
        done = run(path)
        assert done.returncode == 0, done.stderr
        digests.append(workshop.digest(name))
        config = read_config(workshop.store, name)
        assert config is not None
        caches.append(config["data"]["cache"])
        for stat in list(workshop.store.list(f"models/{name}/")):
            workshop.store.delete(stat.key)
    assert digests[0] == digests[1]
    assert caches[0]["written"] == 6
    assert caches[1]["misses"] == 0
    assert caches[1]["hits"] > 6


def test_dagster_sees_progress_metadata_and_checks(workshop: Workshop) -> None:
    path, name = workshop.job()

    @dg.asset(
        check_specs=[
            dg.AssetCheckSpec("checkpoint_exists", asset="detector", blocking=True),
            dg.AssetCheckSpec("onnx_parity", asset="detector", blocking=True),
        ]
    )
    def detector(context):  # Dagster does not resolve string annotations here
        client = dg.PipesSubprocessClient(cwd=str(ROOT))
        invocation = client.run(command=command(path), context=context)
        return invocation.get_materialize_result(implicit_materialization=False)

    with dg.DagsterInstance.ephemeral() as instance:
        result = dg.materialize([detector], instance=instance)
        assert result.success
        (event,) = result.asset_materializations_for_node("detector")
        assert event.metadata["model_id"].value == name
        assert event.metadata["iterations"].value == 24
        assert len(event.metadata["loss_curve"].value) >= 2
        assert float(str(event.metadata["samples_per_s"].value)) > 0
        assert 0 <= float(str(event.metadata["data_wait_share"].value)) <= 1
        checks = {e.check_name: e.passed for e in result.get_asset_check_evaluations()}
        assert checks == {"checkpoint_exists": True, "onnx_parity": True}
        messages = [record.user_message for record in instance.all_logs(result.run_id)]
    assert any("it/s" in message for message in messages)


def test_it_learns(tmp_path: Path) -> None:
    """The gate: on scenes it never saw, most cars and people are found within 1 m."""
    import onnxruntime

    shop = Workshop(tmp_path, num_scenes=24)
    config = replace(CONFIG, iterations=150, checkpoint_every=100)
    path, name = shop.job(config)
    done = run(path)
    assert done.returncode == 0, done.stderr
    session = onnxruntime.InferenceSession(shop.store.get(layout.model(name, "model.onnx")))
    frames = [make_scene(1000 + i) for i in range(12)]
    predictions = [session.run(None, {"points": points}) for points, _ in frames]
    for label, category in enumerate(config.categories):
        found = average_precision(frames, predictions, label, category, config)
        assert found > 0.5, f"{category}: AP {found:.2f}"


def average_precision(
    frames: list[tuple[np.ndarray, Boxes]],
    predictions: list[list[np.ndarray]],
    label: int,
    category: str,
    config: TrainConfig,
    reach_m: float = 1.0,
) -> float:
    """Area under precision over recall at one centre distance, inside the detector's area."""
    scores, hits, total = [], [], 0
    for (_, truth), (boxes, score, labels) in zip(frames, predictions, strict=True):
        xy = truth.center_xyz_m[(truth.category == category) & (truth.num_points >= 5), :2]
        inside = (xy[:, 0] > config.x_min_m) & (xy[:, 0] < config.x_max_m)
        xy = xy[inside & (np.abs(xy[:, 1]) < config.y_max_m)]
        free = np.ones(len(xy), dtype=bool)
        total += len(xy)
        for place, value in zip(boxes[labels == label, :2], score[labels == label], strict=True):
            distance = np.where(free, np.hypot(*(xy - place).T), np.inf)
            hit = len(xy) > 0 and distance.min() < reach_m
            if hit:
                free[distance.argmin()] = False
            scores.append(value)
            hits.append(hit)
    order = np.argsort(-np.array(scores), kind="stable")
    right = np.cumsum(np.array(hits)[order])
    precision = right / np.arange(1, len(order) + 1)
    return float((precision * np.array(hits)[order]).sum() / total)
