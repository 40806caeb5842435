"""What several people's answers to one frame come to: labels, or a question for a reviewer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from labeling.clips import ClipResult, FrameAnswer, Review
from labeling.qa.agreement import FrameAgreement, compare_frame
from labeling.qa.disputes import Dispute
from scene.types import Text


@dataclass(frozen=True, slots=True, eq=False)
class Settled:
    """The labels of one frame.

    Attributes:
        answer: boxes and where they came from.
        annotator: who; several names joined by `+` for a consensus.
        review: submitted, accepted or fixed.
        seconds: that all people together worked on the frame, NaN where nobody knows.
    """

    answer: FrameAnswer
    annotator: str
    review: Review
    seconds: float


@dataclass(frozen=True, slots=True, eq=False)
class Disputed:
    """A frame that a reviewer must decide.

    Attributes:
        disputes: what people do not agree about, worst first.
        proposal: the consensus, for the reviewer to begin with.
    """

    disputes: tuple[Dispute, ...]
    proposal: FrameAnswer


def seconds_of_frame(result: ClipResult, timestamp_ns: int) -> float:
    """Return the part of a task's time that one frame of it took, by the boxes in it.

    An empty frame is looked at for about as long as a box takes.
    """
    share = (len(result.frames[timestamp_ns].boxes) + 1) / (result.num_boxes + len(result.frames))
    return result.seconds * share


def settle_frame(
    timestamp_ns: int, results: Sequence[ClipResult], weights: Mapping[str, float] | None = None
) -> Settled | Disputed | None:
    """Return the labels of a frame, what is disputed, or None if nobody has labelled it.

    A reviewer's word is the last one: an answer to a review task, or one that was accepted or
    fixed; the newest of several. Without it, one person's newest answer stands, and of several
    people the consensus, unless they disagree. Answers that a reviewer rejected do not count.

    Args:
        timestamp_ns: of the frame.
        results: answers to tasks that hold the frame.
        weights: how much each annotator counts.
    """
    asked = [r for r in results if timestamp_ns in r.frames and r.review != "rejected"]
    asked.sort(key=lambda r: (r.submitted_ns, r.external_id))
    if not asked:
        return None
    spent = np.array([seconds_of_frame(r, timestamp_ns) for r in asked])
    seconds = float(np.nansum(spent)) if np.isfinite(spent).any() else float("nan")
    decided = [r for r in asked if r.purpose == "review" or r.review in {"accepted", "fixed"}]
    if decided:
        last = decided[-1]
        review: Review = "fixed" if last.purpose == "review" else last.review
        return Settled(last.frames[timestamp_ns], last.annotator, review, seconds)
    newest = {r.annotator: r.frames[timestamp_ns] for r in asked}
    if len(newest) == 1:
        ((annotator, answer),) = newest.items()
        return Settled(answer, annotator, "submitted", seconds)
    return _agree(newest, weights, seconds)


def _agree(
    answers: Mapping[str, FrameAnswer], weights: Mapping[str, float] | None, seconds: float
) -> Settled | Disputed:
    compared = compare_frame({name: a.boxes for name, a in answers.items()}, weights)
    agreed = _consensus_answer(compared, answers)
    if compared.disputes:
        return Disputed(compared.disputes, agreed)
    return Settled(agreed, "+".join(compared.annotators), "submitted", seconds)


def _consensus_answer(compared: FrameAgreement, answers: Mapping[str, FrameAnswer]) -> FrameAnswer:
    """Return the consensus with track ids and origins of the first person who saw each object.

    Ids of one person go through all frames; mixed ones would tear tracks apart.
    """
    consensus = compared.consensus
    first = (consensus.members >= 0).argmax(axis=1)
    tracks: list[str] = []
    origin: list[str] = []
    for index, person in enumerate(first.tolist()):
        answer = answers[compared.annotators[person]]
        member = consensus.members[index, person]
        tracks.append(str(answer.boxes.track_id[member]))
        origin.append(str(answer.origin[member]))
    text: Text = np.array(tracks, dtype=np.str_)
    deleted = min(answer.num_deleted for answer in answers.values())
    return FrameAnswer(
        replace(consensus.boxes, track_id=text), np.array(origin, dtype=np.str_), deleted
    )
