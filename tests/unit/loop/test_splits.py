"""No drive is on both sides; a single drive is cut with a gap, and says so."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pytest

from loop.curate import EVALUATION, select, splits
from loop.duplicates import groups_with_shared_moments, remember_fingerprint
from loop.workspace import Workspace
from scene.recording import RecordingId
from storage import schemas
from tests.support.workspaces import make_workspace


def recorded(folder: Path, names: list[str], frames: int = 20) -> Workspace:
    """Return a workspace whose tables say that these recordings were ingested."""
    workspace = make_workspace(folder)
    for order, name in enumerate(names):
        empty = {
            field.name: ("" if field.type == pa.string() else 0)
            for field in schemas.RECORDINGS
            if field.type != pa.bool_()
        }
        row = {**empty, "recording": name, "status": "ok", "start_ns": order * 10**12}
        row["num_sweeps"] = frames
        rows = pa.Table.from_pylist([row], schema=schemas.RECORDINGS)
        workspace.tables.replace("recordings", rows, {"recording": name})
        times = [order * 10**12 + i * 200_000_000 for i in range(frames)]
        columns = [{"recording": name, "timestamp_ns": t, "index": i} for i, t in enumerate(times)]
        table = pa.Table.from_pylist(columns, schema=schemas.FRAMES)
        workspace.tables.replace("frames", table, {"recording": name})
    return workspace


def test_a_recording_is_on_one_side_only(tmp_path: Path) -> None:
    names = [f"drive{i:02d}" for i in range(9)]
    split = splits(recorded(tmp_path, names))
    sides: dict[str, set[str]] = {}
    for name, _, side in split.frames:
        sides.setdefault(name, set()).add(side)
    assert split.unit == "recording"
    assert {len(side) for side in sides.values()} == {1}
    assert {side for value in sides.values() for side in value} == {"train", "test"}


@pytest.mark.slow
def test_new_recordings_move_no_old_one(tmp_path: Path) -> None:
    names = [f"drive{i:02d}" for i in range(12)]
    before = splits(recorded(tmp_path / "a", names[:8]))
    after = splits(recorded(tmp_path / "b", names))
    assert set(before.of("test")) <= set(after.of("test"))


def share_moments(workspace: Workspace, words: dict[str, list[int]]) -> None:
    for name, those in words.items():
        remember_fingerprint(workspace.tables, RecordingId(name), those)


@pytest.mark.slow
def test_recordings_that_share_moments_are_on_one_side(tmp_path: Path) -> None:
    """A chain: the cut in the middle has moments of both, which have none in common."""
    names = [f"drive{i:02d}" for i in range(9)]
    workspace = recorded(tmp_path, names)
    alone = {name: side for name, _, side in splits(workspace).frames}
    test = [name for name in names if alone[name] == "test"]
    train = [name for name in names if alone[name] == "train"]
    chain = [test[0], train[0], test[1]]
    own = {name: [100 * i + k for k in range(10)] for i, name in enumerate(names)}
    own[chain[1]] = [*own[chain[0]][:4], *own[chain[2]][:5]]
    share_moments(workspace, own)
    assert groups_with_shared_moments(workspace.tables, names) == [sorted(chain)]
    side = {name: side for name, _, side in splits(workspace).frames}
    assert [side[name] for name in chain] == ["train"] * 3
    assert {name: side[name] for name in names if name not in chain[::2]} == {
        name: alone[name] for name in names if name not in chain[::2]
    }


def test_few_words_in_common_by_chance_tie_nothing(tmp_path: Path) -> None:
    workspace = recorded(tmp_path, ["a", "b", "c"])
    share_moments(workspace, {"a": [1, 2, 3, 4, 5], "b": [1, 2, 3, 40, 50], "c": [7]})
    assert groups_with_shared_moments(workspace.tables, ["a", "b", "c"]) == []
    share_moments(workspace, {"b": [1, 2, 3, 4, 50], "c": [50]})
    assert groups_with_shared_moments(workspace.tables, ["a", "b", "c"]) == [["a", "b", "c"]]
    assert groups_with_shared_moments(workspace.tables, ["a", "c"]) == []


def test_copies_of_one_drive_are_cut_at_one_time(tmp_path: Path) -> None:
    workspace = recorded(tmp_path, ["a", "b"], frames=40)
    rows = workspace.tables.read("frames", {"recording": "a"}).to_pylist()
    copy = pa.Table.from_pylist([{**r, "recording": "b"} for r in rows], schema=schemas.FRAMES)
    workspace.tables.replace("frames", copy, {"recording": "b"})
    share_moments(workspace, {"a": [1, 2, 3, 4, 5], "b": [1, 2, 3, 4, 5]})
    split = splits(workspace)
    assert split.unit == "segment"
    assert max(t for _, t in split.of("train")) < min(t for _, t in split.of("test"))
    assert {name for name, _ in split.of("test")} == {name for name, _ in split.of("train")}


def test_one_recording_is_cut_with_a_gap(tmp_path: Path) -> None:
    split = splits(recorded(tmp_path, ["only"], frames=50))
    assert split.unit == "segment"
    last_train = max(t for _, t in split.of("train"))
    first_test = min(t for _, t in split.of("test"))
    assert first_test - last_train > 2 * 200_000_000
    assert len(split.of("train")) + len(split.of("gap")) + len(split.of("test")) == 50


@pytest.mark.parametrize("count", [1, 9])
def test_the_first_selection_trains_on_nothing_it_measures_on(tmp_path: Path, count: int) -> None:
    workspace = recorded(tmp_path, [f"drive{i:02d}" for i in range(count)])
    rows = select(workspace, 0).to_pylist()
    held_out = {row["recording"] for row in rows if row["arm"] == EVALUATION}
    bootstrap = [row for row in rows if row["arm"] == "bootstrap"]
    assert bootstrap
    assert all(row["reason"] for row in rows)
    if count > 1:
        assert not held_out & {row["recording"] for row in bootstrap}
    again = select(workspace, 0).to_pylist()
    assert again == rows
