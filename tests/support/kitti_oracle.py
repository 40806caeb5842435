"""KITTI's own geometry, written down from its development kits, without our box or pose code.

Corners: devkit_object/matlab/computeBox3D.m. Points are brought to the labels' frame by
R0_rect * Tr_velo_to_cam, as its readme says, and tested there.
"""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import numpy as np


class CameraBox(NamedTuple):
    """A labelled object in the rectified frame of camera 0."""

    kind: str
    corners: np.ndarray  # (8, 3)
    rotation: np.ndarray  # (3, 3) camera_R_object
    bottom: np.ndarray  # (3,)
    size_hwl: np.ndarray  # (3,)


def read_boxes(path: Path, skip: int = 0) -> list[CameraBox]:
    """Return the labelled objects of a file; tracking lines have two words more in front."""
    boxes = []
    for line in path.read_text().splitlines():
        words = line.split()[skip:]
        h, w, l, x, y, z, ry = map(float, words[8:15])  # noqa: E741
        rotation = np.array([[np.cos(ry), 0, np.sin(ry)], [0, 1, 0], [-np.sin(ry), 0, np.cos(ry)]])
        xs = [l / 2, l / 2, -l / 2, -l / 2, l / 2, l / 2, -l / 2, -l / 2]
        ys = [0, 0, 0, 0, -h, -h, -h, -h]
        zs = [w / 2, -w / 2, -w / 2, w / 2, w / 2, -w / 2, -w / 2, w / 2]
        corners = (rotation @ np.array([xs, ys, zs])).T + np.array([x, y, z])
        boxes.append(
            CameraBox(words[0], corners, rotation, np.array([x, y, z]), np.array([h, w, l]))
        )
    return boxes


def rect_T_velo(path: Path) -> np.ndarray:
    """Return the (4, 4) transform of a calibration file."""
    rows = {line.split()[0].rstrip(":"): line.split()[1:] for line in path.read_text().splitlines() if line}  # noqa: E501 # fmt: skip
    numbers = {name: np.array(values, dtype=float) for name, values in rows.items()}
    rect, velo = np.eye(4), np.eye(4)
    rect[:3, :3] = numbers["R0_rect"].reshape(3, 3)
    velo[:3] = numbers["Tr_velo_to_cam"].reshape(3, 4)
    return rect @ velo


def inside(box: CameraBox, points_velo: np.ndarray, rect: np.ndarray) -> np.ndarray:
    """Return which (N, 3) points of the scanner lie in the box."""
    camera = points_velo @ rect[:3, :3].T + rect[:3, 3]
    local = (camera - box.bottom) @ box.rotation
    h, w, l = box.size_hwl  # noqa: E741
    return (
        (np.abs(local[:, 0]) <= l / 2) & (local[:, 1] <= 0) & (local[:, 1] >= -h)
        & (np.abs(local[:, 2]) <= w / 2)
    )  # fmt: skip
