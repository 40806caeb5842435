"""Datasets: the digest is the content, the splits never mix, damage is noticed."""

from __future__ import annotations

import io
import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from scene.box import Boxes
from scene.errors import DataError, FormatError, NotFoundError
from storage import layout
from storage.boxes import boxes_to_arrow
from storage.local import LocalStore
from storage.manifest import FRAME_SCHEMA, DatasetManifest, assign_splits


def boxes(count: int, x_m: float = 5.0) -> Boxes:
    center = np.column_stack([np.arange(count) * 7 + x_m, np.zeros(count), np.ones(count)])
    return Boxes.make(center, np.ones((count, 3)), np.zeros(count), ["car"] * count)


def frames(*rows: tuple[str, int, str]) -> pa.Table:
    columns = list(
        zip(*[(r, t, s, f"sweeps/{r}.parquet", "person") for r, t, s in rows], strict=True)
    )
    return pa.table([pa.array(c) for c in columns], names=FRAME_SCHEMA.names)


FRAMES = frames(("b", 20, "train"), ("b", 10, "train"), ("a", 10, "test"), ("s", 1, "sim"))
BOXES = pa.concat_tables(
    [boxes_to_arrow("a", {10: boxes(3)}), boxes_to_arrow("b", {10: boxes(2), 99: boxes(4)})]
)


def build(f: pa.Table = FRAMES, b: pa.Table = BOXES, unit: str = "recording") -> DatasetManifest:
    return DatasetManifest.build(f, b, unit, ["p2", "p1"])


def test_frames_come_in_order_with_their_boxes() -> None:
    manifest = build()
    train = [(k, r, t, len(b)) for k, r, t, b in manifest.of_split("train")]
    assert train == [("sweeps/b.parquet", "b", 10, 2), ("sweeps/b.parquet", "b", 20, 0)]
    assert [(t, len(b)) for _, _, t, b in manifest.of_split("test")] == [(10, 3)]
    assert [len(b) for *_, b in manifest.of_split("sim")] == [0]
    assert manifest.num_frames("train") == 2
    assert manifest.boxes.num_rows == 5  # those of frame b@99 belong to no frame


def test_the_digest_does_not_depend_on_row_order_or_chunks() -> None:
    backwards = pa.concat_tables([BOXES.slice(4), BOXES.slice(0, 4)])
    other = DatasetManifest.build(FRAMES.take([3, 1, 0, 2]), backwards, "recording", ["p1", "p2"])
    assert other.digest == build().digest
    assert len(other.digest) == 64


@pytest.mark.parametrize(
    "other",
    [
        build(frames(("b", 20, "train"), ("b", 10, "train"), ("a", 10, "test"))),
        build(frames(("b", 20, "sim"), ("b", 10, "train"), ("a", 10, "test"), ("s", 1, "sim"))),
        build(b=BOXES.slice(1)),
        build(unit="segment"),
        DatasetManifest.build(FRAMES, BOXES, "recording", ["p1"]),
    ],
)
def test_any_change_changes_the_digest(other: DatasetManifest) -> None:
    assert other.digest != build().digest


def test_save_and_load(tmp_path: Path) -> None:
    store, manifest = LocalStore(tmp_path), build()
    manifest.save(store)
    manifest.save(store)  # again: nothing changes
    back = DatasetManifest.load(store, manifest.digest)
    assert back.digest == manifest.digest
    assert back.frames.equals(manifest.frames)
    assert back.boxes.equals(manifest.boxes)
    assert (back.split_unit, back.parents) == ("recording", ("p1", "p2"))
    written = json.loads(store.get(layout.dataset(manifest.digest, "manifest.json")))
    assert written["num_frames"] == {"train": 2, "test": 1, "sim": 1}


def test_the_manifest_is_written_last(tmp_path: Path) -> None:
    order: list[str] = []

    class Store(LocalStore):
        def put(self, key, data, **kwargs):
            order.append(key.rsplit("/", 1)[1])
            return super().put(key, data, **kwargs)

    store = Store(tmp_path)
    build().save(store)
    assert order == ["frames.parquet", "boxes.parquet", "manifest.json"]
    store.delete(layout.dataset(build().digest, "manifest.json"))
    with pytest.raises(NotFoundError):
        DatasetManifest.load(store, build().digest)


