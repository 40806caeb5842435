"""What labels cost: seconds a box, with and without prelabels, and how many of these were right."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from scipy.optimize import nnls

from labeling.clips import ORIGINS, ClipResult
from labeling.qa.intervals import Estimate, ratio_by_block
from scene.types import Float64

# Below so many timed tasks the time of a task cannot be told apart by what was done in it.
_MIN_TASKS: Final = 8


@dataclass(frozen=True, slots=True)
class CostRow:
    """Time of one kind of task, or of one kind of work.

    Attributes:
        name: `with prelabels`, `without prelabels`, `all`; or `manual`, `prediction`,
            `prediction-changed`, `deleted`, `frame`: the work on one such box, or on a frame
            apart from its boxes, fitted over all tasks.
        num_tasks: tasks with a known time.
        num_boxes: boxes in them of that kind.
        seconds: a box, deleted prelabel or frame.
    """

    name: str
    num_tasks: int
    num_boxes: int
    seconds: Estimate


def measure_cost(results: Sequence[ClipResult]) -> list[CostRow]:
    """Return seconds a box over all tasks, apart by prelabels, and by kind of work."""
    timed = [result for result in results if np.isfinite(result.seconds)]
    if not timed:
        return []
    helped = [result for result in timed if _num_shown(result)]
    alone = [result for result in timed if not _num_shown(result)]
    groups = {"all": timed, "with prelabels": helped, "without prelabels": alone}
    rows = [
        CostRow(name, len(group), sum(r.num_boxes for r in group), seconds_per_box(group))
        for name, group in groups.items()
        if group
    ]
    return rows + (_by_work(timed) if len(timed) >= _MIN_TASKS else [])


def seconds_per_box(results: Sequence[ClipResult]) -> Estimate:
    """Return the time of all tasks over the number of their boxes, tasks as blocks.

    Tasks of unknown time are left out. Time spent on frames that turned out empty counts too.
    """
    timed = [result for result in results if np.isfinite(result.seconds)]
    seconds = np.array([result.seconds for result in timed])
    boxes = np.array([result.num_boxes for result in timed], dtype=np.float64)
    task = np.arange(len(timed), dtype=np.int64)
    return ratio_by_block(seconds, boxes, task, int(boxes.sum()))


def corrections(results: Sequence[ClipResult]) -> Estimate:
    """Return the share of prelabels that people changed or deleted, tasks as blocks."""
    work = np.array([_work(result) for result in results]).reshape(-1, len(ORIGINS) + 2)
    kept, changed, deleted = work[:, 1], work[:, 2], work[:, 3]
    shown = kept + changed + deleted
    task = np.arange(len(results), dtype=np.int64)
    return ratio_by_block(changed + deleted, shown, task, int(shown.sum()))


def _work(result: ClipResult) -> Float64:
    """Return boxes of each of `ORIGINS`, deleted prelabels, and frames of a task."""
    origin = np.concatenate([answer.origin for answer in result.frames.values()])
    counts = [int((origin == name).sum()) for name in ORIGINS]
    deleted = sum(answer.num_deleted for answer in result.frames.values())
    return np.array([*counts, deleted, len(result.frames)], dtype=np.float64)


def _num_shown(result: ClipResult) -> float:
    """Return how many prelabels a task began with."""
    return float(_work(result)[1:4].sum())


def _by_work(timed: Sequence[ClipResult]) -> list[CostRow]:
    """Share the time of tasks out to what was done in them (least squares, nothing below zero).

    The interval leaves out one task after the other (jackknife).
    """
    work = np.stack([_work(result) for result in timed])
    seconds = np.array([result.seconds for result in timed])
    names = (*ORIGINS, "deleted", "frame")
    used = np.flatnonzero(work.any(axis=0))
    if len(timed) <= len(used):
        return []
    fitted = nnls(work[:, used], seconds)[0]
    without = np.stack([_without(i, work[:, used], seconds) for i in range(len(timed))])
    count = len(timed)
    deviation = np.sqrt((count - 1) / count * ((without - without.mean(axis=0)) ** 2).sum(axis=0))
    rows = []
    for column, value, spread in zip(used.tolist(), fitted, deviation, strict=True):
        num = int(work[:, column].sum())
        low, high = max(0.0, value - 1.96 * spread), value + 1.96 * spread
        estimate = Estimate(float(value), float(low), float(high), num)
        rows.append(CostRow(names[column], count, num, estimate))
    return rows


def _without(task: int, work: Float64, seconds: Float64) -> Float64:
    kept = np.arange(len(seconds)) != task
    return nnls(work[kept], seconds[kept])[0]
