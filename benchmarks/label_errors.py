"""How many planted label errors the error finder ranks first, and what it learns of annotators.

`python -m benchmarks.label_errors` prints the tables and writes them into docs/label-quality.md.
Labels: PandaSet 002 and KITTI 0001 where `../shared/data` is there, else a generated fleet.
"""

from __future__ import annotations

import tempfile
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np

from benchmarks.harness import write_part
from labeling.clips import ClipResult, FrameAnswer
from labeling.qa.annotators import BIASES, measure_annotators
from labeling.qa.errors import find_errors
from labeling.qa.labels import LabelSet
from recordings.open import open_recording
from recordings.recording import Recording
from scene.box import Boxes, count_points
from scene.sweep import Sweep
from tests.support.annotators import Person
from tests.support.label_faults import (
    KINDS,
    Fault,
    at_random,
    by_model_score,
    hits,
    jittered_detections,
    plant,
)
from tests.support.shared_data import ROOT

DOC: Final = Path(__file__).parents[1] / "docs" / "label-quality.md"
_REAL: Final = {  # recording: faults a seed, seeds
    "av2_layout/pandaset_002": (30, 15),
    "kitti_raw/2011_09_26/2011_09_26_drive_0001_sync": (8, 12),
}
_FLEET: Final = (10, 10)
_EXTENTS: Final = ("single", "run", "track")
_LISTS: Final = {
    "ours": "ours, labels and points",
    "ours+": "ours, with a detector",
    "score": "model score",
    "random": "random",
}
PEOPLE: Final = {
    "A": Person(offset_m=(0.12, -0.06, 0.04), size_m=(0.25, 0.10, 0.05), yaw_deg=1.5, miss=0.05),
    "B": Person(
        offset_m=(-0.08, 0.03, 0.0), size_m=(-0.15, -0.05, -0.03), yaw_deg=-2.0, noise_m=0.10,
        noise_deg=3.0, ghost=0.05,
    ),
}  # fmt: skip
_REPEATS: Final = 40


@dataclass(frozen=True)
class _Drive:
    """Labels and sweeps of one recording, points in boxes counted."""

    name: str
    recording: Recording
    truth: dict[int, Boxes]
    sweeps: list[Sweep]
    faults: int
    seeds: int


def main() -> None:
    """Measure, print, write."""
    drives = list(_drives())
    parts = {"errors": _errors(drives), "annotators": _annotators(drives[0])}
    for name, part in parts.items():
        print(part, end="\n\n")
        write_part(DOC, name, part)


def _drives() -> Iterator[_Drive]:
    real = {ROOT / path: plan for path, plan in _REAL.items() if (ROOT / path).exists()}
    for path, plan in real.items():
        yield _load(path, *plan)
    if not real:
        from simulation.fleet import FleetConfig, generate_fleet

        with tempfile.TemporaryDirectory() as name:
            config = FleetConfig(num_early=2, num_late=4, columns=360)
            for path in generate_fleet(Path(name), config):
                yield _load(path, *_FLEET)


def _load(path: Path, faults: int, seeds: int) -> _Drive:
    recording = open_recording(path)
    sweeps = list(recording.sweeps())
    known = recording.ground_truth or {}
    truth = {
        s.timestamp_ns: count_points(s.points_ego_m, known[s.timestamp_ns])
        for s in sweeps
        if s.timestamp_ns in known
    }
    return _Drive(str(recording.recording), recording, truth, sweeps, faults, seeds)


