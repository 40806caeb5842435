from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scene.errors import DataError
from scene.recording import RecordingId, frame_id, split_frame_id
from scene.taxonomy import CATEGORY_NAMES, to_category


@pytest.mark.parametrize("name", ["", "a,b", "a/b", "a b", "x...y", "..", "ü", "a" * 121, "a|b"])
def test_names_that_break_partitions_or_keys_are_refused(name: str) -> None:
    with pytest.raises(DataError, match="recording id"):
        RecordingId(name)


@given(st.text(max_size=300))
def test_any_text_becomes_a_valid_name(text: str) -> None:
    assert RecordingId(RecordingId.from_text(text)) == RecordingId.from_text(text)


@given(st.from_regex(r"[A-Za-z0-9_-]{1,20}", fullmatch=True), st.integers(0, 2**62))
def test_frame_ids_split_again(name: str, timestamp: int) -> None:
    assert split_frame_id(frame_id(name, timestamp)) == (name, timestamp)


@pytest.mark.parametrize("text", ["", "abc", "abc@", "abc@x"])
def test_broken_frame_ids_are_refused(text: str) -> None:
    with pytest.raises(DataError):
        split_frame_id(text)


@pytest.mark.parametrize(
    ("source", "category"),
    [
        ("Van", "car"),
        ("Tram", "bus"),
        ("REGULAR_VEHICLE", "car"),
        ("Pedestrian with Object", "pedestrian"),
        ("vehicle.bus.rigid", "bus"),
        ("DontCare", None),
        ("ANIMAL", None),
    ],
)
def test_names_of_known_data_sets(source: str, category: str | None) -> None:
    assert to_category(source) == category


def test_our_own_names_map_to_themselves() -> None:
    assert [to_category(name) for name in CATEGORY_NAMES] == list(CATEGORY_NAMES)
