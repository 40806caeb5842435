"""What people do not agree about, object by object: each becomes a question for a reviewer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from labeling.qa.consensus import Consensus
from labeling.qa.matching import box_errors
from scene.box import Boxes
from scene.overlap import bev_iou

# Boxes of one object that overlap less are looked at again, if they differ by more than a hand.
REVIEW_IOU: Final = 0.7
_SAME_PLACE_M: Final = 0.2
_SAME_SIZE_M: Final = 0.3
_SAME_YAW_RAD: Final = float(np.radians(10.0))


@dataclass(frozen=True, slots=True)
class Dispute:
    """One object that people do not agree about.

    Attributes:
        kind: missing, class, place, size, yaw or heading.
        severity: in (0, 1]; how bad it would be to train on the wrong answer.
        object_index: of the object in the consensus.
        reason: one sentence for the person who decides.
    """

    kind: str
    severity: float
    object_index: int
    reason: str


def find_disputes(
    people: Sequence[str], answers: Mapping[str, Boxes], consensus: Consensus
) -> tuple[Dispute, ...]:
    """Return what is disputed about one frame, worst first.

    Args:
        people: annotators in the order of the consensus.
        answers: their boxes.
        consensus: what they agree on.
    """
    count = len(consensus.boxes)
    found = [d for i in range(count) for d in _disputes_of(i, people, answers, consensus)]
    return tuple(sorted(found, key=lambda d: (-d.severity, d.object_index, d.kind)))


def _disputes_of(
    index: int, people: Sequence[str], answers: Mapping[str, Boxes], consensus: Consensus
) -> list[Dispute]:
    """Return what is disputed about one object."""
    members = consensus.members[index]
    seen = [i for i in range(len(people)) if members[i] >= 0]
    group = Boxes.concatenate([answers[people[i]].take(members[i : i + 1]) for i in seen])
    agreed = consensus.boxes.take(np.array([index]))
    what = f"{agreed.category[0]} at {agreed.range_m()[0]:.0f} m"
    found = []
    absent = [people[i] for i in range(len(people)) if i not in seen]
    if absent:
        near = float(np.exp(-agreed.range_m()[0] / 60.0))
        text = f"{what}: seen by {_names(people, seen)}, not by {', '.join(absent)}"
        found.append(Dispute("missing", 0.5 + 0.5 * near, index, text))
    if len(set(group.category.tolist())) > 1:
        said = ", ".join(f"{people[i]}: {c}" for i, c in zip(seen, group.category, strict=True))
        found.append(Dispute("class", 0.8, index, f"{what}: {said}"))
    if len(group) < 2:
        return found
    errors = box_errors(group, agreed.take(np.zeros(len(group), dtype=np.int64)))
    if errors.flipped.any() and agreed.category[0] != "barrier":
        found.append(Dispute("heading", 0.6, index, f"{what}: front and rear are exchanged"))
    worst = float(bev_iou(group, group).min())
    if worst < REVIEW_IOU:
        found += _geometry(index, what, worst, group)
    return found


def _geometry(index: int, what: str, worst_iou: float, group: Boxes) -> list[Dispute]:
    """Say in which way boxes with little overlap differ; nothing if by less than a hand."""
    one, two = np.triu_indices(len(group), 1)  # every pair of people
    errors = box_errors(group.take(one), group.take(two))
    place = float(np.linalg.norm(errors.offset_m[:, :2], axis=1).max())
    size = float(np.abs(errors.size_m).max())
    turn = float(np.abs(errors.yaw_rad).max())
    kinds = (
        (place / _SAME_PLACE_M, "place", f"centres are {place:.2f} m apart"),
        (size / _SAME_SIZE_M, "size", f"sizes differ by {size:.2f} m"),
        (turn / _SAME_YAW_RAD, "yaw", f"turned by {np.degrees(turn):.0f} deg"),
    )
    times, kind, text = max(kinds)
    if times <= 1.0:
        return []
    reason = f"{what}: {text} (BEV IoU {worst_iou:.2f})"
    return [Dispute(kind, 0.3 + 0.4 * (1 - worst_iou), index, reason)]


def _names(people: Sequence[str], chosen: Sequence[int]) -> str:
    return ", ".join(people[i] for i in chosen)
