"""Our supervisor and torchrun under the same faults: `make bench-faults`, about ten minutes.

Both run the same script with two workers on the same samples. Faults come from outside, by signal,
at times that neither knows. Both write a line for every step; everything but our own perception is
measured from those lines. Figures of time are only worth something on a quiet machine.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import platform
import signal
import statistics
import subprocess
import time
from dataclasses import dataclass, field, replace
from itertools import pairwise
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

from storage import layout
from storage.open import StoreConfig, open_store
from tests.support.tiny_scenes import make_scene, store_dataset
from training import config as recipes
from training.config import TrainConfig
from training.engines import training_command
from training.identity import model_id_of
from training.job import Job

ROOT: Final = Path(__file__).resolve().parents[1]
WORKERS: Final = 2
EXCHANGE_TIMEOUT_S: Final = 10.0  # torchrun sees a hang by nothing else
CHECKPOINT_EVERY: Final = 25
LONG_S, SHORT_S = 100.0, 45.0
LIMIT_S: Final = 420.0
_LOOK_S: Final = 0.1
CONFIG: Final = replace(
    recipes.small(),
    categories=("car", "pedestrian"),
    channels=(16, 24, 32),
    batch_size=4,
    shards=WORKERS,
    checkpoint_every=CHECKPOINT_EVERY,
)


@dataclass(slots=True)
class Struck:
    """One fault and what came of it.

    Attributes:
        kind: "kill" or "hang".
        perceived_s: until our supervisor said so; NaN where it is not told.
        next_step_s: until the step after the one that was under way was done.
        lost: steps that were done again.
    """

    kind: str
    perceived_s: float
    next_step_s: float
    lost: int


@dataclass(slots=True)
class Result:
    """One training.

    Attributes:
        engine: who looked after it.
        wall_s: from its first step to its last.
        step_s: median time between two steps that follow each other.
        struck: the faults.
        bits: digest of the weights.
        account: our own account of the time, empty for torchrun.
    """

    engine: str
    wall_s: float
    step_s: float
    struck: list[Struck]
    bits: str
    steps: int
    account: dict[str, Any] = field(default_factory=dict)


def train(folder: Path, engine: str, steps: int, plan: list[tuple[float, str]]) -> Result:
    """Run a training and strike it.

    Args:
        folder: an empty one.
        engine: see `training.engines`.
        steps: optimiser steps.
        plan: seconds after the first step, or after the fault before if that is later, and kind.
    """
    config = replace(CONFIG, iterations=steps)
    job, weights = write_job(folder, config)
    trace = folder / "trace"
    options = ["--trace", str(trace)]
    if engine == "torchrun":
        options += ["--exchange-timeout-s", str(EXCHANGE_TIMEOUT_S)]
    command = training_command(engine, job, WORKERS, options)
    with (folder / "log").open("w") as log:
        child = subprocess.Popen(
            command.arguments, cwd=ROOT, stdout=log, stderr=log,
            env={**os.environ, **command.environment, "OMP_NUM_THREADS": "1"},
        )  # fmt: skip
        try:
            times = strike_all(child, trace, plan)
            code = child.wait(timeout=LIMIT_S)
        finally:
            child.kill()
            child.wait()
    if code != 0:
        raise SystemExit(f"{engine} ended with {code}:\n{(folder / 'log').read_text()[-3000:]}")
    return digest_of(engine, Tail(trace).read(), times, weights, steps)


def write_job(folder: Path, config: TrainConfig) -> tuple[Path, Any]:
    """Return a job file with a small dataset, and what reads the digest of its weights."""
    place = StoreConfig(url=f"file://{folder / 'store'}")
    store = open_store(place)
    dataset = store_dataset(store, [make_scene(i) for i in range(4)]).digest
    model = model_id_of(dataset, config, None)
    path = folder / "job.json"
    path.write_text(json.dumps(Job(place, dataset, config, None, model).to_dict()))
    key = layout.model(model, "weights.safetensors")
    return path, lambda: hashlib.sha256(store.get(key)).hexdigest()


class Tail:
    """The whole lines of a file that grows. Reads what is new: the cores are for the training."""

    def __init__(self, path: Path) -> None:
        self.events: list[dict[str, Any]] = []
        self._path, self._at = path, 0

    def read(self) -> list[dict[str, Any]]:
        """Return all lines so far."""
        if self._path.exists():
            with self._path.open("rb") as file:
                file.seek(self._at)
                new = file.read()
            whole = new[: new.rfind(b"\n") + 1]
            self._at += len(whole)
            self.events += [json.loads(line) for line in whole.splitlines()]
        return self.events


def strike_all(
    child: subprocess.Popen[bytes], trace: Path, plan: list[tuple[float, str]]
) -> list[tuple[int, str]]:
    """Send the faults when they are due and all workers have done steps again; return when."""
    done: list[tuple[int, str]] = []
    tail = Tail(trace)
    for number, (due_s, kind) in enumerate(plan):
        since_ns = done[-1][0] if done else 0
        while child.poll() is None:
            steps = [e for e in tail.read() if e["event"] == "step"]
            fresh = [e for e in steps if e["t_ns"] > since_ns]
            newest = max((e["step"] for e in steps if e["t_ns"] <= since_ns), default=0)
            ranks = {e["rank"] for e in fresh if e["step"] > newest + 3}
            begun_ns = steps[0]["t_ns"] if steps else time.monotonic_ns()
            left_s = due_s - (time.monotonic_ns() - begun_ns) / 1e9
            if len(ranks) == WORKERS and left_s <= 0:
                break
            time.sleep(max(_LOOK_S, left_s / 2 if steps else 0.0))
        else:
            raise SystemExit("a training ended before all faults were made; make it longer")
        pid = fresh[-1]["pid"] if number % 2 else newest_pid(fresh, 1)
        os.kill(pid, signal.SIGKILL if kind == "kill" else signal.SIGSTOP)
        done.append((time.monotonic_ns(), kind))
    return done


def newest_pid(events: list[dict[str, Any]], rank: int) -> int:
    """Return the process of a worker."""
    return next(e["pid"] for e in reversed(events) if e["rank"] == rank)


def digest_of(
    engine: str, events: list[dict[str, Any]], times: list[tuple[int, str]], weights: Any,
    total: int,
) -> Result:  # fmt: skip
    """Return what the lines of a trace say."""
    steps = [e for e in events if e["event"] == "step" and e["rank"] == 0]
    gaps = [b["t_ns"] - a["t_ns"] for a, b in pairwise(steps) if b["step"] == a["step"] + 1]
    struck = []
    for at_ns, kind in times:
        before = max((e["step"] for e in steps if e["t_ns"] <= at_ns), default=0)
        after = [e for e in steps if e["t_ns"] > at_ns]
        # A step under way may end although its worker is struck: the one after it counts.
        next_ns = next(e["t_ns"] for e in after if e["step"] > before + 1)
        again = sum(e["step"] <= before for e in after if e["t_ns"] < next_ns)
        told = [e["t_ns"] for e in events if e["event"] == "fault" and e["t_ns"] > at_ns]
        perceived_s = (told[0] - at_ns) / 1e9 if told else float("nan")
        struck.append(Struck(kind, perceived_s, (next_ns - at_ns) / 1e9, again))
    account = next((e for e in reversed(events) if e["event"] == "account"), {})
    wall_s = (steps[-1]["t_ns"] - steps[0]["t_ns"]) / 1e9
    return Result(engine, wall_s, statistics.median(gaps) / 1e9, struck, weights(), total, account)


def main() -> None:
    """Measure, print, and write docs/faults.md."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="few faults; writes no page")
    quick: bool = parser.parse_args().quick
    begun = time.monotonic()
    with TemporaryDirectory(prefix="starloop-bench-faults-") as name:
        base = Path(name)

        def run(label: str, engine: str, steps: int, plan: list[tuple[float, str]]) -> Result:
            folder = base / label
            folder.mkdir()
            print(f"{label}: {steps} steps, {len(plan)} faults ...", flush=True)
            result = train(folder, engine, steps, plan)
            print(f"  {result.wall_s:.1f} s, {1e3 * result.step_s:.1f} ms a step", flush=True)
            return result

        probe = run("probe", "torchrun", 60, [])
        lengths = (12.0, 12.0) if quick else (LONG_S, SHORT_S)
        long, short = (max(60, int(s / probe.step_s)) for s in lengths)
        every_30 = [(t, "kill") for t in (29.0, 59.0, 89.0)]
        many = [(2.0 * i, "hang" if i % 5 in (2, 4) else "kill") for i in range(1, 19)]
        few = [(5.0, "kill"), (5.0, "kill"), (5.0, "hang")]
        if quick:
            every_30, many, few = [(2.0, "kill")], many[:3], [(1.0, "kill"), (1.0, "hang")]
        results = {  # an undisturbed training before and after what is measured by its steps
            "ours short": run("ours short", "starloop", short, many),
            "twin short": run("twin short", "torchrun", short, few),
            "calm long": run("calm long", "torchrun", long, []),
            "ours long": run("ours long", "starloop", long, every_30),
            "calm short": run("calm short", "torchrun", short, []),
            "twin long": run("twin long", "torchrun", long, every_30),
        }
    text = report(results, time.monotonic() - begun)
    print(text)
    if quick:
        return
    (ROOT / "docs" / "faults.md").write_text(text)


