"""The built editor: static files with the headers that keep other sites out."""

from __future__ import annotations

import mimetypes
from pathlib import Path
from typing import Final

from fastapi import APIRouter, Request
from fastapi.responses import FileResponse, HTMLResponse, RedirectResponse, Response

from labeling.serve.access import COOKIE, TokenAccess

DIST: Final = Path(__file__).resolve().parents[1] / "editor" / "dist"
# Everything from here; WebAssembly and workers for the codec; frames only by our own origin.
_POLICY: Final = (
    "default-src 'self'; script-src 'self' 'wasm-unsafe-eval'; style-src 'self' 'unsafe-inline'; "
    "img-src 'self' data: blob:{extra}; connect-src 'self'{extra}; worker-src 'self' blob:; "
    "object-src 'none'; base-uri 'none'; frame-ancestors 'self'"
)
_NOT_BUILT: Final = (
    "<!doctype html><title>Starloop editor</title><h1>The editor is not built</h1>"
    "<p>Run <code>make editor</code> (needs node), then reload this page.</p>"
)


def make_router(access: TokenAccess | None, dist: Path = DIST, data_origin: str = "") -> APIRouter:
    """Return the routes of the page.

    Args:
        access: where the editor runs alone: takes the token from the URL into a cookie.
        dist: the built editor.
        data_origin: another origin that points come from (an object store).
    """
    router = APIRouter()
    policy = _POLICY.format(extra=f" {data_origin}" if data_origin else "")
    safe = {
        "content-security-policy": policy,
        "x-content-type-options": "nosniff",
        "referrer-policy": "no-referrer",
    }

    @router.get("/editor", include_in_schema=False)
    def no_slash(request: Request) -> RedirectResponse:
        query = f"?{request.url.query}" if request.url.query else ""
        return RedirectResponse(f"/editor/{query}")

    @router.get("/editor/", include_in_schema=False)
    def index(request: Request) -> Response:
        token = request.query_params.get("token")
        if access is not None and token and access.number_of(token) is not None:
            rest = request.url.remove_query_params("token")
            answer = RedirectResponse(f"/editor/{'?' + rest.query if rest.query else ''}", 303)
            answer.set_cookie(COOKIE, token, httponly=True, samesite="strict", path="/editor")
            return answer
        page = dist / "index.html"
        if not page.is_file():
            return HTMLResponse(_NOT_BUILT, 503)
        return FileResponse(page, headers={**safe, "cache-control": "no-cache"})

    @router.get("/editor/{path:path}", include_in_schema=False)
    def file(path: str) -> Response:
        found = _file_of(dist, path)
        if found is None:
            return HTMLResponse("not found", 404)
        kept = "public, max-age=31536000, immutable" if "assets/" in path else "no-cache"
        kind = mimetypes.guess_type(found.name)[0] or "application/octet-stream"
        return FileResponse(found, media_type=kind, headers={**safe, "cache-control": kept})

    return router


def _file_of(dist: Path, path: str) -> Path | None:
    """Return a file of the built editor, or None if there is none of that name."""
    try:
        found = (dist / path).resolve()
        return found if found.is_relative_to(dist.resolve()) and found.is_file() else None
    except (OSError, ValueError):  # too long a name, or one with a zero byte
        return None
