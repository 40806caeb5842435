"""UDP datagrams in captured network packets: link layers, IP, and the fragments of large datagrams.

Lidars that send more than 1,472 bytes at once rely on IP fragmentation, so a capture holds their
packets in pieces. Sources: RFC 791, 768, 8200; tcpdump.org/linktypes.html.
"""

from __future__ import annotations

import struct
from ipaddress import ip_address
from typing import Final, NamedTuple

_ETHERNET: Final = 1
# Bytes before the IP header by link type; the value of an Ethernet header is found per packet.
_LINK_HEADERS: Final = {0: 4, 12: 0, 14: 0, 101: 0, 108: 4, 113: 16, 228: 0, 229: 0, 276: 20}
_VLAN: Final = (0x8100, 0x88A8, 0x9100)
_UDP, _FRAGMENT_HEADER = 17, 44
_MAX_PENDING: Final = 64
_MAX_PACKETS_BETWEEN: Final = 1_000  # a fragment that late was lost on the wire


class Datagram(NamedTuple):
    """One UDP datagram: address of the sender, port of the receiver, payload."""

    source: str
    port: int
    payload: memoryview


class _Piece(NamedTuple):
    """The part of an IP payload in one packet."""

    key: tuple[bytes, bytes, int]
    start: int
    more: bool
    data: memoryview
    is_whole: bool


class _Pending:
    """Pieces of one datagram that have arrived."""

    def __init__(self, begun: int) -> None:
        self.begun = begun
        self.pieces: dict[int, memoryview] = {}
        self.size: int | None = None  # known once the last piece has arrived

    def add(self, piece: _Piece) -> bytes | None:
        """Take a piece; return the whole if it was the last one missing."""
        self.pieces[piece.start] = piece.data
        if not piece.more:
            self.size = piece.start + len(piece.data)
        if self.size is None or sum(map(len, self.pieces.values())) < self.size:
            return None
        whole = b"".join(self.pieces[start] for start in sorted(self.pieces))
        return whole if len(whole) == self.size else None


class UdpReader:
    """Finds datagrams in packets, one packet after the other.

    Attributes:
        num_cut: datagrams whose end the capture does not hold.
        num_incomplete: datagrams of which a fragment is missing.
    """

    def __init__(self) -> None:
        self.num_cut = 0
        self.num_incomplete = 0
        self._pending: dict[tuple[bytes, bytes, int], _Pending] = {}
        self._num_read = 0

    @property
    def is_between_datagrams(self) -> bool:
        """Whether no fragments wait for others."""
        return not self._pending

    def read(self, link: int, packet: memoryview) -> Datagram | None:
        """Return the datagram that is whole with this packet, None if there is none.

        Args:
            link: link type of the capture.
            packet: from the link layer on.
        """
        self._num_read += 1
        self._drop_oldest()
        try:
            start = _ip_start(link, packet)
            piece = None if start is None else _piece(packet[start:])
            if piece is None:
                return None
            data: memoryview | None = piece.data
            if not piece.is_whole:
                data = self._join(piece)
            return None if data is None else self._datagram(piece.key[0], data)
        except (struct.error, IndexError):
            self.num_cut += 1
            return None

    def finish(self) -> None:
        """Count what will never be whole."""
        self.num_incomplete += len(self._pending)
        self._pending.clear()

    def _join(self, piece: _Piece) -> memoryview | None:
        pending = self._pending.setdefault(piece.key, _Pending(self._num_read))
        whole = pending.add(piece)
        if whole is not None:
            del self._pending[piece.key]
            return memoryview(whole)
        return None

    def _drop_oldest(self) -> None:
        """Give up a datagram whose fragments are too many or too late."""
        oldest = next(iter(self._pending), None)
        if oldest is None:
            return
        age = self._num_read - self._pending[oldest].begun
        if age > _MAX_PACKETS_BETWEEN or len(self._pending) > _MAX_PENDING:
            del self._pending[oldest]
            self.num_incomplete += 1

    def _datagram(self, source: bytes, data: memoryview) -> Datagram | None:
        _, port, size = struct.unpack_from(">HHH", data, 0)
        if size < 8 or size > len(data):
            self.num_cut += 1
            return None
        return Datagram(str(ip_address(source)), port, data[8:size])


def _ip_start(link: int, packet: memoryview) -> int | None:
    """Return where the IP header begins, None if the packet holds none."""
    if link != _ETHERNET:
        return _LINK_HEADERS.get(link)
    at = 12
    (kind,) = struct.unpack_from(">H", packet, at)
    while kind in _VLAN:
        at += 4
        (kind,) = struct.unpack_from(">H", packet, at)
    return at + 2 if kind in (0x0800, 0x86DD) else None


def _piece(data: memoryview) -> _Piece | None:
    """Return what an IP packet carries of a UDP datagram, None if it is of another protocol."""
    version = data[0] >> 4
    if version == 4:
        return _piece_v4(data)
    return _piece_v6(data) if version == 6 else None


def _piece_v4(data: memoryview) -> _Piece | None:
    if data[9] != _UDP:
        return None
    start = (data[0] & 15) * 4
    size, identity, flags = struct.unpack_from(">HHH", data, 2)
    # A capture on the sending machine may show a length of 0: the network card fills it in.
    carried = data[start : size or len(data)]
    offset, more = (flags & 0x1FFF) * 8, bool(flags & 0x2000)
    key = (bytes(data[12:16]), bytes(data[16:20]), identity)
    return _Piece(key, offset, more, carried, not more and offset == 0)


def _piece_v6(data: memoryview) -> _Piece | None:
    size, following = struct.unpack_from(">HB", data, 4)
    source, target = bytes(data[8:24]), bytes(data[24:40])
    carried = data[40 : 40 + size]
    if following == _UDP:
        return _Piece((source, target, 0), 0, False, carried, True)
    if following != _FRAGMENT_HEADER or carried[0] != _UDP:
        return None
    flags, identity = struct.unpack_from(">HI", carried, 2)
    return _Piece((source, target, identity), flags & ~7, bool(flags & 1), carried[8:], False)
