"""The champion over HTTP: Open Inference Protocol v2 and a simple `/detect`."""

from __future__ import annotations

import os
import time
from importlib.metadata import PackageNotFoundError, version
from typing import Annotated, Any, Final

import numpy as np
from fastapi import FastAPI, Query, Request
from fastapi.concurrency import run_in_threadpool
from fastapi.exceptions import HTTPException
from fastapi.responses import JSONResponse, Response

from scene.errors import DataError, FormatError, NotFoundError, StarloopError, StoreError
from scene.recording import split_frame_id
from scene.types import Float32
from serving import protocol
from serving.champion import Champion, UnavailableError
from serving.clouds import boxes_to_json, read_cloud
from serving.detector import OnnxDetector
from storage import layout
from storage.store import ObjectStore
from storage.sweeps import SweepFile
from storage.tables import Tables

MAX_BODY_BYTES: Final = 64 << 20


def create_app(
    store: ObjectStore,
    tables: Tables | None = None,
    *,
    refresh_s: float = 1.0,
    num_threads: int = 0,
) -> FastAPI:
    """Return the application.

    Args:
        store: where the champion and the sweeps are.
        tables: not needed to answer; taken so that every part is opened alike.
        refresh_s: a new champion is served at most this long after its promotion.
        num_threads: CPU threads of one inference; 0 takes those this process may use.
    """
    del tables
    threads = num_threads or len(os.sched_getaffinity(0))
    champion = Champion(store, refresh_s=refresh_s, num_threads=threads)
    app = FastAPI(
        title="Starloop detector",
        description="Boxes from lidar points. The model is the one the release gate approved.",
        version=_version(),
    )
    app.add_exception_handler(StarloopError, _explain)
    app.add_exception_handler(HTTPException, _explain_http)
    _add_health(app, champion)
    _add_inference(app, champion)
    _add_detect(app, champion, store)
    return app


def _add_health(app: FastAPI, champion: Champion) -> None:
    """Add what a supervisor and a client ask first."""

    @app.get("/v2/health/live")
    def live() -> dict[str, bool]:
        return {"live": True}

    @app.get("/v2/health/ready")
    def ready() -> dict[str, bool]:
        champion.detector()
        return {"ready": True}

    @app.get("/v2")
    def server() -> dict[str, Any]:
        return protocol.server_metadata(_version())

    @app.get("/v2/models/{name}")
    @app.get("/v2/models/{name}/versions/{model_version}")
    def metadata(name: str, model_version: str = "") -> dict[str, Any]:
        return protocol.model_metadata(_named(champion, name, model_version))

    @app.get("/v2/models/{name}/ready")
    @app.get("/v2/models/{name}/versions/{model_version}/ready")
    def model_ready(name: str, model_version: str = "") -> dict[str, Any]:
        detector = _named(champion, name, model_version)
        return {"name": name, "ready": True, "version": detector.model_id}


def _add_inference(app: FastAPI, champion: Champion) -> None:
    """Add the inference request of the protocol: the bare outputs of the graph."""

    @app.post("/v2/models/{name}/infer")
    @app.post("/v2/models/{name}/versions/{model_version}/infer")
    async def infer(request: Request, name: str, model_version: str = "") -> Response:
        body = await _read_body(request)
        header_length = request.headers.get(protocol.HEADER_LENGTH)

        def work() -> Response:
            detector = _named(champion, name, model_version)
            asked = protocol.parse_request(body, header_length)
            boxes, scores, labels = detector.run(asked.points)
            results = {"boxes": boxes, "scores": scores, "labels": labels}
            answer, length = protocol.encode_answer(asked, results, detector.model_id)
            if length is None:
                return Response(answer, media_type="application/json")
            headers = {protocol.HEADER_LENGTH: str(length)}
            return Response(answer, media_type="application/octet-stream", headers=headers)

        return await run_in_threadpool(work)


def _add_detect(app: FastAPI, champion: Champion, store: ObjectStore) -> None:
    """Add the simple endpoint: points or the name of a stored frame in, boxes out."""

    async def detect(
        request: Request, frame: Annotated[str | None, Query()] = None
    ) -> dict[str, Any]:
        """Return the boxes of the points in the body, or of `?frame=<recording>@<timestamp_ns>`."""
        body = await _read_body(request)
        content_type = request.headers.get("content-type", "")

        def work() -> dict[str, Any]:
            detector = champion.detector()
            cloud = read_cloud(body, content_type) if frame is None else _stored(store, frame)
            return _answer(detector, cloud, frame)

        return await run_in_threadpool(work)

    app.add_api_route("/detect", detect, methods=["GET", "POST"])


def _answer(detector: OnnxDetector, cloud: Float32, frame: str | None) -> dict[str, Any]:
    start = time.perf_counter()
    boxes = detector.detect(cloud[:, :3], cloud[:, 3])
    return {
        "model": {"id": detector.model_id, "digest": detector.digest},
        "frame": frame,
        "num_points": len(cloud),
        "inference_ms": round((time.perf_counter() - start) * 1e3, 3),
        "boxes": boxes_to_json(boxes),
    }


def _stored(store: ObjectStore, frame: str) -> Float32:
    """Return the (N, 4) points of a stored sweep."""
    recording, timestamp_ns = split_frame_id(frame)
    try:
        file = SweepFile(store, layout.sweeps(recording))
    except NotFoundError as error:
        raise NotFoundError(f"recording {recording} is not stored: {error}") from error
    except FormatError as error:
        raise StoreError(f"recording {recording}: {error}") from error
    with file as sweeps:
        times = sweeps.timestamps_ns
        if timestamp_ns not in times:
            span = f"from {times[0]} to {times[-1]} ns" if len(times) else "nowhere"
            raise NotFoundError(
                f"frame {frame}: no such sweep in the recording; its {len(times)} sweeps run {span}"
            )
        sweep = sweeps.read(sweeps.index_of(timestamp_ns))
    return np.concatenate([sweep.points_ego_m, sweep.intensity[:, None]], axis=1)


def _named(champion: Champion, name: str, model_version: str) -> OnnxDetector:
    detector = champion.detector()
    if name != protocol.MODEL_NAME or model_version not in ("", detector.model_id):
        raise HTTPException(
            404,
            f"no model {name!r} version {model_version!r}; there is {protocol.MODEL_NAME!r}, "
            f"version {detector.model_id!r}",
        )
    return detector


async def _read_body(request: Request) -> bytes:
    """Return the body; refuse it while it comes in, if it grows too large."""
    chunks, size = [], 0
    async for chunk in request.stream():
        size += len(chunk)
        if size > MAX_BODY_BYTES:
            raise HTTPException(413, f"body is larger than {MAX_BODY_BYTES >> 20} MiB")
        chunks.append(chunk)
    return b"".join(chunks)


def _explain(request: Request, error: Exception) -> JSONResponse:
    """Answer an error that was raised on purpose with its own message."""
    kinds = ((UnavailableError, 503), (NotFoundError, 404), (DataError, 400))
    status = next((code for kind, code in kinds if isinstance(error, kind)), 500)
    return JSONResponse({"error": str(error)}, status)


def _explain_http(request: Request, error: Exception) -> JSONResponse:
    status = error.status_code if isinstance(error, HTTPException) else 500
    detail = error.detail if isinstance(error, HTTPException) else str(error)
    return JSONResponse({"error": detail}, status)


def _version() -> str:
    try:
        return version("starloop")
    except PackageNotFoundError:
        return "0"
