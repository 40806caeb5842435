"""Delta tables of the store: written atomically, safely by many processes at once.

Commits are serial, as if each writer had waited for the others: Delta's rules let a commit pass
only if nothing that it read was changed meanwhile, else it is computed again on the newer version.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import reduce
from typing import Final

import pyarrow as pa
import pyarrow.compute as pc
from deltalake import CommitProperties, DeltaTable, Schema, Transaction, write_deltalake
from deltalake.exceptions import CommitFailedError, DeltaError, TableNotFoundError

from scene.errors import ConflictError, DataError, StoreError
from storage import layout
from storage.rows import digest_of_rows, missing_rows, sort_rows
from storage.schemas import SCHEMAS
from storage.store import ObjectStore

Scope = Mapping[str, str | int]
Where = Mapping[str, str | int | Sequence[str] | Sequence[int]]

_GIVE_UP_AFTER_S: Final = 120.0
_MAX_BROKEN: Final = 4
_COMMITS_PER_CHECKPOINT: Final = "20"  # few log files to read when a table is opened


class Tables:
    """The tables of a store, with the columns of `storage.schemas`.

    Args:
        store: where they are.
    """

    def __init__(self, store: ObjectStore) -> None:
        self._store = store

    def replace(self, name: str, rows: pa.Table, scope: Scope) -> int:
        """Put `rows` in the place of all rows that match every column of `scope`.

        Nothing is written if the same rows are there already, in whatever order.

        Args:
            name: table.
            rows: new content of the scope; may be empty. Extra columns are refused.
            scope: column to value; an empty scope means the whole table.

        Returns:
            The version of the table that holds the rows.

        Raises:
            DataError: if rows do not fit the schema or lie outside the scope.
            ConflictError: if other writers kept winning for two minutes.
        """
        rows = _fit(name, rows)
        predicate = _predicate(name, scope)
        inside = [pc.field(column) == value for column, value in scope.items()]
        outside = len(rows) - len(reduce(pa.Table.filter, inside, rows))
        if outside:
            raise DataError(f"table {name}: {outside} of {len(rows)} rows lie outside {scope!r}")
        digest = digest_of_rows(rows)

        def attempt(table: DeltaTable) -> int:
            if digest_of_rows(_scan(table, name, predicate)) != digest:
                write_deltalake(table, rows, mode="overwrite", predicate=predicate)
            return table.version()

        return self._commit(name, attempt)

    def append(self, name: str, rows: pa.Table) -> int:
        """Add rows; adding the same rows again changes nothing, also when writers race.

        "The same rows" is the same content in one call, in whatever order: its digest is written
        in the commit. Rows of an earlier append that were replaced since are added again.

        Args:
            name: table.
            rows: what to add.

        Returns:
            The version of the table that holds the rows.

        Raises:
            DataError: if rows do not fit the schema.
            ConflictError: if other writers kept winning for two minutes.
        """
        rows = _fit(name, rows)
        digest = digest_of_rows(rows)
        first = rows.column_names[0]
        values = rows.column(first).unique().to_pylist()
        nearby = _predicate(name, {} if None in values else {first: values})

        def attempt(table: DeltaTable) -> int:
            added = rows
            if table.transaction_version(digest) is not None:
                present = _scan(table, name, nearby)
                same = digest_of_rows(present) == digest
                added = rows.slice(0, 0) if same else missing_rows(rows, present)
            if len(added):
                mark = Transaction(digest, table.version() + 1)
                properties = CommitProperties(app_transactions=[mark])
                write_deltalake(table, added, mode="append", commit_properties=properties)
            return table.version()

        return self._commit(name, attempt)

    def read(
        self, name: str, where: Where | None = None, columns: Sequence[str] | None = None
    ) -> pa.Table:
        """Return rows sorted by their columns from left to right, so that order is reproducible.

        Args:
            name: table.
            where: column to value, or to several values of which any will do; only files that
                can hold such rows are read.
            columns: which columns; all if not given.

        Returns:
            A table with the columns of the schema; empty if nothing was ever written.

        Raises:
            DataError: if the table or a column is unknown.
        """
        schema = _schema(name)
        predicate = _predicate(name, where or {})
        chosen = list(columns) if columns is not None else schema.names
        _check_columns(name, chosen)
        with self._errors(name):
            table = self._open(name)
            if table is None:
                return pa.schema([schema.field(c) for c in chosen]).empty_table()
            return sort_rows(_scan(table, name, predicate, chosen))

    def names(self) -> list[str]:
        """Return the tables that exist, sorted."""
        logs = {name: f"{layout.table(name)}/_delta_log/" for name in SCHEMAS}
        return sorted(name for name, log in logs.items() if any(self._store.list(log)))

    def compact(self, name: str) -> None:
        """Merge small files and remove those that no version of the last week needs."""
        with self._errors(name):
            table = self._open(name)
            if table is not None:
                table.optimize.compact()
                table.vacuum(dry_run=False)

    def _location(self, name: str) -> tuple[str, dict[str, str]]:
        _schema(name)
        return self._store.table_location(layout.table(name))

    def _open(self, name: str) -> DeltaTable | None:
        url, options = self._location(name)
        try:
            return DeltaTable(url, storage_options=options)
        except TableNotFoundError:
            return None

    def _create(self, name: str) -> DeltaTable:
        url, options = self._location(name)
        return DeltaTable.create(
            url,
            _schema(name),
            mode="ignore",
            storage_options=options,
            configuration={"delta.checkpointInterval": _COMMITS_PER_CHECKPOINT},
        )

    def _commit(self, name: str, attempt: Callable[[DeltaTable], int]) -> int:
        """Run `attempt` on the newest version until it is not overtaken.

        A broken connection may hide a commit that succeeded. That is no reason to stop: attempts
        look first whether their rows are there.
        """
        give_up = time.monotonic() + _GIVE_UP_AFTER_S
        wait_s, num_broken = 0.005, 0
        while True:
            try:
                with self._errors(name):
                    return attempt(_with_new_columns(self._open(name) or self._create(name), name))
            except ConflictError:
                if time.monotonic() > give_up:
                    raise
            except StoreError as error:
                num_broken += 1
                if num_broken == _MAX_BROKEN or not isinstance(error.__cause__, OSError):
                    raise
            time.sleep(random.uniform(0, wait_s))  # noqa: S311 - spreads racing writers
            wait_s = min(wait_s * 2, 0.5)

    @contextmanager
    def _errors(self, name: str) -> Iterator[None]:
        """Turn the library's errors into ours, without its stack of addresses."""
        try:
            yield
        except CommitFailedError as error:
            raise ConflictError(f"table {name}: {_first_line(error)}") from error
        except (DeltaError, OSError, pa.ArrowException) as error:
            raise StoreError(f"table {name} in {self._store.url}: {_first_line(error)}") from error


