"""The rows of a rosbag2 database in the order of time, where they lie in another one.

rosbag2 writes rows as messages arrive, so row ids are in time order nearly always, and reading by
row id is fastest and survives damage best. Bags that were merged or rewritten need not be so; the
index over time that rosbag2 makes tells both.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from recordings.recording import Damage

_ROW: Final = "SELECT rowid, topic_id, timestamp, data FROM messages WHERE rowid = ?"
_IDS: Final = (
    "SELECT rowid FROM messages INDEXED BY timestamp_idx ORDER BY timestamp, rowid LIMIT ?"
)
_CHUNK: Final = 4096

Ids = NDArray[np.int64]


def time_order(database: sqlite3.Connection, size_bytes: int) -> Ids | None:
    """Return the (N,) row ids in time order, None if they are so anyway or it cannot be told.

    The index is believed if it names every row id from the first to the last once: what it leaves
    out would be lost. No message is read.

    Args:
        database: a rosbag2.
        size_bytes: of the file, which bounds how many rows it can have.
    """
    try:
        (low,) = database.execute("SELECT min(rowid) FROM messages").fetchone()
        (high,) = database.execute("SELECT max(rowid) FROM messages").fetchone()
        if low is None or not 0 < high - low < size_bytes:
            return None
        count = high - low + 1
        found = database.execute(_IDS, (count + 1,))
        ids = np.fromiter((row[0] for row in found), dtype=np.int64)
    except sqlite3.Error:
        return None  # no index, or a damaged one
    if len(ids) != count or (ids[1:] > ids[:-1]).all():
        return None
    return ids if np.array_equal(np.sort(ids), np.arange(low, high + 1)) else None


def rows_in_order(
    database: sqlite3.Connection, ids: Ids, start: int, name: str, damage: list[Damage]
) -> Iterator[tuple[Any, ...]]:
    """Yield id, topic, time and data of rows in the order of `ids`, from the row `start` on.

    Args:
        database: a rosbag2.
        ids: (N,) row ids.
        start: one of them, or 0 for all.
        name: of the file, for `damage`.
        damage: what cannot be read goes here.
    """
    position = int(np.flatnonzero(ids == start)[0]) if start else 0
    lost, problem = list[int](), ""
    for first in range(position, len(ids), _CHUNK):
        for number in ids[first : first + _CHUNK].tolist():
            try:
                row = database.execute(_ROW, (number,)).fetchone()
                what = "the index over time names a row that is not there"
            except sqlite3.Error as error:
                row, what = None, str(error)
            if row is None:
                lost.append(number)
                problem = problem or what
                continue
            if lost:
                damage.append(_lost(name, lost, problem))
                lost, problem = [], ""
            yield row
    if lost:
        damage.append(_lost(name, lost, problem))


def _lost(name: str, rows: list[int], problem: str) -> Damage:
    where = f"{name} at row {rows[0]}"
    if len(rows) > 1:
        where = f"{name} between row {min(rows)} and row {max(rows)}"
    return Damage(where, problem, f"{len(rows)} message{'s' * (len(rows) > 1)}")
