from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pytest

from scene.errors import DataError, NotFoundError
from storage.lineage import Node, ancestors, descendants, record
from storage.local import LocalStore
from storage.schemas import LINEAGE
from storage.tables import Tables


def node(kind: str, key: str, digest: str | None = None) -> Node:
    return Node(kind, key, digest or f"{key}-digest")


R1, R2 = node("recording", "drive-1"), node("recording", "drive-2")
S1, S2 = node("sweeps", "sweeps/drive-1.parquet"), node("sweeps", "sweeps/drive-2.parquet")
DATA = node("dataset", "d1", "abcd1234")
MODEL, NEXT = node("model", "m-1", "ffee0011"), node("model", "m-2", "ffee2233")


@pytest.fixture
def tables(tmp_path: Path) -> Tables:
    tables = Tables(LocalStore(tmp_path))
    record(tables, R1, [])
    record(tables, S1, [R1])
    record(tables, S2, [R2])
    record(tables, DATA, [S2, S1])
    record(tables, MODEL, [DATA])
    record(tables, NEXT, [DATA, MODEL])
    return tables


def test_ancestors_are_a_depth_first_tree(tables: Tables) -> None:
    below_data = [(1, S1), (2, R1), (1, S2), (2, R2)]
    assert ancestors(tables, "m-1") == [(0, MODEL), (1, DATA)] + [
        (depth + 1, each) for depth, each in below_data
    ]
    assert ancestors(tables, "drive-1") == [(0, R1)]


def test_a_node_reached_twice_is_followed_once(tables: Tables) -> None:
    tree = ancestors(tables, "m-2")
    assert [each for _, each in tree].count(DATA) == 2
    assert [each for _, each in tree].count(R1) == 1
    assert tree[-2:] == [(1, MODEL), (2, DATA)]


def test_descendants(tables: Tables) -> None:
    tree = descendants(tables, "drive-2")
    assert tree == [(0, R2), (1, S2), (2, DATA), (3, MODEL), (4, NEXT), (3, NEXT)]
    assert descendants(tables, "m-2") == [(0, NEXT)]


def test_the_beginning_of_a_digest_is_enough(tables: Tables) -> None:
    assert ancestors(tables, "abcd")[0] == (0, DATA)
    with pytest.raises(DataError, match="2 digests begin with 'ffee'"):
        ancestors(tables, "ffee")
    for unknown in ("abc", "nothing", ""):
        with pytest.raises(NotFoundError, match="lineage knows no object"):
            ancestors(tables, unknown)


def test_two_contents_of_one_key_are_two_nodes(tables: Tables) -> None:
    again = Node("sweeps", S1.key, "other-digest")
    record(tables, again, [R1])
    roots = [each for depth, each in ancestors(tables, S1.key) if depth == 0]
    assert roots == sorted([S1, again])


def test_recording_again_changes_nothing(tables: Tables) -> None:
    before = tables.read("lineage")
    record(tables, DATA, [S1, S2, S1])
    assert tables.read("lineage").equals(before)


def test_further_parents_are_added(tables: Tables) -> None:
    other = node("annotation", "labels")
    record(tables, DATA, [S1, other])
    assert {each for depth, each in ancestors(tables, "d1") if depth == 1} == {S1, S2, other}


def test_a_long_chain_of_models(tmp_path: Path) -> None:
    """Each turn starts from the model before; 1500 is deeper than Python may recurse."""
    tables = Tables(LocalStore(tmp_path))
    ids = [f"m-{i}" for i in range(1500)]
    kinds = ["model"] * 1499
    columns = [kinds, ids[1:], ids[1:], kinds, ids[:-1], ids[:-1]]
    tables.append("lineage", pa.table(dict(zip(LINEAGE.names, columns, strict=True))))
    assert ancestors(tables, "m-1499")[-1] == (1499, Node("model", "m-0", "m-0"))


def test_bad_nodes(tables: Tables) -> None:
    with pytest.raises(DataError, match="must not be empty"):
        Node("model", "", "x")
    with pytest.raises(DataError, match="from itself"):
        record(tables, DATA, [S1, DATA])
