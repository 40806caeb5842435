"""A folder of checked byte strings with a size limit, shared by all processes of a machine.

A cache, not a store: any of its files may be deleted, cut or overwritten at any moment, and the
worst that happens is that something is fetched again.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import secrets
import struct
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, NamedTuple

import numpy as np
from isal.isal_zlib import crc32
from numpy.typing import NDArray

from scene.errors import StoreError

_MAGIC: Final = b"SLC1"
_HEADER: Final = struct.Struct("<4sI16sQ")  # magic, crc32, name, number of bytes
_ROOM: Final = 0.1  # share of the limit that one eviction frees, so that the next is not soon
_ABANDONED_S: Final = 3600.0
_CLOCK_NS: Final = 20_000_000  # the file system's clock may be a tick behind


@dataclass(slots=True)
class CacheStats:
    """What one process saw of a cache.

    Attributes:
        hits, misses: answers of `get`.
        damaged: entries that were thrown away because their bytes were wrong.
        written: entries that `put` kept.
        refused: entries for which there was no room, or that the disk did not take.
        evicted: entries that were removed to make room.
    """

    hits: int = 0
    misses: int = 0
    damaged: int = 0
    written: int = 0
    refused: int = 0
    evicted: int = 0

    @property
    def hit_share(self) -> float:
        """Share of the questions that the cache could answer."""
        return self.hits / max(1, self.hits + self.misses)

    def to_dict(self) -> dict[str, Any]:
        """Return the counts and the share."""
        return {
            "hits": self.hits, "misses": self.misses, "damaged": self.damaged,
            "written": self.written, "refused": self.refused, "evicted": self.evicted,
            "hit_share": round(self.hit_share, 4),
        }  # fmt: skip


class _Entry(NamedTuple):
    used_ns: int
    size: int
    path: Path


class ByteCache:
    """Bytes by name, in at most so many bytes of disk.

    The entries used longest ago go first, but never one that was used since this object was made:
    a training goes round its frames again and again, and if they do not all fit, throwing out the
    oldest would throw out exactly the next one needed. So a part of them stays, and the rest is
    fetched each time.

    Room is booked under a lock before a file is written and a file gets its name when it is whole,
    so several processes together keep the limit, and a killed one leaves nothing but an unnamed
    file, which the next count finds. Every entry carries a checksum and its name.

    Attributes:
        folder: where the entries are.
        limit_bytes: size of all files together.
        stats: what this object saw.
    """

    def __init__(self, folder: Path, limit_bytes: int) -> None:
        """Open or make the folder, and count what is there.

        Raises:
            StoreError: if the folder cannot be used.
        """
        self.folder = Path(folder)
        self.limit_bytes = limit_bytes
        self.stats = CacheStats()
        self._full = False
        self._counting = threading.Lock()
        self._since_ns = time.time_ns() - _CLOCK_NS
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            with self._locked():
                self._make_room(0)
        except OSError as error:
            raise StoreError(f"cache {self.folder}: cannot be used: {error}") from error

    def get(self, name: str) -> NDArray[np.uint8] | None:
        """Return the bytes under a name, or None; a damaged entry is removed."""
        path = self._path(name)
        try:
            with path.open("rb", buffering=0) as file:
                size = os.fstat(file.fileno()).st_size
                data = np.empty(size, dtype=np.uint8)
                read = file.readinto(data.data)
                if read == size and _is_whole(data, _digest(name)):
                    os.utime(file.fileno())
                    self._count("hits")
                    return data[_HEADER.size :]
        except OSError:
            self._count("misses")
            return None
        self._count("damaged", "misses")
        self._remove(path)
        return None

    def put(self, name: str, parts: Sequence[bytes | memoryview]) -> bool:
        """Keep bytes under a name; return False if there is no room or the disk refuses.

        Args:
            name: anything that tells this content from every other.
            parts: the content, in pieces.
        """
        check, digest = 0, _digest(name)
        for part in (digest, *parts):
            check = crc32(part, check)
        length = sum(len(part) for part in parts)
        header = _HEADER.pack(_MAGIC, check, digest, length)
        path = self._path(name)
        temporary = path.with_name(f".{os.getpid()}-{secrets.token_hex(6)}.part")
        kept = False
        try:
            if self._book(temporary, _HEADER.size + length):
                with temporary.open("r+b") as file:
                    file.writelines((header, *parts))
                with self._locked():  # a count that meets a file under neither name would miss it
                    temporary.replace(path)
                kept = True
        except OSError:  # a full disk does not stop a training
            self._remove(temporary)
        self._count("written" if kept else "refused")
        return kept

    def size_bytes(self) -> int:
        """Return how large all files are together, those that are being written included."""
        with self._locked():
            return sum(entry.size for entry in self._entries())

    def _count(self, *names: str) -> None:
        with self._counting:
            for name in names:
                setattr(self.stats, name, getattr(self.stats, name) + 1)

    def _book(self, path: Path, size: int) -> bool:
        """Make a file of its later size, evicting if need be; return False if there is no room.

        The empty file is the booking: a process that counts anew sees it.
        """
        if self._full:
            return False
        with self._locked():
            total = self._total()
            if total is None or total + size > self.limit_bytes:
                total = self._make_room(size)
            if total + size > self.limit_bytes:
                self._full = True
                return False
            path.parent.mkdir(exist_ok=True)
            with path.open("xb") as file:
                file.truncate(size)
            self._set_total(total + size)
        return True

    def _remove(self, path: Path) -> None:
        """Remove a file and give its room back."""
        with suppress(OSError), self._locked():
            size = path.stat().st_size
            path.unlink()
            total = self._total()
            if total is not None:
                self._set_total(max(0, total - size))
            self._full = False

    def _make_room(self, size: int) -> int:
        """Count all files and evict until there is room for more; return their size. Locked."""
        entries = sorted(self._entries())
        total = sum(entry.size for entry in entries)
        if total + size > self.limit_bytes:
            goal = max(0, int(self.limit_bytes * (1 - _ROOM)) - size)
            for entry in entries:
                if total <= goal or entry.used_ns >= self._since_ns:
                    break
                with suppress(OSError):
                    entry.path.unlink()
                    self._count("evicted")
                    total -= entry.size
        self._set_total(total)
        return total

    def _entries(self) -> Iterator[_Entry]:
        """Yield all files but the count and the lock; remove what dead writers left."""
        for folder in self._folders():
            for item in os.scandir(folder):
                with suppress(FileNotFoundError):
                    status = item.stat()
                    if item.name.endswith(".part") and _is_abandoned(item.name, status.st_mtime):
                        Path(item.path).unlink()
                    else:
                        yield _Entry(status.st_mtime_ns, status.st_size, Path(item.path))

    def _folders(self) -> list[str]:
        return [item.path for item in os.scandir(self.folder) if item.is_dir()]

    def _path(self, name: str) -> Path:
        digest = _digest(name).hex()
        return self.folder / digest[:2] / digest[2:]

    @contextmanager
    def _locked(self) -> Iterator[None]:
        """Keep other threads and processes away; ends with the process."""
        with (self.folder / ".lock").open("ab") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield

    def _total(self) -> int | None:
        """Return the booked size, or None where it has to be counted."""
        try:
            data = (self.folder / ".total").read_bytes()
        except FileNotFoundError:
            return None
        return int.from_bytes(data, "little") if len(data) == 8 else None

    def _set_total(self, total: int) -> None:
        (self.folder / ".total").write_bytes(total.to_bytes(8, "little"))


def _digest(name: str) -> bytes:
    return hashlib.sha256(name.encode()).digest()[:16]


def _is_whole(data: NDArray[np.uint8], digest: bytes) -> bool:
    """Tell whether a file is what was written under its name."""
    if len(data) < _HEADER.size:
        return False
    magic, check, name, size = _HEADER.unpack(data[: _HEADER.size].tobytes())
    if magic != _MAGIC or name != digest or size != len(data) - _HEADER.size:
        return False
    return crc32(data[_HEADER.size :].data, crc32(digest)) == check


def _is_abandoned(name: str, written_s: float) -> bool:
    """Tell whether the process that writes a file is gone, or is taking far too long."""
    if time.time() - written_s > _ABANDONED_S:
        return True
    try:
        os.kill(int(name[1:].partition("-")[0]), 0)
    except ProcessLookupError:
        return True
    except (ValueError, PermissionError):
        return False
    return False