def test_changed_files_are_noticed(tmp_path: Path) -> None:
    store, manifest = LocalStore(tmp_path), build()
    manifest.save(store)
    buffer = io.BytesIO()
    pq.write_table(manifest.boxes.slice(1), buffer)
    store.put(layout.dataset(manifest.digest, "boxes.parquet"), buffer.getvalue())
    with pytest.raises(FormatError, match="files were changed"):
        DatasetManifest.load(store, manifest.digest)
    store.put(layout.dataset(manifest.digest, "boxes.parquet"), b"nonsense")
    with pytest.raises(FormatError, match="damaged dataset"):
        DatasetManifest.load(store, manifest.digest)


@pytest.mark.parametrize(
    ("rows", "unit", "message"),
    [
        ([("a", 1, "train"), ("a", 1, "train")], "recording", "a@1 is listed twice"),
        ([("a", 1, "train"), ("a", 2, "test")], "recording", "a is in both train and test"),
        ([("a", 1, "valid")], "recording", "'valid': expected one of train, test, sim"),
        ([("a", 1, "train")], "frame", "'frame': expected 'recording' or 'segment'"),
    ],
)
def test_wrong_frames_are_refused(rows: list, unit: str, message: str) -> None:
    with pytest.raises(DataError, match=message):
        build(frames(*rows), unit=unit)


def test_segments_of_one_recording_may_be_on_both_sides() -> None:
    manifest = build(frames(("b", 10, "train"), ("b", 99, "test")), unit="segment")
    assert [len(b) for *_, b in manifest.of_split("test")] == [4]


def test_missing_columns_are_named() -> None:
    with pytest.raises(DataError, match="frames: missing columns annotator"):
        build(FRAMES.drop_columns(["annotator"]))


def test_an_unknown_split_is_refused() -> None:
    with pytest.raises(DataError, match="'val': expected one of"):
        list(build().of_split("val"))


names = st.sets(st.text("abcdef0123456789-", min_size=1, max_size=8), max_size=30)


@given(names)
def test_splits_have_both_sides_from_two_recordings_on(recordings: set[str]) -> None:
    split = assign_splits(sorted(recordings))
    assert set(split) == recordings
    assert set(split.values()) == ({"train", "test"} if len(recordings) > 1 else
                                   {"train"} if recordings else set())  # fmt: skip


@given(names, names)
def test_adding_recordings_moves_at_most_the_two_at_the_ends(old: set[str], new: set[str]) -> None:
    before, after = assign_splits(sorted(old)), assign_splits(sorted(old | new))
    assert sum(before[name] != after[name] for name in old) <= 2


@given(names, st.lists(st.integers(0, 4), min_size=60, max_size=60))
def test_a_group_is_on_one_side(recordings: set[str], labels: list[int]) -> None:
    ordered = sorted(recordings)
    groups = [[n for n, at in zip(ordered, labels, strict=False) if at == k] for k in range(5)]
    split = assign_splits(ordered, groups=groups)
    assert set(split) == recordings
    assert all(len({split[name] for name in group}) <= 1 for group in groups)
    if sum(map(bool, groups)) > 1:
        assert set(split.values()) == {"train", "test"}


def test_joining_a_group_moves_nothing_from_train_to_test() -> None:
    drives = [f"drive-{i}" for i in range(200)]
    before = assign_splits(drives)
    groups = [[f"drive-{i}", f"copy-{i}"] for i in range(0, 200, 2)]
    after = assign_splits([*drives, *(group[1] for group in groups)], groups=groups)
    moved = {(before[name], after[name]) for name in drives if before[name] != after[name]}
    assert moved == {("test", "train")}
    assert all(after[drive] == after[copy] for drive, copy in groups)
    assert all(before[name] == after[name] for name in drives[1::2])


def test_the_share_is_about_kept() -> None:
    split = assign_splits([f"drive-{i}" for i in range(2000)], 0.34)
    assert 0.31 < list(split.values()).count("test") / 2000 < 0.37
    with pytest.raises(DataError, match="between 0 and 1"):
        assign_splits(["a"], 1.0)
