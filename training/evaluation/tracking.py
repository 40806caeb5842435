"""Tracking metrics: AMOTA and AMOTP of nuScenes, and CLEAR MOT with IDF1.

Sources: nuScenes tracking task (devkit 1.2.0, `nuscenes/eval/tracking`); Weng et al., "3D
multi-object tracking: a baseline and new evaluation metrics", IROS 2020 (AMOTA); Bernardin and
Stiefelhagen 2008 (CLEAR MOT); Ristani et al., "Performance measures and a data set for
multi-target, multi-camera tracking", 2016 (IDF1).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from scene.pose import SE3
from scene.types import Float64, Int64, Mask
from training.evaluation.matching import EvalFrame
from training.evaluation.track_table import Tracks, table_of, tracks_of

LIMIT_M: Final = 2.0
_RECALLS: Final[Float64] = np.linspace(0.1, 1.0, 40, dtype=np.float64).round(12)
_WORST_AMOTP_M: Final = 2.0
_PERIOD_S: Final = 0.5  # nuScenes counts frames and calls each half a second


@dataclass(frozen=True, slots=True)
class ClearScore:
    """How well objects of one category, or of all, are followed.

    Attributes:
        mota: 1 - (misses + false positives + switches) / truth boxes; may be negative.
        motp_m: mean centre distance of matched boxes.
        idf1: share of boxes with the right identity, best assignment of whole tracks.
        switches: truth boxes that get another track than the one before.
        fragments: how often a truth track is lost and found again.
        mostly_tracked, mostly_lost: truth tracks matched in at least 80 %, below 20 % of frames.
        misses, false_positives, matches: boxes; `matches` without switches.
        num_boxes, num_tracks: truth.
    """

    mota: float
    motp_m: float
    idf1: float
    switches: int
    fragments: int
    mostly_tracked: int
    mostly_lost: int
    misses: int
    false_positives: int
    matches: int
    num_boxes: int
    num_tracks: int

    @property
    def recall(self) -> float:
        """Share of truth boxes that are matched."""
        found = self.matches + self.switches
        return found / self.num_boxes if self.num_boxes else float("nan")


@dataclass(frozen=True, slots=True)
class TrackingScore:
    """The nuScenes tracking metrics of one category; NaN without truth.

    Attributes:
        amota: mean over 40 recalls of MOTAR, 0 where a recall is not reached.
        amotp_m: mean over them of MOTP, 2 m where a recall is not reached.
        at_best: counts at the score threshold with the best MOTA (clipped at 0), by devkit name.
    """

    amota: float
    amotp_m: float
    at_best: dict[str, float]


@dataclass(frozen=True, slots=True)
class TrackingEvaluation:
    """Tracking metrics of one set of frames.

    Attributes:
        classes: nuScenes metrics by category.
        clear: CLEAR MOT and IDF1 of all predictions by category.
        total: CLEAR MOT and IDF1 over all categories.
    """

    classes: dict[str, TrackingScore]
    clear: dict[str, ClearScore]
    total: ClearScore

    @property
    def amota(self) -> float:
        """Mean over the categories that have truth."""
        known = [s.amota for s in self.classes.values() if np.isfinite(s.amota)]
        return float(np.mean(known)) if known else float("nan")

    @property
    def amotp_m(self) -> float:
        """Mean over the categories that have truth."""
        known = [s.amotp_m for s in self.classes.values() if np.isfinite(s.amotp_m)]
        return float(np.mean(known)) if known else float("nan")


def evaluate_tracking(
    frames: Sequence[EvalFrame],
    categories: Sequence[str],
    *,
    map_SE3_ego: Mapping[str, SE3] | None = None,
    mirrored_gaps: bool = True,
    limit_m: float = LIMIT_M,
) -> TrackingEvaluation:
    """Evaluate predicted tracks against truth.

    Boxes are asked for as in detection (range of the taxonomy, truth with points). As in nuScenes
    gaps inside tracks are filled by straight lines, and every box has the mean score of its track.

    Args:
        frames: in the order of time within each group; groups are scenes. Every box has a track
            id, unique in its group.
        categories: names of the taxonomy.
        map_SE3_ego: pose of each frame by its id, for filling gaps; without it the ego vehicle is
            taken to stand.
        mirrored_gaps: fill gaps as the devkit 1.2.0 does, which gives the box before the gap the
            weight of the one after it (no difference in gaps of one frame); False fills them
            right, and is then no longer comparable with published figures.
        limit_m: largest centre distance of a match, exclusive.

    Raises:
        ConfigError: if a category is unknown or none is named.
        DataError: if a box has no track id, or a track is twice in a frame.
    """
    table = table_of(frames, categories, map_SE3_ego, mirrored_gaps=mirrored_gaps)
    tracks = {name: tracks_of(table, name) for name in categories}
    clear = {name: _clear(t, limit_m) for name, t in tracks.items()}
    return TrackingEvaluation(
        {name: _score(t, limit_m) for name, t in tracks.items()}, clear, _sum(clear)
    )


def _follow(tracks: Tracks, kept: Mask, limit_m: float) -> tuple[Int64, Mask]:
    from training.evaluation import tracking_kernels  # numba costs half a second to import

    truth, found = tracks.truth, tracks.predictions
    return tracking_kernels.follow(
        truth.xy_m, truth.track, truth.start, found.xy_m, found.track, found.start, kept, limit_m
    )


def _clear(tracks: Tracks, limit_m: float) -> ClearScore:
    """Return CLEAR MOT and IDF1 of all predictions of a category."""
    kept = np.ones(len(tracks.predictions.xy_m), dtype=np.bool_)
    counts = _count(tracks, kept, limit_m)
    found = counts["tp"] + counts["ids"]
    boxes, predicted = len(tracks.truth.xy_m), len(kept)
    wrong = counts["fn"] + counts["fp"] + counts["ids"]
    both = boxes + predicted
    return ClearScore(
        mota=1.0 - wrong / boxes if boxes else float("nan"),
        motp_m=counts["distance"] / found if found else float("nan"),
        idf1=2.0 * _identities(tracks, limit_m) / both if both else float("nan"),
        switches=int(counts["ids"]),
        fragments=int(counts["frag"]),
        mostly_tracked=int(counts["mt"]),
        mostly_lost=int(counts["ml"]),
        misses=int(counts["fn"]),
        false_positives=int(counts["fp"]),
        matches=int(counts["tp"]),
        num_boxes=boxes,
        num_tracks=len(np.unique(tracks.truth.track)),
    )


def _identities(tracks: Tracks, limit_m: float) -> int:
    """Return the most boxes that can be right when each truth track is given one track."""
    from scipy.optimize import linear_sum_assignment

    from training.evaluation import tracking_kernels  # numba costs half a second to import

    truth, found = tracks.truth, tracks.predictions
    together = tracking_kernels.count_together(
        truth.xy_m, truth.track, truth.start, found.xy_m, found.track, found.start, limit_m
    )
    rows, columns = linear_sum_assignment(together, maximize=True)
    return int(together[rows, columns].sum())


def _sum(parts: dict[str, ClearScore]) -> ClearScore:
    """Return the score over all categories, from their counts."""
    scores = list(parts.values())
    boxes = sum(s.num_boxes for s in scores)
    predicted = sum(s.matches + s.switches + s.false_positives for s in scores)
    found = sum(s.matches + s.switches for s in scores)
    distance = sum(s.motp_m * (s.matches + s.switches) for s in scores if s.matches + s.switches)
    right = sum(
        s.idf1 * (s.num_boxes + s.matches + s.switches + s.false_positives) / 2
        for s in scores
        if np.isfinite(s.idf1)
    )
    whole = ("switches", "fragments", "mostly_tracked", "mostly_lost", "misses",
             "false_positives", "matches", "num_boxes", "num_tracks")  # fmt: skip
    counts = {name: sum(getattr(s, name) for s in scores) for name in whole}
    wrong = counts["misses"] + counts["false_positives"] + counts["switches"]
    return ClearScore(
        mota=1.0 - wrong / boxes if boxes else float("nan"),
        motp_m=distance / found if found else float("nan"),
        idf1=2.0 * right / (boxes + predicted) if boxes + predicted else float("nan"),
        **counts,
    )


def _count(tracks: Tracks, kept: Mask, limit_m: float) -> dict[str, float]:
    """Return counts by devkit name, and the sum of distances of matched boxes."""
    match, switch = _follow(tracks, kept, limit_m)
    truth, found = tracks.truth, tracks.predictions
    hit = match >= 0
    away = truth.xy_m[hit] - found.xy_m[match[hit]]
    matches, switches = int((hit & ~switch).sum()), int(switch.sum())
    frames = (np.diff(truth.start) > 0) | (_per_frame(found.start, kept) > 0)
    return {
        "distance": float(np.hypot(away[:, 0], away[:, 1]).sum()),
        "tp": matches,
        "ids": switches,
        "fn": int((~hit).sum()),
        "fp": int(kept.sum()) - matches - switches,
        "frames": int(frames.sum()),
        **_of_tracks(truth.track, tracks.truth_frame, hit, np.cumsum(frames, dtype=np.int64)),
    }


def _per_frame(start: Int64, kept: Mask) -> Int64:
    total = np.concatenate([[0], np.cumsum(kept)])
    return total[start[1:]] - total[start[:-1]]


def _of_tracks(track: Int64, frame: Int64, hit: Mask, clock: Int64) -> dict[str, float]:
    """Return what is counted by whole truth tracks.

    The first three are (G,), of each truth box; `clock` is the (F,) number of each frame among
    those that hold any box.
    """
    if not len(track):
        return {"mt": 0, "ml": 0, "frag": 0, "tid": np.nan, "lgd": np.nan}
    order = np.lexsort((frame, track))
    hit, time = hit[order], clock[frame[order]]
    first = np.flatnonzero(np.diff(track[order], prepend=-1))
    last = np.append(first[1:], len(order)) - 1
    number = np.repeat(np.arange(len(first)), last - first + 1)
    share = np.add.reduceat(hit.astype(np.float64), first) / (last - first + 1)
    index = np.flatnonzero(hit)
    tracked = share > 0
    begin = np.full(len(first), -1)
    begin[number[index[::-1]]] = index[::-1]  # the first hit stays
    end = np.full(len(first), -1)
    end[number[index]] = index
    gap = np.zeros(len(first))
    linked = number[index[1:]] == number[index[:-1]]
    np.maximum.at(gap, number[index[1:]][linked], np.diff(time[index])[linked] - 1)
    late = (time[begin] - time[first])[tracked]
    early = (time[last] - time[end])[tracked]
    gap = np.maximum(np.maximum(gap[tracked], late), early)
    lost = hit[:-1] & ~hit[1:] & (number[1:] == number[:-1])
    lost &= np.arange(1, len(hit)) <= end[number[1:]]
    return {
        "mt": int((share >= 0.8).sum()),
        "ml": int((share < 0.2).sum()),
        "frag": int(lost.sum()),
        "tid": float(late.mean()) * _PERIOD_S if tracked.any() else np.nan,
        "lgd": float(gap.mean()) * _PERIOD_S if tracked.any() else np.nan,
    }


def _score(tracks: Tracks, limit_m: float) -> TrackingScore:
    """Return the nuScenes metrics of a category."""
    boxes = len(tracks.truth.xy_m)
    if not boxes:
        return TrackingScore(float("nan"), float("nan"), {})
    thresholds = _thresholds(tracks, boxes, limit_m)
    rows = {
        value: _at_threshold(tracks, tracks.score >= value, limit_m)
        for value in np.unique(thresholds[np.isfinite(thresholds)])
    }
    if not rows:
        return TrackingScore(0.0, _WORST_AMOTP_M, _nothing(boxes, tracks))
    known = [rows[value] for value in thresholds if np.isfinite(value)]
    missing = len(thresholds) - len(known)
    motar = [row["motar"] for row in known] + [0.0] * missing
    motp = [row["motp"] for row in known] + [_WORST_AMOTP_M] * missing
    best = known[int(np.nanargmax([row["mota"] for row in known]))]
    return TrackingScore(
        float(np.mean(np.nan_to_num(motar))),
        float(np.mean(np.nan_to_num(motp, nan=_WORST_AMOTP_M))),
        best,
    )


def _thresholds(tracks: Tracks, boxes: int, limit_m: float) -> Float64:
    """Return (40,) scores at which the recalls are reached, ascending; NaN where they are not."""
    match, switch = _follow(tracks, np.ones(len(tracks.score), dtype=np.bool_), limit_m)
    score = np.sort(tracks.score[match[(match >= 0) & ~switch]])[::-1]
    if not len(score):
        return np.full(len(_RECALLS), np.nan)
    recall = np.arange(1, len(score) + 1) / boxes
    thresholds = np.interp(_RECALLS, recall, score, right=0.0)
    return np.where(recall.max() < _RECALLS, np.nan, thresholds)[::-1]


def _at_threshold(tracks: Tracks, kept: Mask, limit_m: float) -> dict[str, float]:
    """Return the metrics of the predictions above one score, by devkit name."""
    count = _count(tracks, kept, limit_m)
    boxes = len(tracks.truth.xy_m)
    found = count["tp"] + count["ids"]
    wrong = count["fn"] + count["ids"] + count["fp"]
    # The devkit's recall for MOTAR leaves out switches, the one that it reports does not.
    recall = count["tp"] / boxes
    motar = np.nan
    if count["tp"]:
        motar = max(0.0, 1.0 - (wrong - (1.0 - recall) * boxes) / (recall * boxes))
    return {
        **{
            name: count[name]
            for name in ("tp", "ids", "fn", "fp", "mt", "ml", "frag", "tid", "lgd")
        },
        "gt": boxes,
        "recall": found / boxes,
        "motar": motar,
        "mota": max(0.0, 1.0 - wrong / boxes),
        "motp": count["distance"] / found if found else np.nan,
        "faf": 100.0 * count["fp"] / count["frames"],
    }


def _nothing(boxes: int, tracks: Tracks) -> dict[str, float]:
    """Return the worst values, which the devkit gives where no recall is reached."""
    worst: dict[str, float] = dict.fromkeys(("tp", "recall", "motar", "mota", "mt"), 0.0)
    worst |= dict.fromkeys(("fp", "ids", "frag"), np.nan)
    worst |= {"motp": _WORST_AMOTP_M, "faf": 500.0, "tid": 20.0, "lgd": 20.0}
    return worst | {"gt": boxes, "fn": boxes, "ml": len(np.unique(tracks.truth.track))}
