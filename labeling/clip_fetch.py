"""Bringing answers from Label Studio into the bucket: what webhooks reported, and what changed.

A webhook is a hint: it is sent once, waits one second and is not repeated, so it may be lost, come
twice or come late. The truth is read from the server. The poll asks for the tasks that changed
since the last poll, with some overlap; a full poll asks for all and also finds what was deleted.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Final

from labeling.annotation import check_annotation
from labeling.clip_backend import PullReport
from labeling.clip_interface import read_submission
from labeling.clip_store import EDITOR, Answer, ClipStore
from labeling.clip_task import ClipTask
from labeling.project import Project, person_of
from labeling.server import GoneError, Server
from scene.errors import LabelError, NotFoundError
from storage import layout

_LOG = logging.getLogger(__name__)
_OVERLAP: Final = timedelta(seconds=120)  # a request may be stored later than its time says
_LISTED: Final = "id,data,annotations,drafts,updated_at"
_NAME: Final = "label_studio"


@dataclass(slots=True)
class _Found:
    """Counts of one fetch."""

    new: int = 0
    withdrawn: int = 0
    problems: dict[str, str] = field(default_factory=dict)


@dataclass(slots=True)
class _Cursor:
    """What was looked at so far; losing it costs time and nothing else.

    Attributes:
        updated_at: time of the server up to which changes were listed; empty before the first.
        seen: by number of a task, its annotations with the time of their last change.
    """

    updated_at: str = ""
    seen: dict[str, dict[str, str]] = field(default_factory=dict)

    def to_bytes(self) -> bytes:
        """Return the stored JSON."""
        return json.dumps({"updated_at": self.updated_at, "seen": self.seen}).encode()


class Fetcher:
    """One look at a project.

    Args:
        server: Label Studio.
        project: the project with the clips.
        clips: where answers go.
        place: identity of the project, see `LabelStudioClips.place`.
    """

    def __init__(self, server: Server, project: Project, clips: ClipStore, place: str) -> None:
        self._server = server
        self._project = project
        self._clips = clips
        self._place = place
        self._tasks: dict[str, ClipTask] = {}

    def fetch(self, *, full: bool = False) -> PullReport:
        """See `ClipBackend.fetch`. Killed at any moment, the next fetch does it again."""
        found, cursor = _Found(), self._cursor()
        before = cursor.to_bytes()
        self._take_inbox(cursor, found)
        since = datetime.fromisoformat(cursor.updated_at) if cursor.updated_at else None
        newest = self._newest()  # before the listing: what changes during it is listed again
        listed: dict[str, list[tuple[int, bool]]] = {}
        for row in self._changed(None if full else since):
            touched = bool(row["annotations"] or row["drafts"])
            listed.setdefault(str(row["data"].get("task_id")), []).append((row["id"], touched))
            self._look_at(row, cursor, found)
        if full or since is None:
            self._drop_twins(listed, found)
        cursor.updated_at = max(newest, cursor.updated_at)
        if cursor.to_bytes() != before:
            self._clips.store.put(layout.poll_cursor(self._place), cursor.to_bytes())
        return PullReport(found.new, found.withdrawn, found.problems)

    def _take_inbox(self, cursor: _Cursor, found: _Found) -> None:
        """Look at every task that a webhook reported; forget the report when that is done."""
        store, done = self._clips.store, set[int]()
        for stat in list(store.list(layout.label_inbox())):
            with suppress(NotFoundError):
                event = json.loads(store.get(stat.key))
                for number in event["tasks"]:
                    if number not in done and event["project"] == self._project.project_id:
                        done.add(number)
                        with suppress(GoneError):
                            self._take_task(self._project.read_task(number), cursor, found)
                store.delete(stat.key)

    def _cursor(self) -> _Cursor:
        """Return what was looked at so far."""
        try:
            return _Cursor(**json.loads(self._clips.store.get(layout.poll_cursor(self._place))))
        except NotFoundError:
            return _Cursor()

    def _look_at(self, row: Mapping[str, Any], cursor: _Cursor, found: _Found) -> None:
        """Read a listed task whole if its annotations are others than those seen before."""
        stubs = {str(stub["id"]): str(stub["updated_at"]) for stub in row["annotations"]}
        if stubs != cursor.seen.get(str(row["id"]), {}):
            with suppress(GoneError):
                self._take_task(self._project.read_task(int(row["id"])), cursor, found)

    def _newest(self) -> str:
        """Return the time of the newest change in the project; empty where it has no task."""
        query = json.dumps({"ordering": ["-tasks:updated_at"]})
        params = {
            "include": "id,updated_at",
            "project": self._project.project_id,
            "query": query,
            "page_size": 1,
        }
        rows = self._server.get("/api/tasks/", params)["tasks"]
        return str(rows[0]["updated_at"]) if rows else ""

    def _changed(self, since: datetime | None) -> Iterator[Mapping[str, Any]]:
        """Yield the tasks that changed since then, with their annotations; all without a time."""
        params: dict[str, str | int] = {
            "fields": "all",
            "include": _LISTED,
            "project": self._project.project_id,
        }
        if since is not None:
            item = {
                "filter": "filter:tasks:updated_at",
                "operator": "greater",
                "type": "Datetime",
                "value": (since - _OVERLAP).isoformat().replace("+00:00", "Z"),
            }
            params["query"] = json.dumps({"filters": {"conjunction": "and", "items": [item]}})
        yield from self._server.pages("/api/tasks/", "tasks", params)

    def _take_task(self, row: Mapping[str, Any], cursor: _Cursor, found: _Found) -> None:
        """Make the bucket say what the server says about one task."""
        stubs = {str(item["id"]): str(item["updated_at"]) for item in row["annotations"]}
        if stubs or str(row["id"]) in cursor.seen:
            cursor.seen[str(row["id"])] = stubs
        task_id = str(row["data"].get("task_id", ""))
        try:
            task = self._task(task_id)
        except (NotFoundError, LabelError) as error:
            found.problems[task_id] = str(error)
            return
        kept = {a.answer_id: a for a in self._clips.answers(task.recording, task_id)}
        prefix = f"{_NAME}-{self._place}-{row['id']}-"
        valid = set[str]()
        for annotation in row["annotations"]:
            if annotation.get("was_cancelled"):
                continue
            answer_id = f"{prefix}{annotation['id']}"
            where = f"{self._server.url}/projects/{self._project.project_id}/data?task={row['id']}"
            try:
                answer = self._answer(task, answer_id, annotation, where)
            except LabelError as error:
                found.problems[task_id] = str(error)
                _LOG.warning("answer of clip %s is not usable: %s", task_id, error)
                continue
            valid.add(answer_id)
            found.new += self._clips.put_answer(answer)
            self._drop_fallback(task, kept, answer)
        for answer_id in kept:
            if answer_id.startswith(prefix) and answer_id not in valid:
                self._clips.drop_answer(task.recording, task_id, answer_id)
                found.withdrawn += 1

    def _answer(
        self, task: ClipTask, answer_id: str, annotation: Mapping[str, Any], where: str
    ) -> Answer:
        """Return what one annotation says.

        Author and lead time are those that Label Studio kept. A star ("ground truth") is the word
        of a reviewer: the open edition has no other.
        """
        submission = read_submission(annotation, where)
        check_annotation(submission.annotation, len(task.frames))
        lead = annotation.get("lead_time")
        if lead is not None:
            submission = submission.model_copy(update={"lead_time_s": float(lead)})
        return Answer(
            task.task_id,
            task.recording,
            answer_id,
            f"{_NAME}:{person_of(annotation)}",
            submission,
            _nanoseconds(str(annotation["updated_at"])),
            "accepted" if annotation.get("ground_truth") else "submitted",
        )

    def _drop_fallback(self, task: ClipTask, kept: Mapping[str, Answer], answer: Answer) -> None:
        """Forget the copy that the editor saved beside Label Studio, now that it has its own."""
        spare = f"{EDITOR}-{answer.submission.submission_id}"
        if spare in kept:
            self._clips.drop_answer(task.recording, task.task_id, spare)

    def _drop_twins(
        self, listed: Mapping[str, list[tuple[int, bool]]], found: _Found
    ) -> None:  # fmt: skip
        """Delete untouched second copies of a task, which racing clients may have made."""
        for task_id, copies in listed.items():
            first, *rest = sorted(set(copies))
            for number, touched in rest:
                if not touched:
                    self._project.delete_task(number)
                elif first[1]:
                    found.problems[task_id] = (
                        f"two tasks of this clip hold work: {first[0]} and {number}"
                    )

    def _task(self, task_id: str) -> ClipTask:
        if task_id not in self._tasks:
            self._tasks[task_id] = self._clips.get(task_id)
        return self._tasks[task_id]


def tasks_of_event(payload: Mapping[str, Any]) -> tuple[int, list[int]]:
    """Return the project and the tasks that a webhook speaks of.

    Raises:
        LabelError: if it is no webhook of Label Studio.
    """
    try:
        project = int(payload["project"]["id"])
        tasks: Iterable[Any] = payload.get("tasks") or (
            [payload["task"]] if payload.get("task") else ()
        )
        numbers = [int(task["id"]) for task in tasks]
        annotations = payload.get("annotations") or (
            [payload["annotation"]] if payload.get("annotation") else ()
        )
        numbers += [int(item["task"]) for item in annotations if item.get("task")]
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise LabelError(f"not a webhook of Label Studio: {error!r}") from error
    return project, sorted(set(numbers))


def _nanoseconds(iso: str) -> int:
    """Return an ISO 8601 time as nanoseconds since the epoch, exact to the microsecond."""
    since = datetime.fromisoformat(iso) - datetime.fromisoformat("1970-01-01T00:00:00+00:00")
    return (since // timedelta(microseconds=1)) * 1000
