"""Passes over all points of a cloud, compiled. They read the driver's bytes in place, unaligned."""

from __future__ import annotations

import numba
import numpy as np
from numpy.typing import NDArray

from scene.types import Float32, Mask

MAX_SQUARED_RANGE_M2 = 1e10


def readable(values: NDArray[np.generic]) -> NDArray[np.generic]:
    """Return (N,) numbers as they are, or as float64 where no kernel can read them."""
    dtype = values.dtype
    native = dtype.isnative and dtype.kind in "iuf" and dtype.itemsize in (1, 2, 4, 8)
    return values if native and dtype != np.float16 else values.astype(np.float64)


@numba.njit(cache=True, nogil=True)
def place(
    xyz_m: Float32, rotation: Float32, translation_m: Float32, placed_m: Float32, real: Mask
) -> int:
    """Write (N, 3) transformed points and which of them are real returns; return how many are.

    Comparisons with NaN are false, so NaN and infinite points are no real returns.
    """
    count = 0
    for i in range(len(xyz_m)):
        x, y, z = xyz_m[i, 0], xyz_m[i, 1], xyz_m[i, 2]
        squared = x * x + y * y + z * z
        real[i] = (squared > 0.0) and (squared < MAX_SQUARED_RANGE_M2)
        count += real[i]
        for k in range(3):
            turned = rotation[k, 0] * x + rotation[k, 1] * y + rotation[k, 2] * z
            placed_m[i, k] = turned + translation_m[k]
    return count


@numba.njit(cache=True, nogil=True)
def scale(values: NDArray[np.generic], factor: np.float32, scaled: Float32) -> None:
    """Write (N,) values times the factor, kept within [0, 1]; NaN becomes 0."""
    for i in range(len(values)):
        value = np.float32(values[i]) * factor
        scaled[i] = min(value, np.float32(1.0)) if value > 0.0 else np.float32(0.0)


@numba.njit(cache=True, nogil=True)
def offsets_of_floats(
    values: NDArray[np.generic],
    whole: float,
    unit_ns: int,
    rest_ns: int,
    offset_ns: NDArray[np.int32],
    limit_ns: int,
) -> bool:
    """Write (N,) nanoseconds after `whole` counts and `rest_ns`; False if one is not within."""
    for i in range(len(values)):
        value = np.rint((np.float64(values[i]) - whole) * unit_ns) - rest_ns
        if not abs(value) < limit_ns:
            return False
        offset_ns[i] = np.int32(value)
    return True


@numba.njit(cache=True, nogil=True)
def offsets_of_integers(
    values: NDArray[np.generic],
    whole: int,
    unit_ns: int,
    rest_ns: int,
    offset_ns: NDArray[np.int32],
    limit_ns: int,
) -> bool:
    """Write (N,) nanoseconds after `whole` counts and `rest_ns`; False if one is not within."""
    most = limit_ns // unit_ns + 1  # so that the product cannot overflow
    for i in range(len(values)):
        count = np.int64(values[i]) - whole
        if not -most <= count <= most:
            return False
        value = count * unit_ns - rest_ns
        if not -limit_ns < value < limit_ns:
            return False
        offset_ns[i] = np.int32(value)
    return True
