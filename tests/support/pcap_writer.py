"""Writes captures of UDP datagrams: pcap with dpkt, pcapng and big-endian files by hand."""

from __future__ import annotations

import io
import struct
from collections.abc import Iterable
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest

HOW = "pip install -e '.[packets]'"
MTU = 1480

Datagram = tuple[int, int, bytes]  # time in nanoseconds, port, payload


def frames(datagrams: Iterable[Datagram], source: str = "192.168.1.201") -> list[tuple[int, bytes]]:
    """Ethernet frames of the datagrams; those larger than the wire takes are fragmented."""
    dpkt = pytest.importorskip("dpkt", reason=HOW)
    made = []
    for number, (time_ns, port, payload) in enumerate(datagrams):
        udp = dpkt.udp.UDP(sport=port, dport=port, data=payload, ulen=8 + len(payload))
        data = bytes(udp)
        for start in range(0, len(data), MTU):
            piece = data[start : start + MTU]
            ip = dpkt.ip.IP(
                src=bytes(map(int, source.split("."))), dst=b"\xff" * 4, p=17, data=piece,
                id=number % 65536, len=20 + len(piece),
            )  # fmt: skip
            ip.mf, ip.offset = int(start + MTU < len(data)), start // 8
            made.append((time_ns, bytes(dpkt.ethernet.Ethernet(data=bytes(ip), type=0x0800))))
    return made


def write(path: Path, datagrams: Iterable[Datagram], kind: str = "pcap", **fields: Any) -> Path:
    """A capture of one kind: "pcap", "nanoseconds", "big-endian", "pcapng"."""
    path.write_bytes(KINDS[kind](frames(datagrams, **fields)))
    return path


def _pcap(packets: list[tuple[int, bytes]], nano: bool = False) -> bytes:
    dpkt = pytest.importorskip("dpkt", reason=HOW)
    stream = io.BytesIO()
    writer = dpkt.pcap.Writer(stream, nano=nano)
    for time_ns, data in packets:
        writer.writepkt_time(data, Fraction(time_ns, 10**9))
    return stream.getvalue()


def _big_endian(packets: list[tuple[int, bytes]]) -> bytes:
    made = struct.pack(">IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 65535, 1)
    for time_ns, data in packets:
        seconds, rest = divmod(time_ns, 10**9)
        made += struct.pack(">IIII", seconds, rest // 1000, len(data), len(data)) + data
    return made


def _pcapng(packets: list[tuple[int, bytes]]) -> bytes:
    made = _block(0x0A0D0D0A, struct.pack("<IHHq", 0x1A2B3C4D, 1, 0, -1))
    resolution = struct.pack("<HHB3xHH", 9, 1, 9, 0, 0)
    made += _block(1, struct.pack("<HHI", 1, 0, 65535) + resolution)
    made += _block(5, b"\0" * 12)  # statistics, which nobody reads
    for time_ns, data in packets:
        head = struct.pack("<IIIII", 0, time_ns >> 32, time_ns & 2**32 - 1, len(data), len(data))
        made += _block(6, head + data)
    return made


def _block(kind: int, body: bytes) -> bytes:
    body += b"\0" * (-len(body) % 4)
    size = struct.pack("<I", len(body) + 12)
    return struct.pack("<I", kind) + size + body + size


KINDS = {
    "pcap": _pcap,
    "nanoseconds": lambda packets: _pcap(packets, nano=True),
    "big-endian": _big_endian,
    "pcapng": _pcapng,
}
