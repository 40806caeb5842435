"""Ouster lidar and IMU packets as sweeps and a signal; layouts in `ouster_metadata`.

A sweep is a frame as the sensor numbers them. Points are in the sensor frame: x forward, y left,
z up. Times are the sensor's where it is set to UTC (PTP or GPS), else times of arrival.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from functools import lru_cache, partial
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from recordings.geometry.points import RawPoints
from recordings.logs.decoders import Decoder
from recordings.logs.log_file import Channel
from recordings.logs.messages import CloudMessage, LogMessage, SignalMessage
from recordings.logs.ouster_metadata import IMU_BYTES, OusterSensor, parse_metadata
from scene.errors import FormatError
from scene.types import Float32

SENSOR: Final = "os_sensor"
IMU: Final = "os_imu"
_SAME_CLOCK_NS: Final = 500_000_000
_STANDARD_GRAVITY_MPS2: Final = 9.80665
_IMU_LAYOUT: Final = struct.Struct("<QQQ6f")
_IMU_FIELDS: Final = (
    *(f"angular_velocity_{axis}_radps" for axis in "xyz"),
    *(f"linear_acceleration_{axis}_mps2" for axis in "xyz"),
)


class _Returns(NamedTuple):
    """One return of all pixels that have it: (N, 3) points, intensity, ring, nanoseconds."""

    xyz_m: Float32
    intensity: NDArray[np.uint8]
    ring: NDArray[np.uint16]
    offset_ns: NDArray[np.int64]


class _Tables(NamedTuple):
    """What is the same for all packets of a sensor.

    Attributes:
        packet: dtype of a packet: `columns` with `time_ns`, `number`, `status`, `pixels`.
        direction, origin: (W, H, 3), see `OusterSensor.beams`.
        ring: (H,) number of each beam counted from the lowest.
    """

    packet: np.dtype[np.void]
    direction: Float32
    origin: Float32
    ring: NDArray[np.uint16]


def lidar(channel: Channel) -> Decoder:
    """Lidar packets of one sensor, one a message; the channel's definition is the metadata."""
    frames = _Frames(_sensor(channel.schema.data))
    return Decoder("sweeps", frames.take, frames.finish, motion="raw")


def imu(channel: Channel) -> Decoder:
    """IMU packets: acceleration in g and angular velocity in degrees a second."""
    del channel

    def decode(data: memoryview, time_ns: int) -> Sequence[LogMessage]:
        if len(data) != IMU_BYTES:
            raise FormatError(f"an IMU packet of {len(data)} bytes; Ouster's have {IMU_BYTES}")
        _, _, gyro_ns, *values = _IMU_LAYOUT.unpack(data)
        force = [value * _STANDARD_GRAVITY_MPS2 for value in values[:3]]
        rate = [float(np.radians(value)) for value in values[3:]]
        stamp = _stamp_ns(gyro_ns, time_ns)
        return (SignalMessage("imu", IMU, _IMU_FIELDS, stamp, (*rate, *force)),)

    return Decoder("signal", decode)


class _Frames:
    """Collects the packets of one sensor until its frame number changes."""

    def __init__(self, sensor: OusterSensor) -> None:
        self._sensor = sensor
        self._packets: list[bytes] = []
        self._arrived_ns = 0
        self._number: int | None = None

    def take(self, data: memoryview, time_ns: int) -> Sequence[LogMessage]:
        """Take a packet; return the sweep that ended before it, if one did."""
        expected = self._sensor.packet_bytes
        if len(data) != expected:
            raise FormatError(f"a packet of {len(data)} bytes; by the metadata it has {expected}")
        number = self._frame_number(data)
        done: Sequence[LogMessage] = ()
        if number != self._number:
            done, self._number, self._arrived_ns = self.finish(), number, time_ns
        self._packets.append(bytes(data))
        return done

    def finish(self) -> Sequence[LogMessage]:
        """Return the last sweep."""
        packets, self._packets = self._packets, []
        if not packets:
            return ()
        (sensor_ns,) = struct.unpack_from("<Q", packets[0], self._sensor.profile.packet_header)
        stamp = _stamp_ns(sensor_ns, self._arrived_ns)
        read = partial(_points, self._sensor, packets, sensor_ns)
        return (CloudMessage(stamp, SENSOR, sum(map(len, packets)), read),)

    def _frame_number(self, data: memoryview) -> int:
        if not self._sensor.profile.packet_header:  # each column of the legacy layout has it
            return struct.unpack_from("<H", data, 10)[0]
        layout, at = ("<I", 4) if self._sensor.is_fusa else ("<H", 2)
        return struct.unpack_from(layout, data, at)[0]


