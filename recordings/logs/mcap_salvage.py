"""What an MCAP file's index says of a stretch that cannot be read, and where the next chunk is."""

from __future__ import annotations

import struct
from bisect import bisect_left
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import BinaryIO, Final, NamedTuple

from recordings.logs.log_file import Channel, Schema

_FIRST_SCAN_BYTES: Final = 2**16
_SCAN_BYTES: Final = 2**22
_CHUNK_OP: Final = b"\x06"
# Record header and chunk header up to the length of the compression's name.
_CHUNK_HEAD: Final = struct.Struct("<BQQQQII")
_COMPRESSIONS: Final = (b"", b"lz4", b"zstd")
_OVERLAP: Final = _CHUNK_HEAD.size + 16


class _Chunk(NamedTuple):
    """A chunk by the index: first and last log time, channels in it."""

    start_ns: int
    end_ns: int
    channels: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class _Index:
    """The summary at a file's end; all empty where it cannot be read.

    Attributes:
        chunks: by where they begin, in order.
        channels: by id.
        counts: number of messages by channel id.
    """

    chunks: dict[int, _Chunk] = field(default_factory=dict)
    channels: dict[int, Channel] = field(default_factory=dict)
    counts: dict[int, int] = field(default_factory=dict)


@dataclass
class Salvage:
    """Knows where to go on after a record that cannot be read; looks at the index only then."""

    path: Path

    @cached_property
    def index(self) -> _Index:
        """The index at the file's end."""
        return _read_index(self.path)

    def next_chunk(self, stream: BinaryIO, start: int) -> int | None:
        """Return where the next chunk at or after `start` begins, None if there is none.

        By the index, or else by the look of a chunk's header, which says its size twice.
        """
        starts = list(self.index.chunks)
        if starts:
            found = bisect_left(starts, start)
            return starts[found] if found < len(starts) else None
        size = _FIRST_SCAN_BYTES
        while True:
            stream.seek(start)
            window = stream.read(size + _OVERLAP)
            at = window.find(_CHUNK_OP)
            while 0 <= at < size:
                if _is_chunk(window, at):
                    return start + at
                at = window.find(_CHUNK_OP, at + 1)
            if len(window) <= size:
                return None
            start += size
            size = min(2 * size, _SCAN_BYTES)

    def lost(self, start: int, end: int) -> str:
        """Return what lies between two bytes of the file, for the damage list."""
        chunks = [chunk for at, chunk in self.index.chunks.items() if start <= at < end]
        text = f"{end - start} bytes"
        if not chunks:
            return text
        topics = sorted({self._topic(channel) for chunk in chunks for channel in chunk.channels})
        first, last = min(c.start_ns for c in chunks), max(c.end_ns for c in chunks)
        held = f" of {', '.join(topics)}" if topics else ""
        return f"messages{held} logged from {first} to {last} ns ({text})"

    def _topic(self, channel: int) -> str:
        known = self.index.channels.get(channel)
        return known.topic if known else f"channel {channel}"


def chunk_times(body: memoryview) -> str:
    """Return the time span in a chunk's header, in words."""
    start, end = struct.unpack_from("<QQ", body, 0)
    return f"logged from {start} to {end} ns"


def _is_chunk(window: bytes, at: int) -> bool:
    if at + _CHUNK_HEAD.size > len(window):
        return False
    _, length, start, end, _, _, name_size = _CHUNK_HEAD.unpack_from(window, at)
    body = at + _CHUNK_HEAD.size
    if name_size > 4 or start > end or body + name_size + 8 > len(window):
        return False
    (packed,) = struct.unpack_from("<Q", window, body + name_size)
    return window[body : body + name_size] in _COMPRESSIONS and length == 40 + name_size + packed


def _read_index(path: Path) -> _Index:
    from mcap.reader import make_reader

    with path.open("rb") as stream:
        try:
            summary = make_reader(stream).get_summary()
        except Exception:  # whatever damaged bytes lead the library to
            return _Index()
    if summary is None:
        return _Index()
    chunks = {
        chunk.chunk_start_offset: _Chunk(
            chunk.message_start_time, chunk.message_end_time, tuple(chunk.message_index_offsets)
        )
        for chunk in sorted(summary.chunk_indexes, key=lambda chunk: chunk.chunk_start_offset)
    }
    channels = {}
    for number, channel in summary.channels.items():
        schema = summary.schemas.get(channel.schema_id)
        known = Schema(schema.name, schema.encoding, schema.data) if schema else Schema("", "", b"")
        channels[number] = Channel(channel.topic, known, channel.message_encoding)
    counts: Mapping[int, int] = (
        summary.statistics.channel_message_counts if summary.statistics else {}
    )
    return _Index(chunks, channels, dict(counts))
