"""Freed memory is used again inside the block and given back behind it."""

from __future__ import annotations

import resource

import numpy as np

from storage import memory


def _page_faults() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt


def _use_arrays() -> int:
    before = _page_faults()
    for _ in range(50):
        np.ones(2**18)  # 2 MB, 512 pages
    return _page_faults() - before


def test_arrays_of_a_loop_take_the_pages_of_those_before() -> None:
    with memory.reused():
        _use_arrays()
        assert _use_arrays() < 1000  # 25600 where every array is asked for anew


def test_it_may_be_entered_twice() -> None:
    with memory.reused(), memory.reused():
        assert np.ones(2**18).sum() == 2**18
