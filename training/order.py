"""Which frames a step sees: a pure function of seed and step, so resuming needs no state.

Two orders. "draw" draws the frames of a step by chance, as short trainings on few frames want it.
"epochs" goes through all frames again and again in a new order each time; frames with rare
categories come several times an epoch.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import numpy as np

from scene.box import Boxes
from scene.errors import DataError
from scene.types import Float64, Int64, Mask
from training.config import TrainConfig

_EPOCHS_SALT = 0x45504F43  # keeps the numbers of epochs apart from those of steps


class Order:
    """The frames of every step.

    Attributes:
        epoch_length: samples until every frame has been seen; the number of frames for "draw",
            which promises no such thing.
    """

    def __init__(self, has: Mask, config: TrainConfig) -> None:
        """Plan the order.

        Args:
            has: (F, C) whether a frame has a box of a category.
            config: order, batch size, seed, `rare_boost`.

        Raises:
            DataError: if there is no frame.
        """
        if not len(has):
            raise DataError("training needs at least one frame")
        self._config = config
        self._epochs = config.order == "epochs"
        self._count = len(has)
        if self._epochs:
            copies = expected_copies(has, config)
            self.epoch_length = int(np.ceil(copies.sum() - 1e-9))
            self._upto = np.cumsum(copies) * (self.epoch_length / copies.sum())
        else:
            self.epoch_length = len(has)
            self._chance = frame_chances(has, config)
        self._newest: tuple[int, Int64] = (-1, np.zeros(0, dtype=np.int64))

    def frames(self, step: int) -> Int64:
        """Return (B,) frame numbers of the whole batch of a step, whatever the number of ranks."""
        size = self._config.batch_size
        if not self._epochs:
            rng = np.random.default_rng([self._config.seed, step])
            replace = self._count < size
            return rng.choice(self._count, size=size, replace=replace, p=self._chance)
        place = np.arange(step * size, (step + 1) * size)
        epochs, within = np.divmod(place, self.epoch_length)
        return np.array([self._epoch(int(e))[w] for e, w in zip(epochs, within, strict=True)])

    def _epoch(self, number: int) -> Int64:
        """Return (L,) all frames of an epoch in their order, rare ones several times.

        Systematic sampling: a frame that should come 2.4 times comes two or three times, and one
        that should come once comes at least once, in every epoch, of equal length.
        """
        known, order = self._newest
        if known != number:
            rng = np.random.default_rng([self._config.seed, _EPOCHS_SALT, number])
            marks = np.arange(self.epoch_length) + rng.random()
            chosen = np.searchsorted(self._upto, marks, side="right")
            order = rng.permutation(np.minimum(chosen, self._count - 1))
            self._newest = (number, order)
        return order


def rank_slice(batch_size: int, rank: int, world_size: int) -> slice:
    """Return which samples of a batch a rank makes; slices of all ranks make the whole batch.

    Raises:
        DataError: if a rank would be left with nothing, or the rank is not one of the world.
    """
    if not 0 <= rank < world_size:
        raise DataError(f"rank {rank} of {world_size}: expected 0 to {world_size - 1}")
    if batch_size < world_size:
        raise DataError(
            f"a batch of {batch_size} frames cannot be divided among {world_size} workers; "
            "raise batch_size or use fewer workers"
        )
    return slice(rank * batch_size // world_size, (rank + 1) * batch_size // world_size)


class Labelled(Protocol):
    """Anything with boxes."""

    @property
    def boxes(self) -> Boxes:
        """Annotations of a frame."""
        ...


def has_categories(frames: Sequence[Labelled], config: TrainConfig) -> Mask:
    """Return (F, C) whether frames have a box of each category."""
    rows = [[bool((f.boxes.category == name).any()) for name in config.categories] for f in frames]
    return np.array(rows, dtype=bool).reshape(len(frames), len(config.categories))


def frame_chances(has: Mask, config: TrainConfig) -> Float64:
    """Return (F,) chance of drawing each frame; frames with rare categories come more often.

    Source: the repeat factor of LVIS (Gupta et al., CVPR 2019), at least half of all frames.
    """
    share = np.maximum(has.mean(axis=0), 1e-9)
    factor = np.maximum(1.0, np.sqrt(0.5 / share))
    weight = np.where(has, factor, 1.0).max(axis=1)
    weight = 1.0 + config.rare_boost * (weight - 1.0)
    return weight / weight.sum()


def expected_copies(has: Mask, config: TrainConfig) -> Float64:
    """Return (F,) how often each frame should come in an epoch, at least once.

    Source: class-balanced grouping and sampling (Zhu et al., arXiv 1908.09492): every category
    gives an equal number of samples, drawn from the frames that have it. There, a frame without
    boxes or with nothing but common ones may never come; here it comes once. `rare_boost` 1 is
    theirs, 0 is every frame once.
    """
    frames_of = has.sum(axis=0)
    known = frames_of > 0
    if not known.any():
        return np.ones(len(has))
    share = np.where(known, frames_of.sum() / (known.sum() * np.maximum(frames_of, 1)), 0.0)
    return 1.0 + config.rare_boost * (np.maximum(1.0, has @ share) - 1.0)
