"""A directory as an object store: the embedded default."""

from __future__ import annotations

import errno
import fcntl
import hashlib
import os
import secrets
import shutil
import time
import zlib
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import BinaryIO

from scene.errors import ConflictError, NotFoundError, StoreError
from storage.store import ObjectStat, TableLocation, check_key

_CHUNK_BYTES = 1 << 20
_ETAG_DIGITS = 32  # of the sha256
_NUM_LOCKS = 16
_ETAG_ATTRIBUTE = "user.starloop.etag"
# A file touched this recently may change again within one tick of the file system's clock, so
# its hash is not remembered (git calls this "racily clean").
_SETTLED_NS = 2_000_000_000
_ABANDONED_NS = 24 * 3600 * 1_000_000_000
_ABSENT = (FileNotFoundError, NotADirectoryError, IsADirectoryError)


class LocalStore:
    """Objects are files under `root`.

    A write goes to a hidden file, is synced to disk and then renamed (or linked, if it must not
    replace anything), so a killed process leaves either the old object or the new one. The etag is
    a hash of the content; it is kept in an extended attribute beside size and time of the file, so
    that it is computed once. Where the file system has no such attributes, it is kept in memory.
    """

    def __init__(self, root: Path) -> None:
        self.root = Path(root).absolute()
        self.url = self.root.as_uri()
        self._locks, self._partial = self.root / ".locks", self.root / ".partial"
        self._etags: dict[tuple[int, int], tuple[str, str]] = {}
        try:
            self.root.mkdir(parents=True, exist_ok=True)
            self._sweep()
        except OSError as error:
            raise StoreError(f"{self.root}: cannot be used as a store: {error}") from error

    def __repr__(self) -> str:
        return f"LocalStore({str(self.root)!r})"

    def put(
        self, key: str, data: bytes, *, if_absent: bool = False, if_match: str | None = None
    ) -> ObjectStat:
        """See `ObjectStore.put`."""
        return self._write(key, partial(_copy, [data]), if_absent=if_absent, if_match=if_match)

    def put_file(self, key: str, path: Path, *, given_sha256: str = "") -> ObjectStat:
        """See `ObjectStore.put_file`; a file that is given is gone afterwards."""
        path = Path(path)
        try:
            if given_sha256:
                return self._write(key, partial(_move, path, given_sha256))
            with path.open("rb") as file:
                return self._write(key, partial(_copy, iter(lambda: file.read(_CHUNK_BYTES), b"")))
        except OSError as error:
            raise StoreError(f"{key}: {path} cannot be read: {error}") from error

    def get(self, key: str) -> bytes:
        """See `ObjectStore.get`."""
        with self.open(key) as file:
            return file.read()

    def get_range(self, key: str, start: int, length: int) -> bytes:
        """See `ObjectStore.get_range`."""
        if start < 0 or length < 0:
            raise StoreError(f"{key}: range {start}+{length} is negative")
        with self.open(key) as file:
            file.seek(start)
            return file.read(length)

    def open(self, key: str) -> BinaryIO:
        """See `ObjectStore.open`."""
        return self._open(key, self._path(key))

    def stat(self, key: str) -> ObjectStat:
        """See `ObjectStore.stat`."""
        with self.open(key) as file:
            return self._stat_open(key, file)

    def exists(self, key: str) -> bool:
        """See `ObjectStore.exists`."""
        return self._path(key).is_file()

    def list(self, prefix: str = "") -> Iterator[ObjectStat]:
        """See `ObjectStore.list`; files whose names could not be keys are listed as well."""
        folder = prefix.rpartition("/")[0]
        if folder:
            check_key(folder)
        for key in self._walk(folder, frozenset()):
            if key.startswith(prefix):
                with suppress(NotFoundError):  # deleted meanwhile
                    with self._open(key, self.root / key) as file:
                        stat = self._stat_open(key, file)
                    yield stat

    def delete(self, key: str) -> None:
        """See `ObjectStore.delete`."""
        path = self._path(key)
        with self._lock(key), suppress(*_ABSENT):
            path.unlink()

    def presigned_url(self, key: str, expires_s: int = 3600) -> str:
        """Return the `file:` URL; a directory needs no signature, so it does not expire."""
        return self._path(key).as_uri()

    @contextmanager
    def local_file(self, key: str) -> Iterator[Path]:
        """See `ObjectStore.local_file`; here it is the object itself: do not write to it."""
        if not self.exists(key):
            raise self._not_found(key)
        yield self._path(key)

    def table_location(self, key: str) -> TableLocation:
        """See `ObjectStore.table_location`."""
        return TableLocation(str(self._path(key)), {})

    def _path(self, key: str) -> Path:
        return self.root / check_key(key)

    def _open(self, key: str, path: Path) -> BinaryIO:
        try:
            return path.open("rb")
        except _ABSENT as error:
            raise self._not_found(key) from error
        except OSError as error:
            raise StoreError(f"{key}: cannot be read: {error}") from error

    def _not_found(self, key: str) -> NotFoundError:
        return NotFoundError(f"{key}: no such object in {self.url}")

    @contextmanager
    def _lock(self, key: str) -> Iterator[None]:
        """Keep other threads and processes from changing the key; dies with the process."""
        shard = zlib.crc32(key.encode("utf-8", "surrogateescape")) % _NUM_LOCKS
        self._locks.mkdir(exist_ok=True)
        with (self._locks / f"{shard:02d}").open("ab") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield

    def _write(
        self,
        key: str,
        fill: Callable[[Path], str],
        *,
        if_absent: bool = False,
        if_match: str | None = None,
    ) -> ObjectStat:
        """Write an object; `fill` makes its file and returns the sha256 of that."""
        path = self._path(key)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with self._temporary(path.parent) as temporary:
                stat = self._finish(key, temporary, fill(temporary))
                with self._lock(key):
                    self._check_condition(key, if_absent, if_match)
                    temporary.rename(path)
            _sync_folder(path.parent)
        except OSError as error:
            raise StoreError(f"{key}: cannot be written: {error}") from error
        return stat

    @contextmanager
    def _temporary(self, folder: Path) -> Iterator[Path]:
        """Give a hidden path from which a file can be renamed into the folder."""
        self._partial.mkdir(exist_ok=True)
        same_disk = folder.stat().st_dev == self._partial.stat().st_dev
        path = (self._partial if same_disk else folder) / f".{secrets.token_hex(8)}.part"
        try:
            yield path
        finally:
            path.unlink(missing_ok=True)

    def _sweep(self) -> None:
        """Remove what writers left that were killed long ago."""
        for path in self._partial.glob("*"):
            with suppress(FileNotFoundError):
                if time.time_ns() - path.stat().st_mtime_ns > _ABANDONED_NS:
                    path.unlink()

    def _finish(self, key: str, path: Path, sha256: str) -> ObjectStat:
        """Keep the hash of a file on it and sync both, before it gets its name."""
        with path.open("r+b") as file:
            status = os.fstat(file.fileno())
            etag = sha256[:_ETAG_DIGITS]
            self._remember(file.fileno(), status, etag)
            os.fsync(file.fileno())
        return ObjectStat(key, status.st_size, etag, status.st_mtime_ns)

    def _check_condition(self, key: str, if_absent: bool, if_match: str | None) -> None:
        """Raise ConflictError unless the condition of a write holds; call it under the lock."""
        if if_absent and os.path.lexists(self._path(key)):
            raise ConflictError(f"{key}: already there, and it must not be replaced")
        if if_match is None:
            return
        try:
            current = self.stat(key).etag
        except NotFoundError as error:
            raise ConflictError(f"{key}: expected etag {if_match}, but there is none") from error
        if current != if_match:
            raise ConflictError(f"{key}: expected etag {if_match}, found {current}")

    def _stat_open(self, key: str, file: BinaryIO) -> ObjectStat:
        status = os.fstat(file.fileno())
        etag = self._recall(file.fileno(), status)
        if etag is None:
            etag = _hash(file)
            if time.time_ns() - status.st_mtime_ns > _SETTLED_NS:
                self._remember(file.fileno(), status, etag)
        return ObjectStat(key, status.st_size, etag, status.st_mtime_ns)

    def _remember(self, descriptor: int, status: os.stat_result, etag: str) -> None:
        value = f"{_version(status)}:{etag}"
        try:
            os.setxattr(descriptor, _ETAG_ATTRIBUTE, value.encode())
        except (OSError, AttributeError):  # read-only, unsupported here, or not Linux
            self._etags[status.st_dev, status.st_ino] = (_version(status), etag)

    def _recall(self, descriptor: int, status: os.stat_result) -> str | None:
        """Return the remembered etag if the file has not changed since."""
        try:
            version, _, etag = os.getxattr(descriptor, _ETAG_ATTRIBUTE).decode().rpartition(":")
        except (OSError, AttributeError):
            version, etag = self._etags.get((status.st_dev, status.st_ino), ("", ""))
        return etag if version == _version(status) else None

    def _walk(self, folder: str, above: frozenset[tuple[int, int]]) -> Iterator[str]:
        """Yield the keys of a folder in byte order; links are followed, but not round in a loop."""
        try:
            status = (self.root / folder).stat()
            entries = list(os.scandir(self.root / folder))
        except _ABSENT:
            return
        except OSError as error:
            raise StoreError(f"{self.root / folder}: cannot be listed: {error}") from error
        identity = (status.st_dev, status.st_ino)
        if identity in above:
            return
        names = [_name_of(entry) for entry in entries if entry.name[0] != "."]
        for name in sorted(filter(None, names), key=os.fsencode):
            key = f"{folder}/{name}" if folder else name
            if name.endswith("/"):
                yield from self._walk(key[:-1], above | {identity})
            else:
                yield key


def _name_of(entry: os.DirEntry[str]) -> str:
    """Return the name, that of a folder with a slash; empty for a link that leads to itself."""
    try:
        return entry.name + ("/" if entry.is_dir() else "")
    except OSError:
        return ""


def _copy(chunks: Iterable[bytes], target: Path) -> str:
    """Write a new file and return its sha256."""
    digest = hashlib.sha256()
    with target.open("xb") as file:
        for chunk in chunks:
            digest.update(chunk)
            file.write(chunk)
    return digest.hexdigest()


def _move(source: Path, sha256: str, target: Path) -> str:
    """Rename a file, or copy it to another disk; return its sha256, which the caller knows."""
    shutil.move(source, target)
    return sha256


def _hash(file: BinaryIO) -> str:
    digest = hashlib.sha256()
    while chunk := file.read(_CHUNK_BYTES):
        digest.update(chunk)
    return digest.hexdigest()[:_ETAG_DIGITS]


def _version(status: os.stat_result) -> str:
    return f"{status.st_mtime_ns}:{status.st_size}"


def _sync_folder(folder: Path) -> None:
    """Make a rename survive a power cut; some file systems cannot, which is not an error."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.ENOTSUP):
            raise
    finally:
        os.close(descriptor)
