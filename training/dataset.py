"""The frames of a dataset: in memory where they fit, else read when a training asks for them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, Final

from scene.errors import ConfigError, DataError
from storage.manifest import DatasetManifest
from storage.store import ObjectStore
from storage.sweeps import SweepFile
from training.byte_cache import ByteCache
from training.config import TrainConfig
from training.frame_store import StoreFrames
from training.frames import FrameRow, TrainFrame, counted, frame_rows, read_points

TRAIN_SPLITS: Final = ("train", "sim")
_SIZE_FRAMES: Final = 16  # so many tell how large a dataset is


@dataclass(frozen=True, slots=True)
class DataOptions:
    """How frames reach a training; none of it changes which batches it sees.

    Attributes:
        memory_bytes: a dataset whose points fit is read once and kept in memory.
        cache_folder: where frames of a larger one are kept on the local disk; empty for nowhere.
        cache_bytes: what they may take there.
        threads: samples of a larger one that are read at the same time.
        depth: batches of a larger one that are made ahead.
    """

    memory_bytes: int = 1 << 30
    cache_folder: str = ""
    cache_bytes: int = 64 << 30
    threads: int = 8
    depth: int = 3

    def to_dict(self) -> dict[str, Any]:
        """Return plain values."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> DataOptions:
        """Undo `to_dict`; missing names take their default.

        Raises:
            ConfigError: if a name is unknown or a number is negative.
        """
        unknown = set(values) - {field.name for field in fields(cls)}
        if unknown:
            raise ConfigError(f"data options: unknown settings {sorted(unknown)}")
        options = cls(**values)
        numbers = options.memory_bytes, options.cache_bytes, options.threads, options.depth
        if not all(isinstance(number, int) and number >= 0 for number in numbers):
            raise ConfigError(
                "data options: bytes, threads and depth must be whole and must not be negative"
            )
        return options


def open_frames(
    store: ObjectStore,
    manifest: DatasetManifest,
    config: TrainConfig,
    options: DataOptions,
    splits: Sequence[str] = TRAIN_SPLITS,
    reopen: Callable[[], ObjectStore] | None = None,
) -> list[TrainFrame] | StoreFrames:
    """Return the frames of some splits: in memory if they fit, else read when asked for.

    Points that are read when asked for are kept in steps of 4 mm, see `training.packed`. `reopen`
    opens the store in a forked worker, see `StoreFrames`.

    Raises:
        DataError: if the dataset has no such frame.
    """
    rows = list(frame_rows(manifest, config, splits))
    frames: list[TrainFrame] = []
    used = 0
    for frame in _read(store, rows, config):
        frames.append(frame)
        used += frame.points.nbytes
        if used > options.memory_bytes or (
            len(frames) == _SIZE_FRAMES and used / _SIZE_FRAMES * len(rows) > options.memory_bytes
        ):
            cache = None
            if options.cache_folder:
                cache = ByteCache(Path(options.cache_folder), options.cache_bytes)
            return StoreFrames(store, rows, config, cache, reopen)
    return _some(frames, manifest, splits)


def load_frames(
    store: ObjectStore,
    manifest: DatasetManifest,
    config: TrainConfig,
    splits: Sequence[str] = TRAIN_SPLITS,
) -> list[TrainFrame]:
    """Read the frames of some splits (recorded and simulated training frames by default).

    Raises:
        DataError: if the dataset has no such frame.
    """
    rows = frame_rows(manifest, config, splits)
    return _some(list(_read(store, rows, config)), manifest, splits)


def _read(
    store: ObjectStore, rows: Iterable[FrameRow], config: TrainConfig
) -> Iterator[TrainFrame]:
    """Yield frames; those of one recording should follow each other."""
    opened: SweepFile | None = None
    try:
        for row in rows:
            if opened is None or opened.key != row.key:
                if opened is not None:
                    opened.close()
                opened = SweepFile(store, row.key)
            points = read_points(opened, row.timestamp_ns, config)
            yield TrainFrame(row.frame_id, points, counted(points, row.boxes))
    finally:
        if opened is not None:
            opened.close()


def _some(
    frames: list[TrainFrame], manifest: DatasetManifest, splits: Sequence[str]
) -> list[TrainFrame]:
    if not frames:
        raise DataError(
            f"dataset {manifest.digest}: no frame in {' or '.join(splits)}; label some frames first"
        )
    return frames
