"""The Label Studio project that holds the tasks: found by title or made, and its task listing.

Titles are not unique, and on SQLite the server itself repeats a request that met a locked
database, so that one POST can make two projects or two copies of a task. Nothing here relies on a
POST being done once: all projects with the title count as one, the oldest takes new tasks, and
empty others are removed when a project has just been made.
"""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Final

from labeling.server import GoneError, Server, UnavailableError
from labeling.tasks import BOX, MODEL_VERSION, label_config
from scene.errors import LabelError
from scene.taxonomy import CATEGORY_NAMES

_SETTLE_S: Final = 0.5  # between two looks at what racing clients made
_SETTLE_LOOKS: Final = 20
_LISTED: Final = "id,data,annotations,predictions,drafts,was_cancelled,overlap"


@dataclass(frozen=True, slots=True)
class TaskRow:
    """One line of the project's task list.

    Attributes:
        number: the task's id in Label Studio.
        task_id: Starloop's id of it.
        num_annotations: submitted by people, without skips.
        num_skips: times that a person skipped it.
        num_drafts: begun and not submitted.
        num_predictions: sets of prelabels.
        num_people: how many may label it.
    """

    number: int
    task_id: str
    num_annotations: int
    num_skips: int
    num_drafts: int
    num_predictions: int
    num_people: int = 1

    @property
    def is_touched(self) -> bool:
        """Whether a person worked on it."""
        return bool(self.num_annotations or self.num_skips or self.num_drafts)


@dataclass(frozen=True, slots=True)
class Interface:
    """How a project asks.

    Attributes:
        label_config: the labelling interface, XML.
        description: for people, on the project's page.
        control, kind: the tag whose results are read, and its type.
        labels: what it must offer; none for a tag without labels.
        where: who prints the XML, for the person whose project has another one.
    """

    label_config: str
    description: str
    control: str
    kind: str
    labels: frozenset[str]
    where: str


RECTANGLES: Final = Interface(
    label_config(),
    "Frames that Starloop chose for labelling. Each picture is the lidar sweep seen from above, "
    "ahead is up. Correct the boxes, delete wrong ones, draw missing ones, then press Submit.",
    BOX,
    "RectangleLabels",
    frozenset(CATEGORY_NAMES),
    "labeling.tasks.label_config()",
)


class Project:
    """All projects of a server with one title, seen as one.

    Attributes:
        project_id: the oldest of them; new tasks go there.
        title: of all of them.
    """

    def __init__(self, server: Server, project_ids: Sequence[int], title: str) -> None:
        self._server = server
        self._project_ids = tuple(project_ids)
        self.project_id = project_ids[0]
        self.title = title

    @classmethod
    def open(cls, server: Server, title: str, interface: Interface = RECTANGLES) -> Project:
        """Return the project with this title, making it if it is not there.

        Raises:
            LabelError: if a project with this title has another labelling interface.
        """
        found = _find(server, title)
        if not found:
            with suppress(UnavailableError):  # perhaps made all the same: the listing tells
                server.post("/api/projects/", json=_settings(title, interface))
            found = _settle(server, title)
        if not found:
            raise LabelError(f"Label Studio {server.url} did not keep the new project {title!r}")
        _check_interface(server.get(f"/api/projects/{found[0]}/"), title, interface)
        return cls(server, found, title)

    def tasks_of(self, recording: str) -> dict[str, list[TaskRow]]:
        """Return the tasks of one recording by Starloop's task id, oldest first.

        Raises:
            GoneError: if the project that takes new tasks was deleted: open it again.
        """
        rows: dict[str, list[TaskRow]] = {}
        query = _recording_query(recording)
        params = {"fields": "all", "include": _LISTED, "query": query}
        for number in self._project_ids:
            listing = self._server.pages("/api/tasks/", "tasks", {**params, "project": number})
            try:
                found = [_task_row(item) for item in listing]
            except GoneError:  # a racing client removes empty projects of the same title
                if number == self.project_id:
                    raise
                continue
            for row in found:
                rows.setdefault(row.task_id, []).append(row)
        return {task_id: sorted(same, key=lambda row: row.number) for task_id, same in rows.items()}

    def upload_picture(self, name: str, png: bytes) -> str:
        """Store a picture on the server and return its address for a task's data."""
        answer = self._server.post(
            f"/api/projects/{self.project_id}/import",
            repeatable=True,  # at worst a picture that no task shows
            params={"commit_to_project": "false"},
            files={"file": (name, png, "image/png")},
        )
        number = answer["file_upload_ids"][0]
        return "/data/" + self._server.get(f"/api/import/file-upload/{number}")["file"]

    def import_tasks(self, payloads: list[dict[str, Any]]) -> None:
        """Make tasks with their predictions in one request."""
        self._server.post(f"/api/projects/{self.project_id}/import", json=payloads)

    def read_task(self, number: int) -> dict[str, Any]:
        """Return a task with its annotations and predictions."""
        return self._server.get(f"/api/tasks/{number}/")

    def delete_task(self, number: int) -> None:
        """Delete a task; being absent already is fine."""
        self._server.delete(f"/api/tasks/{number}/")

    def ask_people(self, number: int, count: int) -> None:
        """Let so many people label a task before it is done."""
        self._server.patch(f"/api/tasks/{number}/", {"overlap": count})

    def add_prediction(self, number: int, prediction: Mapping[str, Any]) -> None:
        """Give prelabels to a task that has none."""
        self._server.post("/api/predictions/", json={"task": number, **prediction})


