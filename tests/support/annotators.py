"""People who label, simulated: known biases, slips and misses on top of the truth."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from scene.box import Boxes
from scene.taxonomy import CATEGORY_NAMES


@dataclass(frozen=True)
class Person:
    """How a simulated annotator differs from the truth.

    Attributes:
        offset_m: bias along, across and up, in the box's own frame.
        size_m: bias of length, width, height.
        yaw_deg: bias of the heading.
        noise_m, noise_deg: spread of a single box.
        miss, ghost, confuse, flip: shares of boxes missed, added, misnamed, pointed backwards.
    """

    offset_m: tuple[float, float, float] = (0.0, 0.0, 0.0)
    size_m: tuple[float, float, float] = (0.0, 0.0, 0.0)
    yaw_deg: float = 0.0
    noise_m: float = 0.05
    noise_deg: float = 1.0
    miss: float = 0.0
    ghost: float = 0.0
    confuse: float = 0.0
    flip: float = 0.0

    def label(self, truth: Boxes, rng: np.random.Generator) -> Boxes:
        """Return what this person draws in a frame with these objects."""
        seen = truth.take(rng.random(len(truth)) >= self.miss)
        count = len(seen)
        local = np.asarray(self.offset_m) + rng.normal(0, self.noise_m, (count, 3))
        cos, sin = np.cos(seen.yaw_rad), np.sin(seen.yaw_rad)
        shift = np.column_stack(
            [
                local[:, 0] * cos - local[:, 1] * sin,
                local[:, 0] * sin + local[:, 1] * cos,
                local[:, 2],
            ]
        )
        size = seen.size_lwh_m + np.asarray(self.size_m) + rng.normal(0, self.noise_m, (count, 3))
        yaw = seen.yaw_rad + np.radians(self.yaw_deg + rng.normal(0, self.noise_deg, count))
        yaw = yaw + np.pi * (rng.random(count) < self.flip)
        names = np.array(CATEGORY_NAMES)
        other = names[rng.integers(0, len(names), count)]
        category = np.where(rng.random(count) < self.confuse, other, seen.category)
        drawn = Boxes.make(
            seen.center_xyz_m + shift, np.maximum(size, 0.1), yaw, category, track_id=seen.track_id
        )
        extra = rng.binomial(len(truth), self.ghost)
        ghosts = Boxes.make(
            np.column_stack([rng.uniform(-40, 40, (extra, 2)), np.ones(extra)]),
            np.tile([4.5, 1.9, 1.7], (extra, 1)),
            rng.uniform(-np.pi, np.pi, extra),
            ["car"] * extra,
        )
        return Boxes.concatenate([drawn, ghosts])


def random_street(rng: np.random.Generator, count: int) -> Boxes:
    """Return objects that stand well apart, cars and people."""
    cell = rng.permutation(144)[:count]
    place = np.column_stack([cell // 12, cell % 12]) * 7.0 - 38.0
    center = np.column_stack([place + rng.uniform(-0.5, 0.5, (count, 2)), np.full(count, 0.9)])
    person = rng.random(count) < 0.3
    size = np.where(person[:, None], [0.7, 0.7, 1.75], [4.5, 1.9, 1.7])
    size = size * rng.uniform(0.9, 1.1, (count, 3))
    category = np.where(person, "pedestrian", "car")
    tracks = [f"t{i}" for i in range(count)]
    return Boxes.make(center, size, rng.uniform(-np.pi, np.pi, count), category, track_id=tracks)
