"""Writes a small data set in the layout of nuScenes: 13 tables, lidar sweeps, camera images.

Two scenes of one log and one of another; keyframes every 0.5 s with two sweeps between them.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from scene.pose import SE3

LOGS = ("n015-2018-07-24-11-22-45+0800", "n008-2018-08-01-15-16-36-0400")
SCENES = {"scene-0001": LOGS[0], "scene-0002": LOGS[0], "scene-0003": LOGS[1]}
KEYFRAMES = 4
START_US = 1_532_402_927_000_000
# As the scanner of the real data set is mounted: x right, y forward.
EGO_SE3_LIDAR = SE3.from_quaternion(
    np.array([0.7077955, -0.0064922, 0.0106462, -0.7063074]), np.array([0.9437, 0.0, 1.8402])
)
CAMERA_MATRIX = [[1266.4, 0.0, 816.3], [0.0, 1266.4, 491.5], [0.0, 0.0, 1.0]]
# category, size w l h, position along and beside the road, heading, speed along the heading
OBJECTS = (
    ("vehicle.car", (1.9, 4.5, 1.6), (12.0, 3.0), 0.3, 4.0),
    ("vehicle.bus.rigid", (2.9, 11.0, 3.4), (20.0, -6.0), 2.9, 0.0),
    ("human.pedestrian.adult", (0.7, 0.8, 1.8), (8.0, -3.0), -1.2, 1.5),
    ("animal", (0.4, 0.9, 0.6), (6.0, 5.0), 0.0, 0.0),
)


@dataclass
class Tables:
    """The tables as they grow."""

    rows: dict[str, list[dict[str, Any]]] = field(default_factory=dict)

    def add(self, table: str, token: str, **values: Any) -> str:
        self.rows.setdefault(table, []).append({"token": token, **values})
        return token


def write_nuscenes(root: Path, tilt_rad: float = 0.0, version: str = "v1.0-mini") -> Path:
    """Write the data set; with `tilt_rad` the ego pitches, as on a slope."""
    tables = Tables()
    for name in ("attribute", "visibility"):
        tables.add(name, f"{name}-1", name=name, description="")
    for category, *_ in OBJECTS:
        tables.add("category", category, name=category, description="")
    for channel, modality in (("LIDAR_TOP", "lidar"), ("CAM_FRONT", "camera"), ("RADAR", "radar")):
        tables.add("sensor", channel, channel=channel, modality=modality)
    for log in LOGS:
        tables.add("log", log, logfile=log, vehicle=log[:4], date_captured="", location="here")
    (root / "maps").mkdir(parents=True)
    Image.new("L", (4, 4)).save(root / "maps" / "map.png")
    tables.add("map", "map", log_tokens=list(LOGS), category="", filename="maps/map.png")
    for number, (scene, log) in enumerate(SCENES.items()):
        _write_scene(root, tables, scene, log, START_US + number * 20_000_000, tilt_rad)
    (root / version).mkdir()
    for table, rows in tables.rows.items():
        (root / version / f"{table}.json").write_text(json.dumps(rows, indent=0))
    return root


def pose_at(seconds: float, tilt_rad: float) -> SE3:
    """Return global_SE3_ego on a curve."""
    yaw = 0.4 + 0.05 * seconds
    cos, sin = np.cos(tilt_rad), np.sin(tilt_rad)
    pitch = SE3(np.array([[cos, 0, sin], [0, 1, 0], [-sin, 0, cos]]), np.zeros(3))
    place = np.array([400.0 + 5 * seconds, 1100.0 + 2 * seconds, 0.0])
    return SE3.from_yaw(yaw, place) @ pitch


def _write_scene(
    root: Path, tables: Tables, scene: str, log: str, start_us: int, tilt_rad: float
) -> None:
    samples = [f"{scene}-s{i}" for i in range(KEYFRAMES)]
    for i, sample in enumerate(samples):
        tables.add(
            "sample", sample, timestamp=start_us + i * 500_000, scene_token=f"token-{scene}",
            prev=samples[i - 1] if i else "", next=samples[i + 1] if i + 1 < KEYFRAMES else "",
        )  # fmt: skip
    tables.add(
        "scene", f"token-{scene}", name=scene, log_token=log, nbr_samples=KEYFRAMES,
        first_sample_token=samples[0], last_sample_token=samples[-1], description="",
    )  # fmt: skip
    for channel, mount in (("LIDAR_TOP", EGO_SE3_LIDAR), ("CAM_FRONT", _camera()), ("RADAR", SE3.identity())):  # noqa: E501 # fmt: skip
        tables.add(
            "calibrated_sensor", f"{scene}-{channel}", sensor_token=channel,
            translation=mount.translation_m.tolist(), rotation=mount.quat_wxyz.tolist(),
            camera_intrinsic=CAMERA_MATRIX if channel == "CAM_FRONT" else [],
        )  # fmt: skip
    _write_annotations(tables, scene, samples)
    for step in range(3 * (KEYFRAMES - 1) + 1):
        time_us = start_us + step * 500_000 // 3
        sample = samples[round(step / 3)]
        key = step % 3 == 0
        _write_file(root, tables, scene, log, sample, "LIDAR_TOP", time_us, key, tilt_rad)
        _write_file(root, tables, scene, log, sample, "CAM_FRONT", time_us + 12_404, key, tilt_rad)


def _camera() -> SE3:
    """Return ego_SE3_camera: z forward, x right, y down."""
    rotation = np.array([[0.0, 0.0, 1.0], [-1.0, 0.0, 0.0], [0.0, -1.0, 0.0]])
    return SE3(rotation, np.array([1.7, 0.0, 1.5]))


def _write_file(
    root: Path, tables: Tables, scene: str, log: str, sample: str, channel: str, time_us: int,
    key: bool, tilt_rad: float,
) -> None:  # fmt: skip
    token = f"{scene}-{channel}-{time_us}"
    pose = pose_at((time_us - START_US) / 1e6, tilt_rad)
    tables.add(
        "ego_pose", token, timestamp=time_us, translation=pose.translation_m.tolist(),
        rotation=pose.quat_wxyz.tolist(),
    )  # fmt: skip
    suffix = "pcd.bin" if channel == "LIDAR_TOP" else "jpg"
    name = f"{'samples' if key else 'sweeps'}/{channel}/{log}__{channel}__{time_us}.{suffix}"
    (root / name).parent.mkdir(parents=True, exist_ok=True)
    if channel == "LIDAR_TOP":
        points_of(time_us, tilt_rad).tofile(root / name)
    else:
        Image.new("RGB", (16, 9)).save(root / name)
    tables.add(
        "sample_data", token, sample_token=sample, ego_pose_token=token, filename=name,
        calibrated_sensor_token=f"{scene}-{channel}", timestamp=time_us, is_key_frame=key,
        fileformat=suffix, width=1600 if channel == "CAM_FRONT" else 0,
        height=900 if channel == "CAM_FRONT" else 0, prev="", next="",
    )  # fmt: skip


def points_of(time_us: int, tilt_rad: float) -> np.ndarray:
    """Return (N, 5) float32 x, y, z, intensity, ring in the frame of the scanner."""
    rng = np.random.default_rng(time_us % 2**32)
    seconds = (time_us - START_US) / 1e6
    world = []
    for i, (_, (width, length, height), *_) in enumerate(OBJECTS):
        local = rng.uniform(-0.7, 0.7, (200, 3)) * np.array([length, width, height])
        world.append(_object_pose(i, seconds).transform_points(local))
    pose = pose_at(seconds, tilt_rad) @ EGO_SE3_LIDAR
    points = pose.inverse().transform_points(np.concatenate(world))
    rest = np.stack([rng.integers(0, 256, len(points)), rng.integers(0, 32, len(points))], axis=1)
    return np.concatenate([points, rest], axis=1).astype(np.float32)


def _object_pose(number: int, seconds: float) -> SE3:
    """Return global_SE3_object; objects start beside where the ego of that scene starts."""
    _, (_, _, height), (along, beside), yaw, speed = OBJECTS[number]
    scene_start = seconds // 20 * 20
    way = speed * (seconds - scene_start)
    place = pose_at(scene_start, 0.0).transform_points(np.array([[along, beside, height / 2]]))[0]
    return SE3.from_yaw(yaw, place + way * np.array([np.cos(yaw), np.sin(yaw), 0.0]))


def _write_annotations(tables: Tables, scene: str, samples: list[str]) -> None:
    times = {s["token"]: s["timestamp"] for s in tables.rows["sample"]}
    for number, (category, size, *_) in enumerate(OBJECTS):
        tokens = [f"{scene}-a{number}-{i}" for i in range(len(samples))]
        tables.add(
            "instance", f"{scene}-i{number}", category_token=category, nbr_annotations=len(samples),
            first_annotation_token=tokens[0], last_annotation_token=tokens[-1],
        )  # fmt: skip
        for i, sample in enumerate(samples):
            pose = _object_pose(number, (times[sample] - START_US) / 1e6)
            tables.add(
                "sample_annotation", tokens[i], sample_token=sample, size=list(size),
                instance_token=f"{scene}-i{number}", translation=pose.translation_m.tolist(),
                rotation=pose.quat_wxyz.tolist(), num_lidar_pts=10 * number + i, num_radar_pts=0,
                visibility_token="visibility-1", attribute_tokens=[],
                prev=tokens[i - 1] if i else "", next=tokens[i + 1] if i + 1 < len(tokens) else "",
            )  # fmt: skip
