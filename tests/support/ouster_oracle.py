"""Writes tests/data/ouster_packets.npz with ouster-sdk, whose pins do not fit ours.

Run in an environment of its own:
pip install ouster-sdk==1.0.1 && python tests/support/ouster_oracle.py
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

PROFILES = (
    "LEGACY", "RNG19_RFL8_SIG16_NIR16", "RNG19_RFL8_SIG16_NIR16_DUAL", "RNG15_RFL8_NIR8",
    "RNG15_RFL8_NIR8_DUAL", "FUSA_RNG15_RFL8_NIR8_DUAL",
)  # fmt: skip
START = 1_700_000_000_000_000_000
COLUMN_NS = 195_312
FRAME = 7
NUM_PACKETS, COLUMNS_PER_PACKET, FIRST_COLUMN, INVALID_COLUMN = 2, 2, 100, 102


def write(path: Path) -> None:
    arrays: dict[str, Any] = {}
    for name in PROFILES:
        arrays |= {f"{name}/{key}": value for key, value in sample(name).items()}
    np.savez_compressed(path, **arrays)


def sample(name: str) -> dict[str, Any]:
    """Packets of one layout with random ranges, and the points that the kit makes of them."""
    import ouster.sdk.core as kit

    info = kit.SensorInfo.from_default(kit.LidarMode._512x10)
    info.format.columns_per_packet = COLUMNS_PER_PACKET
    info.format.udp_profile_lidar = getattr(kit.UDPProfileLidar, name)
    if name.startswith("FUSA"):
        info.format.header_type = kit.HeaderType.FUSA
    layout = kit.PacketFormat.from_info(info)
    known = {field if isinstance(field, str) else field[0] for field in layout.fields}
    rng = np.random.default_rng(0)
    packets, fields = [], {f: np.zeros((info.h, info.w), np.uint32) for f in known}
    for k in range(NUM_PACKETS):
        packet = kit.LidarPacket(layout)
        layout.set_frame_id(packet, FRAME)
        columns = FIRST_COLUMN + k * COLUMNS_PER_PACKET + np.arange(COLUMNS_PER_PACKET)
        for j, column in enumerate(columns.tolist()):
            layout.set_col_timestamp(packet, j, START + column * COLUMN_NS)
            layout.set_col_measurement_id(packet, j, column)
            valid = 0xFFFFFFFF if name == "LEGACY" else 1
            layout.set_col_status(packet, j, 0 if column == INVALID_COLUMN else valid)
        shape = (info.h, COLUMNS_PER_PACKET)
        for field in sorted(known & {"RANGE", "RANGE2", "REFLECTIVITY", "REFLECTIVITY2"}):
            ranges = (rng.integers(0, 12_000, shape) * 8).astype(np.uint32)
            ranges[rng.random(shape) < 0.3] = 0
            values = ranges if "RANGE" in field else rng.integers(0, 256, shape).astype(np.uint8)
            layout.set_field(packet, field, values)
            fields[field][:, columns] = values
        packets.append(np.frombuffer(bytes(packet.buf), np.uint8))
    lut = kit.XYZLut(info, False)
    points, reflectivity = [], []
    for second in ("", "2"):
        if f"RANGE{second}" not in known:
            continue
        ranges = fields[f"RANGE{second}"]
        ranges[:, INVALID_COLUMN] = 0
        seen = ranges.T > 0
        points.append(lut(ranges).transpose(1, 0, 2)[seen])
        reflectivity.append(fields[f"REFLECTIVITY{second}"].T[seen])
    return {
        "metadata": np.frombuffer(info.to_json_string().encode(), np.uint8),
        "packets": np.stack(packets),
        "xyz_m": np.concatenate(points).astype(np.float32),
        "reflectivity": np.concatenate(reflectivity).astype(np.uint8),
    }


if __name__ == "__main__":
    target = Path(__file__).resolve().parents[1] / "data" / "ouster_packets.npz"
    target.parent.mkdir(exist_ok=True)
    write(target)
    print(json.dumps({"bytes": target.stat().st_size}))
