"""Point clouds as they arrive in requests, and boxes as they leave in answers."""

from __future__ import annotations

import io
import json
from typing import Any, Final

import numpy as np

from scene.box import Boxes
from scene.errors import FormatError
from scene.types import Float32

_POINT_BYTES: Final = 16
_NPY_MAGIC: Final = b"\x93NUMPY"


def read_cloud(body: bytes, content_type: str) -> Float32:
    """Return the (N, 4) points of a request: x, y, z (meters, ego frame), intensity.

    Args:
        body: `.npy` bytes of an (N, 3) or (N, 4) array whatever the type; JSON
            `{"points": [[x, y, z, intensity], ...]}` if the type is JSON; else float32 little
            endian, four numbers a point.
        content_type: the header of the request; may be empty.

    Raises:
        FormatError: if the bytes are none of these.
    """
    if body.startswith(_NPY_MAGIC):
        return _four_columns(_read_npy(body), ".npy array")
    if content_type.partition(";")[0].strip().lower() == "application/json":
        return _four_columns(_read_json(body), '"points"')
    if not body:
        raise FormatError(
            "no points: send float32 x, y, z, intensity as application/octet-stream, a .npy file, "
            'JSON {"points": [[x, y, z, intensity], ...]}, or name a frame with '
            "?frame=<recording>@<timestamp_ns>"
        )
    if len(body) % _POINT_BYTES:
        raise FormatError(
            f"{len(body)} bytes are not float32 x, y, z, intensity: {_POINT_BYTES} bytes a point"
        )
    return np.frombuffer(body, dtype="<f4").astype(np.float32).reshape(-1, 4)


def boxes_to_json(boxes: Boxes) -> list[dict[str, Any]]:
    """Return boxes as plain values, ego frame, best score first; unknown velocity is None."""
    known = np.isfinite(boxes.velocity_xy_mps)
    return [
        {
            "category": str(boxes.category[i]),
            "score": float(boxes.score[i]),
            "center_xyz_m": boxes.center_xyz_m[i].tolist(),
            "size_lwh_m": boxes.size_lwh_m[i].tolist(),
            "yaw_rad": float(boxes.yaw_rad[i]),
            "velocity_xy_mps": boxes.velocity_xy_mps[i].tolist() if known[i].all() else None,
        }
        for i in range(len(boxes))
    ]


def _read_npy(body: bytes) -> Any:
    try:
        return np.load(io.BytesIO(body), allow_pickle=False)
    except (ValueError, EOFError, OSError, MemoryError) as error:  # a header may ask for terabytes
        raise FormatError(f".npy body cannot be read: {error}") from error


def _read_json(body: bytes) -> Any:
    try:
        return json.loads(body)["points"]
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise FormatError(
            f'JSON body must be {{"points": [[x, y, z, intensity], ...]}}: {error!r}'
        ) from error


def _four_columns(values: Any, what: str) -> Float32:
    """Return (N, 4) float32; a missing intensity becomes 0."""
    try:
        points = np.asarray(values, dtype=np.float32)
    except (ValueError, TypeError, OverflowError) as error:
        raise FormatError(f"{what} is not an array of numbers: {error}") from error
    if points.shape == (0,):
        return np.zeros((0, 4), dtype=np.float32)
    if points.ndim != 2 or points.shape[1] not in (3, 4):
        raise FormatError(f"{what} has shape {points.shape}; expected (N, 3) or (N, 4)")
    missing = np.zeros((len(points), 4 - points.shape[1]), dtype=np.float32)
    return np.concatenate([points, missing], axis=1)
