"""Answers to rectangle tasks of Label Studio: all people's, with time, origin and review state."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

import numpy as np

from labeling.clips import ClipResult, FrameAnswer, Review
from labeling.reconcile import Region, read_regions, same_region, to_boxes
from labeling.tasks import TaskContext


def read_answer(
    frame: tuple[str, int],
    task: Mapping[str, Any],
    annotation: Mapping[str, Any],
    task_id: str,
    annotator: str,
) -> ClipResult:
    """Return what one annotation of a task says.

    Args:
        frame: recording and time.
        task: as the server gives it, with `meta` and `predictions`.
        annotation: one of its annotations.
        task_id: Starloop's id of the task.
        annotator: who made it, as in tables.

    Raises:
        LabelError: if a rectangle has no category, an unknown one, or damaged values.
    """
    context = TaskContext.from_meta(task["meta"])
    regions = read_regions(annotation["result"], context)
    shown = _shown(task.get("predictions") or (), context)
    origin = np.array([_origin(region, shown) for region in regions], dtype=np.str_)
    kept = {region.prelabel_id for region in regions}
    answer = FrameAnswer(to_boxes(regions, context), origin, len(shown.keys() - kept))
    seconds = annotation.get("lead_time")
    review: Review = "accepted" if annotation.get("ground_truth") else "submitted"
    return ClipResult(
        task_id,
        frame[0],
        {frame[1]: answer},
        annotator,
        f"label_studio:{task['id']}/{annotation['id']}",
        float("nan") if seconds is None else float(seconds),
        _nanoseconds(str(annotation["updated_at"])),
        review,
    )


def _shown(
    predictions: Sequence[Mapping[str, Any]], context: TaskContext
) -> dict[str, Region]:  # fmt: skip
    return {
        region.prelabel_id: region
        for prediction in predictions
        for region in read_regions(prediction["result"], context)
        if region.prelabel_id
    }


def _origin(region: Region, shown: Mapping[str, Region]) -> str:
    before = shown.get(region.prelabel_id)
    if before is None:
        return "manual"
    return "prediction" if same_region(before, region) else "prediction-changed"


def _nanoseconds(text: str) -> int:
    """Return the time of an ISO text, whole microseconds."""
    moment = datetime.fromisoformat(text)
    return int(moment.timestamp() * 1_000_000) * 1000
