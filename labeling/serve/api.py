"""The API of the 3D editor; `labeling/editor/src/core/protocol.ts` is its other side.

```
GET  /editor/api/tasks?after=&limit=            the clips, 100 at a time, with their state
GET  /editor/api/tasks/{task_id}                frames, prelabels, own draft and own answer
GET  /editor/api/tasks/{task_id}/points/{i}     the sweep of frame i in the point codec
GET  /editor/api/tasks/{task_id}/images/{i}/{camera}   a camera image as recorded
PUT  /editor/api/tasks/{task_id}/draft          {client_id, sequence, annotation}
POST /editor/api/tasks/{task_id}/submit         {submission_id, annotation, lead_time_s}
```

Matrices are flat, row by row: 16 numbers of a transform, 9 of a camera matrix. Times are decimal
strings: nanoseconds since 1970 are too long for a JavaScript number. Every error is
`{"detail": "<what, where, what to do>"}`.
"""

from __future__ import annotations

from itertools import islice
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Path, Query, Request
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import Response
from pydantic import BaseModel, ConfigDict, Field

from labeling.annotation import Annotation, check_annotation
from labeling.clip_images import read_image
from labeling.clip_store import Answer, ClipStore
from labeling.clip_task import ClipTask
from labeling.serve.access import Access
from scene.errors import NotFoundError
from scene.taxonomy import CATEGORIES
from storage import layout
from storage.sweeps import SweepFile

_IDENTIFIER = Field(min_length=1, max_length=80, pattern=r"^[A-Za-z0-9_-]+$")
_Index = Annotated[int, Path(ge=0)]
_LONG = "private, max-age=86400, immutable"


class Draft(BaseModel):
    """Unsubmitted work. Of all windows of a person the highest sequence wins."""

    model_config = ConfigDict(extra="forbid")

    client_id: Annotated[str, _IDENTIFIER]
    sequence: Annotated[int, Field(ge=0, lt=2**53)]
    annotation: Annotation


class Submission(BaseModel):
    """Finished work; sent again with the same id it is one answer."""

    model_config = ConfigDict(extra="forbid")

    submission_id: Annotated[str, _IDENTIFIER]
    annotation: Annotation
    lead_time_s: Annotated[float, Field(ge=0, le=1e7, allow_inf_nan=False)] | None = None


def make_router(clips: ClipStore, access: Access) -> APIRouter:
    """Return the routes below `/editor/api`."""
    router = APIRouter(prefix="/editor/api")
    add_task_routes(router, clips, access)
    add_data_routes(router, clips, access)
    return router


def add_task_routes(router: APIRouter, clips: ClipStore, access: Access) -> None:
    """Add what is asked about tasks and what people did."""
    labeller_of = Depends(access.labeller)

    @router.get("/tasks")
    def tasks(
        labeller: str = labeller_of,
        after: str = "",
        limit: Annotated[int, Query(ge=1, le=500)] = 100,
    ) -> dict[str, Any]:
        ids = list(islice(clips.task_ids(after), limit + 1))
        listed = [_summary(clips, task_id, labeller) for task_id in ids[:limit]]
        return {"tasks": listed, "next": ids[limit - 1] if len(ids) > limit else None}

    @router.get("/tasks/{task_id}")
    def task(task_id: str, labeller: str = labeller_of) -> dict[str, Any]:
        return _document(clips, clips.get(task_id), labeller)

    @router.put("/tasks/{task_id}/draft")
    def save_draft(task_id: str, draft: Draft, labeller: str = labeller_of) -> dict[str, Any]:
        check_annotation(draft.annotation, len(clips.get(task_id).frames))
        kept = clips.save_draft(
            task_id, labeller, draft.client_id, draft.sequence, draft.annotation
        )
        mine = kept["client_id"] == draft.client_id and kept["sequence"] == draft.sequence
        return {
            "accepted": mine,
            "client_id": kept["client_id"],
            "sequence": kept["sequence"],
        }

    @router.post("/tasks/{task_id}/submit")
    def submit(task_id: str, submission: Submission, labeller: str = labeller_of) -> dict[str, Any]:
        answer = clips.submit(
            clips.get(task_id), labeller, submission.submission_id, submission.annotation,
            submission.lead_time_s,
        )  # fmt: skip
        return {"answer_id": answer.answer_id, "num_boxes": len(answer.annotation.boxes)}


