"""Pictures of an evaluation: curves, calibration, mistakes, and the worst places from above."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np

from loop.workspace import Workspace
from reporting.evaluation_pictures import (
    CurveLine,
    Example,
    calibration_png,
    gallery_png,
    mistakes_png,
    precision_recall_png,
)
from scene.errors import NotFoundError
from scene.recording import split_frame_id
from storage import layout
from storage.sweeps import SweepFile
from training.evaluation import EvalFrame, Evaluation
from training.evaluation.curves import calibrate, precision_curve
from training.evaluation.mistakes import Mistakes

PICTURES: Final[dict[str, str]] = {
    "precision_recall": "Precision over recall at 2 m",
    "calibration": "How far scores can be believed",
    "mistakes": "What each kind of mistake costs",
    "gallery": "The worst mistakes from above",
}
_WORST: Final = 9
_OF_A_KIND: Final = 3


def draw_pictures(
    workspace: Workspace,
    key_of: tuple[str, str],
    frames: Sequence[EvalFrame],
    evaluation: Evaluation,
    mistakes: Mistakes,
) -> None:
    """Store the pictures of an evaluation.

    Args:
        workspace: holds the sweeps and takes the pictures.
        key_of: model and dataset.
        frames: what was evaluated.
        evaluation: its metrics.
        mistakes: what went wrong.
    """
    lines = [
        CurveLine(curve.category, curve.precision, curve.max_recall, evaluation.of(c).ap.value)
        for c, matches in zip(evaluation.categories, evaluation.matches, strict=True)
        if (curve := precision_curve(matches)) is not None
    ]
    trust = calibrate(evaluation.matches)
    found = f"{mistakes.count['missed']} missed, others with score {mistakes.min_score:g} or more"
    drawn = {
        "precision_recall": precision_recall_png(lines, PICTURES["precision_recall"]),
        "calibration": calibration_png(
            trust.edge, trust.promised, trust.right, trust.count, trust.error,
            PICTURES["calibration"],
        ),
        "mistakes": mistakes_png(mistakes.cost, mistakes.count, f"{PICTURES['mistakes']}: {found}"),
        "gallery": gallery_png(
            _worst(workspace, frames, mistakes), f"{PICTURES['gallery']}: labels dashed"
        ),
    }  # fmt: skip
    for name, png in drawn.items():
        workspace.store.put(layout.evaluation_picture(*key_of, name), png)


def stored_pictures(workspace: Workspace, model_id: str, dataset: str) -> dict[str, bytes]:
    """Return the stored pictures by caption."""
    result = {}
    for name, caption in PICTURES.items():
        try:
            result[caption] = workspace.store.get(
                layout.evaluation_picture(model_id, dataset, name)
            )
        except NotFoundError:
            continue
    return result


def _worst(workspace: Workspace, frames: Sequence[EvalFrame], mistakes: Mistakes) -> list[Example]:
    """Return the most confident mistakes and the best visible missed truth, few of each kind."""
    pool = mistakes.pool
    wrong = np.flatnonzero(mistakes.kind != "hit")
    wrong = wrong[np.argsort(-pool.predictions.score[wrong], kind="stable")]
    missed = np.flatnonzero(mistakes.missed)
    missed = missed[np.argsort(-pool.truth.num_points[missed], kind="stable")]
    chosen: list[tuple[int, str, np.ndarray]] = []
    seen: dict[str, int] = {}
    for i in wrong.tolist():
        kind = str(mistakes.kind[i])
        if seen.get(kind, 0) < _OF_A_KIND:
            seen[kind] = seen.get(kind, 0) + 1
            box = pool.predictions
            text = f"{kind}: {box.category[i]} {box.score[i]:.2f}"
            chosen.append((int(pool.frame[i]), text, box.center_xyz_m[i, :2]))
    chosen = chosen[: _WORST - _OF_A_KIND]
    for i in missed[:_OF_A_KIND].tolist():
        points = int(pool.truth.num_points[i])
        text = f"missed: {pool.truth.category[i]}, {points} points"
        chosen.append((int(pool.truth_frame[i]), text, pool.truth.center_xyz_m[i, :2]))
    return [_example(workspace, frames[frame], text, xy) for frame, text, xy in chosen]


def _example(workspace: Workspace, frame: EvalFrame, title: str, xy: np.ndarray) -> Example:
    recording, time = split_frame_id(frame.frame_id)
    with SweepFile(workspace.store, layout.sweeps(recording)) as sweeps:
        points = sweeps.read(sweeps.index_of(time)).points_ego_m
    return Example(title, points, frame.truth, frame.predictions, xy)