def _settings(title: str, interface: Interface) -> dict[str, Any]:
    return {
        "title": title,
        "description": interface.description,
        "label_config": interface.label_config,
        "maximum_annotations": 1,
        "show_collab_predictions": True,
        "model_version": MODEL_VERSION,
    }


def _find(server: Server, title: str) -> list[int]:
    """Return the ids of the projects with exactly this title, oldest first."""
    params = {"title": title, "include": "id,title"}  # the server's filter also finds parts
    projects = server.pages("/api/projects/", "results", params)
    return sorted(int(project["id"]) for project in projects if project["title"] == title)


def _settle(server: Server, title: str) -> list[int]:
    """Wait until the projects with this title no longer change, and remove superfluous ones.

    A project with a task stays; a client that was about to use a removed one gets `GoneError`
    from its import and looks again.
    """
    before: list[int] = []
    for _ in range(_SETTLE_LOOKS):
        found = _find(server, title)
        if found and found == before:
            break
        before = found
        time.sleep(_SETTLE_S)
    for number in before[1:]:
        with suppress(GoneError):
            if not server.get(f"/api/projects/{number}/")["task_number"]:
                server.delete(f"/api/projects/{number}/")
    return _find(server, title)


def _check_interface(project: Mapping[str, Any], title: str, interface: Interface) -> None:
    """Refuse a project whose results would not come back as boxes."""
    control = (project.get("parsed_label_config") or {}).get(interface.control, {})
    labels = set(control.get("labels", ()))
    if control.get("type") != interface.kind or labels != interface.labels:
        wanted = f" with the labels {', '.join(interface.labels)}" if interface.labels else ""
        raise LabelError(
            f"Label Studio project {title!r} (id {project.get('id')}) has another labelling "
            f"interface: Starloop needs <{interface.kind} name={interface.control!r}>{wanted}; "
            f"choose another project title, or paste the output of {interface.where} into the "
            "project's Settings > Labeling Interface"
        )


def _recording_query(recording: str) -> str:
    item = {
        "filter": "filter:tasks:data.recording",
        "operator": "equal",
        "type": "String",
        "value": recording,
    }
    return json.dumps({"filters": {"conjunction": "and", "items": [item]}})


def _task_row(item: Mapping[str, Any]) -> TaskRow:
    """Count what a task holds.

    The server's own counters (`total_annotations`, `is_labeled`) are not used: a draft saved at
    the same moment can set them back to zero for good (seen in 1.23.2 on SQLite), and the
    person's work would never be fetched.
    """
    skips = sum(bool(annotation["was_cancelled"]) for annotation in item["annotations"])
    return TaskRow(
        int(item["id"]),
        str(item["data"].get("task_id", "")),
        len(item["annotations"]) - skips,
        skips,
        len(item["drafts"]),
        len(item["predictions"]),
        int(item.get("overlap") or 1),
    )


def person_of(annotation: Mapping[str, Any]) -> str:
    """Return the user's number: a name or address would put personal data into every dataset."""
    person = annotation.get("completed_by")
    return str(person.get("id", "") if isinstance(person, Mapping) else person or "unknown")
