"""Steps over rows of a PLY element whose lists make them differ in length."""

from __future__ import annotations

import numba
import numpy as np
from numpy.typing import NDArray


@numba.njit(cache=True, nogil=True)
def walk_bytes(
    values: NDArray[np.uint8],
    at: int,
    sizes: NDArray[np.int64],
    lengths: NDArray[np.int64],
    big_endian: bool,
    starts: NDArray[np.int64],
) -> tuple[int, int]:  # pragma: no cover
    """Fill `starts` with the byte at which each property of each row begins.

    Args:
        values: the data.
        at: byte of the first row.
        sizes: (P,) bytes of one value of each property.
        lengths: (P,) bytes of the length of a list, 0 where the property is a scalar.
        big_endian: order of the bytes of a length.
        starts: (rows, P), filled here.

    Returns:
        How many rows are whole, and the byte after them.
    """
    end = len(values)
    for row in range(len(starts)):
        for number in range(len(sizes)):
            starts[row, number] = at
            count = 1
            width = lengths[number]
            if width:
                if at + width > end:
                    return row, at
                count = 0
                for i in range(width):
                    byte = values[at + i] if big_endian else values[at + width - 1 - i]
                    count = count * 256 + byte
                    if count > end:
                        return row, at
                at += width
            at += count * sizes[number]
            if at > end:
                return row, at
    return len(starts), at


@numba.njit(cache=True, nogil=True)
def walk_numbers(
    values: NDArray[np.float64],
    at: int,
    lists: NDArray[np.bool_],
    starts: NDArray[np.int64],
) -> tuple[int, int]:  # pragma: no cover
    """Fill `starts` with the number at which each property of each row begins; see `walk_bytes`."""
    end = len(values)
    for row in range(len(starts)):
        for number in range(len(lists)):
            if at >= end:
                return row, at
            starts[row, number] = at
            if lists[number]:
                count = values[at]
                if not (0 <= count <= end - at - 1):
                    return row, at
                at += int(count)
            at += 1
    return len(starts), at
