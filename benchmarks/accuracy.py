r"""How accurate detectors get on the same frames for the same time, with intervals and pictures.

    python -m benchmarks.accuracy --data packed-real --out out --minutes 4 small pandaset
    python -m benchmarks.accuracy --data packed-fleet/store --out out --minutes 3 small
    python -m benchmarks.accuracy --data packed-fleet/store --out out --minutes 20 fleet
    python -m benchmarks.accuracy --data packed-real --out out \
        --against one/small/predictions.parquet two/pandaset/predictions.parquet

Each recipe is trained from scratch for `--minutes` (or `--iterations`) on the ground of the small
recipe, and evaluated on the held-out frames with the metric of nuScenes. Minutes are those of the
clock on an accelerator and of processor time on a processor, so that a busy machine takes longer
and changes nothing else. A table goes to the terminal and to `accuracy.json`; what was found in
the held-out frames and pictures of a few of them go to `<recipe>/`. `--against` reads what was
found in earlier runs, on other machines too, and compares the same frames; without a recipe nothing
is trained. Make the folder with `benchmarks.accuracy_data`.
"""

from __future__ import annotations

import argparse
import json
import os
import time
from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any, Final

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

import torch

from benchmarks.accuracy_data import open_packed
from benchmarks.accuracy_results import (
    HeldOut,
    Result,
    Training,
    describe,
    differences,
    table_of,
)
from scene.box import Boxes
from training.config import TrainConfig
from training.data import Batches, TrainFrame, load_frames
from training.device import choose_device, describe_device, set_threads
from training.frames import num_point_columns
from training.loop import Trainer
from training.predict import Predictor
from training.recipes import RECIPES, recipe

_WARM_STEPS: Final = 6  # the first steps compile and choose kernels; they say nothing of the speed
_TIMED_STEPS: Final = 10
_PICTURES: Final = 6


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


def fit_iterations(
    trainer: Trainer, frames: list[TrainFrame], device: torch.device, minutes: float
) -> None:
    """Do the first steps; give a training as many as fit into some minutes, data included.

    The first steps are at the low end of the learning rate, however many there will be.
    """
    now = time.process_time if device.type == "cpu" else time.perf_counter
    batches = _batches(frames, trainer.config, device)
    begun = 0.0
    for number, batch in enumerate(batches.ahead(0, _WARM_STEPS + _TIMED_STEPS, trainer.prepare)):
        if number == _WARM_STEPS:
            trainer.checkpoint()  # waits for the device
            begun = now()
        trainer.train_step(batch)
    trainer.checkpoint()
    step_s = (now() - begun) / _TIMED_STEPS
    steps = trainer.step + max(4, int(minutes * 60 / step_s))
    trainer.config = replace(trainer.config, iterations=steps)


def _batches(frames: list[TrainFrame], config: TrainConfig, device: torch.device) -> Batches:
    return Batches(frames, config, threads=8 if device.type != "cpu" else 0, depth=2)


def train_recipe(
    config: TrainConfig, frames: list[TrainFrame], device: torch.device, minutes: float, out: Path
) -> tuple[Predictor, TrainConfig, tuple[float, float], float]:
    """Train from scratch; return a predictor, settings, seconds (clock, CPU) and the last loss."""
    trainer = Trainer(replace(config, iterations=10**6) if minutes else config, device)
    begun = told = time.perf_counter()
    cpu = time.process_time()
    if minutes:
        fit_iterations(trainer, frames, device, minutes)
    config = trainer.config
    batches = _batches(frames, config, device)
    for batch in batches.ahead(trainer.step, config.iterations, trainer.prepare):
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
    name: str,
    data: Path,
    held_out: HeldOut,
    out: Path,
    minutes: float,
    iterations: int,
    *,
    eager: bool,
) -> Result:
    """Train one recipe on a packed folder, keep what it finds in the held-out frames, score it."""
    store, manifest = open_packed(data)
    config = config_for(name, held_out.categories)
    if iterations:
        config = replace(config, iterations=iterations)
    device = choose_device()
    compiled = device.type != "cpu" and config.network == "centerpoint" and not eager
    config = replace(config, compile=compiled)
    set_threads(config, device)
    frames = load_frames(store, manifest, config, ("train",))
    looked_at = load_frames(store, manifest, config, ("test",))
    print(f"{name}: {len(frames)} frames to train on, {len(looked_at)} held out", flush=True)
    predictor, config, spent, loss = train_recipe(
        config, frames, device, 0.0 if iterations else minutes, out / name
    )
    predictions = [predictor(frame.points) for frame in looked_at]
    held_out.save(name, predictions, out / name / "predictions.parquet")
    result = Result(
        name, held_out.evaluate(predictions), predictions, Training(config, *spent, loss)
    )
    print(
        f"{name}: {config.iterations} steps of {config.batch_size} frames in {spent[0]:.0f} s "
        f"({spent[1]:.0f} s of processors) on {describe_device(device)}, last loss {loss:.3f}\n"
        + table_of([result]),
        flush=True,
    )
    draw(name, config, looked_at, predictions, out / name)
    return result


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


def main(arguments: Sequence[str] | None = None) -> dict[str, Any]:
    """Train, evaluate, print; return what `accuracy.json` holds."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.accuracy",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("recipes", nargs="*", metavar="recipe", help=", ".join(RECIPES))
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--minutes", type=float, default=3.0)
    parser.add_argument("--iterations", type=int, default=0, help="instead of --minutes")
    parser.add_argument("--eager", action="store_true", help="do not compile on an accelerator")
    parser.add_argument(
        "--against", type=Path, nargs="+", default=[], help="predictions.parquet of other runs"
    )
    chosen = parser.parse_args(arguments)
    if unknown := set(chosen.recipes) - set(RECIPES):
        parser.error(f"no recipe is called {', '.join(sorted(unknown))}")
    if not chosen.recipes and not chosen.against:
        parser.error("name a recipe to train, or predictions to compare with --against")
    held_out = HeldOut.load(*open_packed(chosen.data))
    results = [held_out.read(path) for path in chosen.against]
    results += [
        run(
            name, chosen.data, held_out, chosen.out, chosen.minutes, chosen.iterations,
            eager=chosen.eager,
        )
        for name in chosen.recipes
    ]  # fmt: skip
    device = describe_device(choose_device())
    report: dict[str, Any] = {
        "table": table_of(results), "runs": [describe(result, device) for result in results],
        "differences": [],
    }  # fmt: skip
    if len(results) > 1:
        print(report["table"])
    for one, other in pairwise(results):
        text, values = differences(one, other)
        print(text)
        report["differences"].append(values)
    chosen.out.mkdir(parents=True, exist_ok=True)
    (chosen.out / "accuracy.json").write_text(json.dumps(report, indent=1))
    return report


if __name__ == "__main__":
    main()
