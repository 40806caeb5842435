"""Which frames to label next, and why each one."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Final

import numpy as np
import pyarrow as pa

from scene.box import Boxes
from scene.errors import ConfigError, ShapeError
from scene.types import Float64, Int64, Mask, Text
from storage.schemas import SELECTIONS

ARMS: Final = ("issue", "trigger", "uncertainty", "control")
_FIRST_NS, _LAST_NS = np.iinfo(np.int64).min, np.iinfo(np.int64).max
SELECTION_SCHEMA: Final = pa.schema([f for f in SELECTIONS if f.name != "turn"])


@dataclass(frozen=True, slots=True)
class Policy:
    """How a labelling budget is spent.

    Attributes:
        budget: frames to choose at most.
        control_share: drawn at random, so that every other arm can be judged against chance.
        issue_share: for frames that fire a known issue's trigger.
        trigger_share: for frames with events of the fixed triggers. The rest goes to uncertainty.
        min_gap_s: frames of one recording, labelled ones included, are never closer than this.
        seed: of the random draws.
    """

    budget: int
    control_share: float = 0.15
    issue_share: float = 0.5
    trigger_share: float = 0.15
    min_gap_s: float = 1.0
    seed: int = 0

    def __post_init__(self) -> None:
        """Refuse shares that cannot be."""
        shares = (self.control_share, self.issue_share, self.trigger_share)
        if self.budget < 0 or self.min_gap_s < 0:
            raise ConfigError(f"selection policy: budget {self.budget}, gap {self.min_gap_s} s")
        if min(shares) < 0 or sum(shares) > 1 + 1e-9:
            raise ConfigError(f"selection policy: shares {shares} must be >= 0, in sum <= 1")

    def quota(self) -> dict[str, int]:
        """Return frames for each arm; their sum is the budget."""
        control = round(self.budget * self.control_share)
        if self.control_share > 0 and self.budget >= 2:
            control = max(control, 1)
        issue = min(round(self.budget * self.issue_share), self.budget - control)
        trigger = min(round(self.budget * self.trigger_share), self.budget - control - issue)
        rest = self.budget - control - issue - trigger
        return {"control": control, "issue": issue, "trigger": trigger, "uncertainty": rest}


def frame_uncertainty(predictions: Mapping[int, Boxes], times: Int64 | Sequence[int]) -> Float64:
    """Return (T,) how unsure the model is about each frame, in bits, 0 to 1.

    The entropy of the scores of a frame, summed over its boxes, times the inverse of their
    number. Without the inverse, crowded frames would always win, and they cost most to label.
    A frame without boxes is 0; a frame that was not predicted is NaN.

    Source: entropy with inverse box count, as in HeAL and CRB (ICLR 2023) baselines.
    """
    values = np.full(len(times), np.nan)
    for i, time in enumerate(times):
        boxes = predictions.get(int(time))
        if boxes is None:
            continue
        score = np.clip(boxes.score[np.isfinite(boxes.score)], 1e-9, 1 - 1e-9)
        bits = -(score * np.log2(score) + (1 - score) * np.log2(1 - score))
        values[i] = bits.mean() if len(bits) else 0.0
    return values


@dataclass(frozen=True)
class _Group:
    """One issue, one trigger or the uncertainty: which frames it wants, how much, and why."""

    name: str
    score: Float64  # (F,) NaN where it does not want the frame
    reason: Callable[[int], str]

    @cached_property
    def weight(self) -> Float64:
        """(F,) 0.2 to 1 by rank of the score; equal scores weigh the same."""
        known = np.unique(self.score[np.isfinite(self.score)])
        rank = np.searchsorted(known, self.score)
        return 0.2 + 0.8 * (rank + 1) / max(len(known), 1)


@dataclass(frozen=True)
class _Frames:
    """Frames of the pool in order of recording and time."""

    recording: Text
    time_ns: Int64

    def span(self, recording: str, first_ns: int, last_ns: int) -> slice:
        """Return the frames of a recording from one time to another, both included."""
        low = np.searchsorted(self.recording, recording, "left")
        high = np.searchsorted(self.recording, recording, "right")
        start = low + np.searchsorted(self.time_ns[low:high], first_ns, "left")
        end = low + np.searchsorted(self.time_ns[low:high], last_ns, "right")
        return slice(int(start), int(end))


class _Picker:
    """Frames taken so far; knows which others are still free."""

    def __init__(self, frames: _Frames, gap_ns: int) -> None:
        self.frames, self.gap_ns = frames, gap_ns
        self.free: Mask = np.ones(len(frames.time_ns), dtype=bool)
        self.times_used = np.zeros(len(frames.time_ns))  # picks of the same recording
        self.rows: list[dict[str, object]] = []

    def block(self, recording: str, time_ns: int) -> None:
        """Make frames of a recording that are too close to a time unavailable."""
        reach = max(self.gap_ns - 1, 0)
        self.free[self.frames.span(recording, time_ns - reach, time_ns + reach)] = False

    def pick(self, index: int, arm: str, reason: str, issue: str, score: float) -> None:
        """Take one frame."""
        recording, time_ns = str(self.frames.recording[index]), int(self.frames.time_ns[index])
        self.rows.append(
            {
                "recording": recording,
                "timestamp_ns": time_ns,
                "arm": arm,
                "reason": reason,
                "issue_id": issue,
                "score": float(score),
            }
        )
        self.block(recording, time_ns)
        whole = self.frames.span(recording, _FIRST_NS, _LAST_NS)
        self.times_used[whole] += 1

    def best(self, group: _Group) -> int | None:
        """Return the free frame that a group wants most, spread over recordings.

        Strengths count by rank only, from 0.2 to 1, and a frame of a recording that already gave
        n frames counts 1 / (1 + n): one very strong recording must not take the whole arm.
        """
        wanted = np.flatnonzero(self.free & np.isfinite(group.score))
        if not len(wanted):
            return None
        value = group.weight[wanted] / (1.0 + self.times_used[wanted])
        return int(wanted[int(np.argmax(value))])


def select_frames(
    pool: pa.Table,
    events: pa.Table,
    issue_events: pa.Table,
    uncertainty: Float64,
    labelled: set[tuple[str, int]],
    policy: Policy,
) -> pa.Table:
    """Return the frames to label next.

    The control arm is drawn first, uniformly from what is free, so that it stays a fair sample.
    Then issues take turns, then triggers, then the most uncertain frames. An arm that runs short
    leaves its rest to the next ones (issue, trigger, uncertainty, control). Fewer than
    `policy.budget` frames come back only if the pool holds no more at this time gap.

    Args:
        pool: columns recording, timestamp_ns; the frames that may be chosen.
        events: rows of table `events` of the fixed triggers.
        issue_events: the same columns and `issue_id`.
        uncertainty: (N,) aligned with the rows of `pool`; NaN where unknown.
        labelled: frames that have labels already, as (recording, timestamp_ns).
        policy: how to spend the budget.

    Returns:
        Table with `SELECTION_SCHEMA`, ordered by recording and time.

    Raises:
        ShapeError: if `uncertainty` is not aligned with `pool`.
    """
    if uncertainty.shape != (pool.num_rows,):
        raise ShapeError(f"{pool.num_rows} frames in the pool, uncertainty {uncertainty.shape}")
    frames, unsure = _unique_frames(pool, uncertainty)
    picker = _Picker(frames, round(policy.min_gap_s * 1e9))
    for name, at_ns in labelled:
        picker.block(name, at_ns)
    quota = policy.quota()
    draw = np.random.default_rng([policy.seed, len(unsure)]).permutation(len(unsure))
    _take_control(picker, draw, quota["control"], policy.seed)
    arms = {
        "issue": _event_groups(frames, issue_events, "issue_id"),
        "trigger": _event_groups(frames, events, "trigger"),
        "uncertainty": [_unsure_group(unsure)],
    }
    for arm, groups in arms.items():
        _take_turns(picker, arm, groups, quota[arm])
    for arm, groups in arms.items():
        _take_turns(picker, arm, groups, policy.budget - len(picker.rows))
    _take_control(picker, draw, policy.budget - len(picker.rows), policy.seed)
    rows = sorted(picker.rows, key=lambda row: (row["recording"], row["timestamp_ns"]))
    return pa.Table.from_pylist(rows, schema=SELECTION_SCHEMA)


def _unique_frames(pool: pa.Table, uncertainty: Float64) -> tuple[_Frames, Float64]:
    """Return each frame once, in order, and its uncertainty."""
    recording = np.array(pool.column("recording").to_pylist(), dtype=np.str_)
    time_ns = np.array(pool.column("timestamp_ns").to_pylist(), dtype=np.int64)
    order = np.lexsort((time_ns, recording))
    recording, time_ns = recording[order], time_ns[order]
    new = np.ones(len(order), dtype=bool)
    new[1:] = (recording[1:] != recording[:-1]) | (time_ns[1:] != time_ns[:-1])
    return _Frames(recording[new], time_ns[new]), uncertainty[order][new]


def _event_groups(frames: _Frames, events: pa.Table, key: str) -> list[_Group]:
    """Return one group for each value of `key`: frames inside its events, strongest event each."""
    scores: dict[str, Float64] = {}
    details: dict[str, dict[int, str]] = {}
    rows = events.to_pylist()
    rows.sort(key=lambda r: (str(r[key]), -r["strength"], r["recording"], r["start_ns"]))
    for row in rows:
        name = str(row[key])
        score = scores.setdefault(name, np.full(len(frames.time_ns), np.nan))
        span = frames.span(row["recording"], row["start_ns"], row["end_ns"])
        for index in span.start + np.flatnonzero(np.isnan(score[span])):
            score[index] = row["strength"]
            details.setdefault(name, {})[int(index)] = f"{name}: {row['detail']}"
    return [_Group(name, scores[name], details.get(name, {}).__getitem__) for name in scores]


def _unsure_group(unsure: Float64) -> _Group:
    """Return the uncertainty as a group; certain frames (0) are not wanted."""
    score = np.where(unsure > 0, unsure, np.nan)
    return _Group(
        "uncertainty", score, lambda i: f"mean entropy of the scores is {unsure[i]:.2f} bits"
    )


def _take_turns(picker: _Picker, arm: str, groups: list[_Group], count: int) -> None:
    """Let the groups of an arm pick in turn until `count` frames are taken or none is wanted."""
    waiting = deque(groups)
    while waiting and count > 0:
        group = waiting.popleft()
        index = picker.best(group)
        if index is None:
            continue
        issue = group.name if arm == "issue" else ""
        picker.pick(index, arm, group.reason(index), issue, float(group.score[index]))
        count -= 1
        waiting.append(group)


def _take_control(picker: _Picker, draw: Int64, count: int, seed: int) -> None:
    """Take frames in random order."""
    for index in draw:
        if count <= 0:
            return
        if picker.free[index]:
            picker.pick(int(index), "control", f"random control, seed {seed}", "", 0.0)
            count -= 1
