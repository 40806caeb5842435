"""What comes back from people who label: answers with author, time, origin and review state.

A task is a clip: some frames of one recording that one person labels in one go. A task of a single
frame is a clip of one. Every backend gives its answers as `ClipResult`; everything after that
(agreement, honeypots, cost, the tables) works on the frames of it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final, Literal, get_args

import numpy as np

from scene.box import Boxes
from scene.errors import LabelError
from scene.types import Text

Origin = Literal["manual", "prediction", "prediction-changed"]
ORIGINS: Final[tuple[str, ...]] = get_args(Origin)

# submitted: nobody looked again; accepted or fixed by a reviewer, who stands for the boxes;
# rejected: not to be used.
Review = Literal["submitted", "accepted", "fixed", "rejected"]
REVIEWS: Final[tuple[str, ...]] = get_args(Review)

# Why a task was made. The person who labels it is not told.
Purpose = Literal["label", "honeypot", "review"]
PURPOSES: Final[tuple[str, ...]] = get_args(Purpose)


def clip_id_of(recording: str, timestamps_ns: list[int], purpose: str = "label") -> str:
    """Return the id of a clip: 16 hex digits of the recording, its times and the purpose."""
    times = ",".join(str(int(time)) for time in sorted(timestamps_ns))
    return hashlib.sha256(f"clip|{recording}|{times}|{purpose}".encode()).hexdigest()[:16]


@dataclass(frozen=True, slots=True, eq=False)
class FrameAnswer:
    """The boxes that one person gave for one frame.

    Attributes:
        boxes: ego frame of the frame's time, score NaN. May be empty: a person saw nothing.
        origin: (N,) where each box came from, a name of `ORIGINS`.
        num_deleted: prelabels of this frame that the person removed.
    """

    boxes: Boxes
    origin: Text
    num_deleted: int = 0

    def __post_init__(self) -> None:
        """Check that there is one known origin a box."""
        if self.origin.shape != (len(self.boxes),):
            raise LabelError(f"{len(self.boxes)} boxes with origins of shape {self.origin.shape}")
        unknown = sorted(set(self.origin.tolist()) - set(ORIGINS))
        if unknown:
            raise LabelError(f"origin {unknown[0]!r} is unknown; there are {', '.join(ORIGINS)}")

    @classmethod
    def manual(cls, boxes: Boxes) -> FrameAnswer:
        """Return an answer whose boxes were all drawn by hand."""
        return cls(boxes, np.full(len(boxes), "manual"))


@dataclass(frozen=True, slots=True, eq=False)
class ClipResult:
    """What one person submitted for one task.

    Attributes:
        task_id: id of the task in table `label_tasks`.
        recording: id of the recording.
        frames: answers by `timestamp_ns`; every frame of the task is there, also empty ones.
        annotator: who made it, as in tables: a number of the backend, never a name or a secret.
        external_id: the annotation in the backend; the same on every pull.
        seconds: time that the person worked on the whole task, NaN where the backend cannot tell.
        submitted_ns: when it was submitted or changed last, nanoseconds since the epoch.
        review: what a reviewer said of it.
        purpose: why the task was made.
    """

    task_id: str
    recording: str
    frames: Mapping[int, FrameAnswer] = field(repr=False)
    annotator: str
    external_id: str
    seconds: float
    submitted_ns: int
    review: Review = "submitted"
    purpose: Purpose = "label"

    def __post_init__(self) -> None:
        """Check the words."""
        for value, known in ((self.review, REVIEWS), (self.purpose, PURPOSES)):
            if value not in known:
                raise LabelError(
                    f"answer {self.external_id}: {value!r} is none of {', '.join(known)}"
                )
        if not self.frames:
            raise LabelError(f"answer {self.external_id} of task {self.task_id} has no frame")

    @property
    def num_boxes(self) -> int:
        """Boxes in all frames."""
        return sum(len(answer.boxes) for answer in self.frames.values())
