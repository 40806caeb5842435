"""What every labelling backend looks like from outside: push frames, pull finished annotations."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields
from typing import Protocol

from labeling.clips import ClipResult
from scene.box import Boxes
from scene.errors import ShapeError
from scene.recording import frame_id
from scene.types import Float32


def task_id_of(recording: str, timestamp_ns: int) -> str:
    """Return the id of the task of one frame: 16 hex digits, the same in every backend."""
    return hashlib.sha256(frame_id(recording, timestamp_ns).encode()).hexdigest()[:16]


@dataclass(frozen=True, slots=True, eq=False)
class LabelTask:
    """One frame for a person to label.

    Attributes:
        recording: id of the recording.
        timestamp_ns: the sweep's time.
        prelabels: boxes to start from, ego frame; may be empty.
        points_ego_m: (N, 3) float32 points of the sweep.
        num_people: how many are asked about it.
    """

    recording: str
    timestamp_ns: int
    prelabels: Boxes
    points_ego_m: Float32
    num_people: int = 1

    def __post_init__(self) -> None:
        """Check the shape of the points."""
        if self.points_ego_m.ndim != 2 or self.points_ego_m.shape[1] != 3:
            raise ShapeError(
                f"label task {frame_id(self.recording, self.timestamp_ns)}: points_ego_m expected "
                f"(N, 3), got {self.points_ego_m.shape}"
            )

    @property
    def task_id(self) -> str:
        """Id of the task, from the recording and the time only."""
        return task_id_of(self.recording, self.timestamp_ns)


@dataclass(frozen=True, slots=True, eq=False)
class LabelResult:
    """The finished annotation of one frame.

    Attributes:
        recording: id of the recording.
        timestamp_ns: the sweep's time.
        boxes: annotated boxes, ego frame, score NaN. May be empty: a person saw nothing.
        annotator: who made it; never a secret.
        external_id: the annotation in the backend.
    """

    recording: str
    timestamp_ns: int
    boxes: Boxes
    annotator: str
    external_id: str

    @property
    def digest(self) -> str:
        """Digest of the frame and its boxes, 16 hex digits; changes when a person edits a box."""
        state = hashlib.sha256(frame_id(self.recording, self.timestamp_ns).encode())
        for column in fields(Boxes):
            values = getattr(self.boxes, column.name)
            text = values.dtype.kind == "U"
            state.update(f"|{column.name}|{values.shape}|".encode())
            state.update("\0".join(values.tolist()).encode() if text else values.tobytes())
        return state.hexdigest()[:16]


@dataclass(frozen=True, slots=True)
class Pending:
    """A frame without a finished annotation, and why."""

    recording: str
    timestamp_ns: int
    reason: str


class LabelBackend(Protocol):
    """A place where frames become annotations.

    Attributes:
        name: short name for tables: `embedded`, `label_studio`.
        note: one sentence for reports that says who made these labels.
    """

    name: str
    note: str

    def push(self, tasks: Iterable[LabelTask]) -> list[str]:
        """Offer frames for labelling and return their external ids, in the order of the tasks.

        Idempotent: a task that is there already is not made twice, also after a kill half-way.
        """
        ...

    def pull(self, frames: Sequence[tuple[str, int]]) -> list[LabelResult]:
        """Return the finished annotations among `(recording, timestamp_ns)` frames, in order."""
        ...

    def answers(self, frames: Sequence[tuple[str, int]]) -> list[ClipResult]:
        """Return every person's finished answer to `(recording, timestamp_ns)` frames."""
        ...

    def pending(self, frames: Sequence[tuple[str, int]]) -> list[Pending]:
        """Return the unfinished ones among `(recording, timestamp_ns)` frames with the reason."""
        ...

    def close(self) -> None:
        """Close connections, if there are any."""
        ...
