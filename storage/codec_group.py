"""The points of a sweep in steps, grouped by ring, as planes; see *Order* in the specification."""

from __future__ import annotations

from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from scene.sweep import Sweep
from storage.codec_fields import SPARSE, Plane, Uint32, integer_planes, sparse_planes

INTENSITY_LEVELS: Final = 255
_NUMBER: Final = 3  # field of a word, behind x, y and z
_LARGE: Final = 16  # room for a large difference at every so-manieth point, to begin with
_SAMPLES: Final = 512
_VOTERS: Final = 4096  # neighbours that choose the usual difference, see `exceptions`


class _Large(NamedTuple):
    """Differences that a word cannot hold, by field and place.

    Attributes:
        keys: (M,) uint64, increasing: field << 32 | place.
        rests: (M,) uint32.
    """

    keys: NDArray[np.uint64]
    rests: Uint32

    def of(self, field: int) -> tuple[Uint32, Uint32]:
        """Return the places and the differences of one field."""
        bounds = np.array([field << 32, (field + 1) << 32], np.uint64)
        first, end = np.searchsorted(self.keys, bounds)
        return self.keys[first:end].astype(np.uint32), self.rests[first:end]


class Packed(NamedTuple):
    """Points grouped by ring, the order inside each kept; without rings they are one group.

    Attributes:
        fits: whether all can be stored.
        words: (N,) uint64, see `codec_group_kernels.pack`.
        large: what the words cannot hold.
        ring: (N,) uint16, in the order of the sweep.
        ends: (R,) uint32, where each ring ends.
    """

    fits: bool
    words: NDArray[np.uint64]
    large: _Large
    ring: NDArray[np.uint16]
    ends: Uint32

    def is_scrambled(self, limit: float) -> bool:
        """Return whether neighbours are usually so many steps apart in x plus y, by samples."""
        count = len(self.words)
        stride = max(1, count // _SAMPLES)
        at = np.arange(1, count, stride)
        far = int((self._gap(0, at) + self._gap(1, at) >= limit).sum())
        return far * 2 * stride > count

    def planes(self) -> tuple[list[Plane], Plane]:
        """Return the planes of x, y, z and intensity, and the (N,) steps of the numbers."""
        from storage import codec_group_kernels as kernels

        planes = np.empty((8, len(self.words)), np.uint8)
        kernels.split(self.words, planes)
        found = []
        for axis in range(3):
            escapes = self.large.of(axis)[1].astype("<u4", copy=False).view(np.uint8)
            found += [planes[2 * axis], planes[2 * axis + 1], escapes]
        return [*found, planes[6]], planes[7]

    def ring_planes(self) -> list[Plane]:
        """Return the streams of the rings."""
        from storage import codec_kernels

        count = len(self.words)
        head, spare = np.empty(min(count, _VOTERS), np.uint32), np.empty((2, _VOTERS), np.uint32)
        codec_kernels.fill_rings(np.minimum(self.ends, len(head)), head)
        usual, _ = codec_kernels.exceptions(head, *spare)
        starts = np.concatenate([np.zeros(1, np.uint32), self.ends[:-1]])
        there = np.flatnonzero(self.ends > starts)
        deltas = np.diff(there, prepend=0).astype(np.uint32)
        there, deltas = there[deltas > 0], deltas[deltas > 0]
        if not usual and len(deltas) <= count // SPARSE:
            return sparse_planes(0, starts[there], deltas)
        rings = np.empty(count, np.uint32)
        codec_kernels.fill_rings(self.ends, rings)
        return integer_planes(rings)

    def number_planes(self, steps: Plane, number: Uint32) -> list[Plane]:
        """Return the streams of (N,) numbers whose steps were packed."""
        from storage import codec_group_kernels, codec_kernels

        places, rests = self.large.of(_NUMBER)
        positions, others = np.empty((2, len(steps) // SPARSE + 1), np.uint32)
        head, spare = steps[:_VOTERS].astype(np.uint32), np.empty((2, _VOTERS), np.uint32)
        early = places < len(head)
        head[places[early]] = rests[early]
        usual, _ = codec_kernels.exceptions(np.cumsum(head, dtype=np.uint32), *spare)
        if usual < codec_group_kernels.OTHER:
            count = codec_group_kernels.other_steps(steps, usual, positions, others)
            if count >= 0:
                others = others[:count]
                others[others == codec_group_kernels.OTHER] = rests
                return sparse_planes(int(usual), positions[:count], others)
        return integer_planes(number[self.order()])

    def order(self) -> Uint32:
        """Return which point is at each place."""
        from storage import codec_group_kernels

        order = np.empty(len(self.ring), np.uint32)
        starts = np.concatenate([np.zeros(1, np.uint32), self.ends[:-1]])
        codec_group_kernels.order_by_ring(self.ring, starts, order)
        return order

    def _gap(self, axis: int, at: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return how far the points at some places are from those before them, in steps."""
        from storage.codec_group_kernels import ESCAPE

        turned = (self.words[at] >> np.uint64(16 * axis)).astype(np.uint16).astype(np.int64)
        places, rests = self.large.of(axis)
        far = turned == ESCAPE
        turned[far] = rests[np.searchsorted(places, at[far])]
        return (turned + 1) >> 1


def pack(sweep: Sweep, number: Uint32 | None, step_m: float, max_steps: float) -> Packed:
    """Return the points of a sweep in steps, grouped by ring.

    Args:
        sweep: N points.
        number: (N,) numbers of their times; None where they are not stored so.
        step_m: resolution of coordinates.
        max_steps: a coordinate must be smaller.
    """
    from storage import codec_group_kernels as kernels

    count = len(sweep)
    ring = np.zeros(count, np.uint16) if sweep.ring is None else sweep.ring
    starts, final = np.zeros((2, int(ring.max(initial=0)) + 1), np.uint32)
    kernels.count_rings(ring, starts, final)
    words = np.empty(count, np.uint64)
    points = np.ascontiguousarray(sweep.points_ego_m).reshape(-1)
    number = np.zeros(count, np.uint32) if number is None else number
    room = count // _LARGE + len(starts)
    while True:
        ends = starts.copy()
        keys, rests = np.empty(room, np.uint64), np.empty(room, np.uint32)
        fits, found = kernels.pack(
            points, sweep.intensity, ring, number, 1.0 / step_m, max_steps,
            np.float32(INTENSITY_LEVELS), ends, final, words, keys, rests,
        )  # fmt: skip
        if found <= room:
            break
        room = found
    order = np.argsort(keys[:found])
    return Packed(fits, words, _Large(keys[order], rests[order]), ring, ends)
