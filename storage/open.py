"""Which store, said in one value that can cross a process border."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from urllib.parse import unquote, urlsplit

from scene.errors import ConfigError
from storage.local import LocalStore
from storage.store import ObjectStore


@dataclass(frozen=True)
class StoreConfig:
    """How to open a store.

    Attributes:
        url: a directory, `file:///abs/dir` or `s3://bucket/prefix`.
        endpoint: S3 server such as `http://127.0.0.1:9000`; empty means AWS.
        access_key: S3 access key; empty means the usual AWS places are asked.
        secret_key: S3 secret key.
        region: S3 region.
    """

    url: str
    endpoint: str = ""
    access_key: str = ""
    secret_key: str = field(default="", repr=False)
    region: str = "us-east-1"

    def to_dict(self) -> dict[str, str]:
        """Return plain values, the secret included: for a job file, never for a log."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, str]) -> StoreConfig:
        """Return the config that `to_dict` described.

        Raises:
            ConfigError: if a name is unknown or `url` is missing.
        """
        try:
            return cls(**values)
        except TypeError as error:
            raise ConfigError(f"store configuration: {error}") from error


def open_store(config: StoreConfig) -> ObjectStore:
    """Open the store; its directory or bucket is made if it is not there.

    Raises:
        ConfigError: if the URL is of no known kind.
        StoreError: if the directory or the server cannot be used.
    """
    parts = urlsplit(config.url)
    if "://" not in config.url and config.url:
        return LocalStore(Path(config.url))
    if parts.scheme == "file" and parts.path and not parts.netloc:
        return LocalStore(Path(unquote(parts.path)))
    if parts.scheme == "s3" and parts.netloc:
        from storage.s3 import S3Store  # minio costs 0.2 s that a local store need not pay

        return S3Store.from_url(
            config.url, config.endpoint, config.access_key, config.secret_key, config.region
        )
    raise ConfigError(
        f"store url {config.url!r}: expected a directory, file:///directory or s3://bucket/prefix"
    )
