"""The receiver of Label Studio's webhooks, and the thread that fetches what they report.

Label Studio waits one second for an answer and never repeats, so the receiver only writes down
which tasks were meant. The thread fetches them at once, and polls at intervals for what was lost.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import logging
import threading
from typing import Any, Final, Protocol

from fastapi import APIRouter, Request
from fastapi.concurrency import run_in_threadpool
from fastapi.exceptions import HTTPException

from labeling.clip_backend import PullReport
from labeling.clip_fetch import tasks_of_event
from labeling.server import GoneError, Server
from scene.errors import StarloopError
from storage import layout
from storage.store import ObjectStore

_LOG = logging.getLogger(__name__)
PATH: Final = "/editor/hooks/label-studio"
HOOK_HEADER: Final = "X-Starloop-Hook"
ACTIONS: Final = ("ANNOTATION_CREATED", "ANNOTATION_UPDATED", "ANNOTATIONS_DELETED")
_MAX_BODY: Final = 64 << 20
_FULL_EVERY: Final = 100  # polls


class Fetching(Protocol):
    """What the thread needs of a backend."""

    def fetch(self, *, full: bool = False) -> PullReport:
        """See `labeling.clip_backend.ClipBackend.fetch`."""
        ...


class FetchThread:
    """Fetches when it is told to, and every so often.

    Args:
        backend: what to ask.
        interval_s: between two polls.
    """

    def __init__(self, backend: Fetching, interval_s: float) -> None:
        self._backend = backend
        self._interval_s = interval_s
        self._wake = threading.Event()
        self._stopped = False
        self._thread = threading.Thread(target=self._run, name="fetch", daemon=True)

    def start(self) -> None:
        """Begin; the first poll looks at everything."""
        self._thread.start()

    def wake(self) -> None:
        """Fetch soon."""
        self._wake.set()

    def stop(self) -> None:
        """End after what is being fetched."""
        self._stopped = True
        self._wake.set()
        self._thread.join()

    def _run(self) -> None:
        number = 0
        while not self._stopped:
            try:
                report = self._backend.fetch(full=number % _FULL_EVERY == 0)
                if report.num_new or report.num_withdrawn:
                    _LOG.info("%d answers, %d withdrawn", report.num_new, report.num_withdrawn)
                for task_id, problem in report.problems.items():
                    _LOG.warning("clip %s: %s", task_id, problem)
                number += 1
            except StarloopError as error:  # the server is down: the next poll tries again
                _LOG.warning("fetching failed: %s", error)
            except Exception:  # whatever it was, it must not end the fetching for good
                _LOG.exception("fetching failed")
            self._wake.wait(self._interval_s)
            self._wake.clear()


def make_router(store: ObjectStore, secret: str, wake: FetchThread | None = None) -> APIRouter:
    """Return the route of the receiver.

    Args:
        store: the bucket.
        secret: what Label Studio sends in `HOOK_HEADER`.
        wake: told of every report.
    """
    router = APIRouter()

    @router.post(PATH, include_in_schema=False)
    async def receive(request: Request) -> dict[str, Any]:
        sent = request.headers.get(HOOK_HEADER, "")
        if not hmac.compare_digest(sent.encode(), secret.encode()):
            raise HTTPException(401, f"wrong or missing {HOOK_HEADER}")
        body = bytearray()
        async for chunk in request.stream():
            body += chunk
            if len(body) > _MAX_BODY:
                raise HTTPException(413, f"more than {_MAX_BODY} bytes")
        numbers = await run_in_threadpool(note_event, store, bytes(body))
        if wake is not None:
            wake.wake()
        return {"tasks": numbers}

    return router


def note_event(store: ObjectStore, body: bytes) -> list[int]:
    """Write down which tasks a webhook speaks of; the same webhook twice is one note.

    Raises:
        HTTPException: 400 if it is no webhook of Label Studio.
    """
    try:
        project, numbers = tasks_of_event(json.loads(body))
    except (ValueError, StarloopError) as error:
        raise HTTPException(400, str(error)) from error
    if numbers:
        note = json.dumps({"project": project, "tasks": numbers}).encode()
        store.put(layout.label_inbox(hashlib.sha256(body).hexdigest()[:24]), note)
    return numbers


def register(server: Server, project: int, url: str, secret: str) -> int:
    """Tell Label Studio where to report, once; return the number of the webhook.

    Raises:
        LabelError: if it refuses, for example an address on this machine while
            `SSRF_PROTECTION_ENABLED` is on.
    """
    wanted = {
        "project": project,
        "url": url,
        "send_payload": True,
        "send_for_all_actions": False,
        "headers": {HOOK_HEADER: secret},
        "actions": list(ACTIONS),
        "is_active": True,
    }
    found = [
        hook
        for hook in server.get("/api/webhooks/", {"project": project})
        if hook["url"].partition("?")[0].endswith(PATH)
    ]
    for twin in found[1:]:
        server.delete(f"/api/webhooks/{twin['id']}/")
    if found:
        try:
            return int(server.patch(f"/api/webhooks/{found[0]['id']}/", json=wanted)["id"])
        except GoneError:
            pass
    return int(server.post("/api/webhooks/", repeatable=True, json=wanted)["id"])
