"""The official nuScenes tracking evaluation and py-motmetrics as oracles.

`nuscenes.eval.tracking.algo` imports scikit-learn for one distance matrix and matplotlib for
drawing; a distance matrix of scipy stands in for the first and nothing for the second.
"""

from __future__ import annotations

import importlib
import importlib.util
import json
import sys
import types
from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from scipy.spatial.distance import cdist

from scene.box import Boxes
from tests.support.nuscenes_devkit import load_devkit
from training.evaluation import EvalFrame

INSTALL = (
    "pip install --no-deps nuscenes-devkit==1.2.0 motmetrics==1.4.0 && pip install pandas tqdm "
    "pyquaternion"
)
METRICS = ("recall", "motar", "gt", "mota", "motp", "mt", "ml", "faf", "tp", "fp", "fn", "ids",
           "frag", "tid", "lgd")  # fmt: skip


def load_tracking_devkit() -> Any | None:
    """Return `nuscenes.eval.tracking.algo`, or None where something is not installed."""
    needed = ("nuscenes", "motmetrics", "pandas", "tqdm")
    if any(importlib.util.find_spec(name) is None for name in needed) or load_devkit() is None:
        return None
    drawing = types.ModuleType("nuscenes.eval.tracking.render")
    drawing.TrackingRenderer = object  # type: ignore[attr-defined]
    sys.modules.setdefault("nuscenes.eval.tracking.render", drawing)
    with _scikit_learn():
        return importlib.import_module("nuscenes.eval.tracking.algo")


@contextmanager
def _scikit_learn() -> Iterator[None]:
    """Let one import find the one function of scikit-learn that it needs, and no other import."""
    if importlib.util.find_spec("sklearn") is not None:
        yield
        return
    package = types.ModuleType("sklearn")
    package.metrics = types.SimpleNamespace(  # type: ignore[attr-defined]
        pairwise=types.SimpleNamespace(euclidean_distances=cdist)
    )
    sys.modules["sklearn"] = package
    try:
        yield
    finally:
        del sys.modules["sklearn"]


def evaluate_with_devkit(
    algo: Any, frames: Sequence[EvalFrame], categories: Sequence[str]
) -> dict[str, dict[str, float]]:
    """Return the devkit's metrics by category: the loop of `TrackingEval.evaluate`."""
    data = importlib.import_module("nuscenes.eval.tracking.data_classes")
    root = Path(algo.__file__).parent
    content = json.loads((root / "configs" / "tracking_nips_2019.json").read_text())
    config = data.TrackingConfig.deserialize(content)
    truth, predictions = (_tracks(data, frames, what) for what in ("truth", "predictions"))
    return {name: _one(algo, config, data, truth, predictions, name) for name in categories}


def _one(algo: Any, config: Any, data: Any, truth: Any, found: Any, name: str) -> dict[str, float]:
    run = algo.TrackingEvaluation(
        truth, found, name, config.dist_fcn_callable, config.dist_th_tp, config.min_recall,
        data.TrackingMetricData.nelem, config.metric_worst, verbose=False,
    )  # fmt: skip
    curve = run.accumulate()
    result: dict[str, float] = {}
    if not np.isnan(curve.mota).all():
        best = np.nanargmax(curve.mota)
        result = {metric: float(curve.get_metric(metric)[best]) for metric in METRICS}
    for metric, source in (("amota", "motar"), ("amotp", "motp")):
        values = np.array(curve.get_metric(source))
        if np.isnan(values).all():
            result[metric] = np.nan
            continue
        values[np.isnan(values)] = config.metric_worst[metric]
        result[metric] = float(values.mean())
    return result


def _tracks(data: Any, frames: Sequence[EvalFrame], what: str) -> Any:
    """Return boxes by scene and time as `create_tracks` makes them: mean score, gaps filled."""
    tracks: Any = defaultdict(lambda: defaultdict(list))
    for time, frame in enumerate(frames):
        boxes: Boxes = getattr(frame, what)
        tracks[frame.group][time] = [_box(data, boxes, i) for i in range(len(boxes))]
    for scene, by_time in tracks.items():
        scores = defaultdict(list)
        for boxes in by_time.values():
            for box in boxes:
                scores[box.tracking_id].append(box.tracking_score)
        for boxes in by_time.values():
            for box in boxes:
                box.tracking_score = float(np.mean(scores[box.tracking_id]))
        tracks[scene] = _interpolate()(by_time)
    return tracks


def _interpolate() -> Any:
    for name in ("nuscenes.nuscenes", "nuscenes.utils.splits"):
        stub = types.ModuleType(name)
        stub.NuScenes = stub.get_scenes_of_split = object  # type: ignore[attr-defined]
        sys.modules.setdefault(name, stub)
    return importlib.import_module("nuscenes.eval.tracking.loaders").interpolate_tracks


def _box(data: Any, boxes: Boxes, i: int) -> Any:
    data.TRACKING_NAMES = [*dict.fromkeys([*data.TRACKING_NAMES, str(boxes.category[i])])]
    half = boxes.yaw_rad[i] / 2
    length, width, height = boxes.size_lwh_m[i].tolist()
    score = float(boxes.score[i])
    return data.TrackingBox(
        sample_token="",
        translation=tuple(boxes.center_xyz_m[i].tolist()),
        ego_translation=tuple(boxes.center_xyz_m[i].tolist()),
        size=(width, length, height),
        rotation=(float(np.cos(half)), 0.0, 0.0, float(np.sin(half))),
        velocity=(0.0, 0.0),
        num_pts=-1,
        tracking_id=str(boxes.track_id[i]),
        tracking_name=str(boxes.category[i]),
        tracking_score=-1.0 if np.isnan(score) else score,
    )


def clear_with_motmetrics(
    frames: Sequence[EvalFrame], category: str, limit_m: float
) -> dict[str, float]:
    """Return CLEAR MOT and IDF1 of one category over all scenes."""
    import motmetrics

    run = motmetrics.MOTAccumulator(auto_id=True)
    numbers: dict[str, int] = {}
    for frame in frames:
        truth = frame.truth.take(frame.truth.category == category)
        found = frame.predictions.take(frame.predictions.category == category)
        distance = cdist(truth.center_xyz_m[:, :2], found.center_xyz_m[:, :2])
        distance[distance >= limit_m] = np.nan
        names = [
            [numbers.setdefault(f"{frame.group}/{t}", len(numbers)) for t in boxes.track_id]
            for boxes in (truth, found)
        ]
        run.update(*names, distance)
    wanted = ["mota", "motp", "idf1", "num_switches", "num_fragmentations", "mostly_tracked",
              "mostly_lost", "num_misses", "num_false_positives", "num_matches"]  # fmt: skip
    table = motmetrics.metrics.create().compute(run, metrics=wanted, name="all")
    return {name: float(table[name].iloc[0]) for name in wanted}
