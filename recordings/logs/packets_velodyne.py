"""Velodyne data packets as sweeps: single packets of a capture, or VelodyneScan messages of ROS.

The package velodyne-decoder knows the optics of every model and the time of every firing; here it
is decided which packets make a sweep and what is a packet at all. A capture is cut into turns at
the azimuth at which it begins, so that every sweep but the last is whole. Axes: x forward, y left,
z up (the decoder's convention, which is ROS's; the manual's is y forward).
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Sequence
from functools import partial
from types import ModuleType
from typing import Final

import numpy as np

from recordings.geometry.points import RawPoints
from recordings.logs.decoders import Decoder
from recordings.logs.log_file import Channel
from recordings.logs.messages import CloudMessage
from recordings.logs.ros_bytes import Cursor
from scene.errors import FormatError

PACKET_BYTES: Final = 1206
SENSOR: Final = "velodyne"
# Flags of a block of firings: upper and lower half of the lasers; the VLS-128 has four quarters.
_FLAGS: Final = frozenset((0xEEFF, 0xDDFF, 0xCCFF, 0xBBFF))
_LAYOUT: Final = struct.Struct("<" + "HH96x" * 12 + "IBB")
_FULL_TURN: Final = 36_000
# At 300 turns a minute, the slowest, a turn takes 0.2 s.
_MAX_TURN_NS: Final = 500_000_000
_HOUR_NS: Final = 3_600_000_000_000
_SAME_CLOCK_NS: Final = 500_000_000
_MODELS: Final = {
    0x21: "HDL-32E", 0x22: "VLP-16", 0x24: "Puck Hi-Res", 0x28: "VLP-32C", 0xA1: "VLS-128",
}  # fmt: skip
# Everything that the sensor measured; sanity rules judge it.
_MIN_RANGE_M, _MAX_RANGE_M = 0.0, 1000.0

Packet = tuple[int, bytes]  # time of arrival in nanoseconds, content


def data_packets(channel: Channel) -> Decoder:
    """Data packets of one sensor, one a message."""
    del channel
    turns = _Turns()
    return _decoder(turns.take, turns.finish)


def scan(channel: Channel) -> Decoder:
    """velodyne_msgs/VelodyneScan: the packets of one turn, as the driver cut them."""

    def decode(data: memoryview, log_time_ns: int) -> Sequence[CloudMessage]:
        frame, packets = _scan_packets(data, channel.encoding)
        if not packets:
            return ()
        for _, packet in packets:
            _checked(packet)
        return (_cloud(frame, packets, packets[0][0] or log_time_ns),)

    return _decoder(decode)


_Decode = Callable[[memoryview, int], Sequence[CloudMessage]]


def _decoder(decode: _Decode, finish: Callable[[], Sequence[CloudMessage]] = tuple) -> Decoder:
    try:
        _library()
    except FormatError as error:
        return Decoder(f"not used: {error}", lambda _data, _time: ())
    return Decoder("sweeps", decode, finish, motion="raw")


def _library() -> ModuleType:
    try:
        import velodyne_decoder
    except ImportError as error:
        what = "Velodyne packets are read by an extra: pip install 'starloop[packets]'"
        raise FormatError(what) from error
    return velodyne_decoder


class _Turns:
    """Collects the packets of one sensor until it has turned once."""

    def __init__(self) -> None:
        self._packets: list[Packet] = []
        self._cut: int | None = None
        self._turned = 0
        self._whole = 0
        self._on_sensor_clock: bool | None = None

    def take(self, data: memoryview, time_ns: int) -> Sequence[CloudMessage]:
        """Take a packet; return the sweep that ended before it, if one did."""
        azimuth = _checked(data)
        if self._cut is None:
            self._cut = azimuth
        turned = (azimuth - self._cut) % _FULL_TURN
        late = bool(self._packets) and not 0 <= time_ns - self._packets[0][0] < _MAX_TURN_NS
        done: Sequence[CloudMessage] = ()
        if late or turned < self._turned - _FULL_TURN // 2:
            done = self._end()
        self._turned = turned
        self._packets.append((time_ns, bytes(data)))
        return done

    def finish(self) -> Sequence[CloudMessage]:
        """Return the last sweep if it is at least half a turn, or the only one."""
        if self._packets and (self._turned >= _FULL_TURN // 2 or not self._whole):
            return self._end()
        return ()

    def _end(self) -> Sequence[CloudMessage]:
        packets, self._packets = self._packets, []
        self._whole += 1
        return (_cloud(SENSOR, packets, self._start_ns(packets[0])),)

    def _start_ns(self, packet: Packet) -> int:
        """Return when the sensor made a packet: by its own clock, if that is set.

        The packet tells microseconds since the full hour of UTC. A sensor without a time source
        counts from power-on; then the time of arrival is all there is.
        """
        arrived_ns, data = packet
        since_hour_ns = _LAYOUT.unpack(data)[24] * 1000
        ahead_ns = (since_hour_ns - arrived_ns + _HOUR_NS // 2) % _HOUR_NS - _HOUR_NS // 2
        if self._on_sensor_clock is None:
            self._on_sensor_clock = abs(ahead_ns) < _SAME_CLOCK_NS
        usable = self._on_sensor_clock and abs(ahead_ns) < _SAME_CLOCK_NS
        return arrived_ns + ahead_ns if usable else arrived_ns


def _checked(data: memoryview | bytes) -> int:
    """Return the azimuth of the first block in 1/100 degree.

    Raises:
        FormatError: if it is no data packet. The decoder trusts what it is given.
    """
    if len(data) != PACKET_BYTES:
        raise FormatError(f"a packet of {len(data)} bytes; Velodyne's have {PACKET_BYTES}")
    values = _LAYOUT.unpack(data)
    flags, azimuths = values[0:24:2], values[1:24:2]
    if not _FLAGS.issuperset(flags) or max(azimuths) >= _FULL_TURN:
        raise FormatError("a packet whose blocks do not begin as Velodyne's do")
    if values[26] not in _MODELS:
        known = ", ".join(_MODELS.values())
        raise FormatError(
            f"packets of a Velodyne of model number {values[26]:#04x}; read are {known} "
            "(packets of an HDL-64E do not tell its model)"
        )
    return azimuths[0]


def _scan_packets(data: memoryview, encoding: str) -> tuple[str, list[Packet]]:
    """Return frame and packets of a VelodyneScan message."""
    try:
        cursor = Cursor(data, encoding)
        _, frame = cursor.header()
        packets = []
        for _ in range(cursor.u32()):
            seconds, nanoseconds = cursor.u32(), cursor.u32()
            packets.append(
                (seconds * 1_000_000_000 + nanoseconds, bytes(cursor.take(PACKET_BYTES)))
            )
    except (struct.error, IndexError) as error:
        raise FormatError(f"VelodyneScan of {len(data)} bytes is cut short") from error
    return frame, packets


def _cloud(frame: str, packets: list[Packet], stamp_ns: int) -> CloudMessage:
    num_bytes = len(packets) * PACKET_BYTES
    return CloudMessage(stamp_ns, frame, num_bytes, partial(_points, packets))


def _points(packets: list[Packet]) -> RawPoints:
    """Return the points of a turn; times are nanoseconds after its first packet.

    Raises:
        FormatError: if the packets are not of one sensor.
    """
    vd = _library()
    config = vd.Config(min_range=_MIN_RANGE_M, max_range=_MAX_RANGE_M, timestamp_first_packet=True)
    try:
        wrapped = [vd.VelodynePacket(time_ns / 1e9, data) for time_ns, data in packets]
        _, points = vd.ScanDecoder(config).decode(vd.PacketVector(wrapped), True)
    except (RuntimeError, ValueError, TypeError) as error:
        raise FormatError(f"Velodyne packets: {error}") from error
    xyz_m = np.stack([points[axis] for axis in "xyz"], axis=1).astype(np.float32, copy=False)
    offset_ns = np.rint(points["time"].astype(np.float64) * 1e9).astype(np.int64)
    intensity = points["intensity"].astype(np.uint8)
    return RawPoints(xyz_m, intensity, points["ring"], offset_ns, "offset_ns")