def report(results: dict[str, Result], took_s: float) -> str:
    """Return the page."""
    ours = [*results["ours short"].struck, *results["ours long"].struck]
    twin = [*results["twin short"].struck, *results["twin long"].struck]
    rows = [
        ("faults (kills, hangs)", counted(ours), counted(twin), ""),
        ("SIGKILL perceived", spread(ours, "kill", "perceived_s"), "not told", "<= 1 s"),
        ("hang perceived", spread(ours, "hang", "perceived_s"), "not told", hang_goal(results)),
        (
            "SIGKILL to the next new step",
            spread(ours, "kill", "next_step_s"),
            spread(twin, "kill", "next_step_s"),
            ratio(ours, twin, "kill"),
        ),
        (
            "hang to the next new step",
            spread(ours, "hang", "next_step_s"),
            spread(twin, "hang", "next_step_s"),
            ratio(ours, twin, "hang"),
        ),
        ("steps done again, most", most_lost(ours), most_lost(twin), "<= 1"),
        (
            "goodput, a SIGKILL every 30 s",
            share(results, "ours long"),
            share(results, "twin long"),
            ">= 97 %",
        ),
        (
            "weights equal to those of the undisturbed training",
            same(results, "ours"),
            same(results, "twin"),
            "bit for bit",
        ),
    ]
    lines = "\n".join(f"| {' | '.join(row)} |" for row in rows)
    calm = [1e3 * results[label].step_s for label in ("calm long", "calm short")]
    long = results["ours long"]
    account = long.account
    times = ", ".join(
        f"{name} {account[f'{key}_s']:.2f} s"
        for name, key in (
            ("productive", "productive"), ("init", "init"), ("data", "data"),
            ("checkpoint", "checkpoint"), ("restart", "restart"), ("wasted", "wasted"),
            ("other", "other"),
        )
    )  # fmt: skip
    return "\n".join(
        [
            "# Training under faults",
            "",
            f"Written by `make bench-faults` in {took_s / 60:.0f} minutes. Two workers (gloo) on",
            "one machine, the same script and samples under our supervisor and under torchrun",
            f"(monitor interval 0.1 s, exchange timeout {EXCHANGE_TIMEOUT_S:.0f} s, checkpoint",
            f"every {CHECKPOINT_EVERY} steps), faults by signal from outside. Median (largest).",
            "",
            f"Machine: {platform.machine()}, {os.cpu_count()} cores, Python",
            f"{platform.python_version()}; a step takes {1e3 * long.step_s:.0f} ms.",
            "",
            "| what | starloop | torchrun | goal |",
            "| --- | --- | --- | --- |",
            lines,
            "",
            "Goodput is steps times the undisturbed median step, of the time from the first step",
            f"to the last. Undisturbed steps (torchrun, no snapshots) took {calm[0]:.1f} ms before",
            f"and {calm[1]:.1f} ms after our training with a SIGKILL every 30 s; the mean counts.",
            f"Our own account of that training: {times}. Init is before the first step.",
            "",
        ]
    )


