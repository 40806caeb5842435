"""How well and how fast each person labels, against frames whose answer is known."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Final

import numpy as np

from labeling.clips import ClipResult, FrameAnswer
from labeling.qa.cost import corrections, seconds_per_box
from labeling.qa.intervals import NOTHING, Estimate, mean_by_block, ratio_by_block
from labeling.qa.matching import box_errors, match_boxes
from scene.box import Boxes
from scene.types import Float64, Int64

FrameKey = tuple[str, int]  # recording, timestamp_ns

_MIN_POINTS: Final = 5  # nobody can be blamed for missing what fewer points show
BIASES: Final = (
    "along_cm", "across_cm", "up_cm", "length_cm", "width_cm", "height_cm", "yaw_deg",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class AnnotatorRow:
    """One person, measured. Errors are theirs minus the known answer's, in the object's own frame.

    Attributes:
        annotator: who.
        num_tasks: tasks submitted.
        num_boxes: boxes submitted in them.
        num_known: frames among them with a known answer.
        precision: share of their boxes in such frames that are objects of that class.
        recall: share of the objects in such frames that they boxed; those with fewer than five
            points are no fault.
        along_cm, across_cm, up_cm: bias of the centre: ahead, to the left, up.
        length_cm, width_cm, height_cm: bias of the size.
        yaw_deg: bias of the heading, counter-clockwise; half a turn does not count.
        flips: share of boxes with front and rear exchanged.
        seconds_per_box: of all their tasks.
        correction_rate: share of prelabels that they changed or deleted.
    """

    annotator: str
    num_tasks: int
    num_boxes: int
    num_known: int
    precision: Estimate
    recall: Estimate
    along_cm: Estimate
    across_cm: Estimate
    up_cm: Estimate
    length_cm: Estimate
    width_cm: Estimate
    height_cm: Estimate
    yaw_deg: Estimate
    flips: Estimate
    seconds_per_box: Estimate
    correction_rate: Estimate

    @property
    def score(self) -> float:
        """F1 on frames with a known answer; NaN without any. Used as weight in a consensus.

        Who drew nothing has no precision, and where nothing is to be found there is no recall:
        then it is the other one of the two.
        """
        known = [v for v in (self.precision.value, self.recall.value) if not math.isnan(v)]
        if len(known) < 2:
            return known[0] if known else math.nan
        both = sum(known)
        return 2 * known[0] * known[1] / both if both > 0 else 0.0

    def estimates(self) -> dict[str, Estimate]:
        """Return every measured figure by name."""
        found = {f.name: getattr(self, f.name) for f in fields(self)}
        return {name: value for name, value in found.items() if isinstance(value, Estimate)}


def measure_annotators(
    results: Sequence[ClipResult], known: Mapping[FrameKey, Boxes]
) -> list[AnnotatorRow]:
    """Return one row a person, sorted by name.

    Args:
        results: everything that was submitted.
        known: the right boxes of some frames: honeypots, or frames that a reviewer settled.
    """
    people = sorted({result.annotator for result in results})
    return [_row(name, [r for r in results if r.annotator == name], known) for name in people]


@dataclass(frozen=True, slots=True, eq=False)
class _Against:
    """One person's boxes beside the known ones.

    Attributes:
        errors: (K, 7) of matched boxes in the units of `BIASES`.
        flipped: (K,) 1.0 where front and rear are exchanged.
        frame: (K,) of the matched box.
        found, drawn: (F,) matched boxes, and boxes, of each frame.
        visible, objects: (F,) visible objects that were found, and all that are visible.
    """

    errors: Float64
    flipped: Float64
    frame: Int64
    found: Float64
    drawn: Float64
    visible: Float64
    objects: Float64


def _row(
    annotator: str, results: Sequence[ClipResult], known: Mapping[FrameKey, Boxes]
) -> AnnotatorRow:
    pairs = [
        (answer, known[result.recording, time])
        for result in results
        for time, answer in result.frames.items()
        if (result.recording, time) in known
    ]
    bias = dict.fromkeys(BIASES, NOTHING)
    precision = recall = flips = NOTHING
    if pairs:
        seen = _against(pairs)
        every = np.arange(len(pairs), dtype=np.int64)
        precision = ratio_by_block(seen.found, seen.drawn, every, int(seen.drawn.sum()))
        recall = ratio_by_block(seen.visible, seen.objects, every, int(seen.objects.sum()))
        flips = mean_by_block(seen.flipped, seen.frame)
        bias = {name: mean_by_block(seen.errors[:, i], seen.frame) for i, name in enumerate(BIASES)}
    return AnnotatorRow(
        annotator=annotator,
        num_tasks=len(results),
        num_boxes=sum(result.num_boxes for result in results),
        num_known=len(pairs),
        precision=precision,
        recall=recall,
        **bias,
        flips=flips,
        seconds_per_box=seconds_per_box(results),
        correction_rate=corrections(results),
    )


def _against(pairs: Sequence[tuple[FrameAnswer, Boxes]]) -> _Against:
    errors, flipped, frame, counts = [], [], [], []
    for number, (answer, truth) in enumerate(pairs):
        boxes = answer.boxes
        matched = match_boxes(boxes, truth, same_class=True)
        found = box_errors(boxes.take(matched.first), truth.take(matched.second))
        centimeters = np.column_stack([found.offset_m, found.size_m]) * 100.0
        errors.append(np.column_stack([centimeters, np.degrees(found.yaw_rad)]))
        flipped.append(found.flipped.astype(np.float64))
        frame.append(np.full(len(matched.first), number, dtype=np.int64))
        clear = (truth.num_points < 0) | (truth.num_points >= _MIN_POINTS)
        seen = int(clear[matched.second].sum())
        counts.append((len(matched.first), len(boxes), seen, int(clear.sum())))
    found, drawn, visible, objects = np.array(counts, dtype=np.float64).T
    return _Against(
        np.concatenate(errors),
        np.concatenate(flipped),
        np.concatenate(frame),
        found,
        drawn,
        visible,
        objects,
    )
