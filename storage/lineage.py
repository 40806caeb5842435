"""Where everything came from: a graph of content, kept in the table `lineage`.

Each edge says that a child was made from a parent; both are named by kind, key and digest.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Literal

import pyarrow as pa

from scene.errors import DataError, NotFoundError
from storage.schemas import LINEAGE
from storage.tables import Tables

_Side = Literal["child", "parent"]
_FIELDS: Final = ("kind", "key", "digest")
_MIN_DIGEST_LENGTH: Final = 4


@dataclass(frozen=True, order=True)
class Node:
    """One derived or original object.

    Attributes:
        kind: recording, sweeps, annotation, dataset, model, evaluation, release, simulation.
        key: its name: an object key, a recording id, a model id.
        digest: of its content; two contents under one key are two nodes.
    """

    kind: str
    key: str
    digest: str

    def __post_init__(self) -> None:
        """Refuse nameless nodes."""
        if not (self.kind and self.key and self.digest):
            raise DataError(f"{self}: kind, key and digest must not be empty")


def record(tables: Tables, child: Node, parents: Sequence[Node]) -> None:
    """Remember what a child was made from; recording the same again changes nothing.

    Parents are only ever added: if the same content was made twice from different parents, both
    ways count, so that an erasure of either finds it.

    Args:
        tables: where lineage is kept.
        child: what was made.
        parents: all it was made from; none for an original, which is then known by itself.

    Raises:
        DataError: if the child is one of its parents.
    """
    if child in parents:
        raise DataError(f"lineage: {child.kind} {child.key} cannot be made from itself")
    edges = [(child, parent) for parent in sorted(set(parents))] or [(child, None)]
    rows = [
        {
            **{f"child_{name}": getattr(child, name) for name in _FIELDS},
            **{f"parent_{name}": getattr(parent, name, None) for name in _FIELDS},
        }
        for child, parent in edges
    ]
    tables.append("lineage", pa.Table.from_pylist(rows, schema=LINEAGE))


def ancestors(tables: Tables, key: str) -> list[tuple[int, Node]]:
    """Return what an object was made from, as (depth, node) depth first.

    The tree begins with the nodes called `key` at depth 0. A node that is reached twice is listed
    in both places, but what lies beyond it only in the first.

    Args:
        tables: where lineage is kept.
        key: a key, or the first characters of a digest (at least 4).

    Raises:
        NotFoundError: if lineage knows no such object.
        DataError: if the first characters fit several digests.
    """
    return _tree(tables, key, "child", "parent")


def descendants(tables: Tables, key: str) -> list[tuple[int, Node]]:
    """Return what was made from an object, directly or not; else like `ancestors`."""
    return _tree(tables, key, "parent", "child")


def _tree(tables: Tables, key: str, start: _Side, end: _Side) -> list[tuple[int, Node]]:
    rows = tables.read("lineage")
    near, far = _nodes(rows, start), _nodes(rows, end)
    beyond: defaultdict[Node, set[Node]] = defaultdict(set)
    for one, other in zip(near, far, strict=True):
        if one is not None and other is not None:
            beyond[one].add(other)
    roots = _find({node for node in near + far if node is not None}, key)
    return _depth_first(roots, beyond)


def _depth_first(roots: Sequence[Node], beyond: Mapping[Node, set[Node]]) -> list[tuple[int, Node]]:
    tree: list[tuple[int, Node]] = []
    expanded: set[Node] = set()
    waiting = [(0, node) for node in sorted(roots, reverse=True)]
    while waiting:  # not recursive: a chain of models grows by one every turn
        depth, node = waiting.pop()
        tree.append((depth, node))
        if node not in expanded:
            expanded.add(node)
            following = sorted(beyond.get(node, ()), reverse=True)
            waiting += [(depth + 1, other) for other in following]
    return tree


def _find(nodes: Iterable[Node], key: str) -> list[Node]:
    known = list(nodes)
    found = [node for node in known if node.key == key]
    if not found and len(key) >= _MIN_DIGEST_LENGTH:
        found = [node for node in known if node.digest.startswith(key)]
        digests = sorted({node.digest for node in found})
        if len(digests) > 1:
            raise DataError(
                f"lineage: {len(digests)} digests begin with {key!r} "
                f"({digests[0]}, {digests[1]}...): give more characters"
            )
    if not found:
        raise NotFoundError(f"lineage knows no object with the key or digest {key!r}")
    return found


def _nodes(rows: pa.Table, side: _Side) -> list[Node | None]:
    columns = [rows.column(f"{side}_{name}").to_pylist() for name in _FIELDS]
    return [Node(*values) if values[0] else None for values in zip(*columns, strict=True)]
