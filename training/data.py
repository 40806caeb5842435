"""Training frames, and batches that depend only on the seed and the step number."""

from __future__ import annotations

import copy
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Final, NamedTuple, Protocol, TypeVar

import numpy as np

from scene.box import Boxes
from scene.types import Float32, Int64
from training.augment import ObjectBank, augment
from training.config import TrainConfig
from training.dataset import DataOptions, load_frames, open_frames
from training.device_batch import RawBatch, Sample, draw_sample, join_samples
from training.frame_store import StoreFrames
from training.frames import TrainFrame, make_frame
from training.order import Labelled, Order, has_categories, rank_slice
from training.targets import Targets, make_targets

__all__ = [
    "Batch", "Batches", "DataOptions", "DataStats", "Frames", "TrainFrame", "count_categories",
    "load_frames", "make_batches", "make_frame", "open_frames",
]  # fmt: skip

_T = TypeVar("_T")
_BANK_FRAMES: Final = 512  # of a dataset that is not in memory, objects to paste come from so many
_MAKERS: Final = 3  # batches that are joined and sent to the device at the same time
_PASTE_UNTIL: Final = 0.8


class Frames(Protocol):
    """Frames by number: a list of `TrainFrame`, or something that reads them when asked."""

    def __len__(self) -> int:
        """Return the number of frames."""
        ...

    def __getitem__(self, index: int, /) -> TrainFrame:
        """Return one frame, always the same; may be asked from several threads."""
        ...


class Batch(NamedTuple):
    """B frames after augmentation.

    Attributes:
        points: (N, 4) float32, all frames one after the other; (N, 5) with several sweeps, see
            `TrainFrame.points`.
        frame: (N,) int64, the frame of each point.
        targets: one per frame.
    """

    points: Float32
    frame: Int64
    targets: list[Targets]


AnyBatch = Batch | RawBatch


@dataclass(slots=True)
class DataStats:
    """How well batches keep up with a training. The wait for the first batch is kept apart.

    Attributes:
        samples: frames handed out after the first batch.
        wait_s: time that the training stood still for them.
        busy_s: time that it spent with them.
        first_s: wait for the first batch.
    """

    samples: int = 0
    wait_s: float = 0.0
    busy_s: float = 0.0
    first_s: float = 0.0

    @property
    def samples_per_s(self) -> float:
        """Frames a second of the training, 0 before the second batch."""
        return self.samples / (self.wait_s + self.busy_s) if self.samples else 0.0

    @property
    def wait_share(self) -> float:
        """Share of the time that the training stood still for data."""
        return self.wait_s / (self.wait_s + self.busy_s) if self.samples else 0.0

    def to_dict(self) -> dict[str, Any]:
        """Return what a report says."""
        return {
            "samples_per_s": round(self.samples_per_s, 3),
            "data_wait_share": round(self.wait_share, 5),
            "data_wait_s": round(self.wait_s, 3),
            "first_batch_s": round(self.first_s, 3),
        }


def count_categories(frames: Frames, config: TrainConfig) -> dict[str, int]:
    """Return how many boxes of each category can teach: inside reach, enough points.

    A box whose points the dataset does not count is taken to have enough where its frame is not
    in memory.
    """
    teach = [
        boxes.category[(boxes.num_points >= config.min_points) | (boxes.num_points < 0)]
        for boxes in (labelled.boxes for labelled in _labels(frames))
    ]
    every = np.concatenate(teach) if teach else np.array([], dtype=np.str_)
    return {name: int((every == name).sum()) for name in config.categories}


