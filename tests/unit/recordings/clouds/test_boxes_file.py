from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from recordings.clouds import boxes_file
from scene.box import Boxes
from scene.errors import FormatError


def some_boxes(seed: int, count: int) -> Boxes:
    rng = np.random.default_rng(seed)
    return Boxes.make(
        rng.normal(0, 100, (count, 3)), rng.uniform(0.1, 20, (count, 3)),
        rng.uniform(-np.pi, np.pi, count), rng.choice(["car", "bus"], count),
        np.where(rng.random((count, 2)) < 0.3, np.nan, rng.normal(size=(count, 2))),
        rng.choice(["", "a,b", 'quote"d', "straße\n2"], count),
        np.where(rng.random(count) < 0.5, np.nan, rng.random(count)), rng.integers(-1, 500, count),
    )  # fmt: skip


def write(path: Path, frames: dict[int, Boxes]) -> Path:
    lines = (boxes_file.lines(time, boxes) for time, boxes in frames.items())
    path.write_text(boxes_file.header() + "".join(lines), encoding="utf-8", newline="")
    return path


@given(st.integers(0, 2**32), st.lists(st.integers(0, 4), min_size=1, max_size=4))
def test_every_bit_comes_back(
    tmp_path_factory: pytest.TempPathFactory, seed: int, counts: list[int]
) -> None:
    frames = {10**18 + i: some_boxes(seed + i, count) for i, count in enumerate(counts)}
    again = boxes_file.read_boxes(write(tmp_path_factory.mktemp("b") / "boxes.csv", frames))
    assert list(again) == list(frames)
    for time, boxes in frames.items():
        for name in boxes.__slots__:
            np.testing.assert_array_equal(getattr(again[time], name), getattr(boxes, name), name)


def test_what_is_wrong_is_said(tmp_path: Path) -> None:
    path = write(tmp_path / "boxes.csv", {5: some_boxes(0, 2)})
    lines = path.read_text().splitlines()
    path.write_text("\n".join([lines[0].replace("yaw_rad", "heading"), *lines[1:]]))
    with pytest.raises(FormatError, match=r"boxes\.csv: no column yaw_rad"):
        boxes_file.read_boxes(path)
    path.write_text(f"{lines[0]}\n5,car,,1,2,x,1,1,1,0,,,,\n")
    with pytest.raises(FormatError, match=r"boxes\.csv line 2: not a box"):
        boxes_file.read_boxes(path)
    path.write_text(f"{lines[0]}\n5,car,,1,2,nan,1,1,1,0,,,,\n")
    with pytest.raises(FormatError, match="must be numbers"):
        boxes_file.read_boxes(path)


@given(st.binary(max_size=300))
def test_other_bytes_are_no_boxes(tmp_path_factory: pytest.TempPathFactory, data: bytes) -> None:
    path = tmp_path_factory.mktemp("b") / "boxes.csv"
    for start in (b"", boxes_file.header().encode()):
        path.write_bytes(start + data)
        try:
            boxes_file.read_boxes(path)
        except FormatError:
            continue
