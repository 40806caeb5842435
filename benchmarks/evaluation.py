"""Detection metrics against the official nuScenes devkit, on the same boxes."""

from __future__ import annotations

from collections.abc import Callable

from benchmarks.harness import BenchRow, interleave
from scene.taxonomy import CATEGORY_NAMES
from tests.support.detections import random_frames
from tests.support.nuscenes_devkit import INSTALL, evaluate_with_devkit, load_devkit, to_devkit
from training.evaluation import evaluate
from training.evaluation.matching import THRESHOLDS_M, pool_frames

_FRAMES = 200
_RESAMPLES = 400


def rows() -> list[BenchRow]:
    """Measure one evaluation of ten categories, without and with bootstrap intervals.

    Raises:
        RuntimeError: if the devkit is missing or the two disagree.
    """
    devkit = load_devkit()
    if devkit is None:
        raise RuntimeError(f"the nuScenes devkit is not installed: {INSTALL}")
    frames = random_frames(0, _FRAMES, CATEGORY_NAMES, boxes_per_frame=60, clutter=40, groups=20)
    pool = pool_frames(frames, CATEGORY_NAMES, None)
    truth, predictions = (
        to_devkit(devkit, {n: boxes.take(index == i) for i, n in enumerate(pool.frame_ids)})
        for boxes, index in ((pool.truth, pool.truth_frame), (pool.predictions, pool.frame))
    )

    def point() -> object:
        return evaluate(frames, CATEGORY_NAMES, resamples=0)

    def with_intervals() -> object:
        return evaluate(frames, CATEGORY_NAMES, resamples=_RESAMPLES)

    def peer() -> object:
        return evaluate_with_devkit(devkit, truth, predictions, CATEGORY_NAMES)

    official, ours = peer(), point()
    worst = max(
        abs(ap - official.ap[score.category, threshold])
        for score in ours.classes
        for threshold, ap in zip(THRESHOLDS_M, score.ap_by_threshold, strict=True)
    )
    if not worst < 1e-9:
        raise RuntimeError(f"the two evaluations disagree by {worst}")
    data = (
        f"{_FRAMES} generated frames, {len(pool.truth)} truth boxes, {len(pool.predictions)} "
        f"predictions, 10 categories, 4 thresholds; AP equal to {worst:.0e}; the devkit's boxes "
        "are built beforehand"
    )
    return [
        _row("nuScenes metrics", point, peer, data),
        _row(
            f"nuScenes metrics with {_RESAMPLES} bootstrap resamples",
            with_intervals,
            peer,
            f"{data}; ours with 95 % intervals, the devkit once without",
        ),
    ]


def _row(name: str, ours: Callable[[], object], peer: Callable[[], object], note: str) -> BenchRow:
    mine, theirs, ratio = interleave(ours, peer)
    return BenchRow(
        name, "starloop", "nuscenes-devkit 1.2.0", mine * 1e3, theirs * 1e3, "ms CPU", ratio, note
    )


def main() -> None:
    """Print the rows."""
    for row in rows():
        values = f"{row.ours_value:.1f} vs {row.peer_value:.1f} {row.unit}"
        print(f"{row.name}: {values}, {row.ratio:.1f}x")
        print(f"  {row.note}")


if __name__ == "__main__":
    main()
