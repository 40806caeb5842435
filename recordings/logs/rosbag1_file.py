"""ROS 1 bag container (format 2.0): walks chunks and salvages what a damaged bag still holds.

The walk goes front to back and needs no index, so that a bag that was never closed reads the same
way as a whole one. If the index at the end is readable, it tells what a broken chunk held. Format:
wiki.ros.org/Bags/Format/2.0.
"""

from __future__ import annotations

import struct
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO, ClassVar, Final, NamedTuple

from recordings.formats import BAG1_MAGIC
from recordings.logs.log_file import Channel, Schema
from recordings.logs.unpack import unpack_all, unpack_part
from recordings.recording import Damage
from scene.errors import FormatError

_MESSAGE, _BAG, _INDEX, _CHUNK, _CHUNK_INFO, _CONNECTION = 2, 3, 4, 5, 6, 7
_KNOWN: Final = frozenset({_MESSAGE, _BAG, _INDEX, _CHUNK, _CHUNK_INFO, _CONNECTION})
_U32: Final = struct.Struct("<I")
_TIME: Final = struct.Struct("<II")
_MAX_HEADER_BYTES: Final = 2**20
_MAX_RECORD_BYTES: Final = 2**31
_FIRST_SCAN_BYTES: Final = 2**16
_SCAN_BYTES: Final = 2**22
_CHUNK_MARK: Final = b"\x04\x00\x00\x00op=\x05"
_MAX_CHUNK_HEADER: Final = 128


class _Record(NamedTuple):
    """A record of the file: its header fields and where its data lies."""

    op: int
    fields: dict[bytes, bytes]
    data_at: int
    data_size: int

    @property
    def end(self) -> int:
        return self.data_at + self.data_size


class BagBlock(NamedTuple):
    """The records of a chunk, or of a stretch outside any chunk, and where they begin."""

    offset: int
    records: memoryview


class _ChunkInfo(NamedTuple):
    """What the index says about a chunk: first and last time, messages by connection."""

    start_ns: int
    end_ns: int
    counts: dict[int, int]


