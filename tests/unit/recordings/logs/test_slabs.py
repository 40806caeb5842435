"""Memory is used again only when nobody looks at it any more."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest

from recordings.logs import slabs

SIZE = 20 * 2**20  # one a slab


@pytest.fixture(autouse=True)
def nothing_free() -> Iterator[None]:
    slabs.clear()
    yield
    slabs.clear()


def address(room: np.ndarray) -> int:
    return room.__array_interface__["data"][0]


def test_rooms_do_not_overlap() -> None:
    rooms = [slabs.room(3_000_000) for _ in range(20)]
    for number, room in enumerate(rooms):
        room[:] = number
    assert all((room == number).all() for number, room in enumerate(rooms))


def test_a_slab_is_used_again_when_its_last_view_is_gone() -> None:
    room = slabs.room(SIZE)
    where, view = address(room), room[100:200].data
    del room
    others = [slabs.room(SIZE) for _ in range(3)]
    assert where not in map(address, others)
    del view
    assert address(slabs.room(SIZE)) == where


def test_what_is_larger_than_a_slab_is_given_too() -> None:
    assert len(slabs.room(100_000_000)) == 100_000_000