class Batches:
    """Batches by step number. Asking twice for a step gives the same batch.

    So a resumed training sees exactly the batches it would have seen, with no state to save. The
    workers of a data-parallel training make disjoint parts of the same batch: every sample has
    random numbers of its own, so the whole does not depend on how many share the work.

    Attributes:
        stats: speed and waiting of the newest `ahead`.
        order: which frames a step sees.
    """

    def __init__(
        self,
        frames: Frames,
        config: TrainConfig,
        *,
        threads: int = 0,
        depth: int = 1,
    ) -> None:
        """Plan the batches.

        Args:
            frames: a list, or frames that are read when asked for.
            config: the settings; `batch_size` is that of all ranks together.
            threads: samples that are made at the same time; 0 makes a batch in one thread.
            depth: batches that are made ahead of the one in use.

        Raises:
            DataError: if there is no frame.
        """
        self.order = Order(has_categories(_labels(frames), config), config)
        self.stats = DataStats()
        self._frames = frames
        self._config = config
        self._part = slice(0, config.batch_size)
        self._threads, self._depth = threads, max(1, depth)
        self._bank = ObjectBank.build(_bank_frames(frames, config), config)

    def part(self, rank: int, world_size: int) -> Batches:
        """Return the batches of one of `world_size` parts, sharing frames and objects with these.

        Raises:
            DataError: if there is less than one sample for each part.
        """
        part = copy.copy(self)
        part.stats = DataStats()
        part._part = rank_slice(self._config.batch_size, rank, world_size)
        return part

    def frame_ids(self, step: int) -> list[str]:
        """Return the names of the frames of this part of a step's batch."""
        return [self._frames[index].frame_id for _, index in self._chosen(step)]

    def batch(self, step: int) -> AnyBatch:
        """Return the batch of one step, or this rank's part of it."""
        return self._join([self._sample(step, *which) for which in self._chosen(step)])

    def ahead(self, start: int, stop: int, prepare: Callable[[AnyBatch], _T]) -> Iterator[_T]:
        """Yield `prepare(batch)` of steps `start` to `stop`; threads make the next ones meanwhile.

        What goes wrong with a frame is raised here, and names the frame and its object.
        """
        return self.measured(self._ahead(start, stop, prepare), self._part.stop - self._part.start)

    def measured(self, batches: Iterator[_T], samples: int) -> Iterator[_T]:
        """Yield batches of so many samples; what is waited for them goes to `stats`."""
        self.stats = stats = DataStats()
        begun = time.perf_counter()
        for number, batch in enumerate(batches):
            waited = time.perf_counter() - begun
            if number == 0:
                stats.first_s = waited
            yield batch
            now = time.perf_counter()
            if number > 0:
                stats.samples += samples
                stats.wait_s += waited
                stats.busy_s += now - begun - waited
            begun = now

    def _ahead(self, start: int, stop: int, prepare: Callable[[AnyBatch], _T]) -> Iterator[_T]:
        readers = ThreadPoolExecutor(max(1, self._threads), "frames")
        makers = ThreadPoolExecutor(min(_MAKERS, self._depth) if self._threads else 1, "batches")
        coming: list[Future[_T]] = []
        wanted = iter(range(start, stop))
        try:
            for _ in range(start, stop):
                while len(coming) < self._depth and (more := next(wanted, None)) is not None:
                    coming.append(makers.submit(self._make(more, readers, prepare)))
                ready = coming.pop(0).result()
                if (more := next(wanted, None)) is not None:
                    coming.append(makers.submit(self._make(more, readers, prepare)))
                yield ready
        finally:
            makers.shutdown(wait=True, cancel_futures=True)
            readers.shutdown(wait=True, cancel_futures=True)

    def _make(
        self, step: int, readers: ThreadPoolExecutor, prepare: Callable[[AnyBatch], _T]
    ) -> Callable[[], _T]:
        """Begin with the samples of a step; return what joins them."""
        if not self._threads:
            return lambda: prepare(self.batch(step))
        samples = [readers.submit(self._sample, step, *which) for which in self._chosen(step)]
        return lambda: prepare(self._join([sample.result() for sample in samples]))

    def _chosen(self, step: int) -> list[tuple[int, int]]:
        """Return place in the batch and frame number of this rank's samples."""
        frames = self.order.frames(step)
        places = range(self._config.batch_size)[self._part]
        return [(place, int(frames[place])) for place in places]

    def _sample(self, step: int, place: int, index: int) -> tuple[Float32, Targets] | Sample:
        """Return the points and targets of one sample, or what the device makes them of."""
        config = self._config
        rng = np.random.default_rng([config.seed, step, place])
        # Objects are pasted until the last fifth; then frames look as they really are.
        bank = self._bank if step < _PASTE_UNTIL * config.iterations else None
        frame = self._frames[index]
        if config.network == "centerpoint":
            return draw_sample(frame.points, frame.boxes, config, rng, bank)
        points, boxes = augment(frame.points, frame.boxes, config, rng, bank)
        return points, make_targets(boxes, config)

    def _join(self, samples: list[tuple[Float32, Targets] | Sample]) -> AnyBatch:
        """Return samples as one batch."""
        raw = [sample for sample in samples if isinstance(sample, Sample)]
        if raw:
            return join_samples(raw, self._config)
        return _join([sample for sample in samples if not isinstance(sample, Sample)])


def make_batches(frames: Frames, config: TrainConfig, options: DataOptions) -> Batches:
    """Return batches that are made as fits where their frames come from."""
    if isinstance(frames, StoreFrames):
        return Batches(frames, config, threads=options.threads, depth=options.depth)
    return Batches(frames, config)


def _join(samples: list[tuple[Float32, Targets]]) -> Batch:
    """Return samples whose targets are made as one batch."""
    counts = [len(points) for points, _ in samples]
    number = np.repeat(np.arange(len(samples), dtype=np.int64), counts)
    clouds = np.concatenate([points for points, _ in samples])
    return Batch(clouds, number, [targets for _, targets in samples])


def _labels(frames: Frames) -> Sequence[Labelled]:
    """Return what is labelled in the frames, without reading points that are not in memory."""
    if isinstance(frames, StoreFrames):
        return frames.rows
    return [frames[i] for i in range(len(frames))]


def _bank_frames(frames: Frames, config: TrainConfig) -> list[tuple[Float32, Boxes]]:
    """Return the frames that objects to paste are cut from."""
    wanted = [name for name, _ in config.paste]
    known = [i for i, f in enumerate(_labels(frames)) if np.isin(f.boxes.category, wanted).any()]
    if isinstance(frames, StoreFrames) and len(known) > _BANK_FRAMES:
        known = [known[i * len(known) // _BANK_FRAMES] for i in range(_BANK_FRAMES)]
    chosen = (frames[i] for i in known)
    return [(frame.points, frame.boxes) for frame in chosen]
