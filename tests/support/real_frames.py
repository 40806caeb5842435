"""Real labels with imperfect predictions, as frames to evaluate."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np

from recordings.open import open_recording
from scene.box import Boxes
from training.evaluation import EvalFrame

REAL = (
    "av2_layout/pandaset_002",
    "kitti_raw/2011_09_26/2011_09_26_drive_0001_sync",
)


def real_frames(path: Path, seed: int = 0, limit: int = 1000) -> list[EvalFrame]:
    """Return the first labelled frames of a recording, with predictions drawn around the labels.

    Predictions keep the track of their label but for a few that change it; they have velocities,
    some labels are missed and some boxes invented. Points are drawn, not counted.
    """
    rng = np.random.default_rng(seed)
    recording = open_recording(path)
    known = recording.ground_truth or {}
    frames = []
    for time in sorted(known)[:limit]:
        truth = known[time]
        truth = replace(truth, num_points=rng.integers(0, 40, len(truth)))
        kept = truth.take(rng.random(len(truth)) > 0.2)
        count, extra = len(kept), 5
        track = np.where(rng.random(count) < 0.03, "other-", "")
        name = str(recording.recording)
        moved = Boxes.make(
            kept.center_xyz_m + rng.normal(0, 0.3, (count, 3)) * [1, 1, 0.2],
            kept.size_lwh_m * rng.uniform(0.9, 1.1, (count, 3)),
            kept.yaw_rad + rng.normal(0, 0.15, count),
            kept.category,
            kept.velocity_xy_mps + rng.normal(0, 0.4, (count, 2)),
            np.char.add(track, kept.track_id) if count else None,
            rng.beta(4, 2, count),
        )
        invented = Boxes.make(
            rng.uniform(-40, 40, (extra, 3)) * [1, 1, 0.02] + [0, 0, 0.8],
            np.tile([4.2, 1.9, 1.6], (extra, 1)),
            rng.uniform(-3, 3, extra),
            ["car"] * extra,
            rng.normal(0, 3, (extra, 2)),
            [f"invented-{time}-{i}" for i in range(extra)],
            rng.beta(2, 4, extra),
        )
        frames.append(
            EvalFrame(f"{name}@{time}", name, truth, Boxes.concatenate([moved, invented]))
        )
    return frames
