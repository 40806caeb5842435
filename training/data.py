"""Training frames in memory, and batches that depend only on the seed and the step number."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Final, NamedTuple, TypeVar

import numpy as np

from scene.box import Boxes, count_points
from scene.errors import DataError
from scene.recording import frame_id
from scene.types import Float32, Float64, Int64
from storage.manifest import DatasetManifest
from storage.store import ObjectStore
from storage.sweeps import SweepFile
from training.augment import ObjectBank, augment
from training.config import TrainConfig
from training.targets import Targets, make_targets

_T = TypeVar("_T")
_TRAIN_SPLITS: Final = ("train", "sim")
_MARGIN_M: Final = 4.0  # kept around the area, for turned and scaled frames


@dataclass(frozen=True, slots=True)
class TrainFrame:
    """One labelled sweep.

    Attributes:
        frame_id: `<recording>@<timestamp_ns>`.
        points: (N, 4) float32 x, y, z (ego, m), intensity.
        boxes: annotations in the ego frame with counted points.
    """

    frame_id: str
    points: Float32
    boxes: Boxes


class Batch(NamedTuple):
    """B frames after augmentation.

    Attributes:
        points: (N, 4) float32, all frames one after the other.
        frame: (N,) int64, the frame of each point.
        targets: one per frame.
    """

    points: Float32
    frame: Int64
    targets: list[Targets]


def load_frames(
    store: ObjectStore,
    manifest: DatasetManifest,
    config: TrainConfig,
    splits: Sequence[str] = _TRAIN_SPLITS,
) -> list[TrainFrame]:
    """Read the frames of some splits (recorded and simulated training frames by default).

    Raises:
        DataError: if the dataset has no such frame.
    """
    frames = []
    opened: SweepFile | None = None
    try:
        for split in splits:
            for key, recording, time_ns, boxes in manifest.of_split(split):
                if opened is None or opened.key != key:
                    if opened is not None:
                        opened.close()
                    opened = SweepFile(store, key)
                sweep = opened.read(opened.index_of(time_ns))
                points = np.concatenate([sweep.points_ego_m, sweep.intensity[:, None]], axis=1)
                frames.append(make_frame(frame_id(recording, time_ns), points, boxes, config))
    finally:
        if opened is not None:
            opened.close()
    if not frames:
        raise DataError(
            f"dataset {manifest.digest}: no frame in {' or '.join(splits)}; label some frames first"
        )
    return frames


def make_frame(name: str, points: Float32, boxes: Boxes, config: TrainConfig) -> TrainFrame:
    """Keep what training can use of (N, 4) points and boxes; count points where unknown."""
    reach = _reach_m(config)
    near = np.hypot(points[:, 0], points[:, 1]) < reach
    level = (points[:, 2] >= config.z_min_m - 1) & (points[:, 2] < config.z_max_m + 1)
    kept = np.ascontiguousarray(points[near & level], dtype=np.float32)
    boxes = boxes.take(np.isin(boxes.category, config.categories) & (boxes.range_m() < reach))
    if (boxes.num_points < 0).any():
        counted = count_points(kept[:, :3], boxes).num_points
        boxes = replace(boxes, num_points=np.where(boxes.num_points < 0, counted, boxes.num_points))
    return TrainFrame(name, kept, boxes)


def count_categories(frames: Sequence[TrainFrame], config: TrainConfig) -> dict[str, int]:
    """Return how many boxes of each category can teach: inside reach, enough points."""
    names = [frame.boxes.category[frame.boxes.num_points >= config.min_points] for frame in frames]
    every = np.concatenate(names) if names else np.array([], dtype=np.str_)
    return {name: int((every == name).sum()) for name in config.categories}


class Batches:
    """Batches by step number. Asking twice for a step gives the same batch.

    So a resumed training sees exactly the batches it would have seen, with no state to save.
    """

    def __init__(self, frames: Sequence[TrainFrame], config: TrainConfig) -> None:
        if not frames:
            raise DataError("training needs at least one frame")
        self._frames = frames
        self._config = config
        self._chance = frame_chances(frames, config)
        self._bank = ObjectBank.build([(f.points, f.boxes) for f in frames], config)

    def batch(self, step: int) -> Batch:
        """Return the batch of one step."""
        config = self._config
        rng = np.random.default_rng([config.seed, step])
        chosen = rng.choice(
            len(self._frames),
            size=config.batch_size,
            replace=len(self._frames) < config.batch_size,
            p=self._chance,
        )
        # Objects are pasted until the last fifth; then frames look as they really are.
        paste = self._bank if step < 0.8 * config.iterations else None
        clouds, targets = [], []
        for index in chosen:
            frame = self._frames[int(index)]
            points, boxes = augment(frame.points, frame.boxes, config, rng, paste)
            clouds.append(points)
            targets.append(make_targets(boxes, config))
        number = np.repeat(np.arange(len(clouds), dtype=np.int64), [len(c) for c in clouds])
        return Batch(np.concatenate(clouds), number, targets)

    def ahead(self, start: int, stop: int, prepare: Callable[[Batch], _T]) -> Iterator[_T]:
        """Yield `prepare(batch)` of steps `start` to `stop`; a thread makes the next meanwhile."""

        def make(step: int) -> _T:
            return prepare(self.batch(step))

        with ThreadPoolExecutor(max_workers=1, thread_name_prefix="batches") as pool:
            coming = pool.submit(make, start) if start < stop else None
            for step in range(start, stop):
                if coming is None:
                    return
                ready = coming.result()
                coming = pool.submit(make, step + 1) if step + 1 < stop else None
                yield ready


def frame_chances(frames: Sequence[TrainFrame], config: TrainConfig) -> Float64:
    """Return (F,) chance of drawing each frame; frames with rare categories come more often.

    Source: the repeat factor of LVIS (Gupta et al., CVPR 2019), at least half of all frames.
    """
    has = np.array(
        [[(f.boxes.category == name).any() for name in config.categories] for f in frames]
    )
    share = np.maximum(has.mean(axis=0), 1e-9)
    factor = np.maximum(1.0, np.sqrt(0.5 / share))
    weight = np.where(has, factor, 1.0).max(axis=1)
    weight = 1.0 + config.rare_boost * (weight - 1.0)
    return weight / weight.sum()


def _reach_m(config: TrainConfig) -> float:
    """Return how far from the ego origin points can matter after turning."""
    x = max(abs(config.x_min_m), abs(config.x_max_m))
    y = max(abs(config.y_min_m), abs(config.y_max_m))
    return float(np.hypot(x, y)) + _MARGIN_M