def _errors(drives: list[_Drive]) -> str:
    """Return the tables of precision."""
    lines = [
        "| labels | planted | list | in the first 10 | in the first n | found in the first 2n |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    by_kind: dict[tuple[str, str], list[bool]] = defaultdict(list)
    total = 0
    for drive in drives:
        figures: dict[str, list[tuple[float, float, float]]] = defaultdict(list)
        planted = 0
        for seed in range(drive.seeds):
            faults, found = _one(drive, seed)
            planted += len(faults)
            for name, first in found.items():
                figures[name].append(_figures(first, len(faults)))
            early = set(found["ours+"][: 2 * len(faults)].tolist())
            for i, fault in enumerate(faults):
                by_kind[fault.kind, fault.extent].append(i in early)
        total += planted
        boxes = sum(len(b) for b in drive.truth.values())
        what = f"{drive.name}: {boxes} boxes, {len(drive.truth)} frames"
        for name, title in _LISTS.items():
            ten, n, twice = np.mean(figures[name], axis=0)
            count = f"{planted} ({drive.faults} at once)"
            lines.append(f"| {what} | {count} | {title} | {ten:.0%} | {n:.0%} | {twice:.0%} |")
    lines += ["", f"{total} errors planted in all. Found in the first 2n, with a detector:", ""]
    lines += [f"| error | {' | '.join(_EXTENTS)} |", "| --- |" + " --- |" * len(_EXTENTS)]
    for kind in KINDS:
        cells = [_share(by_kind.get((kind, extent), [])) for extent in _EXTENTS]
        lines.append(f"| {kind} | {' | '.join(cells)} |")
    return "\n".join(lines)


def _one(drive: _Drive, seed: int) -> tuple[list[Fault], dict[str, np.ndarray]]:
    """Plant faults once; return them and, by list, which fault each place finds."""
    rng = np.random.default_rng(seed)
    wrong, faults = plant(drive.truth, drive.faults, rng)
    detections = jittered_detections(drive.truth, rng)
    labels = LabelSet.make(drive.name, wrong, drive.recording.trajectory)
    lists = {
        "ours": find_errors(labels, drive.sweeps),
        "ours+": find_errors(labels, drive.sweeps, detections),
        "score": by_model_score(wrong, detections, rng),
        "random": at_random(wrong, rng),
    }
    return faults, {name: hits(found, faults) for name, found in lists.items()}


def _figures(first: np.ndarray, count: int) -> tuple[float, float, float]:
    """Return precision in the first ten and in the first n, and recall in the first 2n."""
    hit = first >= 0
    return float(hit[:10].mean()), float(hit[:count].sum() / count), hit[: 2 * count].sum() / count


def _share(found: list[bool]) -> str:
    return f"{sum(found)} of {len(found)}" if found else "-"


def _annotators(drive: _Drive) -> str:
    """Return planted and estimated biases, and how often the interval covers the planted one."""
    covered: dict[tuple[str, str], int] = defaultdict(int)
    first = {}
    for seed in range(_REPEATS):
        rows = _measure(drive, seed)
        first = first or rows
        for person in PEOPLE:
            for bias, true in _planted(person).items():
                estimate = getattr(rows[person], bias)
                covered[person, bias] += estimate.low <= true <= estimate.high
    what = (
        f"Known answers: {len(drive.truth)} frames of {drive.name}; 95 % intervals; covered: how "
        f"often of {_REPEATS} repetitions the interval held the planted bias."
    )
    lines = [
        what,
        "",
        "| bias | A planted | A estimated | covered | B planted | B estimated | covered |",
        "| --- | --- | --- | --- | --- | --- | --- |",
    ]
    for bias in BIASES:
        cells = [
            f"{_planted(person)[bias]:.2f} | {getattr(first[person], bias):.2f} | "
            f"{covered[person, bias]}"
            for person in PEOPLE
        ]
        name, _, unit = bias.rpartition("_")
        lines.append(f"| {name}, {unit} | {' | '.join(cells)} |")
    every = sum(covered.values()) / (_REPEATS * len(PEOPLE) * len(BIASES))
    rates = ", ".join(
        f"{name}: precision {row.precision:.2f}, recall {row.recall:.2f}"
        for name, row in first.items()
    )
    return "\n".join([*lines, "", f"Covered in all: {every:.1%}. {rates}."])


def _measure(drive: _Drive, seed: int) -> dict:
    """Return the rows of both people after they labelled all frames once."""
    rng = np.random.default_rng(seed)
    known = {
        (drive.name, time): boxes.take(boxes.num_points >= 5) for time, boxes in drive.truth.items()
    }
    results = [
        ClipResult(
            f"{time}", drive.name, {time: FrameAnswer.manual(person.label(boxes, rng))}, name,
            f"{name}/{time}", float("nan"), 0,
        )
        for name, person in PEOPLE.items()
        for (_, time), boxes in known.items()
    ]  # fmt: skip
    return {row.annotator: row for row in measure_annotators(results, known)}


def _planted(person: str) -> dict[str, float]:
    one = PEOPLE[person]
    values = [*(100 * v for v in (*one.offset_m, *one.size_m)), one.yaw_deg]
    return dict(zip(BIASES, values, strict=True))


if __name__ == "__main__":
    main()