def add_data_routes(router: APIRouter, clips: ClipStore, access: Access) -> None:
    """Add points and images. They never change: a recording is immutable under its task."""
    labeller_of = Depends(access.labeller)

    @router.get("/tasks/{task_id}/points/{number}")
    async def points(
        request: Request, task_id: str, number: _Index, _: str = labeller_of
    ) -> Response:
        tag = f'"{task_id}-{number}"'
        if request.headers.get("if-none-match") == tag:
            return Response(status_code=304)
        data = await run_in_threadpool(read_points, clips, task_id, number)
        headers = {"cache-control": _LONG, "etag": tag}
        return Response(data, media_type="application/octet-stream", headers=headers)

    @router.get("/tasks/{task_id}/images/{number}/{camera}")
    def image(task_id: str, number: _Index, camera: str, _: str = labeller_of) -> Response:
        task = clips.get(task_id)
        for found in _frame(task, number).images:
            if found["camera"] == camera:
                data, media_type = read_image(
                    clips.store, task.recording, camera, found["timestamp_ns"]
                )
                return Response(data, media_type=media_type, headers={"cache-control": _LONG})
        raise NotFoundError(f"clip {task_id}, frame {number}: no image of {camera!r}")


def read_points(clips: ClipStore, task_id: str, number: int) -> bytes:
    """Return the sweep of one frame as it is stored: a ranged read, nothing is decoded."""
    task = clips.get(task_id)
    frame = _frame(task, number)
    with SweepFile(clips.store, layout.sweeps(task.recording)) as sweeps:
        return sweeps.read_encoded(sweeps.index_of(frame.timestamp_ns))


def _frame(task: ClipTask, number: int) -> Any:
    if number >= len(task.frames):
        raise NotFoundError(f"clip {task.task_id} has {len(task.frames)} frames, no {number}")
    return task.frames[number]


def _summary(clips: ClipStore, task_id: str, labeller: str) -> dict[str, Any]:
    task = clips.get(task_id)
    draft = clips.draft(task_id, labeller)
    answer = _own_answer(clips, task, labeller)
    return {
        "task_id": task_id,
        "title": task.title,
        "num_frames": len(task.frames),
        "num_prelabels": len(task.prelabels),
        "state": "done" if answer else "begun" if draft else "new",
    }


def _document(clips: ClipStore, task: ClipTask, labeller: str) -> dict[str, Any]:
    """Return what the editor needs to show a task; nothing tells why it was made."""
    answer = _own_answer(clips, task, labeller)
    first = task.frames[0].timestamp_ns
    base = f"/editor/api/tasks/{task.task_id}"
    frames = [
        {
            "index": index,
            "timestamp_ns": str(frame.timestamp_ns),
            "offset_s": (frame.timestamp_ns - first) * 1e-9,
            "map_SE3_ego": list(frame.map_SE3_ego),
            "points_url": f"{base}/points/{index}",
            "num_points": frame.num_points,
            "images": [
                {
                    **{name: value for name, value in image.items() if name != "timestamp_ns"},
                    "url": f"{base}/images/{index}/{image['camera']}",
                }
                for image in frame.images
            ],
        }
        for index, frame in enumerate(task.frames)
    ]
    return {
        "format": 1,
        "task_id": task.task_id,
        "title": task.title,
        "version": task.version,
        "labeller": labeller,
        "categories": categories(),
        "frames": frames,
        "prelabels": [box.model_dump() for box in task.prelabels],
        "annotation": answer.annotation.model_dump() if answer else None,
        "draft": clips.draft(task.task_id, labeller),
    }


def categories() -> list[dict[str, Any]]:
    """Return the classes of the taxonomy for the editor."""
    return [
        {
            "name": category.name,
            "color": "#{:02x}{:02x}{:02x}".format(*category.color_rgb),
            "default_size_lwh_m": list(category.size_lwh_m),
        }
        for category in CATEGORIES
    ]


def _own_answer(clips: ClipStore, task: ClipTask, labeller: str) -> Answer | None:
    """Return the newest answer of this person: nobody sees the work of others."""
    answers = clips.newest_answers(task.recording, task.task_id)
    return next((answer for answer in answers if answer.annotator == labeller), None)