def _first_line(error: Exception) -> str:
    return str(error).partition("\n")[0]


def _schema(name: str) -> pa.Schema:
    try:
        return SCHEMAS[name]
    except KeyError:
        raise DataError(f"table {name!r} is unknown; there are {', '.join(SCHEMAS)}") from None


def _check_columns(name: str, columns: Sequence[str]) -> None:
    unknown = [column for column in columns if column not in _schema(name).names]
    if unknown:
        raise DataError(f"table {name}: no column {unknown}; there are {_schema(name).names}")


def _fit(name: str, rows: pa.Table) -> pa.Table:
    """Return the rows in the order and types of the table's schema."""
    schema = _schema(name)
    if set(rows.column_names) != set(schema.names):
        different = sorted(set(rows.column_names) ^ set(schema.names))
        raise DataError(f"table {name}: columns {different} are missing or unknown")
    try:
        return rows.select(schema.names).cast(schema).combine_chunks()
    except (pa.ArrowInvalid, ValueError) as error:
        raise DataError(f"table {name}: {error}") from error


def _scan(
    table: DeltaTable, name: str, predicate: str, columns: Sequence[str] | None = None
) -> pa.Table:
    """Read with the engine in the library.

    Not through a pyarrow dataset: its threads call back into Python, and now and then abort the
    process when it ends (deltalake 1.6, pyarrow 26).
    """
    schema = _schema(name)
    names = list(columns or schema.names)
    there = set(_columns_of(table))
    kept = [column for column in names if column in there]
    found = pa.table(table.scan(columns=kept or None, predicate=predicate))
    for column in names:
        if column not in there:  # written before the table had it
            found = found.append_column(column, pa.nulls(len(found), schema.field(column).type))
    return found.select(names).cast(pa.schema([schema.field(column) for column in names]))


def _columns_of(table: DeltaTable) -> list[str]:
    return [field.name for field in table.schema().fields]


def _with_new_columns(table: DeltaTable, name: str) -> DeltaTable:
    """Add the columns that the schema has gained since the table was made; old rows hold nulls."""
    there = set(_columns_of(table))
    missing = pa.schema([field for field in _schema(name) if field.name not in there])
    if len(missing):
        table.alter.add_columns(list(Schema.from_arrow(missing).fields))
    return table


def _predicate(name: str, where: Where) -> str:
    """Return SQL that is true for the rows wanted; values are written so that they stay values."""
    _check_columns(name, list(where))
    terms = ["true"]
    for column, value in where.items():
        kind = _schema(name).field(column).type
        values = [value] if isinstance(value, (str, int)) else value
        try:
            literals = {_literal(kind, each) for each in values}
        except ValueError as error:
            raise DataError(f"table {name}, column {column}: {value!r} is no {kind}") from error
        terms.append(f'"{column}" IN ({", ".join(sorted(literals))})' if literals else "false")
    return " AND ".join(terms)


def _literal(kind: pa.DataType, value: object) -> str:
    if pa.types.is_string(kind):
        return "'" + str(value).replace("'", "''") + "'"
    if pa.types.is_boolean(kind):
        return str(bool(value))
    return str(int(str(value)))
