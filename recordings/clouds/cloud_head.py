"""What is known of a file of points before its points are read, and how coordinates are kept exact.

Survey clouds are in map coordinates of hundreds of kilometres, where float32 knows only
centimetres. So points are taken relative to an origin in float64 first, and the origin goes into
the ego pose.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from recordings.geometry.points import RawPoints
from scene.pose import SE3
from scene.types import Float32, Float64

# No lidar sees that far: such coordinates are those of a map, not of a sensor.
MAP_COORDINATES_M: Final = 10_000.0


@dataclass(frozen=True, slots=True)
class CloudHead:
    """The head of one file.

    Attributes:
        num_points: points announced.
        viewpoint: pose of the sensor, identity where the file gives none.
        near_m: (3,) a place near the points in their own coordinates; None where coordinates are
            float32, so that nothing is gained by an origin.
        time_ns: when the points were measured, None where the file does not say.
    """

    num_points: int
    viewpoint: SE3 = field(default_factory=SE3.identity)
    near_m: Float64 | None = None
    time_ns: int | None = None

    @property
    def in_map(self) -> bool:
        """Whether the coordinates can only be those of a map."""
        near = self.near_m
        return near is not None and bool(np.abs(near[:2]).max() > MAP_COORDINATES_M)


@dataclass(frozen=True, slots=True)
class CloudFormat:
    """How files of one format are read.

    Attributes:
        title: as in "no PCD file".
        read_head: raises FormatError if the head is broken.
        read_points: gives the points minus an origin, at most so many; raises FormatError if they
            are broken, CutShortError if so many of the first are not.
    """

    title: str
    read_head: Callable[[Path], CloudHead]
    read_points: Callable[[Path, Float64, int | None], RawPoints]


def xyz_minus(columns: Sequence[NDArray[Any]], origin_m: Float64) -> Float32:
    """Return (N, 3) float32 of three (N,) columns less an origin, subtracted in float64."""
    xyz = np.empty((len(columns[0]), 3), dtype=np.float32)
    for axis, column in enumerate(columns):
        offset = float(origin_m[axis])
        xyz[:, axis] = column if offset == 0.0 else column.astype(np.float64) - offset
    return xyz


def place_of(columns: Sequence[NDArray[Any]]) -> Float64 | None:
    """Return (3,) the first finite point of three columns, None if all are small or float32."""
    if all(column.dtype.kind == "f" and column.dtype.itemsize <= 4 for column in columns):
        return None
    points = np.stack([column.astype(np.float64) for column in columns], axis=1)
    finite = points[np.isfinite(points).all(axis=1)]
    return finite[0] if len(finite) else None
