"""Follows detections over time: constant-velocity Kalman filters in the map frame."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from scene.box import Boxes
from scene.pose import SE3
from scene.taxonomy import VEHICLES
from scene.types import Float64

CONFIRM_HITS = 2  # hits within the last three frames before the planner hears of a track
MAX_MISSES = 4  # frames a confirmed track lives on without a detection


@dataclass(frozen=True, slots=True)
class Tracks:
    """Confirmed tracks at one instant.

    Attributes:
        boxes: map frame, velocities filled in, newest sizes and categories.
        velocity_std_mps: (N,) uncertainty of the velocity along one axis.
    """

    boxes: Boxes
    velocity_std_mps: Float64

    @classmethod
    def empty(cls) -> Tracks:
        """Return no tracks."""
        return cls(Boxes.empty(), np.zeros(0))


@dataclass(slots=True)
class _Track:
    """One filter: x, y, vx, vy with covariance."""

    name: str
    state: Float64
    covariance: Float64
    box: Boxes  # newest detection
    seen: list[bool]  # hit or miss in the last three frames
    misses: int = 0  # frames since the last hit
    confirmed: bool = False


@dataclass(slots=True)
class Tracker:
    """Kalman filter a track, Hungarian assignment by distance of the centres.

    Attributes:
        score_threshold: weaker detections are ignored.
        gate_m: a detection further from every prediction starts a new track.
    """

    score_threshold: float = 0.3
    gate_m: float = 2.5
    _tracks: list[_Track] = field(default_factory=list)
    _time_s: float = 0.0
    _born: int = 0

    def update(self, detections: Boxes, map_SE3_ego: SE3, time_s: float) -> None:
        """Take in the detections of one sweep, ego frame; scores of NaN count as certain."""
        score = np.nan_to_num(detections.score, nan=1.0)
        found = detections.take(score >= self.score_threshold).transform(map_SE3_ego)
        self._predict(time_s - self._time_s)
        self._time_s = time_s
        pairs = self._assign(found)
        for row, track in enumerate(self._tracks):
            column = pairs.get(row)
            track.seen = [*track.seen[-2:], column is not None]
            track.misses = 0 if column is not None else track.misses + 1
            if column is not None:
                _correct(track, found.take(np.array([column])))
            track.confirmed |= sum(track.seen) >= CONFIRM_HITS
        self._tracks = [t for t in self._tracks if self._alive(t)]
        taken = set(pairs.values())
        for column in range(len(found)):
            if column not in taken:
                self._tracks.append(self._start(found.take(np.array([column]))))

    def at(self, time_s: float) -> Tracks:
        """Return the confirmed tracks, moved on to a time at or after the last update."""
        alive = [t for t in self._tracks if t.confirmed]
        if not alive:
            return Tracks.empty()
        states = np.stack([t.state for t in alive])
        boxes = Boxes.concatenate([t.box for t in alive])
        center = boxes.center_xyz_m.copy()
        center[:, :2] = states[:, :2] + states[:, 2:] * (time_s - self._time_s)
        moved = Boxes.make(
            center, boxes.size_lwh_m, boxes.yaw_rad, boxes.category, states[:, 2:],
            [t.name for t in alive], boxes.score, boxes.num_points,
        )  # fmt: skip
        return Tracks(moved, np.sqrt([t.covariance[2, 2] for t in alive]))

    def _alive(self, track: _Track) -> bool:
        """Return whether to keep a track; unconfirmed ones go after two misses in three."""
        if track.confirmed:
            return track.misses < MAX_MISSES
        return len(track.seen) < 3 or sum(track.seen) >= CONFIRM_HITS

    def _predict(self, step_s: float) -> None:
        """Move all filters on; white acceleration noise."""
        move = np.eye(4)
        move[0, 2] = move[1, 3] = step_s
        for track in self._tracks:
            sigma = 3.0 if _is_vehicle(track.box) else 1.5
            gain = np.array([[step_s**2 / 2, 0], [0, step_s**2 / 2], [step_s, 0], [0, step_s]])
            track.state = move @ track.state
            track.covariance = move @ track.covariance @ move.T + gain @ gain.T * sigma**2

    def _assign(self, found: Boxes) -> dict[int, int]:
        """Return {track: detection} pairs within the gate."""
        from scipy.optimize import linear_sum_assignment

        if not self._tracks or not len(found):
            return {}
        places = np.stack([t.state[:2] for t in self._tracks])
        far = np.linalg.norm(places[:, None] - found.center_xyz_m[None, :, :2], axis=2)
        rows, columns = linear_sum_assignment(np.minimum(far, self.gate_m + 1.0))
        near = far[rows, columns] <= self.gate_m
        return dict(zip(rows[near].tolist(), columns[near].tolist(), strict=True))

    def _start(self, box: Boxes) -> _Track:
        """Start a filter at rest with a velocity that may be anything usual for its kind."""
        speed = 10.0 if _is_vehicle(box) else 3.0
        self._born += 1
        state = np.concatenate([box.center_xyz_m[0, :2], np.zeros(2)])
        spread = np.diag([_noise_m(box) ** 2] * 2 + [speed**2] * 2)
        return _Track(f"t{self._born}", state, spread, box, [True])


def _correct(track: _Track, box: Boxes) -> None:
    """Blend one detection into a filter (Joseph form is not needed at these sizes)."""
    gain_base = track.covariance[:, :2]
    inner = track.covariance[:2, :2] + np.eye(2) * _noise_m(box) ** 2
    gain = gain_base @ np.linalg.inv(inner)
    track.state = track.state + gain @ (box.center_xyz_m[0, :2] - track.state[:2])
    track.covariance = track.covariance - gain @ track.covariance[:2]
    track.box = box


def _is_vehicle(box: Boxes) -> bool:
    return str(box.category[0]) in VEHICLES


def _noise_m(box: Boxes) -> float:
    """Usual error of a detected centre."""
    return 0.3 if _is_vehicle(box) else 0.15
