"""Columns and metadata of a sweeps file."""

from __future__ import annotations

from typing import Any, Final

import numpy as np
import pyarrow as pa

from scene.calibration import Calibration, Intrinsics
from scene.pose import SE3

POSE: Final = ("qw", "qx", "qy", "qz", "tx_m", "ty_m", "tz_m")  # map_SE3_ego
SWEEP_SCHEMA: Final = pa.schema(
    [
        pa.field("timestamp_ns", pa.int64(), nullable=False),
        pa.field("num_points", pa.int64(), nullable=False),
        *(pa.field(name, pa.float64(), nullable=False) for name in POSE),
        pa.field("points", pa.large_binary(), nullable=False),
    ]
)
INDEX: Final = ("timestamp_ns", "num_points", *POSE)
META_KEY: Final = b"starloop"


def calibration_to_dict(calibration: Calibration) -> dict[str, Any]:
    """Return rotations (row by row) and translations as plain numbers; floats keep every bit."""
    values: dict[str, Any] = {
        "calibration": {
            name: [*pose.rotation.ravel().tolist(), *pose.translation_m.tolist()]
            for name, pose in sorted(calibration.ego_SE3_sensor.items())
        },
        "assumed": sorted(calibration.assumed),
    }
    if calibration.cameras:
        values["cameras"] = {
            name: {
                "width_px": camera.width_px,
                "height_px": camera.height_px,
                "matrix": camera.matrix.ravel().tolist(),
                "distortion": camera.distortion.tolist(),
                "model": camera.model,
            }
            for name, camera in sorted(calibration.cameras.items())
        }
    return values


def calibration_from_dict(meta: dict[str, Any]) -> Calibration:
    """Undo `calibration_to_dict`."""
    poses = {name: np.array(values) for name, values in meta["calibration"].items()}
    return Calibration(
        {name: SE3(v[:9].reshape(3, 3), v[9:]) for name, v in poses.items()},
        frozenset(meta["assumed"]),
        {name: _intrinsics(values) for name, values in meta.get("cameras", {}).items()},
    )


def _intrinsics(values: dict[str, Any]) -> Intrinsics:
    matrix = np.array(values["matrix"], dtype=np.float64).reshape(3, 3)
    distortion = np.array(values["distortion"], dtype=np.float64)
    return Intrinsics(values["width_px"], values["height_px"], matrix, distortion, values["model"])
