"""Talking HTTP to a Label Studio server: tokens, retries, errors that say what to do.

The official SDK repeats a failed POST whatever happened to it, which makes tasks twice when only
the answer was lost. Here a request that may have been carried out is never repeated blindly:
`UnavailableError.maybe_done` tells the caller, who looks at the server first.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from typing import Any, Final

import httpx

from scene.errors import LabelError

_LOG = logging.getLogger(__name__)
_RETRY_DELAYS_S: Final = (0.5, 1.0, 2.0, 4.0)
_NOT_DONE: Final = frozenset({429, 503})  # the server says that it did not take the request
_BROKEN: Final = frozenset({500, 502, 504})
_ACCESS_TOKEN_AGE_S: Final = 240.0  # the server gives them 300 s
_PAGE: Final = 100


class UnavailableError(LabelError):
    """The server could not be reached or broke down, also after retries.

    Attributes:
        maybe_done: whether the request may have been carried out all the same.
    """

    def __init__(self, message: str, *, maybe_done: bool) -> None:
        super().__init__(message)
        self.maybe_done = maybe_done


class GoneError(LabelError):
    """The server does not know the thing any more."""


class Server:
    """A Label Studio server and one key to it.

    Args:
        url: address, for example `http://127.0.0.1:8080`.
        api_key: a personal access token, or a legacy token where the organisation allows them.
        timeout_s: for one request.
        retry_delays_s: waits between attempts.
    """

    def __init__(
        self,
        url: str,
        api_key: str,
        timeout_s: float = 60.0,
        retry_delays_s: Sequence[float] = _RETRY_DELAYS_S,
    ) -> None:
        if not api_key:
            raise LabelError(
                f"no API key for Label Studio at {url}: copy one from Account & Settings"
            )
        self.url = url.rstrip("/")
        self._key = api_key
        self._delays = tuple(retry_delays_s)
        self._client = httpx.Client(base_url=self.url, timeout=timeout_s)
        self._access_until = 0.0

    def close(self) -> None:
        """Close the connections."""
        self._client.close()

    def get(self, path: str, params: Mapping[str, str | int] | None = None) -> Any:
        """Return the JSON answer of a GET."""
        return self._request("GET", path, repeatable=True, params=params)

    def post(self, path: str, *, repeatable: bool = False, **content: Any) -> Any:
        """POST `json=` or `files=`; repeated only where the server cannot have taken it.

        Args:
            path: where to.
            repeatable: doing it twice does no harm, so it is repeated after any trouble.
            **content: `json`, `files`, `params` of httpx.

        Raises:
            UnavailableError: with `maybe_done` set if the outcome is unknown.
            LabelError: if the server refuses.
        """
        return self._request("POST", path, repeatable=repeatable, **content)

    def patch(self, path: str, json: Mapping[str, Any]) -> Any:
        """Change some fields."""
        return self._request("PATCH", path, repeatable=True, json=json)

    def delete(self, path: str) -> None:
        """Delete; being absent already is fine."""
        with suppress(GoneError):
            self._request("DELETE", path, repeatable=True)

    def pages(self, path: str, items: str, params: Mapping[str, str | int]) -> Iterator[Any]:
        """Yield the items of a listing over all its pages; `items` names the list in the answer."""
        number, seen = 1, 0
        while True:
            page = self.get(path, {**params, "page": number, "page_size": _PAGE})
            yield from page[items]
            seen += len(page[items])
            number += 1
            if seen >= int(page.get("total", page.get("count", 0))) or not page[items]:
                return

    def _request(self, method: str, path: str, *, repeatable: bool, **content: Any) -> Any:
        what = f"Label Studio {self.url}: {method} {path}"
        for delay in (*self._delays, None):
            try:
                response = self._send(method, path, content)
            except httpx.TransportError as error:
                not_done = isinstance(error, httpx.ConnectError | httpx.ConnectTimeout)
                trouble = f"{type(error).__name__} {error}".strip()
            else:
                if response.status_code not in _NOT_DONE | _BROKEN:
                    return _answer(response, what)
                not_done = response.status_code in _NOT_DONE
                trouble = f"HTTP {response.status_code}: {response.text[:200]}"
            if delay is None or not (not_done or repeatable):
                raise UnavailableError(
                    f"{what} failed ({trouble}); is the server up?", maybe_done=not not_done
                )
            _LOG.warning("%s failed (%s), again in %.1f s", what, trouble, delay)
            time.sleep(delay)
        raise LabelError(what)  # unreachable: the last delay is None

    def _send(self, method: str, path: str, content: Mapping[str, Any]) -> httpx.Response:
        """Send once, and once more with a new access token if the old one has run out."""
        response = self._client.request(method, path, headers=self._authorise(), **content)
        if response.status_code == 401 and self._is_personal:
            self._access_until = 0.0
            response = self._client.request(method, path, headers=self._authorise(), **content)
        return response

    @property
    def _is_personal(self) -> bool:
        return self._key.count(".") == 2

    def _authorise(self) -> dict[str, str]:
        """Return the header of the key; a personal token is traded for a short-lived one."""
        if not self._is_personal:
            return {"Authorization": f"Token {self._key}"}
        if time.monotonic() >= self._access_until:
            answer = self._client.post("/api/token/refresh/", json={"refresh": self._key})
            token = _answer(answer, f"Label Studio {self.url}: token refresh")["access"]
            self._access = {"Authorization": f"Bearer {token}"}
            self._access_until = time.monotonic() + _ACCESS_TOKEN_AGE_S
        return self._access


def _answer(response: httpx.Response, what: str) -> Any:
    """Return the JSON of a response, or raise what the user has to do."""
    code = response.status_code
    if code in (401, 403):
        raise LabelError(
            f"{what} was refused (HTTP {code}): the API key is wrong, out of date, without rights, "
            "or a legacy token in an organisation that forbids them; make a personal access token "
            "in Account & Settings"
        )
    if code == 404:
        raise GoneError(f"{what}: not found; was it deleted in Label Studio?")
    if code >= 400:
        raise LabelError(f"{what} was refused (HTTP {code}): {_detail(response)}")
    if not response.content:
        return None
    try:
        return response.json()
    except ValueError as error:
        raise LabelError(
            f"{what} answered no JSON but {response.text[:80]!r}; is it a Label Studio server?"
        ) from error


def _detail(response: httpx.Response) -> str:
    try:
        body = response.json()
    except ValueError:
        return response.text[:200]
    return str(body.get("validation_errors") or body.get("detail") or body)[:600]
