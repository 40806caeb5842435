"""A small dataset, job files and a driver: what tests of faults work with."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from storage.open import StoreConfig, open_store
from storage.store import ObjectStore
from tests.support.tiny_scenes import make_scene, store_dataset
from training import config as recipes
from training.checkpoint import newest_checkpoint
from training.config import TrainConfig
from training.identity import model_id_of
from training.job import Job

ROOT = Path(__file__).resolve().parents[2]
# Chaos that takes some time for every step of both workers: what the supervisor, or a test, does
# after a step happens before the last one, however fast the machine is.
UNHURRIED = "slow@0:0,slow@1:0"
CONFIG = replace(
    recipes.small(),
    categories=("car", "pedestrian"),
    x_max_m=19.2,
    y_min_m=-9.6,
    y_max_m=9.6,
    channels=(8, 8, 8),
    batch_size=2,
    shards=2,
    iterations=30,
    checkpoint_every=6,
)


@dataclass(frozen=True)
class Outcome:
    """How a supervised training ended.

    Attributes:
        code: exit code.
        step: of the newest checkpoint, wherever it was left.
        bits: digest of its tensors.
        events: lines of the trace.
        log: what it said.
    """

    code: int
    step: int
    bits: str
    events: list[dict[str, Any]]
    log: str

    def faults(self) -> list[dict[str, Any]]:
        """Return the perceived faults that were answered by more than a report."""
        found = [event for event in self.events if event["event"] == "fault"]
        return [event for event in found if event["act"] != "report"]

    def account(self) -> dict[str, Any]:
        """Return where the time went."""
        return next(event for event in reversed(self.events) if event["event"] == "account")


class Lab:
    """Runs trainings, each in a store of its own unless it goes on with an earlier one.

    Args:
        folder: for stores, logs and everything left on this machine.
        config: what is trained.
    """

    def __init__(self, folder: Path, config: TrainConfig = CONFIG) -> None:
        self.folder, self.config = folder, config
        environment = {**os.environ, "OMP_NUM_THREADS": "1"}
        self._driver = subprocess.Popen(
            [sys.executable, "-m", "tests.support.fault_driver"],
            cwd=ROOT, env=environment, text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        )  # fmt: skip

    def close(self) -> None:
        """End the driver."""
        self._driver.kill()
        self._driver.wait()

    def job(self, name: str) -> tuple[Path, ObjectStore, str]:
        """Return job file, store and run of a name; made when first asked for."""
        store_config = StoreConfig(url=f"file://{self.folder / name}")
        store = open_store(store_config)
        dataset = store_dataset(store, [make_scene(i) for i in range(3)]).digest
        config = self.config
        run = model_id_of(dataset, config, None)
        path = self.folder / f"{name}.json"
        path.write_text(json.dumps(Job(store_config, dataset, config, None, run).to_dict()))
        return path, store, run

    def start(self, name: str, chaos: str = "", **options: Any) -> int:
        """Begin a training; return the process id of its supervisor."""
        path, _, _ = self.job(name)
        trace = self.folder / f"{name}.trace"
        values = {"workers": 2, "chaos": chaos, "export": False, "trace": str(trace)}
        # A busy machine makes steps long: only rows about hangs are as strict as the product.
        values |= {"snapshot_every": 1, "patience": {"least_s": 30.0}} | options
        order = {"job": str(path), "options": values, "log": str(self.folder / f"{name}.log")}
        order["left"] = str(self.spill(name).parent)  # what one leaves is not found by another
        assert self._driver.stdin is not None
        self._driver.stdin.write(json.dumps(order) + "\n")
        self._driver.stdin.flush()
        return self._answer()["pid"]

    def end(self, name: str) -> Outcome:
        """Wait for the training that was begun; return how it ended."""
        code = self._answer()["code"]
        _, store, run = self.job(name)
        spilled = open_store(StoreConfig(url=f"file://{self.spill(name)}"))
        found = [newest_checkpoint(place, run) for place in (store, spilled)]
        newest = max((c for c in found if c is not None), key=lambda c: c.step, default=None)
        tensors = {} if newest is None else newest.tensors
        bits = hashlib.sha256(b"".join(tensors[n].numpy().tobytes() for n in sorted(tensors)))
        return Outcome(
            code,
            -1 if newest is None else newest.step,
            bits.hexdigest(),
            self.events(name),
            (self.folder / f"{name}.log").read_text(),
        )

    def run(self, name: str, chaos: str = "", **options: Any) -> Outcome:
        """Do a training to its end."""
        self.start(name, chaos, **options)
        return self.end(name)

    def events(self, name: str) -> list[dict[str, Any]]:
        """Return the lines of the trace so far."""
        trace = self.folder / f"{name}.trace"
        text = trace.read_text() if trace.exists() else ""
        whole = text[: text.rfind("\n") + 1]  # the last line may be half written
        return [json.loads(line) for line in whole.splitlines()]

    def wait_for(self, name: str, step: int) -> list[int]:
        """Return the process ids of the newest workers once one of them has done a step."""
        deadline = time.monotonic() + 120
        while time.monotonic() < deadline:
            events = self.events(name)
            crew = next((e["pids"] for e in reversed(events) if e["event"] == "crew"), [])
            for event in events:
                if event["event"] == "step" and event["step"] >= step and event["pid"] in crew:
                    return crew
            time.sleep(0.02)
        raise AssertionError(f"{name}: step {step} was not reached")

    def wait_for_checkpoint(self, name: str) -> None:
        """Return once the store has a checkpoint: another process writes it, when it gets to it."""
        _, store, run = self.job(name)
        deadline = time.monotonic() + 120
        while newest_checkpoint(store, run) is None:
            assert time.monotonic() < deadline, f"{name}: no checkpoint"
            time.sleep(0.02)

    def spill(self, name: str) -> Path:
        """Return where a training leaves what its store does not take."""
        return self.folder / f"{name}-left" / f"starloop-{os.getuid()}"

    def _answer(self) -> dict[str, Any]:
        assert self._driver.stdout is not None
        return json.loads(self._driver.stdout.readline())
