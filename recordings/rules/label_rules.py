"""Rules about annotations that came with a recording."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final, NamedTuple

import numpy as np

from recordings.recording import ASSUMED_POSES
from recordings.rules import sweep_kernels
from recordings.rules.rule import Facts, Finding, Rule, Times
from recordings.rules.sweep_look import SweepLook
from scene.box import Boxes
from scene.pose import Trajectory, quat_to_matrix, wrap_angle
from scene.taxonomy import CATEGORY
from scene.types import Float64, Int64, Mask

IMPOSSIBLE: Final = Rule(
    "REC055", "error", "boxes without a size or place",
    "write sizes above zero and finite centres; leave out boxes that are unknown",
)  # fmt: skip
ELSEWHERE: Final = Rule(
    "REC056", "error", "the boxes are not where the points are",
    "labels are in another frame or clock: check axes, origin and time of the annotations",
)  # fmt: skip
NO_POINTS: Final = Rule(
    "REC057", "warning", "many boxes hold no point",
    "check the labels' time and frame; hidden objects should not be labelled",
)  # fmt: skip
SIZE: Final = Rule(
    "REC058", "warning", "boxes too large or small for their category",
    "check the order of length, width and height, the unit and the category",
)  # fmt: skip
TRACK_JUMP: Final = Rule(
    "REC059", "warning", "tracks jump",
    "two objects share a track id, or the ego poses were not applied",
)  # fmt: skip
YAW_FLIP: Final = Rule(
    "REC066", "warning", "headings flip by half a turn along a track",
    "point the heading of a track the same way in all frames",
)  # fmt: skip
DUPLICATE: Final = Rule(
    "REC061", "warning", "the same object is boxed twice",
    "merge labels of several sensors before export; keep one box an object",
)  # fmt: skip
OFF_GROUND: Final = Rule(
    "REC062", "warning", "boxes float above or sink into the ground",
    "the centre of a box is the middle of the cuboid, not its bottom; check the ego's height",
)  # fmt: skip
NO_SWEEP: Final = Rule(
    "REC063", "warning", "labels at times without a sweep",
    "label at the times of sweeps; these labels are lost",
)  # fmt: skip
CATEGORY_CHANGE: Final = Rule(
    "REC064", "warning", "tracks change their category",
    "give a track one category; or give the second object an id of its own",
)  # fmt: skip
TRACK_TWICE: Final = Rule(
    "REC065", "warning", "a track is in two places at once",
    "give every object an id of its own",
)  # fmt: skip
RULES: Final = (
    IMPOSSIBLE, ELSEWHERE, NO_POINTS, SIZE, TRACK_JUMP, YAW_FLIP, DUPLICATE, OFF_GROUND, NO_SWEEP,
    CATEGORY_CHANGE, TRACK_TWICE,
)  # fmt: skip

_NEAR_M: Final = 20.0
_FAR_ENOUGH_M: Final = 3.0  # closer lies the vehicle itself
_TALL_M: Final = 0.8
_LIFT_M: Final = 0.3
_INSIDE_POINTS: Final = 25_000
_MIN_BOXES: Final = 10
# Real annotations leave 0 to 9 % of the boxes within 30 m without a point.
_ELSEWHERE_SHARE: Final = 0.8
_NO_POINTS_SHARE: Final = 0.3
_SIZE_FACTOR: Final = 3.0  # of the usual size of the category, per edge
_SIZE_SHARE: Final = 0.02
_MAX_TRACK_MPS: Final = 70.0
_MAX_TRACK_GAP_NS: Final = 1_000_000_000
_FLIP_RAD: Final = 2.6
_MIN_FLIPS: Final = 3  # one in a drive happens to the best annotators
# Nearer than a twentieth of the length two objects cannot be; people in a crowd come to 0.2 m.
_SAME_SHARE: Final = 0.05
_OFF_GROUND_M: Final = 0.6
_GROUND_RANGE_M: Final = 25.0


class _Labels(NamedTuple):
    """All boxes of a recording: `time_ns` (N,), boxes, and centres (N, 3) in the map."""

    time_ns: Int64
    boxes: Boxes
    center_map_m: Float64


class LabelRules:
    """Counts labels as sweeps pass; looks at tracks at the end."""

    def __init__(self, facts: Facts) -> None:
        self._truth = facts.ground_truth or {}
        moving = ASSUMED_POSES not in facts.calibration.assumed
        self._trajectory = facts.trajectory if moving else None
        self._times = Times()
        self._near = self._near_empty = 0

    def add(self, look: SweepLook) -> None:
        """Look at one sweep."""
        if not self._truth:
            return
        self._times.append(look.timestamp_ns)
        if look.boxes is not None and len(look.boxes) and look.sampled:
            self._look_inside(look, look.boxes)

    def finish(self) -> Iterator[Finding]:
        """Give what was found."""
        labels = _all_labels(self._truth, self._trajectory)
        if not len(labels.boxes):
            return
        yield from self._about_points()
        yield from self._about_times()
        sound = _sound(labels.boxes)
        if not sound.all():
            bad = int((~sound).sum())
            yield IMPOSSIBLE.found(f"{bad} boxes have an edge of no length or no place", bad)
            labels = _Labels(
                labels.time_ns[sound], labels.boxes.take(sound), labels.center_map_m[sound]
            )
        if len(labels.boxes):
            yield from _about_sizes(labels.boxes)
            yield from _about_ground(labels.boxes)
            yield from _about_duplicates(labels)
            yield from _about_tracks(labels)

    def _look_inside(self, look: SweepLook, boxes: Boxes) -> None:
        """Count boxes with and without a point above the ground: bare ground is in any box."""
        size, range_m = boxes.size_lwh_m, boxes.range_m()
        near = boxes.take((range_m < _NEAR_M) & (range_m > _FAR_ENOUGH_M) & (size[:, 2] > _TALL_M))
        if not len(near):
            return
        lift = np.array([0.0, 0.0, _LIFT_M])
        holds = np.zeros(len(near), dtype=np.bool_)
        lowest = float((near.center_xyz_m[:, 2] - near.size_lwh_m[:, 2] / 2).min()) + _LIFT_M
        sweep_kernels.hold_points(
            look.sweep.points_ego_m, 1 + look.num_points // _INSIDE_POINTS, lowest,
            near.center_xyz_m + lift / 2, (near.size_lwh_m - lift) / 2, np.cos(near.yaw_rad),
            np.sin(near.yaw_rad), holds,
        )  # fmt: skip
        self._near += len(near)
        self._near_empty += int((~holds).sum())

    def _about_points(self) -> Iterator[Finding]:
        if self._near < _MIN_BOXES:
            return
        share = self._near_empty / self._near
        message = (
            f"{self._near_empty} of {self._near} boxes within {_NEAR_M:.0f} m hold no point above "
            "the ground"
        )
        if share > _ELSEWHERE_SHARE:
            yield ELSEWHERE.found(message, self._near_empty)
        elif share > _NO_POINTS_SHARE:
            yield NO_POINTS.found(message, self._near_empty)

    def _about_times(self) -> Iterator[Finding]:
        labelled = np.array([t for t, boxes in self._truth.items() if len(boxes)], dtype=np.int64)
        lost = np.sort(labelled[~np.isin(labelled, self._times.to_numpy())])
        if len(lost):
            message = f"{len(lost)} labelled times have no sweep, first {lost[0]} ns"
            yield NO_SWEEP.found(message, len(lost))


def _all_labels(truth: dict[int, Boxes], trajectory: Trajectory | None) -> _Labels:
    times = np.array(sorted(truth), dtype=np.int64)
    if trajectory is not None and len(trajectory) and len(times):
        inside = (times >= trajectory.timestamps_ns[0]) & (times <= trajectory.timestamps_ns[-1])
        times = times[inside]
    boxes = Boxes.concatenate([truth[int(time)] for time in times])
    row = np.repeat(np.arange(len(times)), [len(truth[int(time)]) for time in times])
    center = boxes.center_xyz_m
    if trajectory is not None and len(trajectory) and len(times):
        poses = trajectory.interpolate(times)
        rotation = quat_to_matrix(poses.quat_wxyz)[row]
        center = np.einsum("nij,nj->ni", rotation, center) + poses.translation_m[row]
    return _Labels(times[row], boxes, center)


def _sound(boxes: Boxes) -> Mask:
    numbers = np.concatenate([boxes.center_xyz_m, boxes.size_lwh_m, boxes.yaw_rad[:, None]], axis=1)
    return np.all(np.isfinite(numbers), axis=1) & np.all(numbers[:, 3:6] > 0, axis=1)


def _about_sizes(boxes: Boxes) -> Iterator[Finding]:
    names, index = np.unique(boxes.category, return_inverse=True)
    usual = np.array([CATEGORY[n].size_lwh_m if n in CATEGORY else (np.nan,) * 3 for n in names])
    ratio = boxes.size_lwh_m / usual[index]
    wrong = ((ratio > _SIZE_FACTOR) | (ratio < 1 / _SIZE_FACTOR)).any(axis=1)
    if wrong.mean() > _SIZE_SHARE:
        worst = int(np.nanargmax(np.where(wrong, np.nanmax(np.abs(np.log(ratio)), axis=1), -1)))
        size = " x ".join(f"{edge:.2f}" for edge in boxes.size_lwh_m[worst])
        yield SIZE.found(
            f"{int(wrong.sum())} of {len(boxes)} boxes, such as a {boxes.category[worst]} of "
            f"{size} m",
            int(wrong.sum()),
        )


def _about_ground(boxes: Boxes) -> Iterator[Finding]:
    near = boxes.range_m() < _GROUND_RANGE_M
    if near.sum() < _MIN_BOXES:
        return
    bottom = boxes.center_xyz_m[near, 2] - boxes.size_lwh_m[near, 2] / 2
    # On slopes single boxes are off by a metre; all of them together are not.
    usual = float(np.median(bottom))
    if abs(usual) > _OFF_GROUND_M:
        yield OFF_GROUND.found(
            f"the bottoms of {int(near.sum())} boxes within {_GROUND_RANGE_M:.0f} m lie at "
            f"z = {usual:+.2f} m as a rule",
            int(near.sum()),
        )


def _about_duplicates(labels: _Labels) -> Iterator[Finding]:
    """Find boxes of one frame with one category and nearly one centre.

    Sorted along x, a twin is among the few that follow.
    """
    boxes, center = labels.boxes, labels.boxes.center_xyz_m
    order = np.lexsort((center[:, 0], labels.time_ns))
    twins = np.zeros(len(order), dtype=bool)
    for ahead in range(1, min(9, len(order))):
        one, other = order[:-ahead], order[ahead:]
        same = (labels.time_ns[one] == labels.time_ns[other]) & (
            boxes.category[one] == boxes.category[other]
        )
        distance_m = np.linalg.norm(center[one] - center[other], axis=1)
        twins[ahead:] |= same & (distance_m < _SAME_SHARE * boxes.size_lwh_m[one, 0])
    if twins.any():
        first = int(order[int(np.argmax(twins))])
        yield DUPLICATE.found(
            f"{int(twins.sum())} boxes, first a {boxes.category[first]} at "
            f"{labels.time_ns[first]} ns",
            int(twins.sum()),
        )


def _about_tracks(labels: _Labels) -> Iterator[Finding]:
    named = np.flatnonzero(labels.boxes.track_id != "")
    boxes = labels.boxes.take(named)
    order = np.lexsort((labels.time_ns[named], boxes.track_id))
    boxes, time = boxes.take(order), labels.time_ns[named][order]
    center = labels.center_map_m[named][order]
    linked = boxes.track_id[1:] == boxes.track_id[:-1]
    step_ns = np.diff(time)
    twice = linked & (step_ns == 0)
    if twice.any():
        yield TRACK_TWICE.found(_where(boxes, time, twice), int(twice.sum()))
        linked &= ~np.isin(boxes.track_id[1:], boxes.track_id[1:][twice])  # the rest follows
    changed = linked & (boxes.category[1:] != boxes.category[:-1])
    if changed.any():
        yield CATEGORY_CHANGE.found(_where(boxes, time, changed), int(changed.sum()))
    near = linked & (step_ns > 0) & (step_ns <= _MAX_TRACK_GAP_NS)
    with np.errstate(divide="ignore", invalid="ignore"):
        speed = np.linalg.norm(np.diff(center, axis=0), axis=1) / (step_ns / 1e9)
    jumps = near & (speed > _MAX_TRACK_MPS)
    if jumps.any():
        worst = float(speed[jumps].max())
        yield TRACK_JUMP.found(
            f"{_where(boxes, time, jumps)}, by up to {worst:.0f} m/s", int(jumps.sum())
        )
    turn = np.abs(wrap_angle(np.diff(boxes.yaw_rad)))
    flips = near & (turn > _FLIP_RAD)
    if flips.sum() >= _MIN_FLIPS:
        yield YAW_FLIP.found(_where(boxes, time, flips), int(flips.sum()))


def _where(boxes: Boxes, time_ns: Int64, steps: Mask) -> str:
    """Say how often and first where; `steps` are between a box and the next."""
    at = int(np.argmax(steps)) + 1
    name = f"{boxes.category[at]} {boxes.track_id[at][:12]}"
    return f"{int(steps.sum())} times, first {name} at {time_ns[at]} ns"
