"""MCAP container: walks the records of a file and salvages what a damaged one still holds.

The walk gives views into the decompressed chunk, copies nothing and never needs the summary, so
a file whose end is missing reads the same way as a whole one. Format: mcap.dev/spec.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO, ClassVar, Final, NamedTuple

import numpy as np
from isal.isal_zlib import crc32  # the checksum of zlib, three times as fast

from recordings.formats import MCAP_MAGIC
from recordings.logs import batch_kernels
from recordings.logs.ahead import map_ahead
from recordings.logs.log_file import Channel, Rows, Schema
from recordings.logs.mcap_salvage import Salvage, chunk_times
from recordings.logs.unpack import MAX_BYTES, unpack_all, unpack_part
from recordings.recording import Damage
from scene.errors import FormatError

MAGIC: Final = MCAP_MAGIC
_RECORD: Final = struct.Struct("<BQ")
_MESSAGE: Final = struct.Struct("<HIQQ")
_CHUNK: Final = struct.Struct("<QQQI")
_SCHEMA, _CHANNEL, _MESSAGE_OP, _CHUNK_OP, _DATA_END, _FOOTER = 3, 4, 5, 6, 15, 2
_KNOWN: Final = frozenset(range(1, 16))
_AFTER_DATA: Final = frozenset({b"", *(bytes([opcode]) for opcode in (2, 3, 4, 8, 10, 11, 13, 14))})


class Message(NamedTuple):
    """One message; `data` is a view that lives as long as its chunk."""

    channel_id: int
    log_time_ns: int
    data: memoryview


class Block(NamedTuple):
    """A chunk, or the stretch of one message outside any chunk, with where the next one begins."""

    offset: int
    end: int
    records: memoryview


class _Piece(NamedTuple):
    """A block, perhaps still packed, and what was found wrong in the file before it."""

    notes: list[Damage]
    block: Block | None
    packed: bool = False


@dataclass
class McapFile:
    """An MCAP file that is read front to back.

    Attributes:
        path: the file.
        channels: by id; filled while blocks are walked.
    """

    unit: ClassVar[str] = "byte"

    path: Path
    channels: dict[int, Channel] = field(default_factory=dict)
    _schemas: dict[int, Schema] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Check the first bytes."""
        self._salvage = Salvage(self.path)
        with self.path.open("rb") as stream:
            found = stream.read(len(MAGIC))
        if found != MAGIC:
            raise FormatError(f"{self.path.name}: not an MCAP file, begins with {found[:8]!r}")

    def blocks(self, damage: list[Damage], start: int = len(MAGIC)) -> Iterator[Block]:
        """Yield every block from `start` on; what cannot be read goes to `damage`."""
        for notes, block in map_ahead(self._unpacked, self._pieces(start)):
            damage += notes
            if block is not None:
                yield block

    def _pieces(self, start: int) -> Iterator[_Piece]:
        """Yield what lies in the file, chunks as they are packed, with what was wrong before."""
        size = self.path.stat().st_size
        notes: list[Damage] = []
        with self.path.open("rb") as stream:
            offset = start
            while offset < size:
                stream.seek(offset)
                header = stream.read(_RECORD.size)
                if len(header) < _RECORD.size:
                    what, lost = "the file ends inside a record header", "perhaps later messages"
                    self._note(notes, offset, what, lost)
                    break
                opcode, length = _RECORD.unpack(header)
                end = offset + _RECORD.size + length
                if end > size or not _is_possible(opcode, end, size, stream):
                    following = self._salvage.next_chunk(stream, offset + 1)
                    for block in self._part(stream, offset, header, following or size, notes):
                        yield _Piece(notes, block)
                        notes = []
                    if following is None:
                        break
                    offset = following
                    continue
                if opcode in (_DATA_END, _FOOTER):
                    break
                records = self._read(stream, offset, opcode, length, notes)
                if records is not None:
                    yield _Piece(notes, Block(offset, end, records), opcode == _CHUNK_OP)
                    notes = []
                offset = end
            else:
                what = "the file has no end marker"
                self._note(notes, size, what, "perhaps later messages")
        yield _Piece(notes, None)

    def _unpacked(self, piece: _Piece) -> tuple[list[Damage], Block | None]:
        """Return notes and block of a piece, decompressed."""
        block = piece.block
        if block is None or not piece.packed:
            return piece.notes, block
        records = self._chunk(block.records, block.offset, piece.notes)
        return piece.notes, None if records is None else block._replace(records=records)

    def announced(self) -> Mapping[int, int]:
        """Return the number of messages by channel as the index at the end counts them."""
        return self._salvage.index.counts

    def messages(self, block: Block, damage: list[Damage]) -> Iterator[Message]:
        """Yield the messages of a block; schemas and channels in it are remembered."""
        data, at, end = block.records, 0, len(block.records)
        while at + _RECORD.size <= end:
            opcode, length = _RECORD.unpack_from(data, at)
            body = at + _RECORD.size
            if body + length > end:
                break
            if opcode == _MESSAGE_OP and length >= _MESSAGE.size:
                channel, _, log_time, _ = _MESSAGE.unpack_from(data, body)
                yield Message(channel, log_time, data[body + _MESSAGE.size : body + length])
            else:
                self._define(opcode, data[body : body + length], block.offset, damage)
            at = body + length
        if at < end:
            lost = "the rest of the chunk"
            self._note(damage, block.offset, f"chunk breaks off at byte {at} of {end}", lost)

    def rows(self, block: Block, damage: list[Damage]) -> Rows | None:
        """Return where the messages of a block lie, None if the block breaks off.

        Does for all what `messages` does for each.
        """
        data = np.frombuffer(block.records, np.uint8)
        room = min(len(data) // _RECORD.size, 1024)
        while True:
            kinds = np.empty(room, np.uint8)
            starts, ends = np.empty(room, np.int64), np.empty(room, np.int64)
            count, at = batch_kernels.mcap_records(data, kinds, starts, ends)
            if count < room or not room:
                break
            room *= 8
        if at < len(data):
            return None
        kinds, starts, ends = kinds[:count], starts[:count], ends[:count]
        told = (kinds == _MESSAGE_OP) & (ends - starts >= _MESSAGE.size)
        for i in np.flatnonzero(~told):
            self._define(int(kinds[i]), block.records[starts[i] : ends[i]], block.offset, damage)
        starts, ends = starts[told], ends[told]
        channels, times = np.empty(len(starts), np.uint16), np.empty(len(starts), np.int64)
        batch_kernels.mcap_messages(data, starts, channels, times)
        return Rows(data, channels, times, starts + _MESSAGE.size, ends)

    def _read(
        self, stream: BinaryIO, offset: int, opcode: int, length: int, damage: list[Damage]
    ) -> memoryview | None:
        """Return the block at the stream's position as it is stored, None for other records."""
        stream.seek(offset + _RECORD.size)
        if opcode == _CHUNK_OP:
            return memoryview(stream.read(min(length, MAX_BYTES)))
        if opcode in (_SCHEMA, _CHANNEL):
            self._define(opcode, memoryview(stream.read(length)), offset, damage)
        if opcode != _MESSAGE_OP:
            return None
        return memoryview(_RECORD.pack(opcode, length) + stream.read(length))

    def _chunk(self, body: memoryview, offset: int, damage: list[Damage]) -> memoryview | None:
        try:
            return _records(body)
        except (FormatError, struct.error, ValueError) as error:
            times = f" {chunk_times(body)}" if len(body) >= _CHUNK.size else ""
            lost = f"its messages{times} ({len(body)} bytes)"
            self._note(damage, offset, f"chunk cannot be read: {error}", lost)
        return None

    def _part(
        self, stream: BinaryIO, offset: int, header: bytes, stop: int, damage: list[Damage]
    ) -> Iterator[Block]:
        """Yield what the readable part of a chunk that is cut short still holds."""
        opcode, length = _RECORD.unpack(header)
        cut = stop == self.path.stat().st_size
        what = "the file ends inside a record" if cut else "a record that cannot be read"
        what = what if opcode in _KNOWN else f"no record: {opcode:#04x}"
        lost = self._salvage.lost(offset, stop)
        stream.seek(offset + _RECORD.size)
        body = memoryview(stream.read(min(stop - offset, MAX_BYTES)))
        if opcode == _CHUNK_OP and len(body) >= _CHUNK.size:
            try:
                records = _records_of_part(body)
                yield Block(offset, stop, memoryview(_whole_records(records)))
            except (FormatError, struct.error, ValueError):
                pass  # what is lost is said all the same
            if cut:
                lost = f"the last {offset + _RECORD.size + length - stop} of {length} bytes"
            lost = f"{lost} of a chunk {chunk_times(body)}"
        # Noted behind what could be read of it, because the time of a loss is told by neighbours.
        self._note(damage, offset, what, lost)

    def _define(self, opcode: int, body: memoryview, offset: int, damage: list[Damage]) -> None:
        try:
            if opcode == _SCHEMA:
                (identity,) = struct.unpack_from("<H", body, 0)
                name, at = _text(body, 2)
                encoding, at = _text(body, at)
                (size,) = struct.unpack_from("<I", body, at)
                self._schemas[identity] = Schema(name, encoding, bytes(body[at + 4 :][:size]))
            elif opcode == _CHANNEL:
                identity, schema = struct.unpack_from("<HH", body, 0)
                topic, at = _text(body, 4)
                encoding, _ = _text(body, at)
                known = self._schemas.get(schema, Schema("", "", b""))
                self.channels[identity] = Channel(topic, known, encoding)
        except (struct.error, UnicodeDecodeError) as error:
            self._note(damage, offset, f"schema or channel cannot be read: {error}", "its topic")

    def _note(self, damage: list[Damage], offset: int, what: str, lost: str) -> None:
        # What is lost may have defined channels; the index repeats them.
        for number, channel in self._salvage.index.channels.items():
            self.channels.setdefault(number, channel)
        damage.append(Damage(f"{self.path.name} at byte {offset}", what, lost))


def _text(data: memoryview, at: int) -> tuple[str, int]:
    (size,) = struct.unpack_from("<I", data, at)
    return bytes(data[at + 4 : at + 4 + size]).decode(), at + 4 + size


def _is_possible(opcode: int, end: int, size: int, stream: BinaryIO) -> bool:
    """Return whether a record ends where one of its kind can end.

    Args:
        opcode: its kind.
        end: byte after it.
        size: bytes of the file.
        stream: the file, behind the header of the record.
    """
    if opcode == _DATA_END:  # a chunk whose first byte broke is followed by another, or its index
        stream.seek(end)
        return stream.read(1) in _AFTER_DATA
    if opcode == _FOOTER:
        return end + len(MAGIC) >= size
    return opcode != 0


def _records(body: memoryview) -> memoryview:
    """Return the records of a chunk; raises FormatError if they are not what its header says."""
    compression, size, crc, packed = _chunk_header(body)
    records = unpack_all(compression, packed, size)
    if crc and crc32(records) != crc:
        raise FormatError("its checksum does not match")
    return memoryview(records)


def _records_of_part(body: memoryview) -> bytes | memoryview:
    """Return what comes out of a chunk that is cut short, or of a whole one with a wrong length."""
    compression, size, _, packed = _chunk_header(body)
    whole = struct.unpack_from("<Q", body, _CHUNK.size + 4 + len(compression))[0]
    if len(packed) == whole:
        return _records(body)
    return unpack_part(compression, packed, size)


def _chunk_header(body: memoryview) -> tuple[str, int, int, memoryview]:
    """Return compression, uncompressed size, checksum and the packed records."""
    _, _, size, crc = _CHUNK.unpack_from(body, 0)
    compression, at = _text(body, _CHUNK.size)
    (packed,) = struct.unpack_from("<Q", body, at)
    return compression, size, crc, body[at + 8 : at + 8 + packed]


def _whole_records(records: bytes | memoryview) -> bytes | memoryview:
    """Return the leading part of a chunk that consists of complete records."""
    at = 0
    while at + _RECORD.size <= len(records):
        length = _RECORD.unpack_from(records, at)[1]
        if at + _RECORD.size + length > len(records):
            break
        at += _RECORD.size + length
    return records[:at]
