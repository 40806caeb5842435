"""What every place where clips are labelled looks like from outside, and the simplest one."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Protocol

from labeling.clip_store import EDITOR, ClipStore
from labeling.clip_task import ClipTask
from labeling.clips import ClipResult
from scene.recording import RecordingId


@dataclass(frozen=True, slots=True)
class PushReport:
    """What a push did.

    Attributes:
        external_ids: by task id, the task in the backend.
        num_new: how many were made; the others were there.
        num_refreshed: how many got newer prelabels.
    """

    external_ids: dict[str, str]
    num_new: int
    num_refreshed: int


@dataclass(frozen=True, slots=True)
class PullReport:
    """What a look at the backend brought.

    Attributes:
        num_new: answers that were not known, or had changed.
        num_withdrawn: answers that people took back.
        problems: by task id, why an answer could not be used, and what to do.
    """

    num_new: int
    num_withdrawn: int
    problems: dict[str, str]


class ClipBackend(Protocol):
    """A place where people label clips.

    Attributes:
        name: short name for tables: `editor`, `label_studio`.
        note: one sentence for reports that says who made these labels.
    """

    name: str
    note: str

    def push(self, tasks: Iterable[ClipTask]) -> PushReport:
        """Offer clips for labelling. A clip that is there is not made twice, also after a kill."""
        ...

    def fetch(self, *, full: bool = False) -> PullReport:
        """Bring answers into the bucket: those that changed since the last time, or all."""
        ...

    def results(self, recording: RecordingId) -> list[ClipResult]:
        """Return what people say about a recording, as it is in the bucket: call `fetch` first."""
        ...

    def close(self) -> None:
        """Close connections, if there are any."""
        ...


class EditorClips:
    """Clips that are labelled in our own editor: it writes into the bucket itself.

    Args:
        clips: the clips of the bucket.
    """

    name = EDITOR
    note = "Labels were made by people in the 3D editor."

    def __init__(self, clips: ClipStore) -> None:
        self.clips = clips

    def push(self, tasks: Iterable[ClipTask]) -> PushReport:
        """See `ClipBackend.push`."""
        external: dict[str, str] = {}
        new = 0
        for task in tasks:
            new += self.clips.add(task)
            external[task.task_id] = f"{self.name}:{task.task_id}"
        return PushReport(external, new, 0)

    def fetch(self, *, full: bool = False) -> PullReport:
        """See `ClipBackend.fetch`; there is nothing to bring."""
        del full
        return PullReport(0, 0, {})

    def results(self, recording: RecordingId) -> list[ClipResult]:
        """See `ClipBackend.results`."""
        return self.clips.results(recording)

    def close(self) -> None:
        """See `ClipBackend.close`; there is nothing to close."""
