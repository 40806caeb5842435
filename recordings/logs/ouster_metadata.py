"""What an Ouster sensor's metadata file tells: where its beams look, how its packets are laid out.

Sources: static.ouster.dev/sensor-docs (coordinate frames, lidar data packet format); the layouts
were compared with those of ouster-sdk 1.0.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, NamedTuple

import numpy as np

from recordings.recording import Damage
from scene.errors import FormatError
from scene.types import Float32, Float64

LIDAR_KIND: Final = "ouster.LidarPacket"
IMU_KIND: Final = "ouster.ImuPacket"
IMU_BYTES: Final = 48
_IMU_PORT: Final = 7503
_MAX_METADATA_BYTES: Final = 4 * 2**20
_MAX_FILES: Final = 50
_MAX_BEAMS, _MAX_COLUMNS, _MAX_COLUMNS_PER_PACKET = 256, 8192, 64


class Return(NamedTuple):
    """Where a return lies in the channel block of a pixel.

    Attributes:
        range_at, range_kind: byte and type of the range.
        mask: bits of the range; shift: by which it is scaled to millimetres.
        reflectivity_at: byte of the reflectivity.
    """

    range_at: int
    range_kind: str
    mask: int
    shift: int
    reflectivity_at: int


class Profile(NamedTuple):
    """A `udp_profile_lidar`: sizes in bytes around the pixels, and the returns of each pixel."""

    packet_header: int
    column_header: int
    pixel: int
    column_footer: int
    packet_footer: int
    returns: tuple[Return, ...]


_RNG19: Final = Return(0, "<u4", 0x7FFFF, 0, 4)
_RNG15: Final = Return(0, "<u2", 0x7FFF, 3, 2)
_RNG15_DUAL: Final = (_RNG15, Return(4, "<u2", 0x7FFF, 3, 6))
PROFILES: Final = {
    "LEGACY": Profile(0, 16, 12, 4, 0, (Return(0, "<u4", 0xFFFFF, 0, 4),)),
    "RNG19_RFL8_SIG16_NIR16": Profile(32, 12, 12, 0, 32, (_RNG19,)),
    "RNG19_RFL8_SIG16_NIR16_DUAL": Profile(
        32, 12, 16, 0, 32, (Return(0, "<u4", 0x7FFFF, 0, 3), Return(4, "<u4", 0x7FFFF, 0, 7))
    ),
    "RNG15_RFL8_NIR8": Profile(32, 12, 4, 0, 32, (_RNG15,)),
    "RNG15_RFL8_NIR8_DUAL": Profile(32, 12, 8, 0, 32, _RNG15_DUAL),
    "FUSA_RNG15_RFL8_NIR8_DUAL": Profile(32, 12, 8, 0, 32, _RNG15_DUAL),
}


@dataclass(frozen=True)
class OusterSensor:
    """One sensor.

    Attributes:
        metadata: the file's bytes.
        profile_name: name of the packet layout, a key of `PROFILES`.
        num_columns: measurements in a turn.
        columns_per_packet: of them in a packet.
        altitude_rad, azimuth_rad: (H,) of each beam, from the top row of the image down.
        beam_xz_m: where the beams begin in the turning part, along it and upwards.
        sensor_T_lidar: (4, 4) from the turning part's frame to the sensor's, metres.
        lidar_port: UDP port of lidar packets; 0 if the file does not tell.
        imu_port: UDP port of IMU packets.
        is_fusa: whether packet headers are those of the functional safety firmware.
    """

    metadata: bytes
    profile_name: str
    num_columns: int
    columns_per_packet: int
    altitude_rad: Float64
    azimuth_rad: Float64
    beam_xz_m: tuple[float, float]
    sensor_T_lidar: Float64  # noqa: N815
    lidar_port: int
    imu_port: int
    is_fusa: bool

    @property
    def profile(self) -> Profile:
        """The packet layout."""
        return PROFILES[self.profile_name]

    @property
    def column_bytes(self) -> int:
        """Size of a column in a packet."""
        layout = self.profile
        return layout.column_header + len(self.altitude_rad) * layout.pixel + layout.column_footer

    @property
    def packet_bytes(self) -> int:
        """Size of a lidar packet."""
        around = self.profile.packet_header + self.profile.packet_footer
        return around + self.columns_per_packet * self.column_bytes

    def beams(self) -> tuple[Float32, Float32]:
        """Return (W, H, 3) directions and (W, H, 3) origins in the sensor frame, metres.

        A return of range r is at direction * r + origin. Source: Ouster's sensor documentation,
        "Lidar range to XYZ".
        """
        encoder = 2 * np.pi * (1 - np.arange(self.num_columns) / self.num_columns)[:, None]
        turn = encoder - self.azimuth_rad
        level = np.cos(self.altitude_rad)
        up = np.broadcast_to(np.sin(self.altitude_rad), turn.shape)
        direction = np.stack([np.cos(turn) * level, np.sin(turn) * level, up], axis=2)
        along, above = self.beam_xz_m
        start = np.stack([along * np.cos(encoder), along * np.sin(encoder), above + 0 * encoder], 2)
        origin = start - direction * np.hypot(along, above)
        rotation, shift = self.sensor_T_lidar[:3, :3], self.sensor_T_lidar[:3, 3]
        return (
            (direction @ rotation.T).astype(np.float32),
            (origin @ rotation.T + shift).astype(np.float32),
        )


def find_sensors(path: Path, damage: list[Damage]) -> list[OusterSensor]:
    """Return the sensors whose metadata files lie in a folder, or beside a capture.

    Files of other kinds are passed over; metadata that cannot be used goes to `damage`.
    """
    folder = path if path.is_dir() else path.parent
    files = sorted(folder.glob("*.json"))
    if path.is_file():
        stem = path.name.split(".")[0]
        files = [file for file in files if file.name.startswith(stem)] or files
    sensors = []
    for file in files[:_MAX_FILES]:
        if file.stat().st_size > _MAX_METADATA_BYTES:
            continue
        data = file.read_bytes()
        if b"beam_altitude_angles" not in data:
            continue
        try:
            sensors.append(parse_metadata(data))
        except FormatError as error:
            damage.append(Damage(file.name, str(error), "packets of that Ouster sensor"))
    return sensors


def parse_metadata(data: bytes) -> OusterSensor:
    """Return the sensor of a metadata file, of any firmware.

    Raises:
        FormatError: if something is missing or makes no sense, or the layout is unknown.
    """
    try:
        return _sensor(data, _flat(json.loads(data)))
    except (KeyError, ValueError, TypeError, AttributeError, RecursionError) as error:
        what = f"{type(error).__name__}: {error}"
        raise FormatError(f"the Ouster metadata cannot be used: {what}") from error


def _flat(tree: Any) -> dict[str, Any]:
    """Return all values by name, of the flat files of old firmware and the nested ones of new."""
    flat: dict[str, Any] = {}
    waiting = [tree]
    while waiting:
        for name, value in waiting.pop().items():
            if isinstance(value, dict):
                waiting.append(value)
            else:
                flat.setdefault(name, value)
    return flat


def _sensor(data: bytes, flat: Mapping[str, Any]) -> OusterSensor:
    altitude = _numbers(flat["beam_altitude_angles"])
    azimuth = _numbers(flat["beam_azimuth_angles"])
    profile = str(flat.get("udp_profile_lidar") or "LEGACY")
    if profile not in PROFILES:
        raise FormatError(
            f"packets of the layout {profile} are not read; read are {', '.join(PROFILES)}"
        )
    columns = int(flat.get("columns_per_frame") or str(flat["lidar_mode"]).partition("x")[0])
    per_packet = int(flat.get("columns_per_packet") or 16)
    count = int(flat.get("pixels_per_column") or len(altitude))
    if not (len(altitude) == len(azimuth) == count and 0 < count <= _MAX_BEAMS):
        raise FormatError(f"{count} beams, {len(altitude)} altitudes, {len(azimuth)} azimuths")
    if not (0 < columns <= _MAX_COLUMNS and 0 < per_packet <= _MAX_COLUMNS_PER_PACKET):
        raise FormatError(f"{columns} columns a turn, {per_packet} a packet make no sense")
    to_sensor = _matrix(flat["lidar_to_sensor_transform"])
    return OusterSensor(
        data, profile, columns, per_packet, np.radians(altitude), np.radians(azimuth),
        _beam_start(flat), to_sensor, int(flat.get("udp_port_lidar") or 0),
        int(flat.get("udp_port_imu") or _IMU_PORT), flat.get("header_type") == "FUSA",
    )  # fmt: skip


def _beam_start(flat: Mapping[str, Any]) -> tuple[float, float]:
    if flat.get("beam_to_lidar_transform"):
        matrix = _matrix(flat["beam_to_lidar_transform"])
        return float(matrix[0, 3]), float(matrix[2, 3])
    return float(_numbers([flat["lidar_origin_to_beam_origin_mm"]])[0]) / 1000, 0.0


def _matrix(values: Sequence[float]) -> Float64:
    """Return a (4, 4) transform in metres of 16 numbers in millimetres."""
    matrix = _numbers(values).reshape(4, 4).copy()
    matrix[:3, 3] /= 1000
    return matrix


def _numbers(values: Sequence[float]) -> Float64:
    array = np.array(values, dtype=np.float64)
    if not np.isfinite(array).all():
        raise ValueError("a number is not finite")
    return array
