"""How well people agree about the same frames, and what must be looked at again."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from itertools import combinations
from typing import Final, NamedTuple

import numpy as np

from labeling.qa.alpha import gwet_ac1, krippendorff_alpha
from labeling.qa.consensus import Consensus, find_consensus
from labeling.qa.disputes import Dispute, find_disputes
from labeling.qa.matching import box_errors, match_boxes
from scene.box import Boxes
from scene.types import Float64, Int64, Mask

RANGES_M: Final = ((0.0, 20.0), (20.0, 40.0), (40.0, float("inf")))

FrameKey = tuple[str, int]  # recording, timestamp_ns


@dataclass(frozen=True, slots=True, eq=False)
class FrameAgreement:
    """One frame that two or more people labelled.

    Attributes:
        annotators: who, sorted.
        consensus: what they agree on.
        disputes: worst first.
    """

    annotators: tuple[str, ...]
    consensus: Consensus
    disputes: tuple[Dispute, ...]


@dataclass(frozen=True, slots=True)
class AgreementRow:
    """Agreement about one slice, over all pairs of people.

    Attributes:
        slice_name: `all`, a category, or a range such as `20-40 m`.
        num_frames: frames that two or more people labelled; in a slice, those with such objects.
        num_objects: objects that at least one person saw.
        f1_50, f1_70: F1 of one person's boxes against another's at BEV IoU 0.5 and 0.7, classes
            alike; NaN where neither drew a box.
        mean_iou: BEV IoU of matched boxes.
        center_m, size_m, yaw_deg: median errors of matched boxes; largest of the three sizes.
        flips: share of matched boxes whose front and rear are exchanged.
        alpha_class: Krippendorff's alpha of the class.
        alpha_presence: Krippendorff's alpha of whether there is an object.
        ac1_presence: Gwet's AC1 of the same.
    """

    slice_name: str
    num_frames: int
    num_objects: int
    f1_50: float
    f1_70: float
    mean_iou: float
    center_m: float
    size_m: float
    yaw_deg: float
    flips: float
    alpha_class: float
    alpha_presence: float
    ac1_presence: float


def compare_frame(
    answers: Mapping[str, Boxes], weights: Mapping[str, float] | None = None
) -> FrameAgreement:
    """Return consensus and disputes of one frame.

    Args:
        answers: boxes by annotator, two or more.
        weights: how much each annotator counts; 1 for those who are not named.
    """
    people = tuple(sorted(answers))
    weight = np.array([(weights or {}).get(name, 1.0) for name in people])
    consensus = find_consensus([answers[name] for name in people], weight)
    return FrameAgreement(people, consensus, find_disputes(people, answers, consensus))


def measure_agreement(
    frames: Mapping[FrameKey, Mapping[str, Boxes]],
    compared: Mapping[FrameKey, FrameAgreement] | None = None,
) -> list[AgreementRow]:
    """Return agreement over all, by class and by range.

    Args:
        frames: by frame, boxes by annotator; frames of a single annotator are left out.
        compared: what `compare_frame` says of each of these frames, if that is known already.
    """
    shared = {key: value for key, value in sorted(frames.items()) if len(value) >= 2}
    if not shared:
        return []
    objects = _objects(shared, compared or {k: compare_frame(a) for k, a in shared.items()})
    pairs = _pairs(shared)
    every = _row("all", objects, pairs, np.ones(len(objects.category), bool))
    rows = [replace(every, num_frames=len(shared))]  # also those in which nobody saw anything
    names = np.unique(objects.category).tolist()
    rows += [_row(name, objects, pairs, objects.category == name) for name in names]
    for low, high in RANGES_M:
        inside = (objects.range_m >= low) & (objects.range_m < high)
        if inside.any():
            text = f"{low:.0f}-{high:.0f} m" if np.isfinite(high) else f"over {low:.0f} m"
            rows.append(_row(text, objects, pairs, inside, (low, high)))
    return rows


class _Objects(NamedTuple):
    """All objects of all frames: class and range of the consensus, and what each person said."""

    frame: Int64
    category: np.ndarray
    range_m: Float64
    class_codes: Int64  # (A, O), -1 where not seen or not asked
    presence_codes: Int64  # (A, O), -1 where not asked


class _Pairs(NamedTuple):
    """Boxes of all pairs of people: (P,) arrays of matched pairs, then of all boxes of a pair."""

    category: np.ndarray
    range_m: Float64
    iou: Float64
    same_class: Mask
    center_m: Float64
    size_m: Float64
    yaw_deg: Float64
    flipped: Mask
    all_category: np.ndarray  # every box of either person, once a pair
    all_range_m: Float64


def _objects(
    frames: Mapping[FrameKey, Mapping[str, Boxes]], compared: Mapping[FrameKey, FrameAgreement]
) -> _Objects:
    people = sorted({name for answers in frames.values() for name in answers})
    categories = sorted(
        {c for answers in frames.values() for b in answers.values() for c in b.category.tolist()}
    )
    code = {name: index for index, name in enumerate(categories)}
    parts = []
    for number, (key, answers) in enumerate(frames.items()):
        asked, consensus = compared[key].annotators, compared[key].consensus
        count = len(consensus.boxes)
        classes = np.full((len(people), count), -1, dtype=np.int64)
        presence = classes.copy()
        for column, name in enumerate(asked):
            member = consensus.members[:, column]
            row = people.index(name)
            presence[row] = member >= 0
            seen = np.flatnonzero(member >= 0)
            said = answers[name].category[member[seen]]
            classes[row, seen] = [code[str(c)] for c in said]
        frame = np.full(count, number, dtype=np.int64)
        boxes = consensus.boxes
        parts.append(_Objects(frame, boxes.category, boxes.range_m(), classes, presence))
    return _Objects(*(np.concatenate(column, axis=-1) for column in zip(*parts, strict=True)))


def _pairs(frames: Mapping[FrameKey, Mapping[str, Boxes]]) -> _Pairs:
    parts = []
    for answers in frames.values():
        for one, two in combinations(sorted(answers), 2):
            first, second = answers[one], answers[two]
            found = match_boxes(first, second, same_class=False)
            mine, theirs = first.take(found.first), second.take(found.second)
            errors = box_errors(theirs, mine)
            both = Boxes.concatenate([first, second])
            parts.append(
                _Pairs(
                    mine.category,
                    mine.range_m(),
                    found.iou,
                    mine.category == theirs.category,
                    found.distance_m,
                    np.abs(errors.size_m).max(axis=1, initial=0.0),
                    np.degrees(np.abs(errors.yaw_rad)),
                    errors.flipped,
                    both.category,
                    both.range_m(),
                )
            )
    return _Pairs(*(np.concatenate(column) for column in zip(*parts, strict=True)))


def _row(
    name: str,
    objects: _Objects,
    pairs: _Pairs,
    chosen: Mask,
    limits_m: tuple[float, float] | None = None,
) -> AgreementRow:
    """Return one line; pairs are cut by the first person's class, or by range."""
    if limits_m is not None:
        of_pair = (pairs.range_m >= limits_m[0]) & (pairs.range_m < limits_m[1])
        of_all = (pairs.all_range_m >= limits_m[0]) & (pairs.all_range_m < limits_m[1])
    else:
        of_pair = (pairs.category == name) | (name == "all")
        of_all = (pairs.all_category == name) | (name == "all")
    iou, alike = pairs.iou[of_pair], pairs.same_class[of_pair]
    count = int(of_all.sum()) or float("nan")
    f1_50, f1_70 = (2 * int(((iou >= least) & alike).sum()) / count for least in (0.5, 0.7))
    presence = objects.presence_codes[:, chosen]
    return AgreementRow(
        slice_name=name,
        num_frames=len(np.unique(objects.frame[chosen])),
        num_objects=int(chosen.sum()),
        f1_50=f1_50,
        f1_70=f1_70,
        mean_iou=_mean(iou),
        center_m=_median(pairs.center_m[of_pair]),
        size_m=_median(pairs.size_m[of_pair]),
        yaw_deg=_median(pairs.yaw_deg[of_pair]),
        flips=_mean(pairs.flipped[of_pair]),
        alpha_class=krippendorff_alpha(objects.class_codes[:, chosen]),
        alpha_presence=krippendorff_alpha(presence),
        ac1_presence=gwet_ac1(presence),
    )


def _mean(values: np.ndarray) -> float:
    return float(values.mean()) if len(values) else float("nan")


def _median(values: np.ndarray) -> float:
    return float(np.median(values)) if len(values) else float("nan")
