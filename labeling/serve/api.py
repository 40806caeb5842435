"""The API of the 3D editor; `labeling/editor/src/core/protocol.ts` is its other side.

```
GET  /editor/api/tasks?after=&limit=            own clips, and those that wait for somebody
GET  /editor/api/tasks/{task_id}                frames, prelabels, own draft and own answer
GET  /editor/api/tasks/{task_id}/points/{i}     the sweep of frame i in the point codec
GET  /editor/api/tasks/{task_id}/images/{i}/{camera}   a camera image as recorded
PUT  /editor/api/tasks/{task_id}/draft          {client_id, sequence, version, annotation}
POST /editor/api/tasks/{task_id}/submit         {submission_id, ..., annotation, lead_time_s}
```

Matrices are lists of rows. Every error is `{"error": "<what, where, what to do>"}`.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import islice
from typing import Annotated, Any
from urllib.parse import quote

from fastapi import APIRouter, Depends, Path, Query, Request
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import RedirectResponse, Response

from labeling.annotation import Draft, Submission
from labeling.clip_images import ReadLanded, read_image
from labeling.clip_store import Answer, ClipStore, iso
from labeling.clip_task import ClipTask
from labeling.serve.access import Access
from scene.errors import NotFoundError
from scene.taxonomy import CATEGORIES
from storage import layout
from storage.sweeps import SweepFile

_Index = Annotated[int, Path(ge=0)]
_URL_S = 300
_LONG = "private, max-age=86400, immutable"


def make_router(
    clips: ClipStore,
    access: Access,
    read_landed: ReadLanded | None = None,
    *,
    presigned: bool = False,
) -> APIRouter:
    """Return the routes below `/editor/api`.

    Args:
        clips: the clips of the bucket.
        access: tells who asks.
        read_landed: reads images that were kept by reference.
        presigned: points are read from the object store itself, by URLs that run out; its bucket
            must let pages of our origin read.
    """
    router = APIRouter(prefix="/editor/api")
    add_task_routes(router, clips, access)
    add_data_routes(router, clips, access, read_landed, presigned=presigned)
    return router


def add_task_routes(router: APIRouter, clips: ClipStore, access: Access) -> None:
    """Add what is asked about tasks and what people did."""
    labeller_of = Depends(access.labeller)

    @router.get("/tasks")
    def tasks(
        response: Response,
        labeller: str = labeller_of,
        after: str = "",
        limit: Annotated[int, Query(ge=1, le=1000)] = 200,
    ) -> list[dict[str, Any]]:
        every = (_summary(clips, task_id, labeller) for task_id in clips.task_ids(after))
        # What others see to does not count: a list that is shorter than the limit is the last one.
        found = list(islice((one for one in every if one is not None), limit + 1))
        if len(found) > limit:
            response.headers["x-next-after"] = found[limit - 1]["task_id"]
        return found[:limit]

    @router.get("/tasks/{task_id}")
    def task(task_id: str, labeller: str = labeller_of) -> dict[str, Any]:
        return _document(clips, clips.get(task_id), labeller)

    @router.put("/tasks/{task_id}/draft")
    def save_draft(task_id: str, draft: Draft, labeller: str = labeller_of) -> dict[str, Any]:
        return clips.save_draft(clips.get(task_id), labeller, draft)._asdict()

    @router.post("/tasks/{task_id}/submit")
    def submit(task_id: str, submission: Submission, labeller: str = labeller_of) -> dict[str, Any]:
        answer = clips.submit(clips.get(task_id), labeller, submission)
        return {
            "submission_id": submission.submission_id,
            "annotation_id": answer.answer_id,
        }


def add_data_routes(
    router: APIRouter,
    clips: ClipStore,
    access: Access,
    read_landed: ReadLanded | None,
    *,
    presigned: bool,
) -> None:
    """Add points and images. They never change: a recording is immutable under its task."""
    labeller_of = Depends(access.labeller)

    @router.get("/tasks/{task_id}/points/{number}")
    async def points(
        request: Request, task_id: str, number: _Index, _: str = labeller_of
    ) -> Response:
        tag = f'"{task_id}-{number}"'
        if request.headers.get("if-none-match") == tag:
            return Response(status_code=304)
        if presigned:
            url = await run_in_threadpool(points_url, clips, task_id, number)
            return RedirectResponse(url, headers={"cache-control": "no-store"})
        data = await run_in_threadpool(read_points, clips, task_id, number)
        headers = {"cache-control": _LONG, "etag": tag}
        return Response(data, media_type="application/octet-stream", headers=headers)

    @router.get("/tasks/{task_id}/images/{number}/{camera:path}")  # ROS names cameras with slashes
    def image(task_id: str, number: _Index, camera: str, _: str = labeller_of) -> Response:
        task = clips.get(task_id)
        for found in _frame(task, number).images:
            if found["camera"] == camera:
                data, media_type = read_image(
                    clips.store, task.recording, camera, found["timestamp_ns"], read_landed
                )
                return Response(data, media_type=media_type, headers={"cache-control": _LONG})
        raise NotFoundError(f"clip {task_id}, frame {number}: no image of {camera!r}")


def read_points(clips: ClipStore, task_id: str, number: int) -> bytes:
    """Return the sweep of one frame as it is stored: a ranged read, nothing is decoded."""
    task = clips.get(task_id)
    frame = _frame(task, number)
    with SweepFile(clips.store, layout.sweeps(task.recording)) as sweeps:
        return sweeps.read_encoded(sweeps.index_of(frame.timestamp_ns))


def points_url(clips: ClipStore, task_id: str, number: int) -> str:
    """Return a URL of one sweep that works for some minutes, without any other credentials.

    It is that of an object of its own, made on first use: a URL of the recording's file would open
    all of its sweeps.
    """
    task = clips.get(task_id)
    key = layout.clip_points(task.recording, _frame(task, number).timestamp_ns)
    if not clips.store.exists(key):
        clips.store.put(key, read_points(clips, task_id, number))
    return clips.store.presigned_url(key, _URL_S)


def _frame(task: ClipTask, number: int) -> Any:
    if number >= len(task.frames):
        raise NotFoundError(f"clip {task.task_id} has {len(task.frames)} frames, no {number}")
    return task.frames[number]


def _summary(clips: ClipStore, task_id: str, labeller: str) -> dict[str, Any] | None:
    """Return a line of the list; None for a clip that others see to."""
    task = clips.get(task_id)
    answer, draft = _work_of(clips, task, labeller)
    if answer is None and draft is None and clips.is_taken(task, labeller):
        return None
    changed = [iso(answer.submitted_ns)] if answer else []
    changed += [draft["saved_at"]] if draft else []
    return {
        "task_id": task_id,
        "title": task.title,
        "num_frames": len(task.frames),
        "state": "draft" if draft else "submitted" if answer else "waiting",
        "updated": max(changed, default=None),
    }


def _document(clips: ClipStore, task: ClipTask, labeller: str) -> dict[str, Any]:
    """Return what the editor needs to show a task; nothing tells why it was made."""
    answer, draft = _work_of(clips, task, labeller)
    base = f"/editor/api/tasks/{task.task_id}"
    frames = [
        {
            "index": index,
            "timestamp_ns": frame.timestamp_ns,
            "map_SE3_ego": rows_of(frame.map_SE3_ego, 4),
            "points_url": f"{base}/points/{index}",
            "num_points": frame.num_points,
            "images": [
                {
                    "camera": image["camera"],
                    "url": f"{base}/images/{index}/{quote(image['camera'], safe='')}",
                    "width": image["width"],
                    "height": image["height"],
                    "K": rows_of(image["K"], 3),
                    "camera_SE3_ego": rows_of(image["camera_SE3_ego"], 4),
                }
                for image in frame.images
            ],
        }
        for index, frame in enumerate(task.frames)
    ]
    return {
        "task_id": task.task_id,
        "labeller": labeller,
        "title": task.title,
        "version": task.version,
        "categories": categories(),
        "frames": frames,
        "prelabels": [box.to_json() for box in task.prelabels],
        "annotation": answer.annotation.to_json() if answer else None,
        "draft": draft,
    }


def _work_of(
    clips: ClipStore, task: ClipTask, labeller: str
) -> tuple[Answer | None, dict[str, Any] | None]:
    """Return the newest answer and the draft of a person: nobody sees the work of others.

    A draft that was submitted meanwhile is no draft any more.
    """
    answer, draft = clips.own_answer(task, labeller), clips.draft(task.task_id, labeller)
    if answer and draft and draft["sequence"] <= answer.submission.sequence:
        draft = None
    return answer, draft


def rows_of(matrix: Sequence[float], columns: int) -> list[list[float]]:
    """Return a flat matrix as a list of rows."""
    return [list(matrix[i : i + columns]) for i in range(0, len(matrix), columns)]


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