@dataclass
class BagFile:
    """A ROS 1 bag that is read front to back. See `recordings.logs.log_file.LogFile`.

    Attributes:
        path: the file.
        channels: by connection number; from the index if there is one, and from the chunks.
    """

    unit: ClassVar[str] = "byte"

    path: Path
    channels: dict[int, Channel] = field(default_factory=dict)
    _chunks: dict[int, _ChunkInfo] = field(default_factory=dict)
    _closed: bool = False

    def __post_init__(self) -> None:
        """Check the first bytes and read the index."""
        with self.path.open("rb") as stream:
            found = stream.read(len(BAG1_MAGIC))
            if found != BAG1_MAGIC:
                hint = "; `rosbag migrate` renews it" if found.startswith(b"#ROSBAG V1") else ""
                raise FormatError(
                    f"{self.path.name}: not a ROS 1 bag of version 2.0, begins with {found!r}{hint}"
                )
            self._read_index(stream)

    def blocks(self, damage: list[Damage], start: int = len(BAG1_MAGIC)) -> Iterator[BagBlock]:
        """Yield every chunk from `start` on; what cannot be read goes to `damage`."""
        size = self.path.stat().st_size
        with self.path.open("rb") as stream:
            offset = start
            while offset < size:
                try:
                    record = _read_record(stream, offset, size)
                except FormatError as error:
                    following = self._next_chunk(stream, offset + 1, size)
                    self._note(damage, offset, str(error), following or size)
                    if following is None:
                        return
                    offset = following
                    continue
                yield from self._block(stream, offset, record, size, damage)
                offset = min(record.end, size)
        if not self._closed:
            what = "the bag was never closed: it has no index"
            damage.append(
                Damage(f"{self.path.name} at byte {size}", what, "perhaps later messages")
            )

    def announced(self) -> Counter[int]:
        """Return the number of messages by connection as the index at the end counts them."""
        return sum((Counter(info.counts) for info in self._chunks.values()), Counter())

    def messages(
        self, block: BagBlock, damage: list[Damage]
    ) -> Iterator[tuple[int, int, memoryview]]:
        """Yield connection, time and bytes of the messages; connections are remembered."""
        data, at, end = block.records, 0, len(block.records)
        while at < end:
            try:
                record = _whole_record(data, at, end)
                if record.op == _MESSAGE:
                    (connection,) = _U32.unpack(record.fields[b"conn"])
                    seconds, nanoseconds = _TIME.unpack(record.fields[b"time"])
                    time_ns = seconds * 1_000_000_000 + nanoseconds
                    yield connection, time_ns, data[record.data_at : record.end]
                elif record.op == _CONNECTION:
                    self._define(record.fields, data[record.data_at : record.end])
            except (FormatError, struct.error, KeyError, UnicodeDecodeError) as error:
                what = f"chunk breaks off at byte {at} of {end}: {_reason(error)}"
                where = f"{self.path.name} at byte {block.offset}"
                damage.append(Damage(where, what, f"the last {end - at} bytes of the chunk"))
                return
            at = record.end

    def _block(
        self, stream: BinaryIO, offset: int, record: _Record, size: int, damage: list[Damage]
    ) -> Iterator[BagBlock]:
        """Yield the block of one record, if it holds messages or connections."""
        whole = record.end <= size
        if record.op == _CHUNK:
            stream.seek(record.data_at)
            packed = memoryview(stream.read(min(record.data_size, size - record.data_at)))
            records, problem = _unpack(record, packed)
            if records is not None:
                yield BagBlock(offset, memoryview(records))
            # Noted behind what could be read of it: the time of a loss is told by neighbours.
            if problem:
                self._note(damage, offset, problem, record.end)
        elif not whole:
            self._note(damage, offset, "the file ends inside a record", size)
        elif record.op in (_MESSAGE, _CONNECTION):
            stream.seek(offset)  # what a recorder that was killed left of its last chunk
            yield BagBlock(offset, memoryview(stream.read(record.end - offset)))

    def _next_chunk(self, stream: BinaryIO, start: int, size: int) -> int | None:
        """Return where the next chunk begins: by the index, else by the look of its header."""
        known = min((at for at in self._chunks if at >= start), default=None)
        if known is not None or self._chunks:
            return known
        at, step = start, _FIRST_SCAN_BYTES
        while at < size:
            stream.seek(at)
            window = stream.read(step + _MAX_CHUNK_HEADER)
            found = window.find(_CHUNK_MARK)
            while found >= 0:
                begin = _chunk_begin(window, found)
                if begin is not None:
                    return at + begin
                found = window.find(_CHUNK_MARK, found + 1)
            at += step
            step = min(2 * step, _SCAN_BYTES)
        return None

    def _read_index(self, stream: BinaryIO) -> None:
        """Read connections and chunk infos from the end of the file, as far as they are there."""
        size = self.path.stat().st_size
        try:
            bag = _read_record(stream, len(BAG1_MAGIC), size)
            (offset,) = struct.unpack("<Q", bag.fields[b"index_pos"])
            while offset and offset < size:
                record = _read_record(stream, offset, size)
                if record.end > size:
                    return
                stream.seek(record.data_at)
                data = memoryview(stream.read(record.data_size))
                if record.op == _CONNECTION:
                    self._define(record.fields, data)
                elif record.op == _CHUNK_INFO:
                    self._take_info(record.fields, data)
                offset = record.end
                self._closed = True
        except (FormatError, struct.error, KeyError, UnicodeDecodeError):
            return

    def _take_info(self, fields: dict[bytes, bytes], data: memoryview) -> None:
        (at,) = struct.unpack("<Q", fields[b"chunk_pos"])
        start, end = (_TIME.unpack(fields[name]) for name in (b"start_time", b"end_time"))
        pairs = struct.iter_unpack("<II", data[: len(data) // 8 * 8])
        self._chunks[at] = _ChunkInfo(_nanoseconds(start), _nanoseconds(end), dict(pairs))

    def _define(self, fields: dict[bytes, bytes], data: memoryview) -> None:
        (number,) = _U32.unpack(fields[b"conn"])
        about = _parse_fields(data, 0, len(data))
        schema = Schema(
            about[b"type"].decode(), "ros1msg", bytes(about.get(b"message_definition", b""))
        )
        self.channels[number] = Channel(fields[b"topic"].decode(), schema, "ros1")

    def _note(self, damage: list[Damage], offset: int, what: str, end: int) -> None:
        """Note that the bytes from `offset` to `end` are lost, with what the index says of them."""
        size = self.path.stat().st_size
        lost = f"{end - offset} bytes"
        if end > size:
            lost = f"the last {end - size} of {lost}, less what is cut in two"
        infos = [info for at, info in self._chunks.items() if offset <= at < end]
        if infos:
            counts: Counter[str] = Counter()
            for info in infos:
                for number, count in info.counts.items():
                    channel = self.channels.get(number)
                    counts[channel.topic if channel else f"connection {number}"] += count
            held = ", ".join(f"{count} of {topic}" for topic, count in sorted(counts.items()))
            first, last = min(i.start_ns for i in infos), max(i.end_ns for i in infos)
            lost = f"up to {held}, logged from {first} to {last} ns ({lost})"
        damage.append(Damage(f"{self.path.name} at byte {offset}", what, lost))


def _read_record(stream: BinaryIO, offset: int, size: int) -> _Record:
    """Read the header of the record at a place of the file; its data may be cut short."""
    stream.seek(offset)
    start = stream.read(4)
    if len(start) < 4:
        raise FormatError("the file ends inside a record header")
    (header_size,) = _U32.unpack(start)
    if header_size > min(_MAX_HEADER_BYTES, size - offset):
        raise FormatError(f"no record: a header of {header_size} bytes")
    head = memoryview(start + stream.read(header_size + 4))
    record = _parse_record(head, 0, len(head))
    return record._replace(data_at=record.data_at + offset)


def _parse_record(data: memoryview, at: int, end: int) -> _Record:
    """Read the header of a record in memory; its data may reach beyond `end`."""
    if at + 8 > end:
        raise FormatError("it ends inside a record header")
    (header_size,) = _U32.unpack_from(data, at)
    body = at + 4 + header_size
    if body + 4 > end:
        raise FormatError(f"no record: a header of {header_size} bytes")
    fields = _parse_fields(data, at + 4, body)
    op = fields.get(b"op", b"")
    if len(op) != 1 or op[0] not in _KNOWN:
        raise FormatError(f"no record: its kind is {op[:8]!r}")
    (data_size,) = _U32.unpack_from(data, body)
    if data_size > _MAX_RECORD_BYTES:
        raise FormatError(f"no record: {data_size} bytes of data")
    return _Record(op[0], fields, body + 4, data_size)


def _unpack(record: _Record, packed: memoryview) -> tuple[bytes | memoryview | None, str]:
    """Return the records of a chunk, or of one that is broken what can be had, and the problem."""
    name = record.fields.get(b"compression", b"").decode("ascii", "replace")
    compression = "" if name == "none" else name or "no name"
    whole = len(packed) == record.data_size
    problem = f"the file ends inside a chunk, {len(packed)} of {record.data_size} bytes"
    try:
        (size,) = _U32.unpack(record.fields[b"size"])
        if whole:
            return unpack_all(compression, packed, size), ""
    except (FormatError, struct.error, KeyError) as error:
        problem = f"chunk cannot be read: {_reason(error)}"
    if whole and compression != "bz2":
        return None, problem  # only bz2 checks every block: from others, wrong bytes may come out
    try:
        return _whole_records(unpack_part(compression, packed)), problem
    except FormatError:
        return None, problem


def _whole_record(data: memoryview, at: int, end: int) -> _Record:
    record = _parse_record(data, at, end)
    if record.end > end:
        raise FormatError("a record is longer than what is left")
    return record


def _parse_fields(data: memoryview, at: int, end: int) -> dict[bytes, bytes]:
    """Return the fields `name=value` of a header."""
    fields = {}
    while at < end:
        if at + 4 > end:
            raise FormatError("a header field is cut short")
        (size,) = _U32.unpack_from(data, at)
        at += 4
        if at + size > end:
            raise FormatError("a header field is longer than its header")
        name, equals, value = bytes(data[at : at + size]).partition(b"=")
        if not equals:
            raise FormatError("a header field has no name")
        fields[name] = value
        at += size
    return fields


def _chunk_begin(window: bytes, mark: int) -> int | None:
    """Return where the chunk record begins that has its `op` field at `mark`, if there is one."""
    data = memoryview(window)
    for begin in range(mark - 4, max(mark - _MAX_CHUNK_HEADER, -1), -1):
        (header_size,) = _U32.unpack_from(data, begin)
        if not mark - begin < header_size <= _MAX_CHUNK_HEADER:
            continue
        try:
            record = _parse_record(data, begin, len(data))
        except FormatError:
            continue
        if record.op == _CHUNK and {b"compression", b"size"} <= record.fields.keys():
            return begin
    return None


def _whole_records(records: bytes | memoryview) -> bytes | memoryview:
    """Return the leading part of a chunk that consists of complete records."""
    data, at = memoryview(records), 0
    while at < len(data):
        try:
            at = _whole_record(data, at, len(data)).end
        except FormatError:
            break
    return records[:at]


def _nanoseconds(time: tuple[int, int]) -> int:
    return time[0] * 1_000_000_000 + time[1]


def _reason(error: Exception) -> str:
    return f"no field {error}" if isinstance(error, KeyError) else str(error)
