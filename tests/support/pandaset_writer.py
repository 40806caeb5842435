"""Writes a sequence in the original layout of PandaSet."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from scene.pose import SE3
from tests.support.frame_pickle import write_frame

# The heading of a PandaSet pose has x right and y forward.
EGO_SE3_POSE = SE3(np.array([[0.0, 1.0, 0.0], [-1.0, 0.0, 0.0], [0.0, 0.0, 1.0]]), np.zeros(3))


def seconds_text(time_ns: int) -> str:
    """Return exact seconds: a float would be off by a microsecond."""
    return f"{time_ns // 10**9}.{time_ns % 10**9:09d}"


def write_times(path: Path, times_ns: Sequence[int]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"[{', '.join(seconds_text(time) for time in times_ns)}]")


def write_poses(path: Path, world_SE3: Sequence[SE3]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    rows = [
        {
            "position": dict(zip("xyz", pose.translation_m.tolist(), strict=True)),
            "heading": dict(zip("wxyz", pose.quat_wxyz.tolist(), strict=True)),
        }
        for pose in world_SE3
    ]
    path.write_text(json.dumps(rows))


def write_lidar_poses(folder: Path, times_ns: Sequence[int], world_SE3_ego: Sequence[SE3]) -> None:
    """Write times and poses of the frames."""
    write_times(folder / "lidar" / "timestamps.json", times_ns)
    poses = [pose @ EGO_SE3_POSE for pose in world_SE3_ego]
    write_poses(folder / "lidar" / "poses.json", poses)


def write_points(
    path: Path, world_SE3_ego: SE3, points_ego_m: np.ndarray, intensity: np.ndarray,
    time_ns: np.ndarray, lidar: np.ndarray,
) -> None:  # fmt: skip
    """Write one frame of points."""
    world = world_SE3_ego.transform_points(points_ego_m.astype(np.float64))
    columns = {
        **{name: np.ascontiguousarray(world[:, i]) for i, name in enumerate("xyz")},
        "i": intensity.astype(np.float64),
        "t": time_ns / 1e9,
        "d": lidar.astype(np.int64),
    }
    write_frame(path, columns)


def write_cuboids(path: Path, world_SE3_ego: SE3, rows: Sequence[Mapping[str, Any]]) -> None:
    """Write cuboids given in the ego frame: uuid, label, center, size_lwh, yaw, sensor_id."""
    world = [
        world_SE3_ego @ SE3.from_yaw(row["yaw"], np.array(row["center"], float)) for row in rows
    ]
    text = {name: np.array([r[name] for r in rows], dtype=object) for name in ("uuid", "label")}
    size = np.array([row["size_lwh"] for row in rows]).reshape(-1, 3)
    place = np.array([pose.translation_m for pose in world]).reshape(-1, 3)
    columns = {
        **text,
        # 0 along the world's y, counter-clockwise.
        "yaw": np.array([pose.yaw_rad - np.pi / 2 for pose in world]),
        "stationary": np.zeros(len(rows), dtype=bool),
        **{f"position.{name}": place[:, i].copy() for i, name in enumerate("xyz")},
        "dimensions.x": size[:, 1].copy(), "dimensions.y": size[:, 0].copy(),
        "dimensions.z": size[:, 2].copy(),
        "cuboids.sensor_id": np.array([row.get("sensor_id", -1) for row in rows]),
    }  # fmt: skip
    write_frame(path, columns)


def write_camera(
    folder: Path, times_ns: Sequence[int], world_SE3_camera: Sequence[SE3],
    intrinsics: Mapping[str, float],
) -> None:  # fmt: skip
    """Write one camera with an image for every time."""
    write_times(folder / "timestamps.json", times_ns)
    write_poses(folder / "poses.json", world_SE3_camera)
    (folder / "intrinsics.json").write_text(json.dumps(dict(intrinsics)))
    for i in range(len(times_ns)):
        (folder / f"{i:02d}.jpg").write_bytes(b"\xff\xd8\xff")
