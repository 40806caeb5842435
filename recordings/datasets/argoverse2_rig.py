"""The sensors of an Argoverse 2 log: mountings, camera models and image files."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final

import numpy as np

from recordings.datasets.feather import matrix, read_feather
from scene.calibration import Calibration, Intrinsics
from scene.image import Image
from scene.pose import SE3

POSE_COLUMNS: Final = ("qw", "qx", "qy", "qz", "tx_m", "ty_m", "tz_m")
CAMERA_FOLDER: Final = "sensors/cameras"
_LIDAR_NAMES: Final = ("up_lidar", "lidar_pandar64", "lidar")
_CAMERA_COLUMNS: Final = (
    "width_px", "height_px", "fx_px", "fy_px", "cx_px", "cy_px", "k1", "k2", "k3",
)  # fmt: skip
_IMAGE: Final = re.compile(r"(?P<time>\d+)\.(?P<kind>jpg|png)")


def read_rig(folder: Path) -> tuple[list[str], Calibration]:
    """Return the names of the lidars, the main one first, and the calibration.

    Points and boxes of a log are in the ego frame already, so that the mounting of the lidar is
    only told. The frame of a camera is optical (z forward).

    Raises:
        FormatError: if a file that is there cannot be read.
    """
    cameras = _cameras(folder / "calibration" / "intrinsics.feather")
    path = folder / "calibration" / "egovehicle_SE3_sensor.feather"
    if not path.exists():
        return ["lidar"], Calibration({"lidar": SE3.identity()}, frozenset({"lidar"}), cameras)
    table = read_feather(path, ("sensor_name", *POSE_COLUMNS))
    names = [str(name) for name in table.column("sensor_name").to_pylist()]
    sensors = {
        name: SE3.from_quaternion(pose[:4], pose[4:])
        for name, pose in zip(names, matrix(table, POSE_COLUMNS), strict=True)
    }
    known = [name for name in _LIDAR_NAMES if name in sensors]
    others = sorted(name for name in sensors if "lidar" in name.lower() and name not in known)
    if not known + others:
        sensors["lidar"] = SE3.identity()
        return ["lidar"], Calibration(sensors, frozenset({"lidar"}), cameras)
    return known + others, Calibration(sensors, frozenset(), cameras)


def _cameras(path: Path) -> dict[str, Intrinsics]:
    """Return the camera models: pinhole with radial distortion k1, k2, k3."""
    if not path.exists():
        return {}
    table = read_feather(path, ("sensor_name", *_CAMERA_COLUMNS))
    cameras = {}
    for name, row in zip(
        table.column("sensor_name").to_pylist(), matrix(table, _CAMERA_COLUMNS), strict=True
    ):
        width, height, fx, fy, cx, cy, k1, k2, k3 = row.tolist()
        pinhole = np.array([[fx, 0, cx], [0, fy, cy], [0, 0, 1.0]])
        radial = np.array([k1, k2, 0, 0, k3]) if any((k1, k2, k3)) else np.zeros(0)
        cameras[str(name)] = Intrinsics(int(width), int(height), pinhole, radial)
    return cameras


def find_images(folder: Path) -> list[Image]:
    """Return the images of all cameras by reference, in time order."""
    images = []
    for path in (folder / CAMERA_FOLDER).glob("*/*"):
        match = _IMAGE.fullmatch(path.name)
        if match:
            encoding = "jpeg" if match["kind"] == "jpg" else "png"
            uri = f"{CAMERA_FOLDER}/{path.parent.name}/{path.name}"
            images.append(Image(path.parent.name, int(match["time"]), encoding, uri=uri))
    return sorted(images, key=lambda image: (image.timestamp_ns, image.sensor))
