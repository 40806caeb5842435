"""The backend where people label: a Label Studio server, bird's-eye rectangles, prelabels."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from itertools import islice
from typing import Any, Final

from labeling.backend import LabelResult, LabelTask, Pending, task_id_of
from labeling.clips import ClipResult
from labeling.picture import draw_frame, encode_png
from labeling.project import Project, TaskRow, person_of
from labeling.reconcile import Changes, find_changes, read_regions, to_boxes
from labeling.rectangle_answers import read_answer
from labeling.server import GoneError, Server, UnavailableError
from labeling.tasks import TaskContext, make_context, make_prediction
from scene.bev import BevView
from scene.box import count_points
from scene.errors import LabelError, NotFoundError
from scene.recording import RecordingId, frame_id
from storage import layout
from storage.store import ObjectStore
from storage.sweeps import SweepFile

_LOG = logging.getLogger(__name__)
_BATCH: Final = 16
_IMPORT_ATTEMPTS: Final = 3
_LOOKS: Final = 4  # for a project that goes while it is looked for


class LabelStudioBackend:
    """Labels by people in a Label Studio server (tested with 1.23).

    A task shows one sweep from above with the prelabels as rotated rectangles. Only what the
    picture shows is asked and answered: prelabels outside `view` are not sent and do not return.

    The server knows nothing of our task ids and would take the same task twice, so `push` looks
    first, and removes untouched duplicates that two racing clients made.

    Args:
        url: address of the server.
        api_key: a personal access token (or a legacy one); never logged.
        project_title: the project to use; made if it is not there.
        store: the bucket. If given, the points inside the answered boxes are counted from the
            stored sweeps.
        view: the ground that a picture shows.
    """

    name = "label_studio"
    note = "Labels were made by people in Label Studio, on bird's-eye pictures with prelabels."

    def __init__(
        self,
        url: str,
        api_key: str,
        project_title: str = "starloop",
        store: ObjectStore | None = None,
        *,
        view: BevView | None = None,
    ) -> None:
        self._server = Server(url, api_key)
        self._title = project_title
        self._store = store
        self._view = view or BevView()
        self._opened: Project | None = None

    def close(self) -> None:
        """Close the connections to the server."""
        self._server.close()

    @property
    def project(self) -> Project:
        """The project on the server; found or made on first use."""
        if self._opened is None:
            self._opened = Project.open(self._server, self._title)
        return self._opened

    def push(self, tasks: Iterable[LabelTask]) -> list[str]:
        """Make the tasks that are not there yet; return `label_studio:<task>` in their order.

        Raises:
            LabelError: if the server refuses or stays away; what was made so far is found again
                by the next push.
        """
        external: list[str] = []
        stream = iter(tasks)
        while batch := list(islice(stream, _BATCH)):
            rows = self._push_batch(batch)
            external += [_external_id(rows[task.task_id][0]) for task in batch]
        return external

    def pull(self, frames: Sequence[tuple[str, int]]) -> list[LabelResult]:
        """Return submitted annotations in the order given; an edit since the last pull is seen.

        Of several annotations of a frame the one marked as ground truth counts, else the one
        changed last.
        """
        answers = self._answers(frames)
        results = [answers[frame] for frame in frames]
        return self._with_points([r for r in results if isinstance(r, LabelResult)])

    def answers(self, frames: Sequence[tuple[str, int]]) -> list[ClipResult]:
        """Return every submitted annotation of the frames; one that is not usable is left out."""
        by_recording = self._tasks_of(frames)
        found = []
        for frame in frames:
            for row in by_recording[frame[0]].get(task_id_of(*frame), ()):
                if row.num_annotations:
                    found += self._answers_in(frame, self.project.read_task(row.number))
        return self._counted(found)

    def _answers_in(self, frame: tuple[str, int], task: dict[str, Any]) -> list[ClipResult]:
        found = []
        for annotation in task["annotations"]:
            if annotation["was_cancelled"]:
                continue
            person = f"{self.name}:{person_of(annotation)}"
            try:
                answer = read_answer(frame, task, annotation, task_id_of(*frame), person)
            except LabelError as error:
                _LOG.warning("annotation of %s is not usable: %s", frame_id(*frame), error)
                continue
            found.append(answer)
        return found

    def _counted(self, answers: list[ClipResult]) -> list[ClipResult]:
        """Return answers with the points in their boxes counted, where the sweeps are stored."""
        results = self._with_points([
            LabelResult(answer.recording, time, a.boxes, answer.annotator, answer.external_id)
            for answer in answers
            for time, a in answer.frames.items()
        ])  # fmt: skip
        counted = iter(results)
        return [
            replace(
                answer,
                frames={t: replace(a, boxes=next(counted).boxes) for t, a in answer.frames.items()},
            )
            for answer in answers
        ]

    def pending(self, frames: Sequence[tuple[str, int]]) -> list[Pending]:
        """Return the frames without a usable annotation and why."""
        answers = self._answers(frames)
        return [
            Pending(*frame, reason)
            for frame in frames
            if isinstance(reason := answers[frame], str)
        ]  # fmt: skip

    def changes(self, frames: Sequence[tuple[str, int]]) -> dict[tuple[str, int], Changes]:
        """Return what people changed in the prelabels of the finished frames."""
        by_recording = self._tasks_of(frames)
        found = {}
        for frame in frames:
            rows = by_recording[frame[0]].get(task_id_of(*frame), ())
            annotation, task = self._annotation_of(rows)
            if annotation is not None and task is not None:
                context = TaskContext.from_meta(task["meta"])
                regions = read_regions(annotation["result"], context)
                found[frame] = find_changes(regions, task["predictions"], context)
        return found

    def _push_batch(self, batch: Sequence[LabelTask]) -> dict[str, list[TaskRow]]:
        """Make what is missing of a batch and return the rows of its tasks."""
        payloads: dict[str, dict[str, Any]] = {}
        attempts = 0
        while True:
            rows = self._rows_of(batch)
            missing = [task for task in batch if task.task_id not in rows]
            if not missing:
                self._drop_duplicates(rows)
                self._complete(batch, rows)
                return rows
            if attempts == _IMPORT_ATTEMPTS:
                raise LabelError(
                    f"Label Studio {self._server.url} did not keep {len(missing)} of {len(batch)} "
                    f"tasks in {attempts} attempts, first {missing[0].task_id}; see its log"
                )
            attempts += 1
            try:
                for task in missing:
                    if task.task_id not in payloads:
                        payloads[task.task_id] = self._payload(task)
                self.project.import_tasks([payloads[task.task_id] for task in missing])
            except UnavailableError as error:
                if not error.maybe_done:
                    raise
                _LOG.warning("import with unknown outcome, looking for its tasks: %s", error)
            except GoneError:
                payloads.clear()  # the pictures went with the project
                self._opened = None

    def _rows_of(self, batch: Sequence[LabelTask]) -> dict[str, list[TaskRow]]:
        wanted = {task.task_id for task in batch}
        rows: dict[str, list[TaskRow]] = {}
        for recording in dict.fromkeys(task.recording for task in batch):
            listed = self._listed(recording)
            rows.update({task_id: found for task_id, found in listed.items() if task_id in wanted})
        return rows

    def _listed(self, recording: str) -> dict[str, list[TaskRow]]:
        """Return the tasks of a recording; look for the project again if it has gone."""
        for _ in range(_LOOKS):
            try:
                return self.project.tasks_of(recording)
            except GoneError:  # racing clients can remove what was found a moment ago
                self._opened = None
        return self.project.tasks_of(recording)

    def _payload(self, task: LabelTask) -> dict[str, Any]:
        """Upload the picture of a task and return what to import."""
        context, boxes = make_context(task, self._view)
        png = encode_png(draw_frame(task.points_ego_m, boxes, self._view))
        payload: dict[str, Any] = {
            "data": {
                "image": self.project.upload_picture(f"{task.task_id}.png", png),
                "title": frame_id(task.recording, task.timestamp_ns),
                "task_id": task.task_id,
                "recording": task.recording,
                "timestamp_ns": str(task.timestamp_ns),  # too long for a JavaScript number
            },
            "meta": context.to_meta(),
        }
        if len(boxes):
            payload["predictions"] = [make_prediction(context, boxes)]
        return payload

    def _drop_duplicates(self, rows: Mapping[str, list[TaskRow]]) -> None:
        """Delete younger copies of a task that nobody worked on."""
        for same in rows.values():
            kept = [same[0]]
            for row in same[1:]:
                if row.is_touched:
                    kept.append(row)
                else:
                    self.project.delete_task(row.number)
            same[:] = kept

    def _complete(self, batch: Sequence[LabelTask], rows: Mapping[str, list[TaskRow]]) -> None:
        """Add what tasks lost when a push died half-way: prelabels, and a second person."""
        for task in batch:
            row = rows[task.task_id][0]
            if row.num_people < task.num_people:
                self.project.ask_people(row.number, task.num_people)
            if row.num_predictions or row.is_touched:
                continue
            context, boxes = make_context(task, self._view)
            if len(boxes):
                self.project.add_prediction(row.number, make_prediction(context, boxes))

    def _tasks_of(
        self, frames: Sequence[tuple[str, int]]
    ) -> dict[str, dict[str, list[TaskRow]]]:  # fmt: skip
        return {
            recording: self._listed(recording)
            for recording in dict.fromkeys(recording for recording, _ in frames)
        }

    def _answers(
        self, frames: Sequence[tuple[str, int]]
    ) -> dict[tuple[str, int], LabelResult | str]:
        """Return the annotation of every frame, or the reason why there is none."""
        by_recording = self._tasks_of(frames)
        return {
            frame: self._answer(frame, by_recording[frame[0]].get(task_id_of(*frame), ()))
            for frame in frames
        }

    def _answer(self, frame: tuple[str, int], rows: Sequence[TaskRow]) -> LabelResult | str:
        if not rows:
            return "no task on the server: push it"
        annotation, task = self._annotation_of(rows)
        if annotation is None or task is None:
            skipped = any(row.num_skips for row in rows)
            return "skipped by a person" if skipped else "waiting for a person"
        try:
            context = TaskContext.from_meta(task["meta"])
            boxes = to_boxes(read_regions(annotation["result"], context), context)
        except LabelError as error:
            address = f"{self._server.url}/projects/{task['project']}/data?task={task['id']}"
            _LOG.warning(
                "annotation of %s is not usable: %s (%s)", frame_id(*frame), error, address
            )
            return f"not usable: {error}; correct it at {address}"
        person = f"{self.name}:{person_of(annotation)}"
        return LabelResult(*frame, boxes, person, f"{_external_id(rows[0])}/{annotation['id']}")

    def _annotation_of(
        self, rows: Sequence[TaskRow]
    ) -> tuple[dict[str, Any] | None, dict[str, Any] | None]:
        """Return the annotation that counts and its task."""
        tasks = [self.project.read_task(row.number) for row in rows if row.num_annotations]
        choices = [
            (bool(annotation["ground_truth"]), annotation["updated_at"], annotation["id"], i)
            for i, task in enumerate(tasks)
            for annotation in task["annotations"]
            if not annotation["was_cancelled"]
        ]
        if not choices:
            return None, None
        *_, number, i = max(choices)
        return next(a for a in tasks[i]["annotations"] if a["id"] == number), tasks[i]

    def _with_points(self, results: list[LabelResult]) -> list[LabelResult]:
        """Count the points in the boxes where the sweeps are stored."""
        if self._store is None:
            return results
        counted = list(results)
        for recording in dict.fromkeys(result.recording for result in results):
            try:
                with SweepFile(self._store, layout.sweeps(RecordingId(recording))) as sweeps:
                    for i, result in enumerate(results):
                        if result.recording == recording:
                            sweep = sweeps.read(sweeps.index_of(result.timestamp_ns))
                            boxes = count_points(sweep.points_ego_m, result.boxes)
                            counted[i] = replace(result, boxes=boxes)
            except NotFoundError:
                _LOG.warning("no stored sweeps of %s: points in boxes are not counted", recording)
        return counted


def _external_id(row: TaskRow) -> str:
    return f"label_studio:{row.number}"
