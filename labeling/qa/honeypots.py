"""Frames with a known answer, hidden among the others."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterable

from scene.recording import frame_id

FrameKey = tuple[str, int]  # recording, timestamp_ns


def choose_honeypots(known: Iterable[FrameKey], num_tasks: int, share: float) -> list[FrameKey]:
    """Return which frames with a known answer are sent along with other tasks.

    The same frames for the same input on every machine and in every run: those whose digest is
    lowest. Asking for more tasks of the same frames keeps those chosen before.

    Args:
        known: frames whose answer is known and that are not asked for anyway.
        num_tasks: ordinary tasks that they are hidden among.
        share: honeypots for each ordinary task, 0 for none.
    """
    if not 0 <= share <= 1:
        raise ValueError(f"share of honeypots must lie in [0, 1], got {share}")
    wanted = math.ceil(num_tasks * share) if share else 0
    return sorted(sorted(known, key=_digest)[:wanted])


def _digest(frame: FrameKey) -> str:
    return hashlib.sha256(f"honeypot|{frame_id(*frame)}".encode()).hexdigest()
