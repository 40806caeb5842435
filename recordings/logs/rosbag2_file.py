"""rosbag2 SQLite container (.db3): reads rows in time order, salvages damaged databases.

The database is opened read-only and as it is: nothing is repaired in place, no journal is written.
Tables: github.com/ros2/rosbag2, `rosbag2_storage_sqlite3`.
"""

from __future__ import annotations

import sqlite3
import struct
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any, ClassVar, Final, NamedTuple
from urllib.parse import quote

from recordings.formats import is_zstd
from recordings.logs.log_file import Channel, Schema
from recordings.logs.rosbag2_order import rows_in_order, time_order
from recordings.logs.unpack import unpack_message
from recordings.recording import Damage
from scene.errors import FormatError

_BLOCK_BYTES: Final = 4 * 2**20
_BLOCK_ROWS: Final = 4096
_LAST_ID: Final = 2**63 - 1
_ROWS: Final = "SELECT rowid, topic_id, timestamp, data FROM messages WHERE rowid >= ?"
_RECOVER: Final = 'repair it: sqlite3 BAG ".recover" | sqlite3 REPAIRED'


class RowBlock(NamedTuple):
    """Some rows of table `messages`: row id, topic id, time, data; and the id of the first."""

    offset: int
    rows: list[tuple[Any, ...]]


class SqliteBag:
    """A rosbag2 database that is read front to back. See `recordings.logs.log_file.LogFile`.

    Rows come by id, which is the order of time; where it is not and the index over time is whole,
    they come as the index has them. Blocks begin at row ids. Messages that rosbag2 has compressed
    one by one are decompressed.

    Attributes:
        path: the file.
        channels: by topic id.
    """

    unit: ClassVar[str] = "row"

    def __init__(self, path: Path) -> None:
        """Read the topics.

        Raises:
            FormatError: if the file is no rosbag2, or so damaged that its topics are lost.
        """
        self.path = path
        try:
            with closing(self._connect()) as database:
                self.channels = _channels(database)
                self._missing_bytes = _missing_bytes(path)
                cut = self._missing_bytes > 0
                self._ids = None if cut else time_order(database, path.stat().st_size)
        except sqlite3.Error as error:
            raise FormatError(f"{path.name}: {error}; {_RECOVER}") from error
        except FormatError as error:
            raise FormatError(f"{path.name}: {error}") from error

    def blocks(self, damage: list[Damage], start: int = 0) -> Iterator[RowBlock]:
        """Yield rows in the order in which they were recorded, from row id `start` on."""
        if self._missing_bytes:
            lost = f"the last {self._missing_bytes} bytes"
            damage.append(Damage(self.path.name, "the database is cut short", lost))
        with closing(self._connect()) as database:
            if self._ids is not None:
                rows = rows_in_order(database, self._ids, start, self.path.name, damage)
                yield from _blocks(rows)
                return
            at: int | None = start
            while at is not None:
                try:
                    for block, following in _read(database, at):
                        yield block
                        at = following
                except sqlite3.Error as error:
                    resume = _next_readable(database, at)
                    self._note(database, damage, (at, resume), error)
                    at = resume
                else:
                    return

    def announced(self) -> dict[int, int]:
        """Return nothing: a database does not count its messages."""
        return {}

    def messages(
        self, block: RowBlock, damage: list[Damage]
    ) -> Iterator[tuple[int, int, memoryview]]:
        """Yield topic id, time and bytes of the messages of a block."""
        for row_id, topic, time_ns, data in block.rows:
            if type(data) is not bytes or type(time_ns) is not int:
                where = f"{self.path.name} at row {row_id}"
                damage.append(Damage(where, "a row is not of the right type", "a message"))
            elif not is_zstd(data):
                yield topic, time_ns, memoryview(data)
            else:
                try:
                    yield topic, time_ns, unpack_message(memoryview(data))
                except FormatError as error:
                    where = f"{self.path.name} at row {row_id}"
                    name = self.channels[topic].topic if topic in self.channels else topic
                    damage.append(Damage(where, str(error), f"a message of {name} at {time_ns} ns"))

    def _connect(self) -> sqlite3.Connection:
        log = self.path.with_name(f"{self.path.name}-wal")
        # Without a write-ahead log nothing but this file counts, whatever lies beside it.
        mode = "mode=ro" if log.exists() and log.stat().st_size else "mode=ro&immutable=1"
        database = sqlite3.connect(f"file:{quote(str(self.path.absolute()))}?{mode}", uri=True)
        database.text_factory = lambda text: text.decode("utf-8", "replace")
        database.execute("PRAGMA trusted_schema = OFF")
        # Lets SQLite read a file that is shorter than its header says.
        database.execute("PRAGMA writable_schema = ON")
        return database

    def _note(
        self,
        database: sqlite3.Connection,
        damage: list[Damage],
        rows: tuple[int, int | None],
        error: sqlite3.Error,
    ) -> None:
        """Note which rows are lost; the index over time knows how many and when."""
        first, following = rows
        end = _LAST_ID if following is None else following - 1
        where = f"{self.path.name} from row {first} " + (
            f"to row {end}" if following is not None else "to the end"
        )
        lost = f"up to {end - first + 1} messages" if following else "its messages"
        try:
            count, start_ns, end_ns = database.execute(
                "SELECT count(*), min(timestamp), max(timestamp) FROM messages "
                "INDEXED BY timestamp_idx WHERE timestamp IS NOT NULL AND rowid BETWEEN ? AND ?",
                (first, end),
            ).fetchone()
            lost = f"{count} messages, logged from {start_ns} to {end_ns} ns"
        except sqlite3.Error:
            pass  # the index is damaged, too
        damage.append(Damage(where, str(error), lost))


