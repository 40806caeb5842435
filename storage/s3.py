"""Any S3 server as an object store, through the minio client."""

from __future__ import annotations

import io
import secrets
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from pathlib import Path
from typing import BinaryIO, Final
from urllib.parse import urlsplit

import urllib3
from minio import Minio
from minio.error import MinioException, S3Error

from scene.errors import ConfigError, ConflictError, NotFoundError, StoreError
from storage.s3_client import AWS, RangeReader, credentials, full_endpoint, http_pool
from storage.s3_cors import allow_origin
from storage.store import ObjectStat, TableLocation, check_key, is_hidden

_PART_BYTES: Final = 16 << 20
_READ_AHEAD_BYTES: Final = 1 << 18
_CHUNK_BYTES: Final = 1 << 20
_WRITER_HEADER: Final = "x-amz-meta-starloop-writer"
_ABSENT: Final = {"NoSuchKey", "NoSuchObject", "NoSuchVersion"}
_LOST: Final = {"PreconditionFailed", "ConditionalRequestConflict"}


class S3Store:
    """Objects of one bucket under one prefix.

    Objects are written whole: one PUT, or above 16 MiB a multipart upload that appears when it is
    complete. Conditional writes are always one PUT, because Ceph ignores the condition on
    multipart uploads.

    Args:
        bucket: made if it does not exist.
        prefix: put before every key; may be empty.
        endpoint: `http(s)://host:port` or `host:port`; empty means AWS.
        access_key: empty means that the usual AWS places are asked (environment, files, IAM role).
        secret_key: belongs to `access_key`.
        region: of the bucket.
        secure: speak TLS; only used if `endpoint` names no scheme.
    """

    def __init__(
        self,
        bucket: str,
        prefix: str = "",
        endpoint: str = "",
        access_key: str = "",
        secret_key: str = "",
        region: str = "us-east-1",
        secure: bool = True,
    ) -> None:
        self._endpoint = full_endpoint(endpoint, secure)
        self._bucket, self._region = bucket, region
        self._prefix = f"{check_key(prefix.strip('/'))}/" if prefix.strip("/") else ""
        self._keys = (access_key, secret_key)
        self.url = f"s3://{bucket}/{self._prefix}".rstrip("/")
        parts = urlsplit(self._endpoint)
        try:
            self._client = Minio(
                parts.netloc,
                secure=parts.scheme == "https",
                region=region,
                http_client=http_pool(),
                **credentials(access_key, secret_key),
            )
        except ValueError as error:
            raise ConfigError(f"S3 endpoint {endpoint!r}: {error}") from error
        self._make_bucket()

    @classmethod
    def from_url(
        cls, url: str, endpoint: str, access_key: str, secret_key: str, region: str
    ) -> S3Store:
        """Open `s3://bucket/prefix`; see the class for the rest."""
        parts = urlsplit(url)
        return cls(parts.netloc, parts.path, endpoint, access_key, secret_key, region)

    def __repr__(self) -> str:
        return f"S3Store({self.url!r}, endpoint={self._endpoint!r})"

    def put(
        self, key: str, data: bytes, *, if_absent: bool = False, if_match: str | None = None
    ) -> ObjectStat:
        """See `ObjectStore.put`."""
        if not if_absent and if_match is None:
            return self._upload(key, io.BytesIO(data), len(data))
        writer = secrets.token_hex(8)
        headers: dict[str, str | list[str] | tuple[str]] = {_WRITER_HEADER: writer}
        if if_absent:
            headers["If-None-Match"] = "*"
        if if_match is not None:
            headers["If-Match"] = if_match  # Ceph compares it without quotes
        name = self._name(key)
        try:
            with self._errors(key):
                self._client._execute("PUT", self._bucket, name, data, headers)
        except (ConflictError, NotFoundError) as error:  # AWS answers 404 to If-Match on nothing
            # The connection may have broken after our write: then the repeated request loses
            # against ourselves.
            if not self._was_written_by(key, writer):
                wanted = "nothing" if if_match is None else f"etag {if_match}"
                raise ConflictError(f"{key}: expected {wanted}, found something else") from error
        return self.stat(key)

    def put_file(self, key: str, path: Path, *, given_sha256: str = "") -> ObjectStat:
        """See `ObjectStore.put_file`; a file that is given is copied all the same."""
        path = Path(path)
        try:
            with path.open("rb") as file:
                return self._upload(key, file, path.stat().st_size)
        except OSError as error:
            raise StoreError(f"{key}: {path} cannot be read: {error}") from error

    def get(self, key: str) -> bytes:
        """See `ObjectStore.get`."""
        return self._read(key, {})

    def get_range(self, key: str, start: int, length: int) -> bytes:
        """See `ObjectStore.get_range`."""
        if start < 0 or length < 0:
            raise StoreError(f"{key}: range {start}+{length} is negative")
        if length == 0:
            self.stat(key)
            return b""
        return self._read(key, _range(start, length))

    def open(self, key: str) -> BinaryIO:
        """See `ObjectStore.open`; every read fails if the object was replaced meanwhile."""
        return io.BufferedReader(RangeReader(self.read_range, self.stat(key)), _READ_AHEAD_BYTES)

    def stat(self, key: str) -> ObjectStat:
        """See `ObjectStore.stat`."""
        name = self._name(key)
        with self._errors(key):
            found = self._client.stat_object(self._bucket, name)
        return ObjectStat(key, found.size or 0, found.etag or "", _nanoseconds(found.last_modified))

    def exists(self, key: str) -> bool:
        """See `ObjectStore.exists`."""
        try:
            self.stat(key)
        except NotFoundError:
            return False
        return True

    def list(self, prefix: str = "") -> Iterator[ObjectStat]:
        """See `ObjectStore.list`."""
        folder = prefix.rpartition("/")[0]
        if folder:
            check_key(folder)
        with self._errors(prefix):
            for found in self._client.list_objects(
                self._bucket, self._prefix + prefix, recursive=True
            ):
                key = (found.object_name or "")[len(self._prefix) :]
                if not is_hidden(key) and not key.endswith("/"):
                    when = _nanoseconds(found.last_modified)
                    yield ObjectStat(key, found.size or 0, found.etag or "", when)

    def delete(self, key: str) -> None:
        """See `ObjectStore.delete`."""
        name = self._name(key)
        with self._errors(key):
            self._client.remove_object(self._bucket, name)

    def presigned_url(self, key: str, expires_s: int = 3600) -> str:
        """See `ObjectStore.presigned_url`."""
        name = self._name(key)
        with self._errors(key):
            return self._client.presigned_get_object(
                self._bucket, name, expires=timedelta(seconds=expires_s)
            )

    def allow_browser(self, origin: str) -> str:
        """Let pages of an origin read presigned URLs; return the origin of those URLs.

        Raises:
            StoreError: if the bucket has other rules, or the server refuses.
        """
        allow_origin(self._client, self._bucket, origin)
        return self._endpoint

    @contextmanager
    def local_file(self, key: str) -> Iterator[Path]:
        """See `ObjectStore.local_file`; the copy is removed at the end."""
        with tempfile.TemporaryDirectory(prefix="starloop-") as folder:
            path = Path(folder) / key.rpartition("/")[2]
            with self.open(key) as source, path.open("wb") as target:
                while chunk := source.read(_PART_BYTES):
                    target.write(chunk)
            yield path

    def table_location(self, key: str) -> TableLocation:
        """See `ObjectStore.table_location`."""
        access_key, secret_key = self._keys
        options = {
            "aws_region": self._region,
            "aws_conditional_put": "etag",
            "aws_virtual_hosted_style_request": "false",
            "connect_timeout": "5s",
            "timeout": "60s",
            "max_retries": "4",
        }
        if self._endpoint != AWS:
            options["aws_endpoint"] = self._endpoint
            options["aws_allow_http"] = str(self._endpoint.startswith("http:")).lower()
        if access_key:
            options |= {"aws_access_key_id": access_key, "aws_secret_access_key": secret_key}
        return TableLocation(f"s3://{self._bucket}/{self._name(key)}", options)

    def read_range(self, stat: ObjectStat, start: int, length: int) -> bytes:
        """Return bytes of exactly that version of an object.

        Raises:
            ConflictError: if the object was replaced.
        """
        return self._read(stat.key, {**_range(start, length), "If-Match": stat.etag})

    def _name(self, key: str) -> str:
        return self._prefix + check_key(key)

    def _read(self, key: str, headers: dict[str, str]) -> bytes:
        name = self._name(key)
        try:
            with self._errors(key):
                response = self._client._execute("GET", self._bucket, name, headers={**headers})
                return response.data
        except _BeyondEndError:
            return b""

    def _upload(self, key: str, data: BinaryIO, size_bytes: int) -> ObjectStat:
        name = self._name(key)
        with self._errors(key):
            self._client.put_object(self._bucket, name, data, size_bytes, part_size=_PART_BYTES)
        return self.stat(key)  # Ceph names no etag when a multipart upload ends

    def _was_written_by(self, key: str, writer: str) -> bool:
        try:
            with self._errors(key):
                found = self._client.stat_object(self._bucket, self._name(key))
        except NotFoundError:
            return False
        return (found.metadata or {}).get(_WRITER_HEADER) == writer

    def _make_bucket(self) -> None:
        with self._errors(self.url):
            if self._client.bucket_exists(self._bucket):
                return
            try:
                self._client.make_bucket(self._bucket)
            except S3Error as error:
                if error.code not in {"BucketAlreadyOwnedByYou", "BucketAlreadyExists"}:
                    raise

    @contextmanager
    def _errors(self, key: str) -> Iterator[None]:
        """Turn the client's errors into ours, which say where and what to do."""
        try:
            yield
        except S3Error as error:
            if error.code in _ABSENT:
                raise NotFoundError(f"{key}: no such object in {self.url}") from error
            if error.code in _LOST:
                raise ConflictError(f"{key}: somebody else wrote it first") from error
            if error.code == "InvalidRange":
                raise _BeyondEndError(key) from error
            raise StoreError(
                f"{key} in {self.url}: the server at {self._endpoint} answered "
                f"{error.code}: {error.message}"
            ) from error
        except (MinioException, urllib3.exceptions.HTTPError, ValueError) as error:
            raise StoreError(
                f"{key} in {self.url}: no usable answer from {self._endpoint}: {error}; "
                "check the endpoint, the network and the keys"
            ) from error


class _BeyondEndError(StoreError):
    """A range begins behind the last byte."""


def _range(start: int, length: int) -> dict[str, str]:
    return {"Range": f"bytes={start}-{start + length - 1}"}


def _nanoseconds(when: datetime | None) -> int:
    """Return whole seconds: a HEAD answers no finer, and a listing must agree with it."""
    return int(when.timestamp()) * 1_000_000_000 if when else 0