def counted(struck: list[Struck]) -> str:
    kills = sum(s.kind == "kill" for s in struck)
    return f"{len(struck)} ({kills}, {len(struck) - kills})"


def spread(struck: list[Struck], kind: str, name: str) -> str:
    values = [getattr(s, name) for s in struck if s.kind == kind]
    return f"{statistics.median(values):.3f} s ({max(values):.3f} s)"


def ratio(ours: list[Struck], twin: list[Struck], kind: str) -> str:
    sides = [statistics.median(s.next_step_s for s in x if s.kind == kind) for x in (ours, twin)]
    goal = "; goal <= 0.1" if kind == "kill" else ""
    return f"{sides[0] / sides[1]:.3f} of torchrun's{goal}"


def hang_goal(results: dict[str, Result]) -> str:
    limit_s = max(3 * results["ours short"].step_s, 1.0)
    return f"<= max(3 median steps, 1 s) = {limit_s:.2f} s"


def most_lost(struck: list[Struck]) -> str:
    return str(max(s.lost for s in struck))


def undisturbed_s(results: dict[str, Result]) -> float:
    """Return the time of a step that nothing disturbs: a machine is not as fast at all times."""
    return statistics.mean(results[label].step_s for label in ("calm long", "calm short"))


def share(results: dict[str, Result], label: str) -> str:
    result = results[label]
    return f"{(result.steps - 1) * undisturbed_s(results) / result.wall_s:.1%}"


def same(results: dict[str, Result], who: str) -> str:
    pairs = [(f"{who} {length}", f"calm {length}") for length in ("short", "long")]
    return "yes" if all(results[a].bits == results[b].bits for a, b in pairs) else "NO"


if __name__ == "__main__":
    main()