def _channels(database: sqlite3.Connection) -> dict[int, Channel]:
    """Return the topics by id."""
    tables = {
        name
        for name, text in database.execute("SELECT name, sql FROM sqlite_master WHERE type='table'")
        if str(text).upper().startswith("CREATE TABLE")  # no virtual table of a stranger is run
    }
    if not {"topics", "messages"} <= tables:
        raise FormatError("a SQLite database without the tables topics and messages: no rosbag2")
    definitions: dict[str, tuple[str, bytes]] = {}
    if "message_definitions" in tables:
        rows = database.execute(
            "SELECT topic_type, encoding, encoded_message_definition FROM message_definitions"
        )
        definitions = {str(kind): (str(how), str(text).encode()) for kind, how, text in rows}
    channels = {}
    for number, topic, kind, encoding in database.execute(
        "SELECT id, name, type, serialization_format FROM topics"
    ):
        schema = Schema(str(kind), *definitions.get(str(kind), ("", b"")))
        channels[number] = Channel(str(topic), schema, str(encoding))
    return channels


def _read(database: sqlite3.Connection, start: int) -> Iterator[tuple[RowBlock, int]]:
    """Yield blocks with the id after their last row; rows before an error are still yielded."""
    problem: list[sqlite3.Error] = []
    for block in _blocks(_rows(database, start, problem)):
        yield block, block.rows[-1][0] + 1
    if problem:
        raise problem[0]


def _rows(
    database: sqlite3.Connection, start: int, problem: list[sqlite3.Error]
) -> Iterator[tuple[Any, ...]]:
    """Yield rows up to the end or the first that cannot be read."""
    cursor = database.execute(f"{_ROWS} ORDER BY rowid", (start,))
    while True:
        try:
            row = cursor.fetchone()
        except sqlite3.Error as error:
            problem.append(error)
            return
        if row is None:
            return
        yield row


def _blocks(found: Iterator[tuple[Any, ...]]) -> Iterator[RowBlock]:
    """Yield rows in blocks of a few megabytes."""
    rows: list[tuple[Any, ...]] = []
    size = 0
    for row in found:
        if rows and (size > _BLOCK_BYTES or len(rows) >= _BLOCK_ROWS):
            yield RowBlock(rows[0][0], rows)
            rows, size = [], 0
        rows.append(row)
        size += len(row[3]) if isinstance(row[3], bytes) else 0
    if rows:
        yield RowBlock(rows[0][0], rows)


def _next_readable(database: sqlite3.Connection, broken: int) -> int | None:
    """Return the first row after `broken` that can be read, None if there is none.

    Looks ahead in steps that grow by a sixty-fourth of the way, then halves the last step, so that
    even a database of which nothing is left costs a bounded number of looks.
    """
    bad, tried = broken, broken + 1
    while tried < _LAST_ID:
        found = _first_row(database, tried)
        if found == _LAST_ID:
            return None
        if found is not None:
            while bad + 1 < tried:
                middle = (bad + tried) // 2
                nearer = _first_row(database, middle)
                if nearer is None:
                    bad = middle
                else:
                    tried, found = middle, nearer
            return found
        bad = tried
        tried += 1 + (tried - broken) // 64
    return None


def _first_row(database: sqlite3.Connection, start: int) -> int | None:
    """Return the id of the first row from `start` on; the last id if none; None if unreadable."""
    try:
        row = database.execute(f"{_ROWS} ORDER BY rowid LIMIT 1", (start,)).fetchone()
    except sqlite3.Error:
        return None
    return _LAST_ID if row is None else row[0]


def _missing_bytes(path: Path) -> int:
    """Return how many bytes the file lacks of what its header announces."""
    with path.open("rb") as stream:
        header = stream.read(100)
    if len(header) < 100:
        return 0
    (page,) = struct.unpack_from(">H", header, 16)
    changed, pages = struct.unpack_from(">II", header, 24)
    (valid_for,) = struct.unpack_from(">I", header, 92)
    announced = (65536 if page == 1 else page) * pages
    return max(announced - path.stat().st_size, 0) if changed == valid_for else 0
