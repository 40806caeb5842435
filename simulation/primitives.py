"""Boxes and upright cylinders: the only solids the simulated lidar knows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, fields, replace
from typing import Final

import numpy as np
from numpy.typing import NDArray

from scene.types import Float64, Int64, Mask

BOX: Final = 0
CYLINDER: Final = 1

SOLID: Final = 0
GLASS: Final = 1  # most beams pass: no echo
FOLIAGE: Final = 2  # beams end somewhere inside the crown

SCENERY: Final = -1  # owner of everything that is not an actor


@dataclass(frozen=True, slots=True)
class Primitives:
    """Upright solids, structure of arrays.

    Attributes:
        kind: (N,) uint8, `BOX` or `CYLINDER`.
        center_xy_m: (N, 2) centre seen from above.
        half_xy_m: (N, 2) half length and half width; the radius twice for a cylinder.
        yaw_rad: (N,) heading of the length.
        z_min_m, z_max_m: (N,) lower and upper face.
        reflectivity: (N,) in [0, 1].
        surface: (N,) uint8, `SOLID`, `GLASS` or `FOLIAGE`.
        swing_m: (N,) how far a part moves forward and back with each step of its owner.
        owner: (N,) int64 index of the actor it belongs to, or `SCENERY`.
    """

    kind: NDArray[np.uint8]
    center_xy_m: Float64
    half_xy_m: Float64
    yaw_rad: Float64
    z_min_m: Float64
    z_max_m: Float64
    reflectivity: Float64
    surface: NDArray[np.uint8]
    swing_m: Float64
    owner: Int64

    def __len__(self) -> int:
        """Return the number of solids."""
        return len(self.kind)

    @classmethod
    def concatenate(cls, parts: Sequence[Primitives]) -> Primitives:
        """Return all solids in order."""
        if not parts:
            return PrimitiveList().build()
        return cls(*(np.concatenate([getattr(p, f.name) for p in parts]) for f in fields(cls)))

    def take(self, index: Mask | Int64) -> Primitives:
        """Return the solids chosen by a mask or an index array."""
        return Primitives(*(getattr(self, f.name)[index] for f in fields(self)))

    def owned_by(self, owner: int) -> Primitives:
        """Return the same solids as parts of one actor."""
        return replace(self, owner=np.full(len(self), owner, dtype=np.int64))

    def placed(self, xy_m: Float64, yaw_rad: Float64, phase_rad: Float64) -> Primitives:
        """Move local parts to where their owners stand.

        Args:
            xy_m: (A, 2) positions of the owners' origins.
            yaw_rad: (A,) headings of the owners.
            phase_rad: (A,) gait phases of the owners.
        """
        yaw = yaw_rad[self.owner]
        cos, sin = np.cos(yaw), np.sin(yaw)
        x = self.center_xy_m[:, 0] + self.swing_m * np.sin(phase_rad[self.owner])
        y = self.center_xy_m[:, 1]
        turned = np.stack([x * cos - y * sin, x * sin + y * cos], axis=1)
        return replace(self, center_xy_m=xy_m[self.owner] + turned, yaw_rad=self.yaw_rad + yaw)


@dataclass(slots=True)
class PrimitiveList:
    """Collects solids one at a time while a shape or a street is built."""

    rows: list[tuple[float, ...]] = field(default_factory=list)

    def box(
        self,
        center_xy_m: tuple[float, float],
        size_xy_m: tuple[float, float],
        z_m: tuple[float, float],
        reflectivity: float,
        *,
        yaw_rad: float = 0.0,
        surface: int = SOLID,
        swing_m: float = 0.0,
    ) -> None:
        """Add a box by its centre, its full length and width, and its lower and upper face."""
        half = (size_xy_m[0] / 2, size_xy_m[1] / 2)
        self.rows.append((BOX, *center_xy_m, *half, yaw_rad, *z_m, reflectivity, surface, swing_m))

    def cylinder(
        self,
        center_xy_m: tuple[float, float],
        radius_m: float,
        z_m: tuple[float, float],
        reflectivity: float,
        *,
        surface: int = SOLID,
        swing_m: float = 0.0,
    ) -> None:
        """Add an upright cylinder."""
        self.rows.append(
            (CYLINDER, *center_xy_m, radius_m, radius_m, 0.0, *z_m, reflectivity, surface, swing_m)
        )

    def build(self) -> Primitives:
        """Return what was collected, owned by the scenery."""
        table = np.array(self.rows, dtype=np.float64).reshape(-1, 11)
        return Primitives(
            kind=table[:, 0].astype(np.uint8),
            center_xy_m=table[:, 1:3].copy(),
            half_xy_m=table[:, 3:5].copy(),
            yaw_rad=table[:, 5].copy(),
            z_min_m=table[:, 6].copy(),
            z_max_m=table[:, 7].copy(),
            reflectivity=table[:, 8].copy(),
            surface=table[:, 9].astype(np.uint8),
            swing_m=table[:, 10].copy(),
            owner=np.full(len(table), SCENERY, dtype=np.int64),
        )
