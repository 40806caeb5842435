"""What bare float32 scans look like: the files of nuScenes and KITTI have no header at all."""

from __future__ import annotations

from typing import Final

import numpy as np

_MIN_POINTS: Final = 16
_REACH_M: Final = 300.0


def describe_floats(start: bytes) -> str:
    """Return which data set's scan a file begins like, and what to upload; empty if neither.

    Args:
        start: the first bytes of the file.
    """
    if _looks_like(start, 5):
        return (
            "a nuScenes lidar sweep (x, y, z, intensity, ring as float32) without its tables; "
            "upload the data set folder with v1.0-*/ beside samples/ and sweeps/"
        )
    if _looks_like(start, 4):
        return (
            "a KITTI scan (x, y, z, reflectance as float32) by itself; upload the drive folder "
            "with velodyne_points/, or training/ with velodyne/ and calib/"
        )
    return ""


def _looks_like(start: bytes, columns: int) -> bool:
    """Return whether rows of so many floats are points of a scan."""
    count = len(start) // (4 * columns)
    if count < _MIN_POINTS:
        return False
    rows = np.frombuffer(start, "<f4", count * columns).reshape(count, columns)
    if not np.isfinite(rows).all() or np.abs(rows[:, :3]).max() > _REACH_M:
        return False
    if not (np.abs(rows[:, :3]) > 0.01).any(axis=1).mean() > 0.9:
        return False
    if columns == 4:
        return bool(((rows[:, 3] >= 0) & (rows[:, 3] <= 1)).all())
    whole = (rows[:, 3:] >= 0) & (rows[:, 3:] == np.floor(rows[:, 3:]))
    return bool(whole.all() and rows[:, 3].max() <= 255 and rows[:, 4].max() < 128)
