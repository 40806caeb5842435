"""From named columns of any driver to the arrays of a sweep: cleaning, units, frames."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from recordings.geometry import points_kernels
from scene.errors import DataError
from scene.pose import SE3
from scene.types import Float32, Mask

INTENSITY_NAMES: Final = ("intensity", "reflectivity", "reflectance", "i", "intensities")
RING_NAMES: Final = ("ring", "laser_number", "line", "laser_id", "beam", "channel")


class RawPoints(NamedTuple):
    """Columns of one cloud as the file stores them.

    Attributes:
        xyz_m: (N, 3) float32, sensor frame, may hold NaN.
        intensity: (N,) of the driver's type and range; None where there is none.
        ring: (N,) integers; None where there is none.
        time: (N,) in the driver's unit; None where there is none.
        time_name: name of the time column, which may tell the unit; see `point_times`.
    """

    xyz_m: Float32
    intensity: NDArray[np.generic] | None
    ring: NDArray[np.generic] | None
    time: NDArray[np.generic] | None
    time_name: str = ""

    def take(self, keep: Mask) -> RawPoints:
        """Return the points chosen by a (N,) mask."""
        intensity, ring, time = (
            None if column is None else column[keep]
            for column in (self.intensity, self.ring, self.time)
        )
        return RawPoints(self.xyz_m[keep], intensity, ring, time, self.time_name)


def pick(names: Iterable[str], wanted: tuple[str, ...]) -> str | None:
    """Return the first of the wanted names that is there, whatever its case."""
    found = {name.lower(): name for name in names}
    return next((found[name] for name in wanted if name in found), None)


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
        values = points_kernels.readable(intensity)
        if self._factor is None:
            largest = float(np.fmax.reduce(values.astype(np.float32)))
            if not largest > 0.0:  # a sensor that warms up tells nothing of its range
                return np.zeros(count, dtype=np.float32)
            self._factor = self._choose(intensity.dtype, largest)
        scaled = np.empty(count, dtype=np.float32)
        points_kernels.scale(values, np.float32(self._factor), scaled)
        return scaled

    @staticmethod
    def _choose(dtype: np.dtype[np.generic], largest: float) -> float:
        if dtype.kind in "iu":
            return 1 / 255 if dtype.itemsize == 1 or largest <= 255 else 1 / 65535
        if not largest > 1.0:
            return 1.0
        return 1 / 255 if largest <= 255 else 1 / 65535


def place(xyz_m: Float32, ego_SE3_sensor: SE3) -> tuple[Float32, Mask | None]:
    """Return (N, 3) points in the ego frame and which are real returns (None: all are).

    Not real are NaN and infinite ones (organised clouds mark missing returns so), exact zeros
    (several drivers do) and anything beyond 100 km. Rounding stays below 0.02 mm at 200 m.

    Raises:
        DataError: if there are points and none of them is a real return.
    """
    placed = np.empty((len(xyz_m), 3), dtype=np.float32)
    real = np.empty(len(xyz_m), dtype=bool)
    rotation = ego_SE3_sensor.rotation.astype(np.float32)
    translation = ego_SE3_sensor.translation_m.astype(np.float32)
    count = points_kernels.place(xyz_m, rotation, translation, placed, real)
    if len(xyz_m) and not count:
        raise DataError(f"all {len(xyz_m)} points are NaN, infinite or zero")
    return placed, None if count == len(xyz_m) else real


def clean(raw: RawPoints) -> RawPoints:
    """Return the real returns of a cloud, sensor frame.

    Some NaN points are normal: an organised cloud keeps a cell for every beam that saw nothing.

    Raises:
        DataError: if the cloud has points and none of them is a real return.
    """
    real = place(raw.xyz_m, SE3.identity())[1]
    return raw if real is None else raw.take(real)
