"""From named columns of any driver to the arrays of a sweep: cleaning, units, frames."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from scene.errors import DataError
from scene.pose import SE3
from scene.types import Float32, Mask

INTENSITY_NAMES: Final = ("intensity", "reflectivity", "reflectance", "i", "intensities")
RING_NAMES: Final = ("ring", "laser_number", "line", "laser_id", "beam", "channel")
TIME_NAMES: Final = (
    "offset_ns", "t", "time", "timestamp", "time_stamp", "offset_time", "point_time_offset",
    "time_offset", "timeoffset",
)  # fmt: skip
_MAX_SQUARED_RANGE_M2: Final = 1e10
_MAX_OFFSET_NS: Final = 2_000_000_000


class RawPoints(NamedTuple):
    """Columns of one cloud as the file stores them.

    Attributes:
        xyz_m: (N, 3) float32, sensor frame, may hold NaN.
        intensity: (N,) of the driver's type and range; None where there is none.
        ring: (N,) integers; None where there is none.
        time: (N,) in the driver's unit; None where there is none.
    """

    xyz_m: Float32
    intensity: NDArray[np.generic] | None
    ring: NDArray[np.generic] | None
    time: NDArray[np.generic] | None

    def take(self, keep: Mask) -> RawPoints:
        """Return the points chosen by a (N,) mask."""
        chosen = (None if column is None else column[keep] for column in self[1:])
        return RawPoints(self.xyz_m[keep], *chosen)


def pick(names: Iterable[str], wanted: tuple[str, ...]) -> str | None:
    """Return the first of the wanted names that is there, whatever its case."""
    found = {name.lower(): name for name in names}
    return next((found[name] for name in wanted if name in found), None)


def valid_points(xyz_m: Float32) -> Mask:
    """Return (N,) which points are real returns.

    Not real are NaN and infinite ones (organised clouds mark missing returns so), exact zeros
    (several drivers do) and anything beyond 100 km.
    """
    squared = np.einsum("ij,ij->i", xyz_m, xyz_m)
    return (squared > 0.0) & (squared < _MAX_SQUARED_RANGE_M2)


class IntensityScale:
    """Brings the intensities of one recording to [0, 1] by one factor, chosen once.

    Integers are taken to fill their type (uint8: 255). Floats up to 1 are kept, up to 255 are
    divided by 255, larger ones by 65535. Deciding per sweep would make a dark sweep bright.
    """

    def __init__(self) -> None:
        self._factor: float | None = None

    def apply(self, intensity: NDArray[np.generic] | None, count: int) -> Float32:
        """Return (N,) float32 in [0, 1]; zeros where the recording has no intensity."""
        if intensity is None or count == 0:
            return np.zeros(count, dtype=np.float32)
        values = intensity.astype(np.float32)
        if self._factor is None:
            self._factor = self._choose(intensity.dtype, float(np.nanmax(values)))
        if self._factor != 1.0:
            values *= np.float32(self._factor)
        if intensity.dtype.kind == "f":
            np.nan_to_num(values, copy=False)
        return np.clip(values, 0.0, 1.0, out=values)

    @staticmethod
    def _choose(dtype: np.dtype[np.generic], largest: float) -> float:
        if dtype.kind in "iu":
            return 1 / 255 if dtype.itemsize == 1 or largest <= 255 else 1 / 65535
        if not largest > 1.0:
            return 1.0
        return 1 / 255 if largest <= 255 else 1 / 65535


def offsets_ns(
    time: NDArray[np.generic] | None, timestamp_ns: int, count: int, origin_ns: int = 0
) -> NDArray[np.int32] | None:
    """Return (N,) int32 nanoseconds after `timestamp_ns`, or None if the column makes no sense.

    Integers are nanoseconds, floats are seconds; values that large that only a clock can show
    them (seconds above 1e8, nanoseconds above 1e17) are absolute. `origin_ns` is added to
    relative times, for drivers that count from elsewhere than the header stamp.
    """
    if time is None or count == 0:
        return np.zeros(count, dtype=np.int32)
    first = float(time[0])
    if time.dtype.kind in "iu":
        wide = time.astype(np.int64)
        relative = wide - timestamp_ns if first > 1e17 else wide + origin_ns
    elif first > 1e17:
        relative = time.astype(np.int64) - timestamp_ns
    elif first > 1e8:
        # Whole seconds are subtracted first: a float64 epoch in ns has a step of 256 ns.
        seconds = time.astype(np.float64) - timestamp_ns // 1_000_000_000
        relative = np.rint(seconds * 1e9) - timestamp_ns % 1_000_000_000
    else:
        relative = np.rint(time.astype(np.float64) * 1e9) + origin_ns
    if not np.abs(relative).max() < _MAX_OFFSET_NS:
        return None
    return relative.astype(np.int32)


def clean(raw: RawPoints) -> RawPoints:
    """Return the real returns of a cloud.

    Some NaN points are normal: an organised cloud keeps a cell for every beam that saw nothing.

    Raises:
        DataError: if the cloud has points and none of them is a real return.
    """
    keep = valid_points(raw.xyz_m)
    if len(keep) and not keep.any():
        raise DataError(f"all {len(keep)} points are NaN, infinite or zero")
    return raw if keep.all() else raw.take(keep)


def to_ego(xyz_m: Float32, ego_SE3_sensor: SE3) -> Float32:
    """Return (N, 3) float32 points in the ego frame; rounding stays below 0.02 mm at 200 m."""
    rotation = ego_SE3_sensor.rotation.astype(np.float32)
    translation = ego_SE3_sensor.translation_m.astype(np.float32)
    moved = xyz_m if np.array_equal(rotation, np.eye(3)) else xyz_m @ rotation.T
    return moved + translation if translation.any() else np.ascontiguousarray(moved)
