"""Connections of the S3 store: where to, as whom, and reading one version piece by piece."""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import Any, Final

import urllib3
from minio.credentials.providers import (
    AWSConfigProvider,
    ChainedProvider,
    EnvAWSProvider,
    IamAwsProvider,
)

from storage.store import ObjectStat

AWS: Final = "https://s3.amazonaws.com"


class RangeReader(io.RawIOBase):
    """Random access by ranged reads of one version of an object."""

    def __init__(
        self, read_range: Callable[[ObjectStat, int, int], bytes], stat: ObjectStat
    ) -> None:
        self._read_range, self._stat, self._position = read_range, stat, 0

    def readable(self) -> bool:
        """Return that it can be read."""
        return True

    def seekable(self) -> bool:
        """Return that it can be read anywhere."""
        return True

    def tell(self) -> int:
        """Return the position of the next byte."""
        return self._position

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Move to a position; behind the last byte is allowed."""
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._position, io.SEEK_END: self._stat.size_bytes}
        if base[whence] + offset < 0:
            raise ValueError(f"seek to {base[whence] + offset}: before the first byte")
        self._position = base[whence] + offset
        return self._position

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        """Fill the buffer, or less of it at the end of the object."""
        length = min(len(buffer), self._stat.size_bytes - self._position)
        if length <= 0:
            return 0
        data = self._read_range(self._stat, self._position, length)
        buffer[: len(data)] = data
        self._position += len(data)
        return len(data)


def full_endpoint(endpoint: str, secure: bool) -> str:
    """Return `scheme://host:port`; empty means AWS."""
    if not endpoint:
        return AWS
    if "://" not in endpoint:
        return f"http{'s' if secure else ''}://{endpoint}".rstrip("/")
    return endpoint.rstrip("/")


def credentials(access_key: str, secret_key: str) -> dict[str, Any]:
    """Return the arguments of the client that say who we are."""
    if access_key:
        return {"access_key": access_key, "secret_key": secret_key}
    return {
        "credentials": ChainedProvider([EnvAWSProvider(), AWSConfigProvider(), IamAwsProvider()])
    }


def http_pool() -> urllib3.PoolManager:
    """Return connections that give up: the client's own wait five minutes for an answer."""
    return urllib3.PoolManager(
        maxsize=16,
        timeout=urllib3.Timeout(connect=5, read=60),
        retries=urllib3.Retry(
            total=4,
            connect=2,
            backoff_factor=0.2,
            status_forcelist=[500, 502, 503, 504],
            raise_on_status=False,
        ),
    )