def _stamp_ns(sensor_ns: int, arrived_ns: int) -> int:
    """Return the sensor's time if its clock is set, else the time of arrival."""
    return sensor_ns if abs(sensor_ns - arrived_ns) < _SAME_CLOCK_NS else arrived_ns


@lru_cache(maxsize=8)
def _sensor(metadata: bytes) -> OusterSensor:
    return parse_metadata(metadata)


@lru_cache(maxsize=8)
def _tables(metadata: bytes) -> _Tables:
    sensor = _sensor(metadata)
    profile, beams = sensor.profile, len(sensor.altitude_rad)
    pixel = np.dtype(
        {
            "names": [f"{name}{i}" for i in range(len(profile.returns)) for name in ("r", "i")],
            "formats": [kind for found in profile.returns for kind in (found.range_kind, "u1")],
            "offsets": [
                at for found in profile.returns for at in (found.range_at, found.reflectivity_at)
            ],
            "itemsize": profile.pixel,
        }
    )
    # The legacy layout ends a column with its status, the others begin with it.
    status_at = sensor.column_bytes - 4 if profile.column_footer else 10
    column = np.dtype(
        {
            "names": ["time_ns", "number", "status", "pixels"],
            "formats": ["<u8", "<u2", "<u2", (pixel, (beams,))],
            "offsets": [0, 8, status_at, profile.column_header],
            "itemsize": sensor.column_bytes,
        }
    )
    packet = np.dtype(
        {
            "names": ["columns"],
            "formats": [(column, (sensor.columns_per_packet,))],
            "offsets": [profile.packet_header],
            "itemsize": sensor.packet_bytes,
        }
    )
    ring = np.argsort(np.argsort(sensor.altitude_rad, kind="stable")).astype(np.uint16)
    return _Tables(packet, *sensor.beams(), ring)


def _points(sensor: OusterSensor, packets: list[bytes], start_ns: int) -> RawPoints:
    """Return the returns of a frame; times are nanoseconds after its first column."""
    tables = _tables(sensor.metadata)
    columns = np.frombuffer(b"".join(packets), tables.packet)["columns"].reshape(-1)
    columns = columns[(columns["status"] & 1 > 0) & (columns["number"] < sensor.num_columns)]
    count = len(sensor.profile.returns)
    parts = [_returns(columns, tables, i, sensor, start_ns) for i in range(count)]
    xyz_m = np.concatenate([part.xyz_m for part in parts])
    intensity = np.concatenate([part.intensity for part in parts])
    ring = np.concatenate([part.ring for part in parts])
    offset_ns = np.concatenate([part.offset_ns for part in parts])
    return RawPoints(xyz_m, intensity, ring, offset_ns, "offset_ns")


def _returns(
    columns: NDArray[np.void], tables: _Tables, which: int, sensor: OusterSensor, start_ns: int
) -> _Returns:
    """Return the first or second return of the pixels of (C,) columns."""
    found = sensor.profile.returns[which]
    range_mm = (columns["pixels"][f"r{which}"].astype(np.uint32) & found.mask) << found.shift
    column, beam = np.nonzero(range_mm)
    number = columns["number"][column]
    range_m = range_mm[column, beam].astype(np.float32) * np.float32(0.001)
    xyz_m: Float32 = tables.direction[number, beam]
    xyz_m *= range_m[:, None]
    xyz_m += tables.origin[number, beam]
    offset_ns = columns["time_ns"].astype(np.int64) - np.int64(start_ns)
    intensity = columns["pixels"][f"i{which}"][column, beam]
    return _Returns(xyz_m, intensity, tables.ring[beam], offset_ns[column])
