from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from deltalake import DeltaTable
from hypothesis import given, settings
from hypothesis import strategies as st

from scene.errors import DataError, StoreError
from storage.local import LocalStore
from storage.rows import digest_of_rows, missing_rows, sort_rows
from storage.schemas import EVENTS, SCHEMAS
from storage.store import ObjectStore
from storage.tables import Tables


@pytest.fixture
def store(tmp_path: Path) -> ObjectStore:
    return LocalStore(tmp_path)


@pytest.fixture
def tables(store: ObjectStore) -> Tables:
    return Tables(store)


def events(recording: str, times: list[int], trigger: str = "hard_brake") -> pa.Table:
    rows = [
        {
            "recording": recording, "trigger": trigger, "start_ns": t, "end_ns": t + 1,
            "strength": float("nan") if t % 3 == 0 else t / 7,
            "detail": None if t % 2 else f"'{t}'",
        }
        for t in times
    ]  # fmt: skip
    return pa.Table.from_pylist(rows, schema=EVENTS)


def same(one: pa.Table, other: pa.Table) -> bool:
    """Equal in order too, and NaN equals NaN."""
    return one.schema == other.schema and str(one.to_pylist()) == str(other.to_pylist())


def test_a_table_never_written_is_empty(tables: Tables) -> None:
    for name, schema in SCHEMAS.items():
        assert tables.read(name).schema == schema
    assert len(tables.read("events", {"recording": "x"}, ["trigger"])) == 0
    assert tables.names() == []
    tables.compact("events")
    assert tables.names() == []


def test_replace_touches_only_its_scope(tables: Tables) -> None:
    tables.replace("events", events("a", [1, 2, 3]), {"recording": "a"})
    tables.replace("events", events("b", [4, 5]), {"recording": "b"})
    tables.replace("events", events("a", [9]), {"recording": "a"})
    assert tables.read("events", columns=["recording", "start_ns"]).to_pylist() == [
        {"recording": "a", "start_ns": 9},
        {"recording": "b", "start_ns": 4},
        {"recording": "b", "start_ns": 5},
    ]
    tables.replace("events", events("b", []), {"recording": "b"})
    assert tables.read("events")["recording"].to_pylist() == ["a"]
    assert tables.names() == ["events"]


def test_scope_of_several_columns_and_quotes(tables: Tables) -> None:
    name = "o'neil'; --"
    tables.replace("events", events(name, [1], "x"), {"recording": name, "trigger": "x"})
    tables.replace("events", events(name, [2], "y"), {"recording": name, "trigger": "y"})
    tables.replace("events", events(name, [3], "x"), {"recording": name, "trigger": "x"})
    assert tables.read("events", {"recording": name})["start_ns"].to_pylist() == [3, 2]
    tables.replace("events", events(name, [3], "x"), {"recording": name, "start_ns": 3})
    assert len(tables.read("events")) == 2
    tables.replace("events", events("new", [7]), {})
    assert tables.read("events")["recording"].to_pylist() == ["new"]


def test_long_names_are_told_apart_at_their_end(tables: Tables) -> None:
    """Delta keeps only the beginning of long texts in its statistics."""
    names = ["x" * 119 + end for end in "abc"]
    for name in names:
        tables.replace("events", events(name, [1]), {"recording": name})
    tables.replace("events", events(names[1], [2]), {"recording": names[1]})
    assert [len(tables.read("events", {"recording": name})) for name in names] == [1, 1, 1]
    assert tables.read("events", {"recording": names[1]})["start_ns"].to_pylist() == [2]


def test_equal_rows_make_no_version(tables: Tables) -> None:
    rows = events("a", [1, 2, 3, 6])
    version = tables.replace("events", rows, {"recording": "a"})
    assert tables.replace("events", rows, {"recording": "a"}) == version
    assert tables.replace("events", rows.take([2, 0, 3, 1]), {"recording": "a"}) == version
    assert tables.replace("events", events("b", []), {"recording": "b"}) == version
    assert tables.replace("events", rows.slice(1), {"recording": "a"}) == version + 1


def test_append_is_idempotent(tables: Tables) -> None:
    rows = events("a", [1, 2, 3])
    version = tables.append("events", rows)
    assert tables.append("events", rows.take([2, 1, 0])) == version
    assert tables.append("events", events("b", [1])) == version + 1
    assert tables.append("events", rows) == version + 1
    assert tables.append("events", events("b", [])) == version + 1
    assert len(tables.read("events")) == 4


def test_append_keeps_equal_rows_of_one_call(tables: Tables) -> None:
    tables.append("events", events("a", [1, 1]))
    assert len(tables.read("events")) == 2


def test_append_after_replace_adds_what_is_gone(tables: Tables) -> None:
    rows = pa.concat_tables([events("a", [1, 3]), events("b", [2])])
    tables.append("events", rows)
    tables.replace("events", events("a", []), {"recording": "a"})
    tables.append("events", rows)
    assert same(tables.read("events"), sort_rows(rows))
    tables.append("events", rows)
    assert len(tables.read("events")) == 3


def test_idempotence_survives_compaction_and_checkpoints(tables: Tables, tmp_path: Path) -> None:
    first = events("a", [0])
    tables.append("events", first)
    for i in range(1, 45):
        tables.append("events", events("a", [i]))
    log = tmp_path / "tables" / "events" / "_delta_log"
    assert list(log.glob("*.checkpoint.parquet"))
    before = tables.read("events")
    tables.compact("events")
    assert same(tables.read("events"), before)
    assert len(DeltaTable(tmp_path / "tables" / "events").file_uris()) == 1
    tables.append("events", first)
    assert same(tables.read("events"), before)
    assert len(before) == 45


