"""A reverse proxy: what is not the editor's goes to Label Studio, so that both are one origin.

Bodies are streamed both ways and never held whole. The browser's `Host` is passed on, so that
Label Studio makes its own addresses and checks for forged requests with the address people see.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable
from typing import Final
from urllib.parse import urlsplit

import httpx
from fastapi import Request
from fastapi.responses import Response, StreamingResponse
from starlette.requests import ClientDisconnect

METHODS: Final = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")
# RFC 9110, section 7.6.1: these are of one connection and not passed on.
_HOP_BY_HOP: Final = frozenset(
    {
        "connection", "keep-alive", "proxy-authenticate", "proxy-authorization", "proxy-connection",
        "te", "trailer", "transfer-encoding", "upgrade",
    }
)  # fmt: skip
_TIMEOUT: Final = httpx.Timeout(10.0, read=600.0, write=600.0, pool=60.0)
_DOWN: Final = (
    "<!doctype html><meta http-equiv=refresh content=3><title>Label Studio is starting</title>"
    "<h1>Label Studio does not answer</h1><p>It may be starting. This page tries again by itself; "
    "work in the 3D editor is kept meanwhile.</p>"
)


def make_client(url: str) -> httpx.AsyncClient:
    """Return a client of Label Studio at `url`; it follows no redirects and keeps no cookies."""
    limits = httpx.Limits(max_connections=100, max_keepalive_connections=20)
    return httpx.AsyncClient(base_url=url, timeout=_TIMEOUT, limits=limits, trust_env=False)


class Proxy:
    """Passes requests on.

    Args:
        client: from `make_client`.
    """

    def __init__(self, client: httpx.AsyncClient) -> None:
        self._client = client
        self._upstream = urlsplit(str(client.base_url))

    async def __call__(self, request: Request) -> Response:
        """Answer a request with what the server behind answers, or 502 if it is not there."""
        target = httpx.URL(
            scheme=self._upstream.scheme,
            host=self._upstream.hostname or "",
            port=self._upstream.port,
            raw_path=_raw_path(request),
        )
        sent = httpx.Request(
            request.method, target, headers=self._headers(request), content=_body_of(request)
        )
        try:
            answer = await self._client.send(sent, stream=True)
        except httpx.TransportError as error:
            wants_page = "text/html" in request.headers.get("accept", "")
            reason = _DOWN if wants_page else f"Label Studio does not answer ({error!r})"
            kind = "text/html" if wants_page else "text/plain"
            return Response(reason, 502, {"retry-after": "3"}, kind)
        except ClientDisconnect:
            return Response(status_code=499)
        passed = StreamingResponse(_stream(answer), status_code=answer.status_code)
        passed.raw_headers = [
            (name.encode("latin-1"), value.encode("latin-1"))
            for name, value in self._answer_headers(answer, request)
        ]
        return passed

    def _headers(self, request: Request) -> list[tuple[str, str]]:
        """Return the headers to send, with where the request came from."""
        passed = [item for item in _end_to_end(request.headers.items()) if item[0] != "expect"]
        names = {name for name, _ in passed}
        client = request.client.host if request.client else "unknown"
        added = {
            "x-forwarded-for": client,
            "x-forwarded-host": request.headers.get("host", ""),
            "x-forwarded-proto": request.url.scheme,
        }
        return passed + [item for item in added.items() if item[0] not in names]

    def _answer_headers(
        self, answer: httpx.Response, request: Request
    ) -> Iterable[tuple[str, str]]:
        """Yield the headers of an answer; addresses of the server behind become ours."""
        public = f"{request.url.scheme}://{request.headers.get('host', request.url.netloc)}"
        inner = f"{self._upstream.scheme}://{self._upstream.netloc}"
        for name, value in _end_to_end(answer.headers.multi_items()):
            if name in {"location", "content-location"} and (
                value == inner or value.startswith(f"{inner}/")
            ):
                yield name, public + value[len(inner) :]
            elif name == "set-cookie":
                yield name, _without_domain(value, self._upstream.hostname or "")
            else:
                yield name, value


def _raw_path(request: Request) -> bytes:
    """Return path and query exactly as the browser sent them: decoding would lose `%2F`."""
    path = request.scope.get("raw_path") or request.url.path.encode()
    query = request.scope.get("query_string", b"")
    return path.partition(b"?")[0] + (b"?" + query if query else b"")


def _body_of(request: Request) -> AsyncIterator[bytes] | None:
    """Return the body as a stream; None where there is none, so that none is announced."""
    has_body = "content-length" in request.headers or "transfer-encoding" in request.headers
    return request.stream() if has_body else None


async def _stream(answer: httpx.Response) -> AsyncIterator[bytes]:
    """Yield the bytes as they come, still compressed, and let go of the connection at the end."""
    try:
        async for chunk in answer.aiter_raw():
            yield chunk
    finally:
        await answer.aclose()


def _end_to_end(items: Iterable[tuple[str, str]]) -> list[tuple[str, str]]:
    """Return the headers that are not of one connection only, names in lower case."""
    lower = [(name.lower(), value) for name, value in items]
    named = {
        part.strip().lower()
        for name, value in lower
        if name == "connection"
        for part in value.split(",")
    }
    return [item for item in lower if item[0] not in _HOP_BY_HOP | named]


def _without_domain(cookie: str, inner: str) -> str:
    """Return a `Set-Cookie` value that is not bound to the name of the server behind."""
    parts = [part.strip() for part in cookie.split(";")]
    kept = [
        part
        for part in parts
        if part.lower().partition("=")[::2] not in {("domain", inner), ("domain", f".{inner}")}
    ]
    return "; ".join(kept)
