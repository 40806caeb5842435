"""Inner loops that group the points of a sweep by ring. Imported when first used.

A point is read once, where it came, and written once, as one word of eight bytes, to the place that
it has among the points of its ring. Those places are as many as there are rings, which the first
cache holds. Only then are the words split into planes, all of them in a row.
"""

from __future__ import annotations

import numba
import numpy as np

from storage.codec_kernels import levels, quantise

TILE = 1024  # points that are rounded together, in the first cache
ESCAPE = np.uint32(0xFFFF)  # a difference that needs more than two bytes
OTHER = np.uint32(0xFF)  # a step of numbers that needs more than one


@numba.njit(cache=True, nogil=True)
def count_rings(ring, starts, final):  # pragma: no cover - compiled
    """Write where each ring begins when points are grouped by ring, and its last point.

    Args:
        ring: (N,) uint16.
        starts: (R,) uint32, zeros; to be written.
        final: (R,) uint32, to be written where the ring has a point.
    """
    for i in range(len(ring)):
        value = ring[i]
        starts[value] += np.uint32(1)
        final[value] = i
    total = np.uint32(0)
    for value in range(len(starts)):
        count = starts[value]
        starts[value] = total
        total += count


@numba.njit(cache=True, nogil=True)
def zigzag(delta):  # pragma: no cover - compiled
    """Return an int32 as a uint32 that is small where its size is."""
    return np.uint32(np.int32(delta << 1) ^ (delta >> 31))


@numba.njit(cache=True, nogil=True)
def pack(
    values_m, intensity, ring, number, scale, max_steps, top, starts, final, words, keys, rests
):  # pragma: no cover - compiled
    """Write a word a point, grouped by ring, the order inside a ring kept.

    A word holds, from its lowest bits on, the zigzag differences of x, y and z in steps from the
    point before (16 bits each), the level of intensity (8) and the step of `number` (8).

    Args:
        values_m: (3 N,) float32 coordinates.
        intensity: (N,) float32.
        ring: (N,) uint16.
        number: (N,) uint32.
        scale: float64, steps a meter.
        max_steps: float64; steps must be smaller.
        top: float32, level of the highest intensity.
        starts: (R,) uint32, where each ring begins; holds where each ends afterwards.
        final: (R,) uint32, the last point of each ring that has one.
        words: (N,) uint64, to be written.
        keys: (M,) uint64, field << 32 | place of what a word cannot hold, in no order.
        rests: (M,) uint32, what it is.

    Returns:
        Whether all can be stored, and how many keys there are; behind M they are not written.
    """
    steps, level = np.empty(3 * TILE, np.int32), np.empty(TILE, np.uint8)
    last = np.zeros((len(starts), 4), np.int32)
    first_of_rings(values_m, number, scale, max_steps, starts, final, last)
    fine, count = True, 0
    for begin in range(0, len(ring), TILE):
        tile = slice(begin, min(begin + TILE, len(ring)))
        fine &= quantise(values_m[3 * tile.start : 3 * tile.stop], scale, max_steps, steps)
        fine &= levels(intensity[tile], top, level)
        rings, numbers = ring[tile], number[tile]
        for i in range(len(rings)):
            j = np.uint64(i)  # an index without a sign need not be looked at
            value = np.uint64(rings[j])
            k = starts[value]
            starts[value] = k + np.uint32(1)
            at = np.uint64(3) * j
            x, y, z = steps[at], steps[at + np.uint64(1)], steps[at + np.uint64(2)]
            row = np.int32(numbers[j])
            before = last[value]
            turned_x = zigzag(np.int32(x - before[0]))
            turned_y = zigzag(np.int32(y - before[1]))
            turned_z = zigzag(np.int32(z - before[2]))
            jump = np.uint32(row - before[3])
            before[0], before[1], before[2], before[3] = x, y, z, row
            if max(turned_x, turned_y, turned_z) >= ESCAPE or jump >= OTHER:
                large = (turned_x, turned_y, turned_z, jump)
                for field in range(4):
                    if large[field] >= (ESCAPE if field < 3 else OTHER):
                        if count < len(keys):
                            keys[count] = (np.uint64(field) << np.uint64(32)) | np.uint64(k)
                            rests[count] = large[field]
                        count += 1
                turned_x, turned_y = min(turned_x, ESCAPE), min(turned_y, ESCAPE)
                turned_z, jump = min(turned_z, ESCAPE), min(jump, OTHER)
            words[np.uint64(k)] = (
                np.uint64(turned_x)
                | (np.uint64(turned_y) << np.uint64(16))
                | (np.uint64(turned_z) << np.uint64(32))
                | (np.uint64(level[j]) << np.uint64(48))
                | (np.uint64(jump) << np.uint64(56))
            )
    return fine, count


@numba.njit(cache=True, nogil=True)
def first_of_rings(
    values_m, number, scale, max_steps, starts, final, last
):  # pragma: no cover - compiled
    """Write what the first point of each ring differs from: the last point of the ring before.

    Args:
        values_m: (3 N,) float32 coordinates.
        number: (N,) uint32.
        scale: float64, steps a meter.
        max_steps: float64; steps must be smaller.
        starts: (R,) uint32, where each ring begins.
        final: (R,) uint32, the last point of each ring that has one.
        last: (R, 4) int32, to be written: x, y and z in steps, and the number.
    """
    before = np.zeros(4, np.int32)
    for value in range(len(starts)):
        last[value] = before
        end = starts[value + 1] if value + 1 < len(starts) else np.uint32(len(number))
        if end > starts[value]:
            i = np.int64(final[value])
            quantise(values_m[3 * i : 3 * i + 3], scale, max_steps, before)
            before[3] = np.int32(number[i])


@numba.njit(cache=True, nogil=True)
def split(words, planes):  # pragma: no cover - compiled
    """Write the bytes of (N,) words to the (8, N) planes of their weight, lowest first."""
    a, b, c, d = planes[0], planes[1], planes[2], planes[3]
    e, f, g, h = planes[4], planes[5], planes[6], planes[7]
    for i in range(len(words)):
        word = words[i]
        a[i] = np.uint8(word)
        b[i] = np.uint8(word >> np.uint64(8))
        c[i] = np.uint8(word >> np.uint64(16))
        d[i] = np.uint8(word >> np.uint64(24))
        e[i] = np.uint8(word >> np.uint64(32))
        f[i] = np.uint8(word >> np.uint64(40))
        g[i] = np.uint8(word >> np.uint64(48))
        h[i] = np.uint8(word >> np.uint64(56))


@numba.njit(cache=True, nogil=True)
def other_steps(steps, usual, positions, others):  # pragma: no cover - compiled
    """Write where (N,) uint8 steps are not the usual one, and what they are; return how many.

    Args:
        steps: (N,) uint8.
        usual: the usual one.
        positions: (M + 1,) uint32, to be filled.
        others: (M + 1,) uint32, to be filled.

    Returns:
        Their number; -1 if there are more than M.
    """
    count = 0
    for i in range(len(steps)):
        positions[count], others[count] = i, steps[i]  # without a branch that is hard to foresee
        count += steps[i] != usual
        if count == len(positions):
            return -1
    return count


@numba.njit(cache=True, nogil=True)
def order_by_ring(ring, starts, order):  # pragma: no cover - compiled
    """Write which point is at each place when points are grouped by ring; see `pack`."""
    for i in range(len(ring)):
        k = starts[ring[i]]
        starts[ring[i]] = k + np.uint32(1)
        order[k] = i
