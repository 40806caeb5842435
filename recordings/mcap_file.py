"""MCAP container: walks the records of a file and salvages what a damaged one still holds.

The walk gives views into the decompressed chunk, copies nothing and never needs the summary, so
a file whose end is missing reads the same way as a whole one. Format: mcap.dev/spec.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO, ClassVar, Final, NamedTuple

from isal.isal_zlib import crc32  # the checksum of zlib, three times as fast

from recordings.formats import MCAP_MAGIC
from recordings.log_file import Channel, Schema
from recordings.recording import Damage
from recordings.unpack import unpack_all, unpack_part
from scene.errors import FormatError

MAGIC: Final = MCAP_MAGIC
_RECORD: Final = struct.Struct("<BQ")
_MESSAGE: Final = struct.Struct("<HIQQ")
_CHUNK: Final = struct.Struct("<QQQI")
_SCHEMA, _CHANNEL, _MESSAGE_OP, _CHUNK_OP, _DATA_END, _FOOTER = 3, 4, 5, 6, 15, 2
_KNOWN: Final = frozenset(range(1, 16))


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
        with self.path.open("rb") as stream:
            found = stream.read(len(MAGIC))
        if found != MAGIC:
            raise FormatError(f"{self.path.name}: not an MCAP file, begins with {found[:8]!r}")

    def blocks(self, damage: list[Damage], start: int = len(MAGIC)) -> Iterator[Block]:
        """Yield every block from `start` on; what cannot be read goes to `damage`."""
        size = self.path.stat().st_size
        with self.path.open("rb") as stream:
            offset: int | None = start
            while offset is not None and offset < size:
                stream.seek(offset)
                header = stream.read(_RECORD.size)
                if len(header) < _RECORD.size:
                    self._note(damage, offset, "the file ends inside a record header", "the rest")
                    return
                opcode, length = _RECORD.unpack(header)
                if opcode in (_DATA_END, _FOOTER):
                    return
                end = offset + _RECORD.size + length
                if end > size or opcode == 0:
                    yield from self._salvage(stream, offset, opcode, size, damage)
                    offset = self._resume_after(offset)
                    continue
                records = self._read(stream, offset, opcode, length, damage)
                if records is not None:
                    yield Block(offset, end, records)
                offset = end
            if offset is not None:
                self._note(damage, size, "the file has no end marker", "perhaps later messages")

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

    def _read(
        self, stream: BinaryIO, offset: int, opcode: int, length: int, damage: list[Damage]
    ) -> memoryview | None:
        """Return the records of the block at the stream's position, None for other records."""
        if opcode == _CHUNK_OP:
            return self._chunk(memoryview(stream.read(length)), offset, damage)
        if opcode in (_SCHEMA, _CHANNEL):
            self._define(opcode, memoryview(stream.read(length)), offset, damage)
        if opcode != _MESSAGE_OP:
            return None
        return memoryview(_RECORD.pack(opcode, length) + stream.read(length))

    def _chunk(self, body: memoryview, offset: int, damage: list[Damage]) -> memoryview | None:
        try:
            compression, size, crc, packed = _chunk_header(body)
            records = unpack_all(compression, packed, size)
        except (FormatError, struct.error) as error:
            self._note(damage, offset, f"chunk cannot be decompressed: {error}", "its messages")
            return None
        if crc and crc32(records) != crc:
            self._note(damage, offset, "chunk does not match its checksum", "its messages")
            return None
        return memoryview(records)

    def _salvage(
        self, stream: BinaryIO, offset: int, opcode: int, size: int, damage: list[Damage]
    ) -> Iterator[Block]:
        """Yield what the readable part of a chunk that is cut short still holds."""
        what = "the file ends inside a record" if opcode in _KNOWN else f"no record: {opcode:#04x}"
        self._note(damage, offset, what, "the rest of that record")
        if opcode != _CHUNK_OP:
            return
        body = memoryview(stream.read(size - offset - _RECORD.size))
        try:
            compression, _, _, packed = _chunk_header(body)
            records = unpack_part(compression, packed)
        except (FormatError, struct.error):
            return
        yield Block(offset, size, memoryview(_whole_records(records)))

    def _resume_after(self, offset: int) -> int | None:
        """Return the next chunk's offset by the index at the file's end, if that is readable."""
        from mcap.exceptions import McapError
        from mcap.reader import make_reader

        with self.path.open("rb") as stream:
            try:
                summary = make_reader(stream).get_summary()
            except (McapError, struct.error, ValueError, OSError):
                return None
        starts = [index.chunk_start_offset for index in summary.chunk_indexes] if summary else []
        return min((start for start in starts if start > offset), default=None)

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
        damage.append(Damage(f"{self.path.name} at byte {offset}", what, lost))


def _text(data: memoryview, at: int) -> tuple[str, int]:
    (size,) = struct.unpack_from("<I", data, at)
    return bytes(data[at + 4 : at + 4 + size]).decode(), at + 4 + size


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
