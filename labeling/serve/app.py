"""The application: the editor's page and API, alone or in front of Label Studio."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from fastapi import FastAPI, Request
from fastapi.concurrency import run_in_threadpool
from fastapi.exceptions import HTTPException, RequestValidationError
from fastapi.responses import JSONResponse, RedirectResponse, Response
from starlette.middleware.trustedhost import TrustedHostMiddleware

from labeling.annotation import explain
from labeling.clip_images import ReadLanded
from labeling.clip_store import ClipStore
from labeling.serve import api, pages, webhook
from labeling.serve.access import LabelStudioAccess, TokenAccess
from labeling.serve.proxy import METHODS, Proxy, make_client
from labeling.serve.webhook import FetchThread
from scene.errors import ConflictError, DataError, LabelError, NotFoundError, StarloopError
from storage.store import ObjectStore

_STATUS = ((NotFoundError, 404), (ConflictError, 409), (LabelError, 422), (DataError, 500))


def create_app(
    store: ObjectStore,
    access: TokenAccess,
    *,
    read_landed: ReadLanded | None = None,
    dist: Path = pages.DIST,
) -> FastAPI:
    """Return the editor alone, without Label Studio.

    Args:
        store: the bucket with the clips and the recordings.
        access: tokens of the labellers.
        read_landed: reads images that were kept by reference.
        dist: the built editor.
    """
    app = FastAPI(title="Starloop editor", docs_url=None, redoc_url=None, openapi_url=None)
    # A page of another name that resolves to this machine must not talk to us.
    app.add_middleware(TrustedHostMiddleware, allowed_hosts=["127.0.0.1", "localhost", "[::1]"])
    add_errors(app)
    app.include_router(api.make_router(ClipStore(store), access, read_landed))
    app.include_router(pages.make_router(access, dist))

    @app.get("/", include_in_schema=False)
    def start(request: Request) -> RedirectResponse:
        query = f"?{request.url.query}" if request.url.query else ""
        return RedirectResponse(f"/editor/{query}")

    return app


def create_proxied_app(
    store: ObjectStore,
    label_studio_url: str,
    *,
    hook_secret: str = "",
    fetching: FetchThread | None = None,
    read_landed: ReadLanded | None = None,
    points_origin: str = "",
    dist: Path = pages.DIST,
) -> FastAPI:
    """Return the editor and, for everything else, Label Studio behind it: one origin.

    Args:
        store: the bucket with the clips and the recordings.
        label_studio_url: where Label Studio listens.
        hook_secret: what its webhooks carry; empty for no receiver.
        fetching: runs as long as the application, and is woken by webhooks.
        read_landed: reads images that were kept by reference.
        points_origin: the object store's, if browsers may read points from it; else they come
            through this server.
        dist: the built editor.
    """
    client = make_client(label_studio_url)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        if fetching is not None:
            fetching.start()
        try:
            yield
        finally:
            await client.aclose()
            if fetching is not None:
                await run_in_threadpool(fetching.stop)

    app = FastAPI(
        title="Starloop editor", docs_url=None, redoc_url=None, openapi_url=None, lifespan=lifespan
    )
    add_errors(app)
    access = LabelStudioAccess(client)
    router = api.make_router(ClipStore(store), access, read_landed, presigned=bool(points_origin))
    app.include_router(router)
    if hook_secret:
        app.include_router(webhook.make_router(store, hook_secret, fetching))
    app.include_router(pages.make_router(None, dist, points_origin))
    proxy = Proxy(client)

    @app.api_route("/{path:path}", methods=list(METHODS), include_in_schema=False)
    async def behind(request: Request) -> Response:
        return await proxy(request)

    return app


def add_errors(app: FastAPI) -> None:
    """Answer our own errors with their text and a fitting status."""

    @app.exception_handler(StarloopError)
    def explain_error(_: Request, error: StarloopError) -> JSONResponse:
        status = next((code for kind, code in _STATUS if isinstance(error, kind)), 500)
        return JSONResponse({"error": str(error)}, status)

    @app.exception_handler(HTTPException)
    def explain_http(_: Request, error: HTTPException) -> JSONResponse:
        return JSONResponse({"error": str(error.detail)}, error.status_code)

    @app.exception_handler(RequestValidationError)
    def explain_request(_: Request, error: RequestValidationError) -> JSONResponse:
        return JSONResponse({"error": explain(error.errors())}, 422)
