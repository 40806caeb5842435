"""Thousands of damaged and forged sweeps: an error or a sweep, nothing else, in bounded memory."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from storage import codec
from tests.support.sweep_layouts import (
    Layout,
    damages,
    decodes_or_refuses,
    is_refused,
    layouts,
    with_checksum,
)

pytestmark = pytest.mark.integration

LONG = settings(max_examples=4000, deadline=None, suppress_health_check=[HealthCheck.too_slow])


@LONG
@given(layouts, st.integers(0, 2**31), st.lists(damages(), min_size=1, max_size=4))
def test_forged_under_a_right_checksum(
    layout: Layout, seed: int, harm: list[Callable[[bytes], bytes]]
) -> None:
    body = layout.encode(layout.sweep(seed))[:-4]
    for damage in harm:
        body = damage(body)
    decodes_or_refuses(with_checksum(body))


@LONG
@given(layouts, st.integers(0, 2**31), damages())
def test_damaged(layout: Layout, seed: int, damage: Callable[[bytes], bytes]) -> None:
    data = layout.encode(layout.sweep(seed))
    bad = damage(data)
    if bad != data:
        assert is_refused(bad)


@LONG
@given(layouts, st.integers(0, 2**31))
def test_undamaged(layout: Layout, seed: int) -> None:
    sweep = layout.sweep(seed)
    back = codec.decode(layout.encode(sweep), 0)
    assert np.array_equal(np.sort(back.offset_ns), np.sort(sweep.offset_ns))
    assert np.array_equal(np.sort(back.intensity), np.sort(sweep.intensity))


@LONG
@given(st.binary(max_size=400))
def test_noise(data: bytes) -> None:
    decodes_or_refuses(b"SLPC" + data)
    decodes_or_refuses(with_checksum(b"SLPC\x02" + data))
