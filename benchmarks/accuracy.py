"""How accurate detectors get on the same frames for the same time, with intervals and pictures.

    python -m benchmarks.accuracy --data packed-real --out out --minutes 4 small pandaset
    python -m benchmarks.accuracy --data packed-fleet/store --out out --minutes 3 small
    python -m benchmarks.accuracy --data packed-fleet/store --out out --minutes 20 fleet

Each recipe is trained from scratch for `--minutes` (or `--iterations`) on the ground of the small
recipe, and evaluated on the held-out frames with the metric of nuScenes. Minutes are those of the
clock on an accelerator and of processor time on a processor, so that a busy machine takes longer
and changes nothing else. A table goes to the terminal and to `accuracy.json`, pictures of a few
held-out frames to `<recipe>/`. Make the folder with `benchmarks.accuracy_data`.
"""

from __future__ import annotations

import argparse
import json
import os
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

import torch

from benchmarks.accuracy_data import open_packed
from scene.box import Boxes
from scene.taxonomy import CATEGORIES
from training.config import TrainConfig
from training.data import Batches, TrainFrame, load_frames
from training.device import choose_device, describe_device, set_threads
from training.evaluation import EvalFrame, Evaluation, Interval, Region, compare, evaluate
from training.frames import num_point_columns
from training.loop import Trainer
from training.predict import Predictor
from training.recipes import RECIPES, recipe

_WARM_STEPS: Final = 6  # the first steps compile and choose kernels; they say nothing of the speed
_TIMED_STEPS: Final = 10
_GROUP_NS: Final = 1_000_000_000  # frames of one second of a drive stand or fall together
_PICTURES: Final = 6


@dataclass(frozen=True, slots=True)
class Result:
    """One recipe on the held-out frames.

    Attributes:
        name: of the recipe.
        config: as it was trained.
        evaluation: on the held-out frames.
        predictions: one a held-out frame.
        seconds: of the training, by the clock.
        cpu_seconds: of the training, of all threads.
        loss: at the end, mean of ten steps.
    """

    name: str
    config: TrainConfig
    evaluation: Evaluation
    predictions: list[Boxes]
    seconds: float
    cpu_seconds: float
    loss: float


def config_for(name: str, categories: tuple[str, ...]) -> TrainConfig:
    """Return a recipe with the ground of the small one and the categories of the data."""
    base, small = recipe(name), recipe("small")
    groups = [tuple(c for c in group if c in categories) for group in base.groups]
    left = tuple(c for c in categories if not any(c in group for group in groups))
    paste = {"bicycle": 3, "pedestrian": 4, "bus": 1, "truck": 1, "traffic_cone": 2}
    if base.network == "histogram":
        return replace(base, categories=categories)
    return replace(
        base,
        categories=categories,
        groups=tuple(group for group in [*groups, left] if group),
        x_min_m=small.x_min_m, x_max_m=small.x_max_m,
        y_min_m=small.y_min_m, y_max_m=small.y_max_m,
        paste=tuple(sorted((c, n) for c, n in paste.items() if c in categories)),
        rare_boost=0.5,
    )  # fmt: skip


def measure_iterations(
    config: TrainConfig, batches: Batches, device: torch.device, minutes: float
) -> int:
    """Return how many steps fit into some minutes, data included; see the module's text."""
    now = time.process_time if device.type == "cpu" else time.perf_counter
    trainer = Trainer(replace(config, iterations=_WARM_STEPS + _TIMED_STEPS), device)
    begun = 0.0
    steps = batches.ahead(0, _WARM_STEPS + _TIMED_STEPS, trainer.prepare)
    for number, batch in enumerate(steps):
        if number == _WARM_STEPS:
            trainer.checkpoint()  # waits for the device
            begun = now()
        trainer.train_step(batch)
    trainer.checkpoint()
    step_s = (now() - begun) / _TIMED_STEPS
    return max(20, int(minutes * 60 / step_s))


def train_recipe(
    config: TrainConfig, frames: list[TrainFrame], device: torch.device, minutes: float, out: Path
) -> tuple[Predictor, TrainConfig, tuple[float, float], float]:
    """Train from scratch; return a predictor, settings, seconds (clock, CPU) and the last loss."""
    batches = Batches(frames, config, threads=4 if device.type != "cpu" else 0, depth=2)
    if minutes:
        config = replace(config, iterations=measure_iterations(config, batches, device, minutes))
        batches = Batches(frames, config, threads=4 if device.type != "cpu" else 0, depth=2)
    trainer = Trainer(config, device)
    begun = told = time.perf_counter()
    cpu = time.process_time()
    for batch in batches.ahead(0, config.iterations, trainer.prepare):
        loss = trainer.train_step(batch)
        if time.perf_counter() - told > 20:
            told = time.perf_counter()
            print(f"  step {trainer.step}/{config.iterations} loss {loss}", flush=True)
    net = trainer.finished()
    spent = (time.perf_counter() - begun, time.process_time() - cpu)
    out.mkdir(parents=True, exist_ok=True)
    torch.save(net.state_dict(), out / "weights.pt")
    curve = trainer.progress.loss_curve
    return Predictor(net, config, device), config, spent, curve[-1][1] if curve else float("nan")


