"""What detectors found in the held-out frames: kept in a file, read again, scored, compared."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from scene.box import Boxes
from scene.errors import DataError
from scene.taxonomy import CATEGORIES
from storage.boxes import arrow_to_boxes, boxes_to_arrow
from storage.manifest import DatasetManifest
from storage.store import ObjectStore
from training.config import TrainConfig, demo
from training.data import TrainFrame, load_frames
from training.evaluation import Delta, EvalFrame, Evaluation, Interval, Region, compare, evaluate

_GROUP_NS: Final = 1_000_000_000  # frames of one second of a drive stand or fall together


@dataclass(frozen=True, slots=True)
class Training:
    """How a detector was made.

    Attributes:
        config: as it was trained.
        seconds: by the clock.
        cpu_seconds: of all threads.
        loss: at the end, mean of ten steps.
    """

    config: TrainConfig
    seconds: float
    cpu_seconds: float
    loss: float


@dataclass(frozen=True, slots=True)
class Result:
    """One detector on the held-out frames.

    Attributes:
        name: of the recipe.
        evaluation: on the held-out frames.
        predictions: one a held-out frame.
        training: None where the predictions were read from a file.
    """

    name: str
    evaluation: Evaluation
    predictions: list[Boxes]
    training: Training | None = None


@dataclass(frozen=True, slots=True)
class HeldOut:
    """The frames that no detector was trained on.

    Attributes:
        dataset: digest of the dataset that they belong to.
        categories: in the data, in the order of the taxonomy.
        frames: with the points of one sweep.
    """

    dataset: str
    categories: tuple[str, ...]
    frames: list[TrainFrame]

    @classmethod
    def load(cls, store: ObjectStore, manifest: DatasetManifest) -> HeldOut:
        """Read the test frames of a dataset."""
        present = set(manifest.boxes["category"].to_pylist())
        categories = tuple(c.name for c in CATEGORIES if c.name in present)
        return cls(manifest.digest, categories, load_frames(store, manifest, demo(), ("test",)))

    def evaluate(self, predictions: Sequence[Boxes]) -> Evaluation:
        """Score predictions on the ground of the small recipe."""
        ground = demo()
        frames = [
            EvalFrame(frame.frame_id, _group(frame.frame_id), frame.boxes, found)
            for frame, found in zip(self.frames, predictions, strict=True)
        ]
        region = Region(ground.x_min_m, ground.x_max_m, ground.y_min_m, ground.y_max_m)
        return evaluate(frames, self.categories, region=region)

    def save(self, name: str, predictions: Sequence[Boxes], path: Path) -> None:
        """Write predictions as Parquet, one row a box."""
        by_drive: dict[str, dict[int, Boxes]] = {}
        for frame, found in zip(self.frames, predictions, strict=True):
            drive, time_ns = frame.frame_id.rsplit("@", 1)
            by_drive.setdefault(drive, {})[int(time_ns)] = found
        table = pa.concat_tables([boxes_to_arrow(d, found) for d, found in by_drive.items()])
        table = table.replace_schema_metadata({"recipe": name, "dataset": self.dataset})
        path.parent.mkdir(parents=True, exist_ok=True)
        pq.write_table(table, path)

    def read(self, path: Path) -> Result:
        """Score what `save` wrote.

        Raises:
            DataError: if the predictions are for frames of another dataset.
        """
        table = pq.read_table(path)
        noted = table.schema.metadata or {}
        if noted.get(b"dataset", b"").decode() != self.dataset:
            raise DataError(
                f"{path}: predictions for another dataset than {self.dataset[:12]}; "
                "give the --data that they were made with"
            )
        found: dict[str, Boxes] = {}
        for drive in table["recording"].unique().to_pylist():
            rows = table.filter(pc.field("recording") == drive)
            found |= {f"{drive}@{time}": boxes for time, boxes in arrow_to_boxes(rows).items()}
        predictions = [found.get(frame.frame_id, Boxes.empty()) for frame in self.frames]
        return Result(noted[b"recipe"].decode(), self.evaluate(predictions), predictions)


def _group(frame_id: str) -> str:
    drive, time_ns = frame_id.rsplit("@", 1)
    return f"{drive}@{int(time_ns) // _GROUP_NS}"


def table_of(results: Sequence[Result]) -> str:
    """Return the AP of every detector by category, with 95 % intervals, as Markdown."""
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
    lines.append("| NDS | | " + " | ".join(cells) + " |")
    for name in first.errors:
        cells = [f"{result.evaluation.errors[name]:.3f}" for result in results]
        lines.append(f"| {name} | | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def _cell(value: Interval) -> str:
    text = f"{value.value:.3f}"
    known = value.low == value.low  # NaN where one group says nothing about others
    return f"{text} ({value.low:.3f} to {value.high:.3f})" if known else text


def differences(one: Result, other: Result) -> tuple[str, dict[str, Any]]:
    """Return what changes from one detector to another on the same frames: text and values."""
    difference = compare(one.evaluation, other.evaluation)
    lines = [
        f"{other.name} minus {one.name}: {_change(delta)}"
        for delta in (difference.mean_ap, difference.nds)
    ]
    named = {"before": one.name, "after": other.name}
    return "\n".join(lines), named | difference.to_dict()


def _change(delta: Delta) -> str:
    return (
        f"{delta.category} {delta.value:+.3f} ({delta.low:+.3f} to {delta.high:+.3f}, paired), "
        f"better in {1 - delta.not_better:.1%} of the resamples"
    )


def describe(result: Result, device: str) -> dict[str, Any]:
    """Return what was trained and how it scored, as plain values."""
    row: dict[str, Any] = {"recipe": result.name, "evaluation": result.evaluation.to_dict()}
    training = result.training
    if training is None:
        return row
    return row | {
        "device": device,
        "train_seconds": round(training.seconds, 1),
        "train_cpu_seconds": round(training.cpu_seconds, 1),
        "iterations": training.config.iterations,
        "batch_size": training.config.batch_size,
        "final_loss": training.loss,
        "config": training.config.to_dict(),
    }
