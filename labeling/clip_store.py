"""Clips, drafts and answers in the bucket: writes are atomic, and sent twice they count once."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from itertools import chain
from typing import Any, Final, NamedTuple

from labeling.annotation import Annotation, Draft, Submission, check_annotation, to_answers
from labeling.clip_task import ClipTask
from labeling.clips import ClipResult, Review
from scene.errors import ConflictError, LabelError, NotFoundError
from scene.recording import RecordingId
from storage import layout
from storage.store import ObjectStore

EDITOR: Final = "editor"
_ATTEMPTS: Final = 20
_LEFT_NS: Final = 24 * 3600 * 1_000_000_000
_WRITERS: Final = 8  # a write waits for the disk or the network, not for the processor


@dataclass(frozen=True, slots=True, eq=False)
class Answer:
    """What one person submitted for one clip, as it is stored.

    Attributes:
        task_id: of the clip.
        recording: of the clip.
        answer_id: `<backend>-<id in it>`; the key of the object.
        annotator: a number of the backend, never a name.
        submission: the boxes and how they came to be.
        submitted_ns: when, nanoseconds since the epoch.
        review: what a reviewer said.
    """

    task_id: str
    recording: RecordingId
    answer_id: str
    annotator: str
    submission: Submission
    submitted_ns: int
    review: Review = "submitted"

    @property
    def annotation(self) -> Annotation:
        """The boxes."""
        return self.submission.annotation

    def to_bytes(self) -> bytes:
        """Return the stored JSON."""
        return _dump(
            {
                "task_id": self.task_id,
                "recording": str(self.recording),
                "answer_id": self.answer_id,
                "annotator": self.annotator,
                "submission": self.submission.model_dump(exclude_none=True),
                "submitted_ns": self.submitted_ns,
                "review": self.review,
            }
        )

    @classmethod
    def from_bytes(cls, data: bytes, where: str) -> Answer:
        """Undo `to_bytes`.

        Raises:
            LabelError: if it is something else.
        """
        try:
            values = json.loads(data)
            values["submission"] = Submission.model_validate(values["submission"])
            values["recording"] = RecordingId(values["recording"])
            return cls(**values)
        except (KeyError, TypeError, ValueError) as error:
            raise LabelError(f"{where}: not an answer of a labeller ({error!r})") from error

    def to_result(self, task: ClipTask) -> ClipResult:
        """Return what the answer means for the frames of its task."""
        seconds = self.submission.lead_time_s
        return ClipResult(
            task_id=self.task_id,
            recording=str(self.recording),
            frames=to_answers(self.annotation, task.prelabels, task.timestamps_ns),
            annotator=self.annotator,
            external_id=self.answer_id,
            seconds=float("nan") if seconds is None else float(seconds),
            submitted_ns=self.submitted_ns,
            review=self.review,
            purpose=task.purpose,
        )


class DraftState(NamedTuple):
    """Which draft is kept now.

    Attributes:
        stored: whether it is the one that was sent.
        client_id, sequence, saved_at: of the one that is kept.
    """

    stored: bool
    client_id: str
    sequence: int
    saved_at: str


class ClipStore:
    """The clips of a bucket, and what people did with them.

    Args:
        store: the bucket.
    """

    def __init__(self, store: ObjectStore) -> None:
        self.store = store

    def add(self, task: ClipTask) -> bool:
        """Keep a clip; return whether it is new. A clip that nobody touched gets the new prelabels.

        One that people worked on keeps those that it has: what they did is told by what they saw.
        """
        key, data = layout.clip_task(task.task_id), _dump(task.to_json())
        try:
            kept = self.store.get(key)
        except NotFoundError:
            with suppress(ConflictError):  # somebody else was faster
                self.store.put(key, data, if_absent=True)
                return True
            kept = b""
        if kept != data and self.is_touched(task):
            with suppress(LabelError, ValueError):  # what cannot be read is made anew
                shown = ClipTask.from_json(json.loads(kept), key)
                data = _dump(replace(shown, num_people=task.num_people).to_json())
        if kept != data:
            self.store.put(key, data)
        return False

    def is_touched(self, task: ClipTask) -> bool:
        """Return whether anybody began or answered a clip."""
        drafts = self.store.list(layout.clip_drafts_prefix(task.task_id))
        answers = self.store.list(layout.clip_answers_prefix(task.recording, task.task_id))
        return any(True for _ in chain(drafts, answers))

    def add_all(self, tasks: Sequence[ClipTask]) -> int:
        """Keep clips, several at once; return how many are new."""
        with ThreadPoolExecutor(_WRITERS, "clips") as pool:
            return sum(pool.map(self.add, tasks))

    def get(self, task_id: str) -> ClipTask:
        """Return a clip.

        Raises:
            NotFoundError: if there is none.
        """
        key = layout.clip_task(_checked(task_id))
        try:
            data = self.store.get(key)
        except NotFoundError as error:
            raise NotFoundError(f"no clip {task_id!r}: was it pushed to this bucket?") from error
        return ClipTask.from_json(json.loads(data), key)

    def task_ids(self, after: str = "") -> Iterator[str]:
        """Yield the ids of all clips in order, those after one of them."""
        for stat in self.store.list(layout.clip_tasks_prefix()):
            task_id = stat.key.rpartition("/")[2].removesuffix(".json")
            if task_id > after:
                yield task_id

    def draft(self, task_id: str, labeller: str) -> dict[str, Any] | None:
        """Return the unsubmitted work of a person as JSON: a `Draft` and `saved_at`, or None."""
        try:
            return json.loads(self.store.get(layout.clip_draft(_checked(task_id), labeller)))
        except NotFoundError:
            return None

    def save_draft(self, task: ClipTask, labeller: str, draft: Draft) -> DraftState:
        """Keep a draft if it is newer than what is kept and than what was submitted.

        The same draft sent again changes nothing. Of two windows that reach the same sequence the
        first one keeps its draft, and the other learns so from what is returned.

        Raises:
            LabelError: if the annotation does not fit the clip.
        """
        check_annotation(draft.annotation, len(task.frames))
        submitted = self.own_answer(task, labeller)
        if submitted is not None and submitted.submission.sequence >= draft.sequence:
            kept = submitted.submission
            return DraftState(
                False, kept.client_id, kept.sequence, iso(submitted.submitted_ns)
            )  # fmt: skip
        key = layout.clip_draft(task.task_id, labeller)
        values = {**draft.model_dump(exclude_none=True), "saved_at": iso(time.time_ns())}
        for _ in range(_ATTEMPTS):
            with suppress(ConflictError):
                return self._save_draft(key, values)
        raise ConflictError(f"{key}: many windows write this draft at once; close all but one")

    def _save_draft(self, key: str, values: dict[str, Any]) -> DraftState:
        """Try once; raises ConflictError if another window wrote meanwhile."""
        try:
            etag = self.store.stat(key).etag
            kept = json.loads(self.store.get(key))
        except NotFoundError:
            self.store.put(key, _dump(values), if_absent=True)
            return DraftState(True, values["client_id"], values["sequence"], values["saved_at"])
        if kept["sequence"] < values["sequence"]:
            self.store.put(key, _dump(values), if_match=etag)
            kept = values
        mine = all(kept[name] == values[name] for name in ("client_id", "sequence"))
        return DraftState(mine, kept["client_id"], kept["sequence"], kept["saved_at"])

    def submit(self, task: ClipTask, annotator: str, submission: Submission) -> Answer:
        """Keep what a person submitted; the same submission again changes nothing.

        Raises:
            LabelError: if the annotation does not fit the clip.
            ConflictError: if another annotation was submitted under this id.
        """
        check_annotation(submission.annotation, len(task.frames))
        answer = Answer(
            task.task_id, task.recording, f"{EDITOR}-{submission.submission_id}", annotator,
            submission, time.time_ns(),
        )  # fmt: skip
        key = answer_key(answer)
        try:
            self.store.put(key, answer.to_bytes(), if_absent=True)
        except ConflictError:
            kept = Answer.from_bytes(self.store.get(key), key)
            if kept.annotation.boxes != answer.annotation.boxes or kept.annotator != annotator:
                raise ConflictError(
                    f"submission {submission.submission_id} of clip {task.task_id} is there "
                    "already with other boxes; reload the page and submit again"
                ) from None
            return kept
        return answer

    def own_answer(self, task: ClipTask, labeller: str) -> Answer | None:
        """Return the newest answer of one person."""
        answers = self.newest_answers(task.recording, task.task_id)
        return next((answer for answer in answers if answer.annotator == labeller), None)

    def is_taken(self, task: ClipTask, labeller: str) -> bool:
        """Return whether as many other people as are asked about a clip answered it or work on it.

        Work that somebody left for a day is no longer in the way of others.
        """
        since = time.time_ns() - _LEFT_NS
        mine = layout.clip_draft(task.task_id, labeller)
        begun = {
            stat.key
            for stat in self.store.list(layout.clip_drafts_prefix(task.task_id))
            if stat.modified_ns >= since
        }
        answered = {
            layout.clip_draft(task.task_id, answer.annotator)
            for answer in self.answers(task.recording, task.task_id)
        }
        return len((begun | answered) - {mine}) >= task.num_people

    def put_answer(self, answer: Answer) -> bool:
        """Keep an answer that a backend gave in the place of an older state of it.

        Returns:
            Whether anything changed. A state that is newer than this one stays: of two processes
            that fetch at once the slower one must not undo what the other saw.
        """
        key, data = answer_key(answer), answer.to_bytes()
        for _ in range(_ATTEMPTS):
            with suppress(ConflictError):
                try:
                    etag = self.store.stat(key).etag
                    kept = self.store.get(key)
                except NotFoundError:
                    self.store.put(key, data, if_absent=True)
                    return True
                newer = Answer.from_bytes(kept, key).submitted_ns > answer.submitted_ns
                if kept == data or newer:
                    return False
                self.store.put(key, data, if_match=etag)
                return True
        raise ConflictError(f"{key}: many processes write this answer at once")

    def drop_answer(self, recording: RecordingId, task_id: str, answer_id: str) -> None:
        """Forget an answer that was withdrawn."""
        self.store.delete(layout.clip_answer(recording, _checked(task_id), answer_id))

    def answers(self, recording: RecordingId, task_id: str = "") -> list[Answer]:
        """Return all answers for a recording, or for one clip of it, oldest first."""
        prefix = layout.clip_answers_prefix(recording, task_id)
        found = []
        for stat in self.store.list(prefix):
            try:
                found.append(Answer.from_bytes(self.store.get(stat.key), stat.key))
            except NotFoundError:  # withdrawn meanwhile
                continue
        return sorted(found, key=lambda answer: (answer.submitted_ns, answer.answer_id))

    def newest_answers(self, recording: RecordingId, task_id: str = "") -> list[Answer]:
        """Return the newest answer of every person for every clip, oldest first."""
        newest = {(a.task_id, a.annotator): a for a in self.answers(recording, task_id)}
        return sorted(newest.values(), key=lambda answer: (answer.submitted_ns, answer.answer_id))

    def results(self, recording: RecordingId) -> list[ClipResult]:
        """Return what people say about a recording: the newest answer of each for each clip."""
        tasks: dict[str, ClipTask] = {}
        results = []
        for answer in self.newest_answers(recording):
            if answer.task_id not in tasks:
                tasks[answer.task_id] = self.get(answer.task_id)
            results.append(answer.to_result(tasks[answer.task_id]))
        return results


def _checked(task_id: str) -> str:
    """Return the id if it looks like one: it becomes part of a key."""
    if len(task_id) != 16 or set(task_id) - set("0123456789abcdef"):
        raise NotFoundError(f"{task_id[:40]!r} is no clip id: 16 hex digits")
    return task_id


def answer_key(answer: Answer) -> str:
    """Return where an answer is kept."""
    return layout.clip_answer(answer.recording, answer.task_id, answer.answer_id)


def iso(time_ns: int) -> str:
    """Return a time as ISO 8601 in UTC."""
    return datetime.fromtimestamp(time_ns / 1e9, UTC).isoformat(timespec="milliseconds")


def _dump(values: Any) -> bytes:
    return json.dumps(values, separators=(",", ":"), sort_keys=True).encode()
