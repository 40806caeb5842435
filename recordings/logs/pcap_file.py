"""Captures of network traffic, pcap and pcapng, as containers of log messages.

Each sender and port is a channel; which kind of packets it carries is told by a function of the
caller. Formats: ietf.org/archive/id/draft-ietf-opsawg-pcap, draft-ietf-opsawg-pcapng.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO, ClassVar, Final, NamedTuple

from recordings.formats import PCAP_MAGICS, PCAPNG_MAGIC, head
from recordings.logs.log_file import Channel
from recordings.logs.udp import Datagram, UdpReader
from recordings.recording import Damage
from scene.errors import FormatError

_BLOCK_BYTES: Final = 2**20
_MAX_BLOCK_BYTES: Final = 2**24  # fragments that never end must not fill the memory
_MAX_PACKET_BYTES: Final = 2**18
_MAX_CHANNELS: Final = 256
_SECTION, _INTERFACE, _SIMPLE, _ENHANCED = 0x0A0D0D0A, 1, 3, 6

Classify = Callable[[Datagram], Channel]
Message = tuple[int, int, memoryview]


class Block(NamedTuple):
    """A stretch of the file that no datagram crosses, with its datagrams."""

    offset: int
    messages: list[Message]


class _Packet(NamedTuple):
    """One captured packet: offset of its record, time, link type, bytes."""

    offset: int
    time_ns: int
    link: int
    data: memoryview


@dataclass
class PcapFile:
    """A capture that is read front to back.

    Attributes:
        path: the file.
        classify: tells the channel of a datagram, asked once for each sender, port and size.
        channels: by id; filled while blocks are walked.
    """

    path: Path
    classify: Classify
    channels: dict[int, Channel] = field(default_factory=dict)
    unit: ClassVar[str] = "byte"

    def __post_init__(self) -> None:
        """Check the first bytes."""
        self._ids: dict[tuple[str, int, int], int] = {}
        start = head(self.path, 4)
        if start not in PCAP_MAGICS and start != PCAPNG_MAGIC:
            raise FormatError(f"{self.path.name}: not a capture, begins with {start!r}")
        self._packets = _pcapng_packets if start == PCAPNG_MAGIC else _pcap_packets

    def blocks(self, damage: list[Damage], start: int = 0) -> Iterator[Block]:
        """Yield every block from `start` on; what cannot be read goes to `damage`."""
        reader = UdpReader()
        block, num_bytes = Block(start, []), 0
        with self.path.open("rb") as stream:
            for packet in self._packets(stream, start, self._noting(damage)):
                full = num_bytes > _BLOCK_BYTES and reader.is_between_datagrams
                if full or num_bytes > _MAX_BLOCK_BYTES:
                    yield block
                    block, num_bytes = Block(packet.offset, []), 0
                datagram = reader.read(packet.link, packet.data)
                if datagram is not None:
                    channel = self._channel(datagram)
                    block.messages.append((channel, packet.time_ns, datagram.payload))
                num_bytes += len(packet.data)
        yield block
        reader.finish()
        for count, what in (
            (reader.num_cut, "cut short by the capture, record with a larger snapshot length"),
            (reader.num_incomplete, "lack a fragment"),
        ):
            if count:
                damage.append(Damage(self.path.name, f"datagrams {what}", f"{count} datagrams"))

    def messages(self, block: Block, damage: list[Damage]) -> Iterable[Message]:
        """Return the datagrams of a block."""
        del damage  # noted while the block was read
        return block.messages

    def announced(self) -> Mapping[int, int]:
        """Return nothing: a capture does not count its packets."""
        return {}

    def _channel(self, datagram: Datagram) -> int:
        key = (datagram.source, datagram.port, len(datagram.payload))
        known = self._ids.get(key)
        if known is None:
            channel = self.classify(datagram)
            if len(self.channels) >= _MAX_CHANNELS:  # a capture of a whole network
                channel = channel._replace(topic="udp/others")
            by_channel = {found: identity for identity, found in self.channels.items()}
            known = self._ids[key] = by_channel.get(channel, len(self.channels))
            self.channels[known] = channel
        return known

    def _noting(self, damage: list[Damage]) -> Callable[[int, str, str], None]:
        def note(offset: int, what: str, lost: str) -> None:
            damage.append(Damage(f"{self.path.name} at byte {offset}", what, lost))

        return note


_Note = Callable[[int, str, str], None]


def _pcap_packets(stream: BinaryIO, start: int, note: _Note) -> Iterator[_Packet]:
    """Yield the packets of a pcap file from a byte on; the time is seconds and a fraction."""
    header = stream.read(24)
    if len(header) < 24:
        note(0, "the file ends inside its header", "everything")
        return
    order, unit_ns = PCAP_MAGICS[header[:4]]
    link = struct.unpack_from(f"{order}I", header, 20)[0] & 0x0FFFFFFF
    record = struct.Struct(f"{order}IIII")
    offset = max(start, 24)
    stream.seek(offset)
    while True:
        head_bytes = stream.read(record.size)
        if len(head_bytes) < record.size:
            if head_bytes:
                note(offset, "the file ends inside the header of a packet", "that packet")
            return
        seconds, fraction, size, _ = record.unpack(head_bytes)
        if size > _MAX_PACKET_BYTES:
            note(offset, f"a packet of {size} bytes is announced", "the rest of the file")
            return
        data = stream.read(size)
        if len(data) < size:
            note(offset, f"the file ends inside a packet of {size} bytes", "that packet")
            return
        time_ns = seconds * 1_000_000_000 + fraction * unit_ns
        yield _Packet(offset, time_ns, link, memoryview(data))
        offset += record.size + size


@dataclass
class _Section:
    """A pcapng section: byte order, and link type and clock of its interfaces."""

    order: str = "<"
    interfaces: list[tuple[int, int, int]] = field(default_factory=list)

    def add(self, body: bytes) -> None:
        """Add an interface: link type, ticks a second, seconds to add."""
        (link,) = struct.unpack_from(f"{self.order}H", body, 0)
        options = dict(_options(body[8:], self.order))
        resolution = options.get(9, b"\x06")[0]
        ticks = 2 ** (resolution & 127) if resolution & 128 else 10 ** min(resolution, 18)
        offset = int.from_bytes(options.get(14, b""), "little" if self.order == "<" else "big")
        self.interfaces.append((link, ticks, offset))

    def packet(self, kind: int, body: bytes, offset: int) -> _Packet:
        """Return a packet; raises struct.error or IndexError if the block is broken."""
        if kind == _SIMPLE:  # has no time
            link = self.interfaces[0][0]
            return _Packet(offset, 0, link, memoryview(body)[4:])
        number, high, low, size, _ = struct.unpack_from(f"{self.order}IIIII", body, 0)
        link, ticks, shift = self.interfaces[number]
        time_ns = ((high << 32 | low) * 1_000_000_000) // ticks + shift * 1_000_000_000
        return _Packet(offset, time_ns % 2**63, link, memoryview(body)[20 : 20 + size])


def _options(data: bytes, order: str) -> Iterator[tuple[int, bytes]]:
    at = 0
    while at + 4 <= len(data):
        code, size = struct.unpack_from(f"{order}HH", data, at)
        if code == 0:
            return
        if size and at + 4 + size <= len(data):
            yield code, data[at + 4 : at + 4 + size]
        at += 4 + (size + 3) // 4 * 4


def _pcapng_packets(stream: BinaryIO, start: int, note: _Note) -> Iterator[_Packet]:
    """Yield the packets of a pcapng file from a byte on."""
    section, offset = _Section(), 0
    while True:
        stream.seek(offset)
        lead = stream.read(12)
        if len(lead) < 12:
            if lead:
                note(offset, "the file ends inside the header of a block", "that block")
            return
        if lead[:4] == PCAPNG_MAGIC:
            section = _Section("<" if lead[8:] == b"\x4d\x3c\x2b\x1a" else ">")
        kind, size = struct.unpack(f"{section.order}II", lead[:8])
        if size < 12 or size % 4 or size > _MAX_PACKET_BYTES * 4:
            note(offset, f"a block of {size} bytes is announced", "the rest of the file")
            return
        if kind == _INTERFACE or (kind in (_ENHANCED, _SIMPLE) and offset >= start):
            body = (lead[8:] + stream.read(size - 12))[: size - 12]
            if len(body) < size - 12:
                note(offset, f"the file ends inside a block of {size} bytes", "that block")
                return
            try:
                if kind == _INTERFACE:
                    section.add(body)
                else:
                    yield section.packet(kind, body, offset)
            except (struct.error, IndexError):
                note(offset, f"a block of kind {kind} contradicts itself", "that block")
        offset += size
