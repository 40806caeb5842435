"""Inner loop of `training.placing`."""

from __future__ import annotations

import math

import numba

from training.augment import GAP_M


@numba.njit(cache=True, nogil=True)
def first_free(there, drawn, tries, chosen):  # pragma: no cover - compiled
    """Write which of the drawn objects stay: of each run of `tries`, the first that stands free.

    An object stands free where it touches no other, and hides none behind it: counts of points
    must stay true. The rules are those of `training.augment.stands_free`.

    Args:
        there: (M, 3) float64 x, y and reach (m) of the boxes that are there.
        drawn: (S * tries, 3) float64, the same of what was drawn.
        tries: draws an object has.
        chosen: (S,) int64, to be written: row of `drawn`, -1 where none stands free.
    """
    for slot in range(len(chosen)):
        chosen[slot] = -1
        for row in range(slot * tries, (slot + 1) * tries):
            free = True
            for i in range(len(there)):
                if _meet(drawn[row], there[i]):
                    free = False
                    break
            for before in range(slot):
                if free and chosen[before] >= 0 and _meet(drawn[row], drawn[chosen[before]]):
                    free = False
            if free:
                chosen[slot] = row
                break


@numba.njit(cache=True, nogil=True)
def _meet(own, other):  # pragma: no cover - compiled
    """Return whether an object touches another one, or hides it."""
    if math.hypot(own[0] - other[0], own[1] - other[1]) < own[2] + other[2] + GAP_M:
        return True
    own_m, other_m = math.hypot(own[0], own[1]), math.hypot(other[0], other[1])
    if other_m <= own_m:
        return False
    turn = math.atan2(other[1], other[0]) - math.atan2(own[1], own[0])
    turn = abs((turn + math.pi) % (2 * math.pi) - math.pi)
    return turn < math.atan2(other[2], other_m) + math.atan2(own[2], own_m)
