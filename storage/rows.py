"""Rows of Arrow tables compared as content: order and chunks do not matter."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator

import pyarrow as pa
import pyarrow.compute as pc


def sort_rows(rows: pa.Table) -> pa.Table:
    """Return the rows sorted by every column from left to right, nulls last."""
    return rows.sort_by([(name, "ascending") for name in rows.column_names])


def digest_of_rows(rows: pa.Table) -> str:
    """Return the sha256 of names, types and values of the rows, whatever their order."""
    digest = hashlib.sha256(f"{len(rows)}".encode())
    for name, column in zip(rows.column_names, sort_rows(rows).columns, strict=True):
        digest.update(f"|{name}:{column.type}|".encode())
        digest.update(column.is_null().to_numpy().tobytes())
        filled = column.drop_null()
        if pa.types.is_string(filled.type):
            digest.update(pc.call_function("binary_length", [filled]).to_numpy().tobytes())
            digest.update("".join(filled.to_pylist()).encode("utf-8"))
        else:
            digest.update(filled.to_numpy().tobytes())
    return digest.hexdigest()


def missing_rows(rows: pa.Table, present: pa.Table) -> pa.Table:
    """Return the rows that `present` does not hold; null equals null and NaN equals NaN."""
    there = set(_as_tuples(present))
    absent = [row not in there for row in _as_tuples(rows)]
    return rows.filter(pa.array(absent, type=pa.bool_()))


def _as_tuples(rows: pa.Table) -> Iterator[tuple[object, ...]]:
    columns = [
        ["NaN" if value != value else value for value in column.to_pylist()]
        for column in rows.columns
    ]
    return zip(*columns, strict=True)
