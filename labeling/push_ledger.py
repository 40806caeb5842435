"""What was sent to a labelling project, kept in our own bucket: one small object a batch.

Before a batch is sent its ids are written down; when the answer came, the numbers that the server
gave them. A batch that was written down and has no numbers was cut off: only its own tasks have to
be asked for. So ten thousand tasks are pushed again without listing ten thousand tasks.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from storage import layout
from storage.store import ObjectStore


@dataclass(frozen=True, slots=True)
class Sent:
    """A task that is on the server.

    Attributes:
        number: its id there.
        version: of what the person is shown.
        batch: in which it was sent.
    """

    number: int
    version: str
    batch: str


@dataclass(slots=True)
class Ledger:
    """All batches of one project.

    Attributes:
        place: identity of the project.
        known: by task id what is on the server.
        open_batches: by batch the versions by task id of what may be there.
    """

    store: ObjectStore
    place: str
    known: dict[str, Sent] = field(default_factory=dict)
    open_batches: dict[str, dict[str, str]] = field(default_factory=dict)

    @classmethod
    def load(cls, store: ObjectStore, place: str) -> Ledger:
        """Read what is known of a project."""
        ledger = cls(store, place)
        for stat in store.list(layout.pushed_prefix(place)):
            values = json.loads(store.get(stat.key))
            batch, versions = values["batch"], values["versions"]
            if values["numbers"] is None:
                ledger.open_batches[batch] = versions
                continue
            for task_id, number in values["numbers"].items():
                ledger.known[task_id] = Sent(int(number), versions[task_id], batch)
        return ledger

    def begin(self, versions: Mapping[str, str]) -> str:
        """Write down what is about to be sent, by task id, and return the name of the batch."""
        batch = batch_of(self.place, versions)
        self._write(batch, versions, None)
        self.open_batches[batch] = dict(versions)
        return batch

    def finish(self, batch: str, numbers: Mapping[str, int]) -> None:
        """Write down which tasks of a batch are there; the others may be sent again."""
        versions = self.open_batches.pop(batch)
        self._write(batch, {task_id: versions[task_id] for task_id in numbers}, numbers)
        for task_id, number in numbers.items():
            self.known[task_id] = Sent(number, versions[task_id], batch)

    def correct(self, task_id: str, sent: Sent | None) -> None:
        """Write down that one task has another number or version, or is not there any more."""
        batch = (sent or self.known[task_id]).batch
        if sent is None:
            self.known.pop(task_id)
        else:
            self.known[task_id] = sent
        same = {key: value for key, value in self.known.items() if value.batch == batch}
        versions = {key: value.version for key, value in same.items()}
        self._write(batch, versions, {key: value.number for key, value in same.items()})

    def _write(
        self, batch: str, versions: Mapping[str, str], numbers: Mapping[str, int] | None
    ) -> None:
        values = {
            "batch": batch,
            "versions": dict(versions),
            "numbers": None if numbers is None else dict(numbers),
        }
        key = layout.pushed_batch(self.place, batch)
        self.store.put(key, json.dumps(values, sort_keys=True).encode())


def batch_of(place: str, task_ids: Iterable[str]) -> str:
    """Return the name of a batch: digest of its project and its tasks."""
    text = "|".join([place, *sorted(task_ids)])
    return hashlib.sha256(text.encode()).hexdigest()[:16]