def test_read_where(tables: Tables) -> None:
    for name in "cab":
        tables.append("events", events(name, [3, 1, 2]))
    read = tables.read("events", {"recording": ["a", "c"], "start_ns": [1, 2, 99]})
    assert read.select(["recording", "start_ns"]).to_pylist() == [
        {"recording": r, "start_ns": t} for r in "ac" for t in (1, 2)
    ]
    assert tables.read("events", {"recording": "b"}, ["end_ns"]).to_pydict() == {
        "end_ns": [2, 3, 4]
    }
    assert len(tables.read("events", {"recording": []})) == 0
    assert len(tables.read("events", {"recording": "a' OR 'x' = 'x"})) == 0
    assert len(tables.read("events", {"start_ns": 1})) == 3


def test_files_that_cannot_hold_the_rows_are_not_opened(tables: Tables, tmp_path: Path) -> None:
    for name in "ab":
        tables.append("events", events(name, [1]))
    files = sorted((tmp_path / "tables" / "events").glob("*.parquet"))
    other = next(f for f in files if pq.read_table(f)["recording"][0].as_py() == "b")
    other.unlink()
    assert len(tables.read("events", {"recording": "a"})) == 1
    with pytest.raises(StoreError, match="events"):
        tables.read("events")


def test_order_is_that_of_the_columns_read(tables: Tables) -> None:
    tables.append("events", events("a", [5, 1]))
    tables.append("events", events("a", [3]))
    assert tables.read("events", columns=["start_ns"])["start_ns"].to_pylist() == [1, 3, 5]


def test_errors_say_what_is_wrong(tables: Tables) -> None:
    rows = events("a", [1])
    with pytest.raises(DataError, match="'nothing' is unknown"):
        tables.read("nothing")
    with pytest.raises(DataError, match=r"no column.*colour"):
        tables.read("events", {"colour": 1})
    with pytest.raises(DataError, match="'soon' is no int64"):
        tables.read("events", {"start_ns": "soon"})
    with pytest.raises(DataError, match=r"no column.*colour"):
        tables.read("events", columns=["colour"])
    with pytest.raises(DataError, match=r"'detail'.*missing or unknown"):
        tables.append("events", rows.drop_columns("detail"))
    with pytest.raises(DataError, match=r"'extra'.*missing or unknown"):
        tables.append("events", rows.append_column("extra", [[1]]))
    with pytest.raises(DataError, match="1 of 1 rows lie outside"):
        tables.replace("events", rows, {"recording": "b"})
    wrong = rows.set_column(2, "start_ns", pa.array(["soon"]))
    with pytest.raises(DataError, match="soon"):
        tables.append("events", wrong)


def test_null_in_a_required_column_is_refused(tables: Tables) -> None:
    boxes = pa.table({f.name: pa.nulls(1, f.type) for f in SCHEMAS["boxes"]})
    with pytest.raises(DataError, match="boxes"):
        tables.append("boxes", boxes)
    assert len(tables.read("boxes")) == 0


def test_a_damaged_log_is_named(tables: Tables, store: ObjectStore) -> None:
    tables.append("events", events("a", [1]))
    store.put("tables/events/_delta_log/00000000000000000001.json", b"{not json")
    with pytest.raises(StoreError, match="events"):
        tables.read("events")


_CELL = st.one_of(st.none(), st.text(max_size=3))
_ROW = st.tuples(
    _CELL, _CELL, st.one_of(st.none(), st.integers(-2, 2)), st.sampled_from([0.0, 1.5])
)


def small(rows: list[tuple[str | None, str | None, int | None, float]]) -> pa.Table:
    schema = pa.schema([("a", pa.string()), ("b", pa.string()), ("i", pa.int64()), ("x", "double")])
    return pa.Table.from_pylist([dict(zip("abix", row, strict=True)) for row in rows], schema)


@settings(max_examples=60, deadline=None)
@given(st.lists(_ROW, max_size=6), st.lists(_ROW, max_size=6), st.randoms(use_true_random=False))
def test_digest_is_equality_of_rows(one: list, other: list, rng) -> None:
    same = sorted(map(repr, one)) == sorted(map(repr, other))
    assert (digest_of_rows(small(one)) == digest_of_rows(small(other))) == same
    shuffled = rng.sample(one, len(one))
    parts = pa.concat_tables([small(shuffled[:2]), small(shuffled[2:])])
    assert digest_of_rows(parts) == digest_of_rows(small(one))
    missing = missing_rows(small(one), small(other)).to_pylist()
    assert missing == small([row for row in one if row not in other]).to_pylist()


def test_columns_added_to_a_schema_are_null_in_older_rows(
    tables: Tables, monkeypatch: pytest.MonkeyPatch
) -> None:
    older = pa.schema([field for field in EVENTS if field.name not in {"strength", "detail"}])
    monkeypatch.setitem(SCHEMAS, "events", older)
    tables.replace("events", events("a", [1, 2]).select(older.names), {"recording": "a"})
    monkeypatch.setitem(SCHEMAS, "events", EVENTS)
    before = tables.read("events")
    assert before.schema == EVENTS
    assert before["strength"].null_count == 2
    assert tables.read("events", columns=["detail"])["detail"].null_count == 2
    tables.replace("events", events("b", [4]), {"recording": "b"})
    tables.append("events", events("c", [5]))
    after = tables.read("events")
    assert after["recording"].to_pylist() == ["a", "a", "b", "c"]
    assert after["strength"].to_pylist()[2:] == [4 / 7, 5 / 7]
    version = tables.replace("events", events("b", [4]), {"recording": "b"})
    assert tables.replace("events", events("b", [4]), {"recording": "b"}) == version
