"""Clips that are labelled in Label Studio, in the 3D editor inside its tasks."""

from __future__ import annotations

import hashlib
import json
import logging
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Final

from labeling.clip_backend import PullReport, PushReport
from labeling.clip_fetch import Fetcher
from labeling.clip_interface import INTERFACE, make_payload, make_prediction
from labeling.clip_store import ClipStore
from labeling.clip_task import ClipTask
from labeling.clips import ClipResult
from labeling.project import Project
from labeling.push_ledger import Ledger, Sent
from labeling.server import GoneError, Server, UnavailableError
from scene.errors import LabelError
from scene.recording import RecordingId

_LOG = logging.getLogger(__name__)
MAX_BATCH: Final = 250
_MAX_BATCH_BYTES: Final = 16 << 20
_ATTEMPTS: Final = 3
_SETTLE_S: Final = 1.0
_SETTLE_LOOKS: Final = 30


class LabelStudioClips:
    """Clips as tasks of a Label Studio project (tested with 1.23).

    Args:
        url: address of the server itself, not of the proxy in front of it.
        api_key: a personal access token (or a legacy one); never logged.
        clips: the clips of the bucket; also remembers what was pushed.
        title: the project to use; made if it is not there.
    """

    name = "label_studio"
    note = "Labels were made by people in Label Studio, in the 3D editor."

    def __init__(self, url: str, api_key: str, clips: ClipStore, title: str) -> None:
        self.server = Server(url, api_key)
        self.clips = clips
        self._title = title
        self._opened: Project | None = None
        self._place = ""

    def close(self) -> None:
        """Close the connections to the server."""
        self.server.close()

    @property
    def project(self) -> Project:
        """The project on the server; found or made on first use."""
        if self._opened is None:
            self._opened = Project.open(self.server, self._title, INTERFACE)
        return self._opened

    @property
    def place(self) -> str:
        """Identity of the project: another server at the same address is another place."""
        if not self._place:
            number = self.project.project_id
            made = self.server.get(f"/api/projects/{number}/")["created_at"]
            self._place = hashlib.sha256(f"{number}|{made}".encode()).hexdigest()[:16]
        return self._place

    def push(self, tasks: Iterable[ClipTask]) -> PushReport:
        """See `ClipBackend.push`; a clip in which nobody worked gets the newer prelabels.

        Raises:
            LabelError: if the server refuses or stays away; the next push goes on from there.
        """
        ledger = Ledger.load(self.clips.store, self.place)
        for batch in list(ledger.open_batches):
            self._settle(ledger, batch)
        external: dict[str, str] = {}
        new = refreshed = 0
        for known, missing in _sorted_out(tasks, ledger):
            newer = [t for t in known if ledger.known[t.task_id].version != t.version]
            self.clips.add_all(missing)
            if missing:
                self._send(ledger, missing)
            new += len(missing)
            refreshed += sum(self._refresh(ledger, task) for task in newer)
            external |= {
                task.task_id: f"{self.name}:{ledger.known[task.task_id].number}"
                for task in [*known, *missing]
            }
        return PushReport(external, new, refreshed)

    def fetch(self, *, full: bool = False) -> PullReport:
        """See `ClipBackend.fetch`."""
        return Fetcher(self.server, self.project, self.clips, self.place).fetch(full=full)

    def results(self, recording: RecordingId) -> list[ClipResult]:
        """See `ClipBackend.results`."""
        return self.clips.results(recording)

    def _send(self, ledger: Ledger, tasks: Sequence[ClipTask]) -> None:
        """Make tasks on the server, each once, and write down their numbers."""
        missing = list(tasks)
        for _ in range(_ATTEMPTS):
            batch = ledger.begin({task.task_id: task.version for task in missing})
            payloads = [make_payload(task, batch) for task in missing]
            try:
                numbers = self._import(payloads)
            except UnavailableError as error:
                if not error.maybe_done:
                    ledger.finish(batch, {})
                    raise
                _LOG.warning("import with unknown outcome, looking for its tasks: %s", error)
                numbers = None
            except LabelError:
                ledger.finish(batch, {})
                raise
            if numbers is None or len(numbers) != len(missing):
                self._settle(ledger, batch)
            else:
                ids = [task.task_id for task in missing]
                self._finish(ledger, batch, dict(zip(ids, numbers, strict=True)), missing)
            missing = [task for task in missing if task.task_id not in ledger.known]
            if not missing:
                return
        raise LabelError(
            f"Label Studio {self.server.url} did not keep {len(missing)} of {len(tasks)} clips in "
            f"{_ATTEMPTS} attempts, first {missing[0].task_id}; see its log"
        )

    def _import(self, payloads: list[dict[str, Any]]) -> list[int]:
        """Send one request; return the numbers of its tasks in their order."""
        number = self.project.project_id
        answer = self.server.post(
            f"/api/projects/{number}/import", params={"return_task_ids": "true"}, json=payloads
        )
        return sorted(int(item) for item in answer.get("task_ids", ()))

    def _settle(self, ledger: Ledger, batch: str) -> None:
        """Find out what became of a batch: ask for its tasks until the answer stays the same.

        The server may still be busy with a request whose answer nobody waits for any more.
        """
        before: dict[str, list[int]] | None = None
        for _ in range(_SETTLE_LOOKS):
            found = self._tasks_of_batch(batch)
            if len(found) == len(ledger.open_batches[batch]) or found == before:
                break
            before = found
            time.sleep(_SETTLE_S)
        else:
            raise LabelError(f"Label Studio {self.server.url}: batch {batch} does not settle")
        for numbers in found.values():
            for twin in numbers[1:]:  # made twice by a repeated request, and nobody saw them yet
                self.project.delete_task(twin)
        wanted = ledger.open_batches[batch]
        first = {task_id: found[task_id][0] for task_id in wanted if task_id in found}
        self._finish(ledger, batch, first, [self.clips.get(task_id) for task_id in first])

    def _finish(
        self, ledger: Ledger, batch: str, numbers: Mapping[str, int], tasks: Iterable[ClipTask]
    ) -> None:
        """Ask several people where that is wanted, then write down the tasks of a batch.

        The server gives a task to as many people as its `overlap` says, to each once (1.23).
        """
        for task in tasks:
            if task.num_people > 1:
                self.project.ask_people(numbers[task.task_id], task.num_people)
        ledger.finish(batch, numbers)

    def _tasks_of_batch(self, batch: str) -> dict[str, list[int]]:
        """Return the numbers of the tasks that were sent in one batch, by task id, oldest first."""
        item = {
            "filter": "filter:tasks:data.batch",
            "operator": "equal",
            "type": "String",
            "value": batch,
        }
        query = json.dumps({"filters": {"conjunction": "and", "items": [item]}})
        params = {"include": "id,data", "query": query, "project": self.project.project_id}
        found: dict[str, list[int]] = {}
        for row in self.server.pages("/api/tasks/", "tasks", params):
            found.setdefault(str(row["data"]["task_id"]), []).append(int(row["id"]))
        return {task_id: sorted(numbers) for task_id, numbers in found.items()}

    def _refresh(self, ledger: Ledger, task: ClipTask) -> bool:
        """Replace the prelabels of a task that nobody touched; return whether that was done."""
        sent = ledger.known[task.task_id]
        try:
            row = self.project.read_task(sent.number)
        except GoneError:  # somebody deleted it on the server: that is not undone here
            return False
        if row["annotations"] or row.get("drafts") or self.clips.is_touched(task):
            return False
        self.clips.add(task)
        for old in row["predictions"]:
            self.server.delete(f"/api/predictions/{old['id']}/")
        if task.prelabels:
            self.project.add_prediction(sent.number, make_prediction(task))
        ledger.correct(task.task_id, Sent(sent.number, task.version, sent.batch))
        return True


def _sorted_out(
    tasks: Iterable[ClipTask], ledger: Ledger
) -> Iterator[tuple[list[ClipTask], list[ClipTask]]]:
    """Yield tasks that are known and tasks to send, in batches; a clip given twice is one."""
    known: list[ClipTask] = []
    missing: dict[str, ClipTask] = {}
    size = 0
    for task in tasks:
        if task.task_id in ledger.known:
            known.append(task)
        elif task.task_id not in missing:
            missing[task.task_id] = task
            size += _size_of(task.to_json())
        if len(known) >= MAX_BATCH or len(missing) >= MAX_BATCH or size >= _MAX_BATCH_BYTES:
            yield known, list(missing.values())
            known, missing, size = [], {}, 0
    if known or missing:
        yield known, list(missing.values())


def _size_of(values: Mapping[str, Any]) -> int:
    return len(json.dumps(values["prelabels"]))
