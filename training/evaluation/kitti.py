"""The KITTI object metrics: AP of 2D, bird's-eye and 3D boxes and orientation, R11 and R40.

What makes them KITTI's: overlaps instead of distances, three difficulties, truth and detections
that are neither right nor wrong (too small, too hidden, a neighbouring class), regions that nobody
labelled (only 2D knows them), and recall steps found by a greedy walk over the scores.

Sources: KITTI object development kit (`evaluate_object.cpp`); Simonelli et al., "Disentangling
monocular 3D object detection", ICCV 2019 (R40).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Literal, NamedTuple

import numpy as np

from scene.box import Boxes
from scene.errors import ConfigError, DataError, FormatError
from scene.overlap import ious_of_pairs
from scene.types import Float64, Int64, Text

KittiMetric = Literal["2d", "bev", "3d", "aos"]
METRICS: Final[tuple[KittiMetric, ...]] = ("2d", "bev", "3d", "aos")
DIFFICULTIES: Final = ("easy", "moderate", "hard")
MIN_OVERLAP: Final[Mapping[str, float]] = {"Car": 0.7, "Pedestrian": 0.5, "Cyclist": 0.5}
_MIN_HEIGHT_PX: Final = (40.0, 25.0, 25.0)
_MAX_OCCLUSION: Final = (0, 1, 2)
_MAX_TRUNCATION: Final = (0.15, 0.3, 0.5)
_NEIGHBOUR: Final = {"Car": "van", "Pedestrian": "person_sitting"}
_STEPS: Final = 41
_WORDS: Final = 15


@dataclass(frozen=True, slots=True)
class KittiObjects:
    """Labels or detections of one image.

    Attributes:
        boxes: upright cuboids in any frame with z up; categories are KITTI's own names; those of
            DontCare regions mean nothing.
        rectangle_px: (N, 4) left, top, right, bottom in the image.
        alpha_rad: (N,) observation angle.
        truncation: (N,) share outside the image, in [0, 1].
        occlusion: (N,) 0 visible to 3 unknown.
    """

    boxes: Boxes
    rectangle_px: Float64
    alpha_rad: Float64
    truncation: Float64
    occlusion: Float64

    @classmethod
    def parse(cls, text: str) -> KittiObjects:
        """Read a label file, or a result file with a score at the end of each line.

        The camera frame is turned, not moved, into x forward, y left, z up.

        Raises:
            FormatError: if a line has too few words or one is no number.
        """
        names, rows = [], []
        for number, line in enumerate(text.splitlines(), 1):
            words = line.split()
            if not words:
                continue
            try:
                values = [float(word) for word in words[1 : _WORDS + 1]]
            except ValueError as error:
                raise FormatError(f"KITTI objects, line {number}: {error}") from error
            if len(values) < _WORDS - 1:
                raise FormatError(
                    f"KITTI objects, line {number}: {len(words)} words, expected {_WORDS} or more"
                )
            names.append(words[0])
            rows.append([*values, np.nan][:_WORDS])
        table = np.array(rows, dtype=np.float64).reshape(-1, _WORDS)
        height, width, length, x, y, z, turn = table[:, 7:14].T
        boxes = Boxes.make(
            np.stack([z, -x, height / 2 - y], axis=1),
            np.stack([length, width, height], axis=1),
            -turn - np.pi / 2,
            names,
            score=table[:, 14],
        )
        return cls(boxes, table[:, 3:7], table[:, 2], table[:, 0], table[:, 1])

    def __len__(self) -> int:
        """Return the number of objects."""
        return len(self.boxes)


class KittiScore(NamedTuple):
    """AP in percent: mean precision over 11 recalls with 0, and over 40 without."""

    r11: float
    r40: float


def evaluate_kitti(
    truth: Sequence[KittiObjects],
    detections: Sequence[KittiObjects],
    min_overlap: Mapping[str, float] = MIN_OVERLAP,
    *,
    difficulties: Sequence[str] = DIFFICULTIES,
) -> dict[tuple[str, KittiMetric, str], KittiScore]:
    """Return AP by class, metric and difficulty.

    Args:
        truth: labels of each image.
        detections: with scores, of the same images in the same order.
        min_overlap: least IoU, exclusive, of each class that is evaluated.
        difficulties: some of `DIFFICULTIES`.

    Raises:
        ConfigError: if a class or difficulty is unknown.
        DataError: if there are not as many images of detections as of truth, or scores are missing.
    """
    _check(truth, detections, min_overlap, difficulties)
    flat = _flatten(truth, detections)
    bev, space = _space_overlaps(flat)
    overlaps: dict[KittiMetric, Float64] = {"2d": _image_overlaps(flat), "bev": bev, "3d": space}
    covered = _covered(flat)
    result: dict[tuple[str, KittiMetric, str], KittiScore] = {}
    for name, least in min_overlap.items():
        for difficulty in difficulties:
            states = _states(flat, name, DIFFICULTIES.index(difficulty))
            for metric, overlap in overlaps.items():
                stuff = covered if metric == "2d" else None
                curves = _curves(flat, overlap, stuff, states, least)
                result[name, metric, difficulty] = _score(curves[0])
                if metric == "2d":
                    result[name, "aos", difficulty] = _score(curves[1])
    return result


class _Flat(NamedTuple):
    """Objects of all images in one array each.

    `pairs` are the indices (truth, detection) of all pairs of one image, image after image, and
    `place` where each image begins in them.
    """

    truth: KittiObjects
    detections: KittiObjects
    truth_start: Int64
    start: Int64
    pairs: tuple[Int64, Int64]
    place: Int64


def _check(
    truth: Sequence[KittiObjects],
    detections: Sequence[KittiObjects],
    min_overlap: Mapping[str, float],
    difficulties: Sequence[str],
) -> None:
    if len(truth) != len(detections):
        raise DataError(
            f"KITTI: {len(truth)} images of truth and {len(detections)} of detections; give an "
            "empty one for an image without detections"
        )
    unknown = [d for d in difficulties if d not in DIFFICULTIES]
    unknown += [name for name in min_overlap if name not in MIN_OVERLAP]
    if unknown:
        raise ConfigError(
            f"KITTI: {unknown} unknown; classes are {list(MIN_OVERLAP)}, difficulties "
            f"{list(DIFFICULTIES)}"
        )
    for image, found in enumerate(detections):
        if np.isnan(found.boxes.score).any():
            raise DataError(f"KITTI: image {image}: a detection has no score")


def _flatten(truth: Sequence[KittiObjects], detections: Sequence[KittiObjects]) -> _Flat:
    counts, found = (np.array([len(o) for o in side], np.int64) for side in (truth, detections))
    truth_start, start = (np.concatenate([[0], np.cumsum(n)]) for n in (counts, found))
    place = np.concatenate([[0], np.cumsum(counts * found)])
    image = np.repeat(np.arange(len(counts)), counts * found)
    within = np.arange(place[-1]) - place[image]
    row, column = np.divmod(within, np.maximum(found, 1)[image])
    pairs = (truth_start[image] + row, start[image] + column)
    return _Flat(_join(truth), _join(detections), truth_start, start, pairs, place)


def _join(parts: Sequence[KittiObjects]) -> KittiObjects:
    return KittiObjects(
        Boxes.concatenate([part.boxes for part in parts]),
        np.concatenate([np.zeros((0, 4)), *(part.rectangle_px for part in parts)]),
        np.concatenate([np.zeros(0), *(part.alpha_rad for part in parts)]),
        np.concatenate([np.zeros(0), *(part.truncation for part in parts)]),
        np.concatenate([np.zeros(0), *(part.occlusion for part in parts)]),
    )


def _shared_px(one: Float64, other: Float64) -> Float64:
    """Return (K,) pixels that (K, 4) rectangles share."""
    low = np.maximum(one[:, :2], other[:, :2])
    side = np.minimum(one[:, 2:], other[:, 2:]) - low
    return np.maximum(side, 0.0).prod(axis=1)


def _area_px(rectangle: Float64) -> Float64:
    return (rectangle[:, 2:] - rectangle[:, :2]).prod(axis=1)


def _image_overlaps(flat: _Flat) -> Float64:
    one, other = flat.truth.rectangle_px[flat.pairs[0]], flat.detections.rectangle_px[flat.pairs[1]]
    shared = _shared_px(one, other)
    union = _area_px(one) + _area_px(other) - shared
    return np.divide(shared, union, out=np.zeros(len(shared)), where=shared > 0)


def _space_overlaps(flat: _Flat) -> tuple[Float64, Float64]:
    """Return IoU of footprints and cuboids of all pairs; only pairs that can touch are computed."""
    i, j = flat.pairs
    truth, found = flat.truth.boxes, flat.detections.boxes
    reach = np.hypot(truth.size_lwh_m[:, 0], truth.size_lwh_m[:, 1])[i]
    reach = (reach + np.hypot(found.size_lwh_m[:, 0], found.size_lwh_m[:, 1])[j]) / 2
    apart = (truth.center_xyz_m[i] - found.center_xyz_m[j])[:, :2]
    solid = truth.size_lwh_m.min(axis=1, initial=np.inf) > 0  # DontCare has no box
    near = np.flatnonzero((np.hypot(apart[:, 0], apart[:, 1]) < reach) & solid[i])
    bev, space = np.zeros(len(i)), np.zeros(len(i))
    bev[near], space[near] = ious_of_pairs(truth, found, i[near], j[near])
    return bev, space


class _Covered(NamedTuple):
    """How much of each detection lies in each DontCare region; see `kitti_kernels.count`."""

    share: Float64
    place: Int64
    start: Int64


def _covered(flat: _Flat) -> _Covered:
    is_region = flat.truth.boxes.category == "DontCare"
    i, j = flat.pairs
    chosen = is_region[i]
    found = flat.detections.rectangle_px[j[chosen]]
    shared = _shared_px(flat.truth.rectangle_px[i[chosen]], found)
    share = np.divide(shared, _area_px(found), out=np.zeros(len(shared)), where=shared > 0)
    before = np.concatenate([[0], np.cumsum(is_region)])
    pairs_before = np.concatenate([[0], np.cumsum(chosen)])
    return _Covered(share, pairs_before[flat.place], before[flat.truth_start])


def _states(flat: _Flat, name: str, level: int) -> tuple[Int64, Int64]:
    """Return which truth and which detections count (0), are ignored (1) or left out (-1)."""
    truth, found = flat.truth, flat.detections
    kind, found_kind = _lower(truth.boxes.category), _lower(found.boxes.category)
    own, neighbour = kind == name.lower(), kind == _NEIGHBOUR.get(name, "")
    height = truth.rectangle_px[:, 3] - truth.rectangle_px[:, 1]
    hard = (truth.occlusion > _MAX_OCCLUSION[level]) | (truth.truncation > _MAX_TRUNCATION[level])
    hard |= height <= _MIN_HEIGHT_PX[level]
    truth_state = np.where(own & ~hard, 0, np.where(own | neighbour, 1, -1))
    height = np.abs(found.rectangle_px[:, 3] - found.rectangle_px[:, 1])
    # A small detection is ignored whatever its class, as in the development kit.
    small = height < _MIN_HEIGHT_PX[level]
    state = np.where(small, 1, np.where(found_kind == name.lower(), 0, -1))
    return truth_state.astype(np.int64), state.astype(np.int64)


def _lower(names: Text) -> Text:
    return np.char.lower(names) if len(names) else names


def _curves(
    flat: _Flat,
    overlaps: Float64,
    covered: _Covered | None,
    states: tuple[Int64, Int64],
    least: float,
) -> tuple[Float64, Float64]:
    """Return (41,) precision and (41,) orientation similarity, made monotone."""
    from training.evaluation import kitti_kernels  # numba costs half a second to import

    score = flat.detections.boxes.score
    common = (overlaps, flat.place, flat.truth_start, flat.start, *states, score, least)
    thresholds = recall_walk(kitti_kernels.scores_of_hits(*common), int((states[0] == 0).sum()))
    nothing = np.zeros(len(flat.start), dtype=np.int64)
    stuff = covered or _Covered(np.zeros(0), nothing, nothing)
    angles = (flat.truth.alpha_rad, flat.detections.alpha_rad)
    right, wrong, similar = kitti_kernels.count(*common, thresholds, *angles, *stuff).T
    curves = np.zeros((2, _STEPS))
    with np.errstate(invalid="ignore", divide="ignore"):
        curves[:, : len(thresholds)] = np.stack([right, similar]) / (right + wrong)
    curves = np.maximum.accumulate(curves[:, ::-1], axis=1)[:, ::-1]
    return curves[0], curves[1]


def recall_walk(scores: Float64, num_truth: int) -> Float64:
    """Return at most 41 scores at which recall passes 0, 1/40, 2/40, ... most nearly, descending.

    Source: `getThresholds` of the development kit.
    """
    ordered = np.sort(scores)[::-1]
    result: list[float] = []
    recall = 0.0
    for i, value in enumerate(ordered.tolist()):
        here = (i + 1) / num_truth
        last = i == len(ordered) - 1
        following = here if last else (i + 2) / num_truth
        if following - recall < recall - here and not last:
            continue
        result.append(value)
        recall += 1 / (_STEPS - 1.0)
    return np.array(result[:_STEPS])


def _score(curve: Float64) -> KittiScore:
    return KittiScore(100.0 * float(curve[::4].sum()) / 11, 100.0 * float(curve[1:].sum()) / 40)
