"""How exactly the metrics equal their official evaluators, on generated and on real boxes.

Prints the table and writes it into `docs/metrics.md`. An oracle that is not installed is named.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import astuple, dataclass
from pathlib import Path

import numpy as np

from benchmarks.harness import write_part
from scene.taxonomy import CATEGORY_NAMES
from tests.support import (
    av2_devkit,
    kitti_evaluator,
    nuscenes_devkit,
    tracking_devkit,
    waymo_reference,
)
from tests.support.detections import random_frames
from tests.support.kitti_images import detected, images
from tests.support.real_frames import REAL, real_frames
from tests.support.tracked_frames import NAMES, tracked_frames, without_gaps
from training.evaluation import EvalFrame, evaluate, evaluate_argoverse
from training.evaluation.kitti import KittiObjects, evaluate_kitti
from training.evaluation.matching import THRESHOLDS_M, pool_frames
from training.evaluation.tracking import evaluate_tracking
from training.evaluation.waymo import MIN_IOU, evaluate_waymo

ROOT = Path(__file__).parents[1]
DOC = ROOT / "docs" / "metrics.md"
_DATA = ROOT.parent / "shared" / "data"
_LABEL = _DATA / "kitti_object/training/label_2/000008.txt"
Pairs = Iterable[tuple[float, float]]


@dataclass(frozen=True)
class _Row:
    """One metric: what it is compared with, and the pairs (ours, theirs) of every figure."""

    metric: str
    oracle: str
    pairs: Callable[[], Pairs] | None
    install: str = ""


def main() -> None:
    """Compare, print, write."""
    lines = [
        "| metric | compared with | figures | largest difference |",
        "| --- | --- | --- | --- |",
    ]
    for row in _rows():
        lines.append(_line(row))
        print(lines[-1], flush=True)
    table = "\n".join(lines)
    write_part(DOC, "agreement", table)


def _line(row: _Row) -> str:
    if row.pairs is None:
        return f"| {row.metric} | {row.oracle} | – | not installed: `{row.install}` |"
    found = np.array(list(row.pairs()), dtype=np.float64).reshape(-1, 2)
    both = np.isfinite(found).all(axis=1)
    if (np.isnan(found[:, 0]) != np.isnan(found[:, 1])).any():
        raise RuntimeError(f"{row.metric}: one side has a figure where the other has none")
    worst = float(np.abs(found[both, 0] - found[both, 1]).max())
    return f"| {row.metric} | {row.oracle} | {int(both.sum())} | {worst:.0e} |"


def _rows() -> Iterator[_Row]:
    detection, argoverse = nuscenes_devkit.load_devkit(), av2_devkit.load_devkit()
    kitti, tracking = kitti_evaluator.load_evaluator(), tracking_devkit.load_tracking_devkit()
    yield _Row(
        "nuScenes AP and true-positive errors", "nuscenes-devkit 1.2.0",
        detection and (lambda: _nuscenes(detection)), nuscenes_devkit.INSTALL,
    )  # fmt: skip
    yield _Row(
        "Argoverse 2 AP, errors, CDS", "av2 0.2.1",
        argoverse and (lambda: _argoverse(argoverse)), av2_devkit.INSTALL,
    )  # fmt: skip
    yield _Row(
        "KITTI AP: 2D, BEV, 3D, AOS; R11, R40 (percent)",
        "the official evaluator as mmdet3d 1.4.0 carries it, overlaps by shapely",
        kitti and (lambda: _kitti(kitti)), kitti_evaluator.INSTALL,
    )  # fmt: skip
    yield _Row(
        "Waymo AP, APH at levels 1 and 2", "a slow transcription of the rules, overlaps by shapely",
        _waymo,
    )  # fmt: skip
    yield _Row(
        "nuScenes tracking: AMOTA, AMOTP, MOTA and 14 more", "nuscenes-devkit 1.2.0",
        tracking and (lambda: _tracking(tracking)), tracking_devkit.INSTALL,
    )  # fmt: skip
    yield _Row("CLEAR MOT, IDF1", "motmetrics 1.4.0", tracking and _clear, tracking_devkit.INSTALL)


def _real(limit: int = 1000) -> Iterator[list[EvalFrame]]:
    for path in REAL:
        if (_DATA / path).exists():
            yield real_frames(_DATA / path, limit=limit)


def _nuscenes(devkit: nuscenes_devkit.Devkit) -> Pairs:
    generated = [random_frames(0, 40, CATEGORY_NAMES, boxes_per_frame=30)]
    for frames in [*generated, *_real()]:
        pool = pool_frames(frames, CATEGORY_NAMES, None)
        sides = (
            nuscenes_devkit.to_devkit(
                devkit, {n: b.take(index == i) for i, n in enumerate(pool.frame_ids)}
            )
            for b, index in ((pool.truth, pool.truth_frame), (pool.predictions, pool.frame))
        )
        names = [n for n in CATEGORY_NAMES if (pool.truth.category == n).any()]
        official = nuscenes_devkit.evaluate_with_devkit(devkit, *sides, names)
        ours = evaluate(frames, names, resamples=0)
        for score in ours.classes:
            yield from (
                (value, official.ap[score.category, t])
                for t, value in zip(THRESHOLDS_M, score.ap_by_threshold, strict=True)
            )
            yield from (
                (value, official.errors[score.category, name])
                for name, value in score.errors.items()
            )


def _argoverse(devkit: av2_devkit.Devkit) -> Pairs:
    for frames in [random_frames(1, 20, CATEGORY_NAMES, boxes_per_frame=30), *_real()]:
        official = av2_devkit.evaluate_with_devkit(
            devkit,
            {f.frame_id: f.truth for f in frames},
            {f.frame_id: f.predictions for f in frames},
            CATEGORY_NAMES,
        )
        ours = evaluate_argoverse(frames, CATEGORY_NAMES)
        for name in CATEGORY_NAMES:
            yield from zip(
                astuple(ours.classes[name]), official.loc[name].to_numpy(float), strict=True
            )


def _kitti(module: object) -> Pairs:
    sets = [images(seed, 10) for seed in range(3)]
    if _LABEL.exists():
        truth, rng = KittiObjects.parse(_LABEL.read_text()), np.random.default_rng(0)
        sets.append(([truth] * 15, [detected(rng, truth, 0.5, clutter=2) for _ in range(15)]))
    for truth, found in sets:
        official = kitti_evaluator.evaluate_with_oracle(module, truth, found)
        for key, score in evaluate_kitti(truth, found).items():
            yield from zip(score, official[key], strict=True)


def _waymo() -> Pairs:
    sets: Sequence[list[EvalFrame]] = [
        random_frames(2, 8, list(MIN_IOU), noise_m=0.12), *_real(limit=6)
    ]  # fmt: skip
    for frames in sets:
        for (name, level), score in evaluate_waymo(frames).items():
            if any((f.truth.category == name).any() for f in frames):
                expected = waymo_reference.reference(frames, name, MIN_IOU[name], level)
                yield from zip(score, expected, strict=True)


def _tracking(algo: object) -> Pairs:
    for whole in [tracked_frames(0, length=7, objects=3), *_real(limit=3)]:
        frames = [_evaluated(frame) for frame in whole]  # the devkit filters elsewhere
        official = tracking_devkit.evaluate_with_devkit(algo, frames, ("car",))
        for name, score in evaluate_tracking(frames, ("car",)).classes.items():
            ours = {"amota": score.amota, "amotp": score.amotp_m, **score.at_best}
            yield from ((value, official[name][key]) for key, value in ours.items())


def _clear() -> Pairs:
    for frames in [tracked_frames(1), tracked_frames(2, miss=0.5), *_real(limit=20)]:
        inside = without_gaps([_evaluated(frame) for frame in frames])
        for name, score in evaluate_tracking(inside, NAMES).clear.items():
            if not score.num_boxes:
                continue
            other = tracking_devkit.clear_with_motmetrics(inside, name, 2.0)
            ours = (score.mota, score.motp_m, score.idf1, score.switches, score.fragments,
                    score.mostly_tracked, score.mostly_lost, score.misses, score.false_positives,
                    score.matches)  # fmt: skip
            yield from zip(ours, other.values(), strict=True)


def _evaluated(frame: EvalFrame) -> EvalFrame:
    """Return a frame without what our evaluation leaves out: motmetrics knows no ranges."""
    pool = pool_frames([frame], NAMES, None)
    return EvalFrame(frame.frame_id, frame.group, pool.truth, pool.predictions)


if __name__ == "__main__":
    main()
