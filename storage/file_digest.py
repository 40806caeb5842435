"""The hash of a file that is still being written."""

from __future__ import annotations

import hashlib
import os
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Final

_BUFFER_BYTES: Final = 1 << 18
_SYNC_BYTES: Final = 1 << 20


class FileDigest:
    """Hashes what is appended to a file, and brings it to the disk, on a thread of its own.

    Done afterwards, hashing would keep one core at work and syncing none, while the others wait.

    Args:
        path: the file; what is written of it stays as it is.
    """

    def __init__(self, path: Path) -> None:
        self._file = path.open("rb", buffering=0)
        self._buffer = bytearray(_BUFFER_BYTES)
        self._hash = hashlib.sha256()
        self._size = self._synced = 0
        self._pool = ThreadPoolExecutor(1, "digest")
        self._running: Future[None] | None = None

    def advance(self) -> None:
        """Take in what has been appended; does not wait."""
        if self._running is None or self._running.done():
            self._running = self._pool.submit(self._read, sync=True)

    def finish(self) -> tuple[str, int]:
        """Return sha256 (hex) and size of the file, which is complete; call it once.

        Raises:
            OSError: if the file cannot be read.
        """
        try:
            self._pool.submit(self._read, sync=False).result()
        finally:
            self.close()
        return self._hash.hexdigest(), self._size

    def close(self) -> None:
        """Let go of the file."""
        self._pool.shutdown()
        self._file.close()

    def _read(self, *, sync: bool) -> None:
        view = memoryview(self._buffer)
        while count := self._file.readinto(view):
            self._hash.update(view[:count])
            self._size += count
        if sync and self._size - self._synced >= _SYNC_BYTES:
            self._synced = self._size
            with suppress(OSError):  # whoever needs it on the disk syncs it and sees the error
                os.fsync(self._file.fileno())
