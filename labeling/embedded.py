"""The backend without a server: a recording's own ground truth answers as the annotator."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final, Protocol

import numpy as np
import pyarrow as pa

from labeling.backend import LabelResult, LabelTask, Pending, task_id_of
from labeling.clips import ClipResult, FrameAnswer
from scene.box import Boxes
from storage.boxes import arrow_to_boxes

ANNOTATOR: Final = "recording-ground-truth"
_DENSE_SHARE: Final = 0.5


class TableReader(Protocol):
    """The one thing that is needed of `storage.tables.Tables`."""

    def read(
        self,
        name: str,
        where: Mapping[str, str | int | Sequence[str] | Sequence[int]] | None = None,
        columns: Sequence[str] | None = None,
    ) -> pa.Table:
        """Return the matching rows of a table; no rows if the table does not exist."""
        ...


class EmbeddedBackend:
    """Labels from the recordings themselves: nothing is sent anywhere, nobody is asked.

    A frame is finished when its recording has ground truth boxes at exactly that time. A frame
    without boxes is finished and empty only where ground truth is dense, that is, at least half
    of the recording's frames have boxes: in a recording labelled at key frames only, an empty
    street cannot be told from an instant that nobody labelled, so such frames stay pending.
    """

    name = "embedded"
    note = (
        "Labels were taken from the recordings' own ground truth; no person looked at these frames."
    )

    def __init__(self, tables: TableReader) -> None:
        self._tables = tables

    def push(self, tasks: Iterable[LabelTask]) -> list[str]:
        """Return the external ids; the ground truth is in the tables already."""
        return [_external_id(task.recording, task.timestamp_ns) for task in tasks]

    def pull(self, frames: Sequence[tuple[str, int]]) -> list[LabelResult]:
        """Return the ground truth of the frames that have it, in the order given."""
        answers = self._answers(frames)
        return [
            LabelResult(recording, time, boxes, ANNOTATOR, _external_id(recording, time))
            for recording, time in frames
            if isinstance(boxes := answers[recording].at(time), Boxes)
        ]

    def answers(self, frames: Sequence[tuple[str, int]]) -> list[ClipResult]:
        """Return the ground truth as answers that a reviewer has accepted."""
        return [
            ClipResult(
                task_id_of(found.recording, found.timestamp_ns),
                found.recording,
                {found.timestamp_ns: FrameAnswer.manual(found.boxes)},
                found.annotator,
                found.external_id,
                float("nan"),
                0,
                "accepted",
            )
            for found in self.pull(frames)
        ]

    def pending(self, frames: Sequence[tuple[str, int]]) -> list[Pending]:
        """Return the frames without ground truth and why."""
        answers = self._answers(frames)
        return [
            Pending(recording, time, reason)
            for recording, time in frames
            if isinstance(reason := answers[recording].at(time), str)
        ]

    def close(self) -> None:
        """See `LabelBackend.close`; there is nothing to close."""

    def _answers(self, frames: Sequence[tuple[str, int]]) -> dict[str, _GroundTruth]:
        """Read each recording once."""
        return {
            name: self._ground_truth(name) for name in dict.fromkeys(name for name, _ in frames)
        }

    def _ground_truth(self, recording: str) -> _GroundTruth:
        where = {"recording": recording}
        known = self._tables.read("recordings", where, ["has_ground_truth"])
        if not any(known.column("has_ground_truth").to_pylist()):
            reason = (
                f"recording {recording} is not in the tables: ingest it first"
                if not known.num_rows
                else f"recording {recording} has no ground truth: use the label_studio backend"
            )
            return _GroundTruth({}, np.zeros(0, dtype=np.int64), reason)
        boxes = arrow_to_boxes(self._tables.read("boxes", where))
        times = self._tables.read("frames", where, ["timestamp_ns"]).column("timestamp_ns")
        return _GroundTruth(boxes, times.to_numpy().astype(np.int64), "")


@dataclass(frozen=True, slots=True, eq=False)
class _GroundTruth:
    """Ground truth of one recording; `missing` says why there is none at all."""

    boxes: dict[int, Boxes]
    frame_times_ns: np.ndarray
    missing: str

    def at(self, timestamp_ns: int) -> Boxes | str:
        """Return the boxes of one frame, or the reason why they are not known."""
        if self.missing:
            return self.missing
        if timestamp_ns in self.boxes:
            found = self.boxes[timestamp_ns]
            return replace(found, score=np.full(len(found), np.nan))
        if timestamp_ns not in self.frame_times_ns:
            return f"no frame at {timestamp_ns} ns in this recording"
        if len(self.boxes) >= _DENSE_SHARE * len(self.frame_times_ns):
            return Boxes.empty()
        return (
            f"no ground truth box at {timestamp_ns} ns, and only {len(self.boxes)} of the "
            f"{len(self.frame_times_ns)} frames have boxes: an empty street and an unlabelled "
            "frame cannot be told apart"
        )


def _external_id(recording: str, timestamp_ns: int) -> str:
    return f"embedded:{task_id_of(recording, timestamp_ns)}"
