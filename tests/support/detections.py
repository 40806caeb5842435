"""Random truth with imperfect predictions, for evaluation tests and benchmarks."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from scene.box import Boxes
from scene.taxonomy import CATEGORY
from scene.types import Float64
from training.evaluation import EvalFrame


def random_frames(
    seed: int,
    num_frames: int,
    categories: Sequence[str],
    *,
    boxes_per_frame: int = 12,
    miss: float = 0.2,
    noise_m: float = 0.6,
    clutter: int = 6,
    groups: int = 4,
    score_levels: int | None = None,
) -> list[EvalFrame]:
    """Return frames whose predictions miss, shift, turn and invent boxes.

    Args:
        seed: same seed, same frames.
        num_frames: how many.
        categories: drawn evenly.
        boxes_per_frame: at most so many truth boxes a frame.
        miss: share of truth without a prediction.
        noise_m: standard deviation of the centres.
        clutter: false predictions a frame.
        groups: bootstrap groups.
        score_levels: round scores to so many levels, which makes ties; None for distinct scores.
    """
    rng = np.random.default_rng(seed)
    frames = []
    for index in range(num_frames):
        truth = random_boxes(rng, int(rng.integers(0, boxes_per_frame + 1)), categories)
        kept = truth.take(rng.random(len(truth)) >= miss)
        moved = Boxes.make(
            kept.center_xyz_m + rng.normal(0, noise_m, (len(kept), 3)) * [1, 1, 0.1],
            kept.size_lwh_m * rng.uniform(0.8, 1.25, (len(kept), 3)),
            kept.yaw_rad + rng.normal(0, 0.3, len(kept)),
            kept.category,
            kept.velocity_xy_mps + rng.normal(0, 0.5, (len(kept), 2)),
        )
        invented = random_boxes(rng, clutter, categories)
        boxes = Boxes.concatenate([moved, invented])
        score = np.concatenate([rng.beta(4, 2, len(moved)), rng.beta(2, 4, clutter)])
        frames.append(
            EvalFrame(
                f"recording-{index % groups}@{index}",
                f"recording-{index % groups}",
                truth,
                with_score(boxes, _rounded(score, score_levels)),
            )
        )
    return frames


def random_boxes(rng: np.random.Generator, count: int, categories: Sequence[str]) -> Boxes:
    """Return boxes of usual size, within 45 m, some without a known velocity."""
    names = rng.choice(np.asarray(categories), count)
    size = np.array([CATEGORY[str(name)].size_lwh_m for name in names]).reshape(count, 3)
    velocity = rng.normal(0, 4, (count, 2))
    velocity[rng.random(count) < 0.15] = np.nan
    return Boxes.make(
        np.stack([rng.uniform(-30, 45, count), rng.uniform(-25, 25, count), np.ones(count)], 1),
        size * rng.uniform(0.9, 1.1, (count, 3)),
        rng.uniform(-np.pi, np.pi, count),
        names,
        velocity,
        num_points=rng.integers(0, 60, count),
    )


def with_score(boxes: Boxes, score: Float64) -> Boxes:
    """Return the boxes as predictions with the given (N,) scores."""
    return Boxes.make(
        boxes.center_xyz_m,
        boxes.size_lwh_m,
        boxes.yaw_rad,
        boxes.category,
        boxes.velocity_xy_mps,
        score=score,
    )


def _rounded(score: Float64, levels: int | None) -> Float64:
    return score if levels is None else np.round(score * levels) / levels
