"""Captures of a lidar's network packets as recordings: one file, or a folder with metadata.

Velodyne packets tell their model; Ouster packets are understood by the metadata file (JSON) that
Ouster's tools write beside a capture. There are no poses in a capture.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Final

from recordings.formats import files_in, head, is_pcap
from recordings.logs.log import LogRecording
from recordings.logs.log_file import Channel, Schema
from recordings.logs.ouster_metadata import (
    IMU_BYTES,
    IMU_KIND,
    LIDAR_KIND,
    OusterSensor,
    find_sensors,
)
from recordings.logs.packets_velodyne import PACKET_BYTES
from recordings.logs.pcap_file import PcapFile
from recordings.logs.udp import Datagram
from recordings.recording import Damage
from scene.errors import FormatError
from scene.recording import RecordingId

_VELODYNE_FLAGS: Final = (b"\xff\xee", b"\xff\xdd")
_POSITION_BYTES: Final = 512
_POSITION_PORT: Final = 8308
_OUSTER_PORTS: Final = (7502, 7503)


class PcapRecording(LogRecording):
    """A capture. See `recordings.logs.log.LogRecording`."""

    format = "pcap"


def open_pcap(path: Path, name: RecordingId, part: str = "") -> PcapRecording:
    """Open one capture, or those of a folder, with the metadata files beside them.

    Args:
        path: a file or folder.
        name: id of the recording.
        part: name of one file of the folder without its suffix; empty for all.

    Raises:
        FormatError: if no packets of a lidar are in it that can be read; says what is.
    """
    paths = [path] if path.is_file() else [p for p in files_in(path) if is_pcap(head(p))]
    paths = [file for file in paths if not part or file.stem == part]
    if not paths:
        raise FormatError(f"{path.name}: no capture of the name {part!r}")
    damage: list[Damage] = []
    sensors = find_sensors(path, damage)
    files = [PcapFile(file, _Classify(sensors)) for file in paths]
    files.sort(key=lambda file: (_first_ns(file), file.path.name))
    recording = PcapRecording(files, name, damage=damage)
    if not recording.sensor:
        raise FormatError(_nothing_usable(path, recording))
    return recording


class _Classify:
    """Tells what a datagram is."""

    def __init__(self, sensors: Sequence[OusterSensor]) -> None:
        self._sensors = sensors

    def __call__(self, datagram: Datagram) -> Channel:
        """Return the channel of a datagram."""
        topic = f"udp/{datagram.source}/{datagram.port}"
        size = len(datagram.payload)
        if size == PACKET_BYTES and bytes(datagram.payload[:2]) in _VELODYNE_FLAGS:
            return Channel(topic, Schema("velodyne.DataPacket", "", b""), "velodyne")
        if size == _POSITION_BYTES and datagram.port == _POSITION_PORT:
            return Channel(topic, Schema("velodyne.PositionPacket", "", b""), "velodyne")
        for sensor in self._by_port(datagram.port):
            if size == sensor.packet_bytes:
                return Channel(topic, Schema(LIDAR_KIND, "", sensor.metadata), "ouster")
            if size == IMU_BYTES and datagram.port == sensor.imu_port:
                return Channel(topic, Schema(IMU_KIND, "", sensor.metadata), "ouster")
        if datagram.port in _OUSTER_PORTS:
            return Channel(topic, Schema("ouster.UnknownPacket", "", b""), "ouster")
        return Channel(f"udp/{datagram.port}", Schema("udp.Datagram", "", b""), "udp")

    def _by_port(self, port: int) -> list[OusterSensor]:
        """Return the sensors, those first that send to a port: two of one model look alike."""
        return sorted(self._sensors, key=lambda sensor: sensor.lidar_port != port)


def _first_ns(file: PcapFile) -> int:
    block = next(iter(file.blocks([])))
    return block.messages[0][1] if block.messages else 0


def _nothing_usable(path: Path, recording: PcapRecording) -> str:
    streams = [f"{t.name} ({t.kind}, {t.count} packets: {t.use})" for t in recording.topics]
    text = f"{path.name}: no lidar packets that can be read; {'; '.join(streams[:10]) or 'no UDP'}"
    if recording.damage:
        text += f"; {recording.damage[0].where}: {recording.damage[0].what}"
    return text
