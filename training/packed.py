"""Points in 7 or 8 bytes: what a local cache keeps and what travels to an accelerator.

Coordinates are 16-bit steps of 4 mm around the middle of the frame, intensity is a byte, and with
several sweeps another byte names the sweep. Nothing has to be decompressed: reading a frame is one
read and one multiplication.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import Final

import numba
import numpy as np
from numpy.typing import NDArray

from scene.errors import DataError, FormatError
from scene.types import Float32, Float64

STEP_M: Final = 0.004
_MAX_STEPS: Final = 32_767
_LEVELS: Final = 255
_BRIGHT: Final = np.arange(256, dtype=np.float32) / np.float32(_LEVELS)
_HEADER: Final = struct.Struct("<IIdddd")  # points, lags (0: no lag column), step, origin x y z


@dataclass(frozen=True, slots=True)
class PackedPoints:
    """Points of one frame.

    A coordinate is off by at most half a step (2 mm; more only in a frame wider than 262 m) plus
    float32 rounding; an intensity by at most 1/510, and by nothing where it came from the point
    codec; a lag by nothing.

    Attributes:
        steps: (N, 3) int16 coordinates in steps from the origin.
        level: (N,) uint8 intensity times 255.
        sweep: (N,) uint8 row of `lag_s`; zeros for frames of one sweep.
        lag_s: (S,) float32 seconds before the frame of each of its sweeps; (0,) where the points
            have no lag column.
        step_m: size of a step: 4 mm, doubled until the frame fits.
        origin_m: (3,) float64 where the steps are counted from.
    """

    steps: NDArray[np.int16]
    level: NDArray[np.uint8]
    sweep: NDArray[np.uint8]
    lag_s: Float32
    step_m: float
    origin_m: Float64

    @classmethod
    def pack(cls, points: Float32) -> PackedPoints:
        """Return (N, 4) points x, y, z, intensity, or (N, 5) with a lag, in less space.

        Raises:
            DataError: if a value is not finite, an intensity is not in [0, 1], or there are more
                than 255 different lags.
        """
        points = np.ascontiguousarray(points, dtype=np.float32)
        count, columns = points.shape
        low, high = np.zeros(columns), np.zeros(columns)
        if count and not _bounds(points, low, high):
            raise DataError("packed points: a coordinate, intensity or lag is not finite")
        if low[3] < 0 or high[3] > 1:
            raise DataError("packed points: an intensity is not between 0 and 1")
        step_m = STEP_M
        while ((high - low)[:3] / 2 / step_m >= _MAX_STEPS - 1).any():
            step_m *= 2
        origin = np.rint((low + high)[:3] / 2 / step_m) * step_m
        steps, level = np.empty((count, 3), np.int16), np.empty(count, np.uint8)
        _quantise(points, origin, step_m, steps, level)
        sweep = np.zeros(count, np.uint8)
        lag_s = np.zeros(0 if columns == 4 else 256, np.float32)
        if columns > 4:
            lags = _number_lags(points[:, 4], lag_s, sweep)
            if lags > _LEVELS:
                raise DataError(f"packed points: more than {_LEVELS} different lags")
            lag_s = lag_s[: max(1, lags)].copy()
        return cls(steps, level, sweep, lag_s, step_m, origin)

    def __len__(self) -> int:
        """Return the number of points."""
        return len(self.level)

    @property
    def columns(self) -> int:
        """4, or 5 with a lag."""
        return 5 if len(self.lag_s) else 4

    def unpack(self) -> Float32:
        """Return (N, 4) or (N, 5) float32 points."""
        points = np.empty((len(self), self.columns), dtype=np.float32)
        _unpack(
            self.steps, self.level, self.sweep, self.lag_s, _BRIGHT, self.step_m,
            self.origin_m, points,
        )  # fmt: skip
        return points

    def to_bytes(self) -> list[bytes | memoryview]:
        """Return the parts that one after the other are the bytes of the points."""
        parts: list[bytes | memoryview] = [
            _HEADER.pack(len(self), len(self.lag_s), self.step_m, *self.origin_m.tolist()),
            self.lag_s.astype("<f4").tobytes(),
            np.ascontiguousarray(self.steps, dtype="<i2").reshape(-1).view(np.uint8).data,
            np.ascontiguousarray(self.level).data,
        ]
        if len(self.lag_s):
            parts.append(np.ascontiguousarray(self.sweep).data)
        return parts

    @classmethod
    def from_bytes(cls, data: NDArray[np.uint8]) -> PackedPoints:
        """Undo `to_bytes`; arrays are views of the data where they can be.

        Raises:
            FormatError: if the bytes are not those of packed points.
        """
        if len(data) < _HEADER.size:
            raise FormatError(f"packed points: {len(data)} bytes hold no header")
        count, lags, step_m, *origin = _HEADER.unpack(data[: _HEADER.size].tobytes())
        expected = _HEADER.size + 4 * lags + (7 + (lags > 0)) * count
        if len(data) != expected or not step_m > 0:
            raise FormatError(f"packed points: {len(data)} bytes, expected {expected}")
        rest = data[_HEADER.size :]
        lag_s = rest[: 4 * lags].view("<f4").astype(np.float32)
        rest = rest[4 * lags :]
        steps = rest[: 6 * count].view("<i2").reshape(count, 3)
        level = rest[6 * count : 7 * count]
        sweep = rest[7 * count :] if lags else np.zeros(count, np.uint8)
        if lags and count and int(sweep.max()) >= lags:
            raise FormatError(f"packed points: a point of sweep {int(sweep.max())} of {lags}")
        return cls(steps, level, sweep, lag_s, float(step_m), np.array(origin))


@numba.njit(cache=True, nogil=True)
def _unpack(
    steps, level, sweep, lag_s, bright, step_m, origin_m, points
):  # pragma: no cover - compiled
    """Fill (N, 4) or (N, 5) float32 points."""
    for i in range(len(level)):
        points[i, 0] = origin_m[0] + step_m * steps[i, 0]
        points[i, 1] = origin_m[1] + step_m * steps[i, 1]
        points[i, 2] = origin_m[2] + step_m * steps[i, 2]
        points[i, 3] = bright[level[i]]
    if points.shape[1] > 4:
        for i in range(len(level)):
            points[i, 4] = lag_s[sweep[i]]


@numba.njit(cache=True, nogil=True)
def _bounds(points, low, high):  # pragma: no cover - compiled
    """Write the least and the largest value of each column; return whether all are finite."""
    finite = True
    for c in range(points.shape[1]):
        least, most = points[0, c], points[0, c]
        for i in range(len(points)):
            value = points[i, c]
            finite &= np.isfinite(value)
            least, most = min(least, value), max(most, value)
        low[c], high[c] = least, most
    return finite


@numba.njit(cache=True, nogil=True)
def _quantise(points, origin_m, step_m, steps, level):  # pragma: no cover - compiled
    """Fill (N, 3) steps and (N,) levels of intensity."""
    for i in range(len(points)):
        for c in range(3):
            steps[i, c] = np.int16(np.rint((points[i, c] - origin_m[c]) / step_m))
        level[i] = np.uint8(np.rint(points[i, 3] * np.float32(_LEVELS)))


@numba.njit(cache=True, nogil=True)
def _number_lags(lag, table, number):  # pragma: no cover - compiled
    """Fill a table of different lags and each point's row in it; return how many there are."""
    count, last = 0, 0
    for i in range(len(lag)):
        if count == 0 or table[last] != lag[i]:
            last = 0
            while last < count and table[last] != lag[i]:
                last += 1
            if last == count:
                count += 1
                if count == len(table):
                    return count
                table[last] = lag[i]
        number[i] = last
    return count
