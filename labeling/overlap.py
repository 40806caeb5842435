"""How many people are asked about a clip: one about most, two about a share, to compare them.

Agreement says something about all labels only if chance decides what is asked twice, and nobody
who labels can tell which clips these are.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import replace
from typing import Final

from labeling.clip_task import ClipTask

_OVERLAP: Final = 2
_STEPS: Final = 1 << 64


def people_for(task_id: str, share: float) -> int:
    """Return how many people are asked about a task: the same everywhere and in every run.

    Args:
        task_id: of the task.
        share: part of the tasks that two people are asked about. With a larger share those of a
            smaller one stay.
    """
    digest = hashlib.sha256(f"overlap|{task_id}".encode()).digest()
    return _OVERLAP if int.from_bytes(digest[:8], "big") < share * _STEPS else 1


def ask_people(tasks: Iterable[ClipTask], share: float) -> list[ClipTask]:
    """Return the clips with the number of people that are asked about each; one about a review."""
    return [
        task
        if task.purpose == "review"
        else replace(task, num_people=people_for(task.task_id, share))
        for task in tasks
    ]
