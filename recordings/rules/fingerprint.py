"""Fingerprints of recordings: few numbers by which the same drive is found again.

Twice a second the sweep's view is described coarsely: by sector of azimuth, how far the things
that stand on the ground are on average, in steps of 2 m. Its hash is a word. Rounding of points and
their order do not change most words; cutting ends off removes some. Where the view does not
change, because the vehicle stands, the time goes into the word, so that two recordings from one
parking place are not taken for the same. The 64 smallest words are kept: of
two recordings they share about the share of moments that these have in common.

Source: Broder, "On the resemblance and containment of documents", 1997 (bottom-k sketches).
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from heapq import heappush, heapreplace
from typing import Final

import numpy as np

from recordings.rules.sweep_look import SweepLook
from scene.types import Int64

NUM_WORDS: Final = 64
_SECTORS: Final = 24
_STEP_M: Final = 2.0
_MIN_STANDING: Final = 20
_MIN_SECTORS: Final = 6
_UNKNOWN: Final = -1
_STILL_SHARE: Final = 0.25
_SLOT_NS: Final = 500_000_000
MIN_SHARED: Final = 4


class Fingerprint:
    """Grows with the sweeps of a recording; 64 numbers at most."""

    def __init__(self) -> None:
        self._smallest: list[int] = []  # a heap of negated words: its first is the largest word
        self._last: Int64 | None = None

    def add(self, look: SweepLook) -> None:
        """Take in a sampled sweep."""
        if not look.num_points:
            return
        view = _describe(look)
        known = int((view != _UNKNOWN).sum())
        if known < _MIN_SECTORS:  # a single object, an empty field: only the very points tell
            self._take(f"points {look.digest}".encode())
            return
        changed = _SECTORS if self._last is None else int((view != self._last).sum())
        still = self._last is None or changed < _STILL_SHARE * known
        slot = look.timestamp_ns // _SLOT_NS if still else 0
        self._last = view
        self._take(view.tobytes() + slot.to_bytes(8, "little", signed=True))

    def words(self) -> tuple[int, ...]:
        """Return the words, int64, smallest first."""
        return tuple(sorted(-word for word in self._smallest))

    def _take(self, content: bytes) -> None:
        digest = hashlib.blake2b(content, digest_size=8).digest()
        word = -int.from_bytes(digest, "little", signed=True)
        if word in self._smallest or word == 2**63:
            return
        if len(self._smallest) < NUM_WORDS:
            heappush(self._smallest, word)
        elif word > self._smallest[0]:
            heapreplace(self._smallest, word)


def resemblance(words: Sequence[int], others: Mapping[str, Sequence[int]]) -> dict[str, float]:
    """Return which other recordings share moments with one, and the share of them, in (0, 1].

    Args:
        words: of the one recording.
        others: words by name; those that share none may be missing.
    """
    mine = set(words)
    found = {}
    for name, theirs in others.items():
        shared = len(mine & set(theirs))
        if shared >= min(MIN_SHARED, len(mine)) and shared:
            found[name] = shared / len(mine)
    return found


def _describe(look: SweepLook) -> Int64:
    """Return (24,) distances in steps of 2 m, -1 where too little stands."""
    profile = look.profile
    standing = profile.standing.reshape(_SECTORS, -1)
    total = np.nansum((profile.range_m * profile.standing).reshape(_SECTORS, -1), axis=1)
    count = np.where(np.isfinite(profile.range_m), profile.standing, 0).reshape(_SECTORS, -1)
    mean_m = total / np.maximum(count.sum(axis=1), 1)
    view = np.floor(mean_m / _STEP_M).astype(np.int64)
    view[standing.sum(axis=1) < _MIN_STANDING] = _UNKNOWN
    return view
