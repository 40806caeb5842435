"""One thing that may be wrong with labels, and how such things are ranked."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from scene.types import Float64

# Of a suspicion that is worth a look; planted errors score more, see `docs/label-quality.md`.
LOOK_SCORE: Final = 2.0

BoxKey = tuple[int, int]  # timestamp_ns, row of the box among those of its frame


@dataclass(frozen=True, slots=True, eq=False)
class Suspicion:
    """One thing for a person to look at.

    Attributes:
        kind: missing, place, heading, class, size, track, ghost or skew.
        score: the higher, the sooner it should be looked at: how many times the usual the worst
            figure is, plus a third of the next ones.
        timestamp_ns: the frame to look at first.
        center_ego_m: (3,) where, in the ego frame of that frame.
        category: of the box, or what is missing.
        track_id: of the box; empty if a box is missing that no track leads to.
        reason: one line.
        members: the boxes it is about; empty if a box is missing.
        absent_ns: the times at which a box is missing.
    """

    kind: str
    score: float
    timestamp_ns: int
    center_ego_m: Float64
    category: str
    track_id: str
    reason: str
    members: tuple[BoxKey, ...] = ()
    absent_ns: tuple[int, ...] = ()


def rank(suspicions: Sequence[Suspicion]) -> list[Suspicion]:
    """Return suspicions, worst first; ties in order of time and place."""
    return sorted(
        suspicions,
        key=lambda s: (-s.score, s.timestamp_ns, s.track_id, float(s.center_ego_m[0])),
    )
