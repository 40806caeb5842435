"""Who may label: a random token where the editor runs alone, else the session of Label Studio."""

from __future__ import annotations

import hashlib
import hmac
import secrets
import time
from dataclasses import dataclass, field
from typing import Final, Protocol

import httpx
from fastapi import Request
from fastapi.exceptions import HTTPException

from labeling.clip_store import EDITOR

COOKIE: Final = "starloop_editor"
_SESSION_COOKIE: Final = "sessionid"
_REMEMBER_S: Final = 30.0
_MAX_REMEMBERED: Final = 10_000


class Access(Protocol):
    """Tells who asks."""

    async def labeller(self, request: Request) -> str:
        """Return the annotator as in tables: `<backend>:<number>`.

        Raises:
            HTTPException: 401 if nobody is known to ask; 403 if the page of another site asks.
        """
        ...


@dataclass(frozen=True)
class TokenAccess:
    """One secret token a labeller; it arrives once in the URL and then in a cookie.

    Attributes:
        tokens: of the labellers 1, 2, ...
    """

    tokens: tuple[str, ...] = field(repr=False)

    @classmethod
    def new(cls, num_labellers: int = 1) -> TokenAccess:
        """Make fresh tokens."""
        return cls(tuple(secrets.token_urlsafe(24) for _ in range(num_labellers)))

    def number_of(self, token: str) -> int | None:
        """Return the number of the labeller with this token, or None."""
        found = [hmac.compare_digest(token.encode(), known.encode()) for known in self.tokens]
        return found.index(True) + 1 if any(found) else None

    async def labeller(self, request: Request) -> str:
        """See `Access.labeller`."""
        refuse_other_sites(request)
        scheme, _, bearer = request.headers.get("authorization", "").partition(" ")
        token = bearer if scheme.lower() == "bearer" else request.cookies.get(COOKIE, "")
        number = self.number_of(token)
        if number is None:
            raise HTTPException(
                401, "no valid token: open the whole URL that `starloop label serve` printed"
            )
        return f"{EDITOR}:{number}"


class LabelStudioAccess:
    """Asks Label Studio whose session it is.

    Args:
        client: reaches the server; its base URL is that of Label Studio.
    """

    def __init__(self, client: httpx.AsyncClient) -> None:
        self._client = client
        self._known: dict[str, tuple[float, str]] = {}

    async def labeller(self, request: Request) -> str:
        """See `Access.labeller`."""
        refuse_other_sites(request)
        session = request.cookies.get(_SESSION_COOKIE, "")
        if not session:
            raise HTTPException(401, "not logged in: open Label Studio and log in")
        digest = hashlib.sha256(session.encode()).hexdigest()
        until, labeller = self._known.get(digest, (0.0, ""))
        if time.monotonic() < until:
            return labeller
        try:
            answer = await self._client.get(
                "/api/current-user/whoami", headers={"cookie": f"{_SESSION_COOKIE}={session}"}
            )
        except httpx.TransportError as error:
            raise HTTPException(503, f"Label Studio does not answer ({error!r})") from error
        if answer.status_code != 200:
            raise HTTPException(401, "the session of Label Studio has ended: log in again")
        labeller = f"label_studio:{answer.json()['id']}"
        if len(self._known) >= _MAX_REMEMBERED:
            self._known.clear()
        self._known[digest] = (time.monotonic() + _REMEMBER_S, labeller)
        return labeller


def refuse_other_sites(request: Request) -> None:
    """Refuse what the page of another site sent with this site's cookies.

    Raises:
        HTTPException: 403 if it was.
    """
    origin = request.headers.get("origin", "")
    if origin and origin.partition("://")[2] != request.headers.get("host", ""):
        raise HTTPException(403, f"requests from {origin} are not accepted")
