"""What every object store can do, and which keys it accepts.

The bucket is the truth: whatever is written under a key is written whole or not at all.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import BinaryIO, NamedTuple, Protocol

from scene.errors import StoreError

_MAX_KEY_BYTES = 900  # S3 allows 1024; the rest is for the prefix
_MAX_PART_BYTES = 200  # most file systems allow 255; the rest is for the temporary suffix


class ObjectStat(NamedTuple):
    """What is known of an object without reading it.

    Attributes:
        key: name in the store.
        size_bytes: length.
        etag: changes when the content changes; only comparable within one store.
        modified_ns: when it was written, nanoseconds since the epoch.
    """

    key: str
    size_bytes: int
    etag: str
    modified_ns: int


class TableLocation(NamedTuple):
    """Where deltalake finds a folder of the store, and the options to open it with."""

    url: str
    options: dict[str, str]


class ObjectStore(Protocol):
    """A flat map from key to bytes; every write is atomic and durable when it returns.

    Attributes:
        url: `file:///abs/dir` or `s3://bucket/prefix`.

    All methods raise StoreError when a key is not acceptable (see `check_key`) or when the
    storage below fails.
    """

    url: str

    def put(
        self, key: str, data: bytes, *, if_absent: bool = False, if_match: str | None = None
    ) -> ObjectStat:
        """Write `data` under `key`.

        Args:
            key: where.
            data: the whole content.
            if_absent: write only if there is no object yet; of racing writers exactly one wins.
            if_match: write only over the object that has this etag.

        Raises:
            ConflictError: if a condition does not hold; nothing was written.
        """
        ...

    def put_file(self, key: str, path: Path, *, given_sha256: str = "") -> ObjectStat:
        """Write the content of a local file under `key`, in bounded memory.

        Args:
            key: where.
            path: the file.
            given_sha256: hash of the file (hex), if the caller needs it no longer: then it may be
                moved instead of copied, and is not hashed again.
        """
        ...

    def get(self, key: str) -> bytes:
        """Return the whole content.

        Raises:
            NotFoundError: if there is no such object.
        """
        ...

    def get_range(self, key: str, start: int, length: int) -> bytes:
        """Return up to `length` bytes from `start`; fewer, or none, at the end of the object.

        Raises:
            NotFoundError: if there is no such object.
        """
        ...

    def open(self, key: str) -> BinaryIO:
        """Open for reading anywhere; the reader sees one version of the object or an error.

        Raises:
            NotFoundError: if there is no such object.
        """
        ...

    def stat(self, key: str) -> ObjectStat:
        """Describe one object.

        Raises:
            NotFoundError: if there is no such object.
        """
        ...

    def exists(self, key: str) -> bool:
        """Return whether there is such an object."""
        ...

    def list(self, prefix: str = "") -> Iterator[ObjectStat]:
        """Yield the objects whose key begins with `prefix`, sorted by the bytes of the key.

        Hidden names (a part that begins with a dot) are not listed.
        """
        ...

    def delete(self, key: str) -> None:
        """Remove an object; it is fine if there is none."""
        ...

    def presigned_url(self, key: str, expires_s: int = 3600) -> str:
        """Return a URL that reads the object without further credentials."""
        ...

    def local_file(self, key: str) -> AbstractContextManager[Path]:
        """Give a path to read the object from: the file itself or a temporary copy.

        Raises:
            NotFoundError: if there is no such object.
        """
        ...

    def table_location(self, key: str) -> TableLocation:
        """Return where deltalake finds the table folder `key`."""
        ...


def check_key(key: str) -> str:
    """Return the key if every store can hold it.

    Raises:
        StoreError: if it is empty, too long, leaves its folder, is hidden, or holds a backslash
            or a control character.
    """
    parts = key.split("/")
    if any(part.startswith(".") or not part for part in parts):
        raise StoreError(
            f"key {key!r}: no part between slashes may be empty or begin with a dot "
            "(hidden names are for temporary files, '..' would leave the store)"
        )
    if "\\" in key or any(ord(character) < 32 or ord(character) == 127 for character in key):
        raise StoreError(f"key {key!r}: backslashes and control characters are not allowed")
    sizes = [len(part.encode("utf-8", "surrogateescape")) for part in parts]
    if max(sizes) > _MAX_PART_BYTES or sum(sizes) + len(parts) > _MAX_KEY_BYTES:
        raise StoreError(
            f"key {key[:80]!r}: at most {_MAX_KEY_BYTES} bytes, {_MAX_PART_BYTES} between slashes"
        )
    return key


def is_hidden(key: str) -> bool:
    """Return whether a part of the key begins with a dot, as temporary files do."""
    return key.startswith(".") or "/." in key
