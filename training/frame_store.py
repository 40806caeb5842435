"""Frames that are read when they are asked for: from the object store, or from a local cache."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Final, TypeVar

from scene.errors import DataError, FormatError, NotFoundError, StarloopError, StoreError
from storage.store import ObjectStore
from storage.sweeps import SweepFile
from training.byte_cache import ByteCache
from training.config import TrainConfig
from training.frames import FrameRow, TrainFrame, counted, reach_m, read_points
from training.packed import STEP_M, PackedPoints

_T = TypeVar("_T")
_MAX_OPEN: Final = 64
_RETRY_AFTER_S: Final = (0.5, 2.0, 8.0)  # beside the retries of the store's own client


class StoreFrames:
    """The frames of a dataset that is too large for the memory. May be asked from many threads.

    A frame costs the ranged reads of its sweeps once, then one read of the cache. Points go through
    `PackedPoints` either way, so a frame is the same whether or not it was cached.

    Attributes:
        rows: what is labelled, without points.
        cache: where read frames are kept, or None.
    """

    def __init__(
        self,
        store: ObjectStore,
        rows: Sequence[FrameRow],
        config: TrainConfig,
        cache: ByteCache | None,
        reopen: Callable[[], ObjectStore] | None = None,
    ) -> None:
        """Plan; nothing is read yet.

        Args:
            store: where the sweeps are.
            rows: the frames.
            config: the settings.
            cache: where to keep frames that were read, or None.
            reopen: opens the store anew in a forked worker, which must not share the connections
                of its parent; not needed for a local store.
        """
        self.rows = list(rows)
        self.cache = cache
        self._store = store
        self._config = config
        self._reopen = reopen
        self._etags: dict[str, str] = {}
        self._files = _OpenFiles(store)
        self._process = os.getpid()

    def __len__(self) -> int:
        """Return the number of frames."""
        return len(self.rows)

    def __getitem__(self, index: int) -> TrainFrame:
        """Return one frame.

        Raises:
            DataError, StoreError: if it cannot be read; the message names the frame and its object.
        """
        row = self.rows[index]
        points = self.packed(index).unpack()
        return TrainFrame(row.frame_id, points, counted(points, row.boxes))

    def packed(self, index: int) -> PackedPoints:
        """Return the points of one frame as the cache keeps them; see `__getitem__`."""
        if self._process != os.getpid():
            self._settle()
        row = self.rows[index]
        try:
            return self._cached(row)
        except StarloopError as error:
            kind = StoreError if isinstance(error, StoreError) else DataError
            raise kind(f"frame {row.frame_id} of {row.key}: {error}") from error
        except Exception as error:
            error.add_note(f"while reading frame {row.frame_id} of {row.key}")
            raise

    def close(self) -> None:
        """Let go of all objects."""
        self._files.close()

    def _settle(self) -> None:
        """Begin anew in a forked process: open files and connections are the parent's."""
        if self._reopen is not None:
            self._store = self._reopen()
        if self.cache is not None:
            self.cache = ByteCache(self.cache.folder, self.cache.limit_bytes)
        self._files = _OpenFiles(self._store)
        self._process = os.getpid()

    def _cached(self, row: FrameRow) -> PackedPoints:
        if self.cache is None:
            return self._fetch(row)
        name = self._name(row)
        data = self.cache.get(name)
        if data is not None:
            return PackedPoints.from_bytes(data)
        packed = self._fetch(row)
        self.cache.put(name, packed.to_bytes())
        return packed

    def _name(self, row: FrameRow) -> str:
        """Return what the bytes of a frame depend on: the object's content and the settings."""
        if row.key not in self._etags:
            self._etags[row.key] = _patiently(lambda: self._store.stat(row.key).etag)
        config = self._config
        return (
            f"frame 1|{self._store.url}|{row.key}|{self._etags[row.key]}|{row.timestamp_ns}|"
            f"{config.num_sweeps}|{reach_m(config)!r}|{config.z_min_m}|{config.z_max_m}|{STEP_M}"
        )

    def _fetch(self, row: FrameRow) -> PackedPoints:
        """Read a frame's sweeps by ranged reads."""

        def read() -> PackedPoints:
            with self._files.of(row.key) as file:
                return PackedPoints.pack(read_points(file, row.timestamp_ns, self._config))

        try:
            return _patiently(read)
        except FormatError:
            return read()  # bytes may have been damaged on the way: a new handle reads them again


class _OpenFiles:
    """Open sweep files that nobody uses at the moment; a file serves one thread at a time."""

    def __init__(self, store: ObjectStore) -> None:
        self._store = store
        self._lock = threading.Lock()
        self._idle: list[SweepFile] = []

    @contextmanager
    def of(self, key: str) -> Iterator[SweepFile]:
        """Lend a file; after an error it is not lent again."""
        file = self._take(key) or SweepFile(self._store, key)
        try:
            yield file
        except BaseException:
            file.close()
            raise
        with self._lock:
            self._idle.append(file)
            oldest = self._idle.pop(0) if len(self._idle) > _MAX_OPEN else None
        if oldest is not None:
            oldest.close()

    def close(self) -> None:
        with self._lock:
            idle, self._idle = self._idle, []
        for file in idle:
            file.close()

    def _take(self, key: str) -> SweepFile | None:
        with self._lock:
            for i in range(len(self._idle) - 1, -1, -1):
                if self._idle[i].key == key:
                    return self._idle.pop(i)
        return None


def _patiently(action: Callable[[], _T]) -> _T:
    """Do something with the store; wait and try again while it cannot be reached."""
    for wait_s in _RETRY_AFTER_S:
        try:
            return action()
        except NotFoundError:
            raise
        except StoreError:
            time.sleep(wait_s)
    return action()
