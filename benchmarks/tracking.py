"""The offline tracker on real and generated labels, beside an online one, on spoiled detections.

Detections are the labels with boxes dropped, moved, turned around and invented, from a seed. Prints
the table and writes it into `docs/metrics.md`.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from benchmarks.harness import write_part
from labeling.tracking import track_offline
from recordings.open import open_recording
from scene.box import Boxes
from scene.pose import SE3
from scene.types import Int64
from simulation.tracker import Tracker
from tests.support.moving_objects import detect
from training.evaluation import EvalFrame
from training.evaluation.tracking import TrackingEvaluation, evaluate_tracking

ROOT = Path(__file__).parents[1]
DOC = ROOT / "docs" / "metrics.md"
_REAL = {
    "PandaSet 002": "../shared/data/av2_layout/pandaset_002",
    "KITTI 0001": "../shared/data/kitti_raw/2011_09_26/2011_09_26_drive_0001_sync",
}
_SEEDS = 5
_CLUTTER = 4.0  # invented boxes a frame


@dataclass(frozen=True)
class _Drive:
    """Labels of one recording in the ego frame."""

    name: str
    truth: list[Boxes]
    timestamps_ns: Int64
    poses: list[SE3]


def main() -> None:
    """Measure, print, write."""
    columns = ("labels", "boxes", "found by", "recall", "centre error", "MOTA", "AMOTA", "IDF1",
               "switches", "CPU per frame")  # fmt: skip
    lines = ["| " + " | ".join(columns) + " |", "|" + " --- |" * len(columns)]
    for drive in _drives():
        lines += _rows(drive)
    table = "\n".join(lines)
    print(table)
    write_part(DOC, "tracking", table)


def _drives() -> Iterator[_Drive]:
    for name, path in _REAL.items():
        if (ROOT / path).exists():
            yield _load(name, ROOT / path)
    from simulation.fleet import FleetConfig, generate_fleet

    with tempfile.TemporaryDirectory() as folder:
        config = FleetConfig(num_early=1, num_late=2, columns=180)
        for number, path in enumerate(generate_fleet(Path(folder), config), 1):
            yield _load(f"generated drive {number}", path)


def _load(name: str, path: Path) -> _Drive:
    recording = open_recording(path)
    known = recording.ground_truth or {}
    times = np.array(sorted(known), dtype=np.int64)
    truth = [known[int(t)] for t in times]
    return _Drive(name, truth, times, [recording.trajectory.at(int(t)) for t in times])


def _rows(drive: _Drive) -> list[str]:
    """Return a row for the detections, the online and the offline tracker, mean over the seeds."""
    found: dict[str, list[TrackingEvaluation]] = {}
    seconds: dict[str, float] = {}
    for seed in range(_SEEDS):
        detections = detect(drive.truth, np.random.default_rng(seed), clutter=_CLUTTER)
        for name, track in (("detections", _alone), ("online", _online), ("offline", _offline)):
            start = time.process_time()
            boxes = track(drive, detections)
            seconds[name] = seconds.get(name, 0.0) + time.process_time() - start
            found.setdefault(name, []).append(_evaluate(drive, boxes))
    total = sum(len(boxes) for boxes in drive.truth)
    frames = _SEEDS * len(drive.truth)
    return [
        _line(drive.name, total, name, scores, 1e3 * seconds[name] / frames)
        for name, scores in found.items()
    ]


def _line(
    labels: str, boxes: int, name: str, scores: list[TrackingEvaluation], cpu_ms: float
) -> str:
    totals = [score.total for score in scores]
    recall = np.mean([t.recall for t in totals])
    error_m = np.mean([t.motp_m for t in totals])
    if name == "detections":
        return f"| {labels} | {boxes} | detections | {recall:.3f} | {error_m:.3f} m | | | | | |"
    mota, idf1 = (np.mean([getattr(t, key) for t in totals]) for key in ("mota", "idf1"))
    amota = np.mean([score.amota for score in scores])
    switches = np.mean([t.switches for t in totals])
    return (
        f"| | | {name} tracker | {recall:.3f} | {error_m:.3f} m | {mota:.3f} | {amota:.3f} | "
        f"{idf1:.3f} | {switches:.1f} | {cpu_ms:.1f} ms |"
    )


def _alone(_: _Drive, detections: list[Boxes]) -> list[Boxes]:
    """Give every detection a track of its own."""
    starts = np.cumsum([0, *map(len, detections)])
    return [
        replace(boxes, track_id=np.array([f"d{start + i}" for i in range(len(boxes))], np.str_))
        for boxes, start in zip(detections, starts[:-1], strict=True)
    ]


def _online(drive: _Drive, detections: list[Boxes]) -> list[Boxes]:
    tracker, result = Tracker(), []
    for boxes, pose, now in zip(detections, drive.poses, drive.timestamps_ns, strict=True):
        time_s = float(now - drive.timestamps_ns[0]) / 1e9
        tracker.update(boxes, pose, time_s)
        result.append(tracker.at(time_s).boxes.transform(pose.inverse()))
    return result


def _offline(drive: _Drive, detections: list[Boxes]) -> list[Boxes]:
    return list(track_offline(detections, drive.timestamps_ns, drive.poses).boxes)


def _evaluate(drive: _Drive, found: list[Boxes]) -> TrackingEvaluation:
    names = [str(i) for i in range(len(found))]
    frames = [
        EvalFrame(name, "drive", truth, boxes)
        for name, truth, boxes in zip(names, drive.truth, found, strict=True)
    ]
    categories = sorted({str(name) for boxes in drive.truth for name in boxes.category})
    poses = dict(zip(names, drive.poses, strict=True))
    return evaluate_tracking(frames, categories, map_SE3_ego=poses, mirrored_gaps=False)


if __name__ == "__main__":
    main()
