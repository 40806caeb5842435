"""Faults planted in good labels, a detector made of good labels, and how well a list finds them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from labeling.qa.matching import match_boxes
from labeling.qa.suspicion import Suspicion
from scene.box import Boxes
from scene.pose import wrap_angle
from scene.taxonomy import CATEGORY_NAMES

KINDS = ("missing", "shifted", "yaw", "class", "swap")
MIN_POINTS = 5  # nobody can tell whether a box with fewer is right
SWAP_REACH_M = 15.0
HIT_M = 2.0


@dataclass(frozen=True)
class Fault:
    """One planted fault.

    Attributes:
        kind: one of `KINDS`.
        extent: single, run or track.
        members: (timestamp_ns, row) of the boxes that are wrong.
        absent: where removed boxes were, ego (x, y) by timestamp_ns.
    """

    kind: str
    extent: str
    members: frozenset[tuple[int, int]]
    absent: Mapping[int, tuple[float, float]]

    def is_hit(self, found: Suspicion) -> bool:
        """Return whether a suspicion points at this fault."""
        if self.kind != "missing":
            return bool(self.members & set(found.members))
        place = self.absent.get(found.timestamp_ns)
        if place is None or found.members:
            return False
        return float(np.hypot(*(found.center_ego_m[:2] - place))) < HIT_M


def plant(
    frames: Mapping[int, Boxes], count: int, rng: np.random.Generator
) -> tuple[dict[int, Boxes], list[Fault]]:
    """Return labels with `count` faults of all kinds, each in a track of its own (swaps: in two).

    Half of them are in single boxes, three tenths in runs of three to six, two in whole tracks.
    Only boxes with five points or more are made wrong.
    """
    times = sorted(frames)
    boxes = Boxes.concatenate([frames[t] for t in times])
    frame = np.repeat(np.arange(len(times)), [len(frames[t]) for t in times])
    center, yaw = boxes.center_xyz_m.copy(), boxes.yaw_rad.copy()
    category, track = boxes.category.astype("<U24"), boxes.track_id.astype("<U80")
    kept = np.ones(len(boxes), dtype=bool)
    names = [str(t) for t in rng.permutation(np.unique(boxes.track_id)) if t]
    used: set[str] = set()
    planned: list[tuple[str, str, np.ndarray]] = []
    for number in range(count):
        kind = KINDS[number % len(KINDS)]
        if kind == "swap":
            pair = _pair(boxes, frame, names, used, rng)
            if pair is None:
                continue
            one, two, start = pair
            a = (boxes.track_id == one) & (frame >= start)
            b = (boxes.track_id == two) & (frame >= start)
            track[a], track[b] = two, one
            around = np.abs(frame - start) <= 1
            planned.append((kind, "run", np.flatnonzero((a | b) & around)))
            used |= {one, two}
            continue
        name = next((n for n in names if n not in used and _visible(boxes, n).any()), None)
        if name is None:
            break
        used.add(name)
        extent = str(rng.choice(["single", "run", "track"], p=[0.5, 0.3, 0.2]))
        index = _extent(boxes, frame, name, extent, rng)
        if kind == "missing":
            kept[index] = False
        elif kind == "shifted":
            reach = rng.uniform(0.4, 1.2) * (0.7 if boxes.size_lwh_m[index[0], 0] < 1.5 else 1.0)
            angle = rng.uniform(-np.pi, np.pi)
            center[index, :2] += reach * np.array([np.cos(angle), np.sin(angle)])
        elif kind == "yaw":
            turn = np.pi if rng.random() < 0.3 else np.radians(rng.uniform(20, 90))
            yaw[index] = wrap_angle(yaw[index] + turn * rng.choice([-1, 1]))
        else:
            others = [c for c in CATEGORY_NAMES[:8] if c != category[index[0]]]
            category[index] = rng.choice(others)
        planned.append((kind, extent, index))
    wrong = replace(boxes, center_xyz_m=center, yaw_rad=yaw, category=category, track_id=track)
    return _finish(times, boxes, wrong, frame, kept, planned)


def _finish(times, boxes, wrong, frame, kept, planned):
    """Return the frames without the removed boxes, and the faults by their new rows."""
    row = np.cumsum(kept) - 1
    first = np.array([row[(frame == f) & kept][0] if ((frame == f) & kept).any() else 0
                      for f in range(len(times))])  # fmt: skip
    faults = []
    for kind, extent, index in planned:
        members, absent = [], {}
        for i in index:
            time = times[frame[i]]
            if kept[i]:
                members.append((time, int(row[i] - first[frame[i]])))
            else:
                absent[time] = tuple(boxes.center_xyz_m[i, :2])
        faults.append(Fault(kind, extent, frozenset(members), absent))
    result = {t: wrong.take(np.flatnonzero((frame == f) & kept)) for f, t in enumerate(times)}
    return result, faults


def _visible(boxes: Boxes, track: str) -> np.ndarray:
    return (boxes.track_id == track) & (boxes.num_points >= MIN_POINTS)


def _extent(boxes, frame, track, extent, rng) -> np.ndarray:
    """Return the boxes of a track that are made wrong."""
    whole = np.flatnonzero(boxes.track_id == track)
    whole = whole[np.argsort(frame[whole])]
    if extent == "track":
        return whole
    seen = np.flatnonzero(boxes.num_points[whole] >= MIN_POINTS)
    start = int(rng.choice(seen))
    length = 1 if extent == "single" else int(rng.integers(3, 7))
    return whole[start : start + length]


def _pair(boxes, frame, names, used, rng):
    """Return two tracks of one class that come near each other, and when they are exchanged."""
    free = [n for n in names if n not in used]
    best = []
    for i, one in enumerate(free):
        a = np.flatnonzero(_visible(boxes, one))
        for two in free[i + 1 :]:
            b = np.flatnonzero(_visible(boxes, two))
            if not len(a) or not len(b) or boxes.category[a[0]] != boxes.category[b[0]]:
                continue
            both = np.intersect1d(frame[a], frame[b])
            if len(both) < 4:
                continue
            p = boxes.center_xyz_m[a[np.isin(frame[a], both)], :2]
            q = boxes.center_xyz_m[b[np.isin(frame[b], both)], :2]
            far = np.linalg.norm(p - q, axis=1)[1:-1]
            if far.min() < SWAP_REACH_M:
                best.append((one, two, both[1:-1][far < SWAP_REACH_M]))
    if not best:
        return None
    one, two, starts = best[int(rng.integers(len(best)))]
    return one, two, int(rng.choice(starts))


def jittered_detections(frames: Mapping[int, Boxes], rng: np.random.Generator) -> dict[int, Boxes]:
    """Return what a middling detector would say: good labels with misses, jitter and clutter.

    Found with a probability that grows with the points; 0.15 m, 4 degrees and 5 % off; one in
    twenty turned round, one in twenty-five of another class; three boxes of clutter a frame.
    """
    result = {}
    for time, boxes in frames.items():
        chance = 0.97 / (1 + np.exp(-1.5 * (np.log(boxes.num_points + 1.0) - np.log(8.0))))
        found = rng.random(len(boxes)) < chance
        seen, count = boxes.take(found), int(found.sum())
        center = seen.center_xyz_m + rng.normal(0, [0.15, 0.15, 0.08], (count, 3))
        size = seen.size_lwh_m * np.exp(rng.normal(0, 0.05, (count, 3)))
        flip = np.pi * (rng.random(count) < 0.05)
        yaw = seen.yaw_rad + np.radians(rng.normal(0, 4, count)) + flip
        other = np.array(CATEGORY_NAMES)[rng.integers(0, 8, count)]
        category = np.where(rng.random(count) < 0.04, other, seen.category)
        score = np.clip(chance[found] * rng.beta(8, 2, count) + 0.05, 0.05, 0.99)
        kept = Boxes.make(center, size, yaw, category, score=score)
        clutter = Boxes.make(
            np.column_stack([rng.uniform(-50, 50, (3, 2)), np.ones(3)]),
            np.tile([4.4, 1.9, 1.7], (3, 1)), rng.uniform(-3, 3, 3), ["car"] * 3,
            score=rng.uniform(0.05, 0.6, 3),
        )  # fmt: skip
        result[time] = Boxes.concatenate([kept, clutter])
    return result


def by_model_score(
    frames: Mapping[int, Boxes], detections: Mapping[int, Boxes], rng: np.random.Generator
) -> list[Suspicion]:
    """Return labels and unlabelled detections in the order that scores alone would give.

    A label is as suspicious as its detection (Hungarian, same class) is unsure, and wholly so
    without one; a detection without a label is as suspicious as it is sure. Ties at random.
    """
    found = []
    for time, boxes in frames.items():
        detected = detections.get(time, Boxes.empty())
        pairs = match_boxes(boxes, detected, same_class=True)
        doubt = np.ones(len(boxes))
        doubt[pairs.first] = 1.0 - detected.score[pairs.second]
        found += [_item("label", doubt[i], time, boxes, i, ((time, i),)) for i in range(len(boxes))]
        for i in np.setdiff1d(np.arange(len(detected)), pairs.second):
            found.append(_item("missing", detected.score[i], time, detected, int(i), ()))
    return _ordered(found, rng)


def at_random(frames: Mapping[int, Boxes], rng: np.random.Generator) -> list[Suspicion]:
    """Return all labels in random order."""
    found = [
        _item("label", 0.0, time, boxes, i, ((time, i),))
        for time, boxes in frames.items()
        for i in range(len(boxes))
    ]
    return _ordered(found, rng)


def _item(kind, score, time, boxes, i, members) -> Suspicion:
    return Suspicion(kind, float(score), time, boxes.center_xyz_m[i], str(boxes.category[i]),
                     str(boxes.track_id[i]), "", members)  # fmt: skip


def _ordered(found: list[Suspicion], rng: np.random.Generator) -> list[Suspicion]:
    shuffled = [found[i] for i in rng.permutation(len(found))]
    return sorted(shuffled, key=lambda s: -s.score)


def hits(ranked: Sequence[Suspicion], faults: Sequence[Fault]) -> np.ndarray:
    """Return (K,) index of the fault that each place of a list is the first to find, else -1.

    Finding a fault again counts for nothing, as it costs the reviewer a look.
    """
    open_faults = dict(enumerate(faults))
    result = np.full(len(ranked), -1)
    for place, found in enumerate(ranked):
        hit = next((i for i, fault in open_faults.items() if fault.is_hit(found)), None)
        if hit is not None:
            result[place] = hit
            del open_faults[hit]
    return result