def run(
    name: str, data: Path, out: Path, minutes: float, iterations: int, *, eager: bool
) -> Result:
    """Train one recipe on a packed folder and evaluate it."""
    store, manifest = open_packed(data)
    present = set(manifest.boxes["category"].to_pylist())
    categories = tuple(c.name for c in CATEGORIES if c.name in present)
    config = config_for(name, categories)
    if iterations:
        config = replace(config, iterations=iterations)
    device = choose_device()
    compiled = device.type != "cpu" and config.network == "centerpoint" and not eager
    config = replace(config, compile=compiled)
    set_threads(config, device)
    frames = load_frames(store, manifest, config, ("train",))
    held_out = load_frames(store, manifest, config, ("test",))
    print(f"{name}: {len(frames)} frames to train on, {len(held_out)} held out", flush=True)
    predictor, config, spent, loss = train_recipe(
        config, frames, device, 0.0 if iterations else minutes, out / name
    )
    predictions = [predictor(frame.points) for frame in held_out]
    evaluation = evaluate(
        [
            EvalFrame(frame.frame_id, _group(frame), frame.boxes, found)
            for frame, found in zip(held_out, predictions, strict=True)
        ],
        categories,
        region=Region(config.x_min_m, config.x_max_m, config.y_min_m, config.y_max_m),
    )
    draw(name, config, held_out, predictions, out / name)
    return Result(name, config, evaluation, predictions, *spent, loss)


def _group(frame: TrainFrame) -> str:
    recording, time_ns = frame.frame_id.rsplit("@", 1)
    return f"{recording}@{int(time_ns) // _GROUP_NS}"


def draw(
    name: str, config: TrainConfig, frames: list[TrainFrame], found: list[Boxes], out: Path
) -> None:
    """Write pictures of a few held-out frames, spread over them."""
    from reporting.pictures import bev_png
    from scene.bev import BevView

    view = BevView(config.x_min_m, config.x_max_m, config.y_min_m, config.y_max_m, 0.1)
    every = max(1, len(frames) // _PICTURES)
    for number in range(0, len(frames), every):
        frame = frames[number]
        own = (
            frame.points
            if num_point_columns(config) == 4
            else frame.points[frame.points[:, 4] == 0]
        )
        title = f"{name}: {frame.frame_id}"
        png = bev_png(own[:, :3], frame.boxes, found[number], title, view)
        (out / f"{number:03d}.png").write_bytes(png)


def table(results: Sequence[Result]) -> str:
    """Return the AP of every recipe by category, with 95 % intervals, as Markdown."""
    lines = [
        "| category | truth | " + " | ".join(result.name for result in results) + " |",
        "| --- | --- |" + " --- |" * len(results),
    ]
    first = results[0].evaluation
    for score in first.classes:
        if score.num_boxes:
            cells = [_cell(result.evaluation.of(score.category).ap) for result in results]
            lines.append(f"| {score.category} | {score.num_boxes} | " + " | ".join(cells) + " |")
    total = sum(score.num_boxes for score in first.classes)
    cells = [_cell(result.evaluation.mean_ap) for result in results]
    lines.append(f"| mAP | {total} | " + " | ".join(cells) + " |")
    cells = [_cell(result.evaluation.nds) for result in results]
    return "\n".join([*lines, "| NDS | | " + " | ".join(cells) + " |"])


def _cell(value: Interval) -> str:
    text = f"{value.value:.3f}"
    known = value.low == value.low  # NaN where one group says nothing about others
    return f"{text} ({value.low:.3f} to {value.high:.3f})" if known else text


def describe(result: Result, device: str) -> dict[str, Any]:
    """Return what was trained and how it scored, as plain values."""
    return {
        "recipe": result.name,
        "device": device,
        "train_seconds": round(result.seconds, 1),
        "train_cpu_seconds": round(result.cpu_seconds, 1),
        "iterations": result.config.iterations,
        "batch_size": result.config.batch_size,
        "final_loss": result.loss,
        "config": result.config.to_dict(),
        "evaluation": result.evaluation.to_dict(),
    }


def main(arguments: Sequence[str] | None = None) -> None:
    """Train, evaluate, print."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.accuracy", description=__doc__)
    parser.add_argument("recipes", nargs="+", choices=list(RECIPES))
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--minutes", type=float, default=3.0)
    parser.add_argument("--iterations", type=int, default=0, help="instead of --minutes")
    parser.add_argument("--eager", action="store_true", help="do not compile on an accelerator")
    chosen = parser.parse_args(arguments)
    device = describe_device(choose_device())
    results = []
    for name in chosen.recipes:
        result = run(
            name, chosen.data, chosen.out, chosen.minutes, chosen.iterations, eager=chosen.eager
        )
        results.append(result)
        print(
            f"{name}: {result.config.iterations} steps of {result.config.batch_size} frames in "
            f"{result.seconds:.0f} s ({result.cpu_seconds:.0f} s of processors) on {device}, "
            f"last loss {result.loss:.3f}",
            flush=True,
        )
    print(table(results))
    report = {"table": table(results), "runs": [describe(result, device) for result in results]}
    if len(results) == 2:
        difference = compare(results[0].evaluation, results[1].evaluation)
        change = difference.mean_ap
        print(
            f"mAP {results[1].name} minus {results[0].name}: {change.value:+.3f} "
            f"({change.low:+.3f} to {change.high:+.3f}, paired)"
        )
        report["difference"] = difference.to_dict()
    chosen.out.mkdir(parents=True, exist_ok=True)
    (chosen.out / "accuracy.json").write_text(json.dumps(report, indent=1))


if __name__ == "__main__":
    main()
