"""Objects that move, and a tracker that loses, confuses and invents them, for metrics."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from scene.box import Boxes
from tests.support.detections import with_score
from training.evaluation import EvalFrame

NAMES = ("car", "pedestrian", "bus")


def tracked_frames(
    seed, scenes=2, length=14, objects=7, miss=0.2, switch=0.05, clutter=1.0, names=NAMES[:2]
):
    """Return frames of objects that move, with a tracker that loses, confuses and invents them."""
    rng = np.random.default_rng(seed)
    frames = []
    for scene in range(scenes):
        start, speed = rng.uniform(-20, 20, (objects, 2)), rng.normal(0, 0.7, (objects, 2))
        category = rng.choice(list(names), objects)
        first, last = rng.integers(0, 4, objects), rng.integers(length - 4, length, objects)
        ids, fresh = np.arange(objects), objects
        score = rng.uniform(0.2, 1, 500)
        for time in range(length):
            there = np.flatnonzero((first <= time) & (time <= last) & (rng.random(objects) < 0.97))
            xy = start + speed * time
            for k in np.flatnonzero(rng.random(objects) < switch):
                ids[k], fresh = fresh, fresh + 1
            if rng.random() < switch and objects > 1:
                ids[[0, 1]] = ids[[1, 0]]
            found = np.flatnonzero((first <= time) & (time <= last) & (rng.random(objects) > miss))
            extra = int(rng.poisson(clutter))
            truth = boxes_at(xy[there], category[there], [f"{scene}o{k}" for k in there])
            place = xy[found] + rng.normal(0, 0.7, (len(found), 2))
            invented = rng.uniform(-20, 20, (extra, 2))
            tracks = [f"t{ids[k]}" for k in found] + [f"x{time}-{n}" for n in range(extra)]
            kind = np.concatenate([category[found], rng.choice(list(names), extra)])
            predictions = boxes_at(np.concatenate([place, invented]), kind, tracks)
            chosen = np.array([score[hash_of(t) % 500] for t in tracks])
            noise = rng.uniform(-0.05, 0.05, len(tracks))
            predictions = named(with_score(predictions, chosen + noise), tracks)
            frames.append(EvalFrame(f"{scene}@{time}", f"s{scene}", truth, predictions))
    return frames


def hash_of(text):
    return sum(ord(c) * 31**i for i, c in enumerate(text))


def named(boxes, tracks):
    return replace(boxes, track_id=np.array(tracks, dtype=np.str_).reshape(len(boxes)))


def boxes_at(xy, category, tracks):
    count = len(xy)
    return Boxes.make(
        np.column_stack([xy, np.ones(count)]) if count else np.zeros((0, 3)),
        np.tile([4.0, 2.0, 1.5], (count, 1)),
        np.zeros(count),
        category,
        track_id=tracks,
    )


def without_gaps(frames):
    """Return frames in which tracks begin anew after a gap, so that nothing is filled."""
    result, last, number = [], {}, {}
    for time, frame in enumerate(frames):
        sides = []
        for side, boxes in (("o", frame.truth), ("t", frame.predictions)):
            tracks = []
            for track, kind in zip(boxes.track_id, boxes.category, strict=True):
                key = (side, frame.group, track, kind)
                if last.get(key) != time - 1:
                    number[key] = number.get(key, 0) + 1
                last[key] = time
                tracks.append(f"{track}/{kind}/{number[key]}")
            sides.append(named(boxes, tracks))
        result.append(EvalFrame(frame.frame_id, frame.group, *sides))
    return result
