"""Small labelled lidar scenes for tests of the detector: 32 beams over ground and boxes.

Not the product's simulator: it knows nothing of motion or materials, and takes milliseconds.
"""

from __future__ import annotations

import numpy as np

from scene.box import Boxes, count_points
from scene.calibration import Calibration
from scene.pose import SE3, Trajectory
from scene.recording import RecordingId
from scene.sweep import Sweep
from storage import layout
from storage.boxes import boxes_to_arrow
from storage.manifest import FRAME_SCHEMA, DatasetManifest
from storage.store import ObjectStore
from storage.sweeps import write_sweeps

SENSOR_HEIGHT_M = 1.8
_SIZES = {
    "car": (4.5, 1.9, 1.6),
    "truck": (7.5, 2.5, 3.0),
    "pedestrian": (0.6, 0.6, 1.75),
    "bicycle": (1.8, 0.6, 1.6),
    "": (0.3, 0.3, 2.6),  # a pole: real, unlabelled, the size of a person from above
}
_INTENSITY = {"car": 0.6, "truck": 0.5, "pedestrian": 0.3, "bicycle": 0.4, "": 0.35}


def make_scene(
    seed: int,
    counts: dict[str, int] | None = None,
    *,
    x_m: tuple[float, float] = (-5.0, 35.0),
    y_m: tuple[float, float] = (-18.0, 18.0),
    columns: int = 540,
) -> tuple[np.ndarray, Boxes]:
    """Return (N, 4) float32 points and the boxes hit by at least one ray.

    Args:
        seed: the same seed gives the same scene.
        counts: objects by category; the empty category is clutter.
        x_m, y_m: where objects stand.
        columns: rays a revolution and beam.
    """
    rng = np.random.default_rng(seed)
    counts = {"car": 5, "pedestrian": 4, "": 4} if counts is None else counts
    placed = _place(rng, [name for name, n in counts.items() for _ in range(n)], x_m, y_m)
    points = _scan(placed, rng, columns)
    labelled = placed.take(placed.category != "")
    labelled = count_points(points[:, :3], labelled)
    return points, labelled.take(labelled.num_points > 0)


def make_sweep(points: np.ndarray, timestamp_ns: int) -> Sweep:
    """Return (N, 4) points as a sweep."""
    count = len(points)
    return Sweep(
        timestamp_ns,
        np.ascontiguousarray(points[:, :3], dtype=np.float32),
        np.ascontiguousarray(points[:, 3], dtype=np.float32),
        np.zeros(count, dtype=np.int32),
        np.zeros(count, dtype=np.uint16),
    )


def store_dataset(
    store: ObjectStore,
    scenes: list[tuple[np.ndarray, Boxes]],
    *,
    recording: str = "tiny.0001",
    split: str = "train",
) -> DatasetManifest:
    """Write scenes as one recording with its dataset; return the manifest."""
    name = RecordingId(recording)
    times = [1_000_000_000 + 200_000_000 * i for i in range(len(scenes))]
    sweeps = [make_sweep(points, t) for t, (points, _) in zip(times, scenes, strict=True)]
    still = Trajectory(
        np.array([times[0], times[-1] + 1]),
        np.tile([1.0, 0.0, 0.0, 0.0], (2, 1)),
        np.zeros((2, 3)),
    )
    calibration = Calibration({"lidar": SE3.identity()})
    written = write_sweeps(store, layout.sweeps(name), sweeps, still, calibration, sensor="lidar")
    rows = [
        {
            "recording": recording, "timestamp_ns": t, "split": split,
            "sweeps_key": layout.sweeps(name), "annotator": "test",
        }
        for t in times
    ]  # fmt: skip
    import pyarrow as pa

    frames = pa.Table.from_pylist(rows, schema=FRAME_SCHEMA)
    boxes = boxes_to_arrow(
        recording, {t: boxes for t, (_, boxes) in zip(times, scenes, strict=True)}
    )
    manifest = DatasetManifest.build(frames, boxes, "recording", (written.digest,))
    manifest.save(store)
    return manifest


def _place(
    rng: np.random.Generator,
    names: list[str],
    x_m: tuple[float, float],
    y_m: tuple[float, float],
) -> Boxes:
    """Return boxes on the ground that do not touch each other or the ego vehicle."""
    taken = [(0.0, 0.0, 3.5)]
    rows = []
    for name in names:
        length, width, height = np.array(_SIZES[name]) * rng.uniform(0.9, 1.1, 3)
        radius = np.hypot(length, width) / 2
        for _ in range(50):
            x, y = rng.uniform(*x_m), rng.uniform(*y_m)
            if all(np.hypot(x - a, y - b) > radius + r + 0.3 for a, b, r in taken):
                break
        else:
            continue
        taken.append((x, y, radius))
        yaw = rng.normal(0, 0.15) + np.pi * rng.integers(2)
        rows.append((x, y, height / 2, length, width, height, yaw, name))
    table = np.array([row[:7] for row in rows]).reshape(-1, 7)
    names = [row[7] for row in rows]
    speed = np.array([{"car": 6.0, "pedestrian": 1.3}.get(name, 0.0) for name in names])
    velocity = np.stack([np.cos(table[:, 6]), np.sin(table[:, 6])], 1) * speed[:, None]
    return Boxes.make(table[:, :3], table[:, 3:6], table[:, 6], names, velocity)


def _scan(boxes: Boxes, rng: np.random.Generator, columns: int) -> np.ndarray:
    """Cast 32 beams at a flat ground and boxes; return (N, 4) points with range noise."""
    elevation = np.deg2rad(np.linspace(-30.67, 10.67, 32))
    azimuth = np.linspace(-np.pi, np.pi, columns, endpoint=False)
    azimuth, elevation = (a.ravel() for a in np.meshgrid(azimuth, elevation))
    rays = np.stack(
        [
            np.cos(elevation) * np.cos(azimuth),
            np.cos(elevation) * np.sin(azimuth),
            np.sin(elevation),
        ],
        axis=1,
    )
    distance = np.full(len(rays), 70.0)
    intensity = np.zeros(len(rays))
    down = rays[:, 2] < -1e-3
    distance[down] = np.minimum(SENSOR_HEIGHT_M / -rays[down, 2], 70.0)
    intensity[down] = 0.15
    for i in range(len(boxes)):
        cos, sin = np.cos(boxes.yaw_rad[i]), np.sin(boxes.yaw_rad[i])
        turn = np.array([[cos, sin, 0], [-sin, cos, 0], [0, 0, 1]])
        origin = turn @ (np.array([0, 0, SENSOR_HEIGHT_M]) - boxes.center_xyz_m[i])
        middle = np.arctan2(boxes.center_xyz_m[i, 1], boxes.center_xyz_m[i, 0])
        reach = np.hypot(*boxes.size_lwh_m[i, :2]) / 2 / max(boxes.range_m()[i], 1.0)
        near = np.flatnonzero(np.cos(azimuth - middle) > np.cos(min(1.5 * reach, 1.5)))
        slope = rays[near] @ turn.T
        slope = np.where(np.abs(slope) < 1e-9, 1e-9, slope)
        half = boxes.size_lwh_m[i] / 2
        ends = np.sort(np.stack([(-half - origin) / slope, (half - origin) / slope]), axis=0)
        enter, leave = ends[0].max(axis=1), ends[1].min(axis=1)
        hit = (enter > 0) & (enter < leave) & (enter < distance[near])
        distance[near[hit]] = enter[hit]
        intensity[near[hit]] = _INTENSITY[str(boxes.category[i])]
    seen = distance < 69.0
    noisy = distance[seen] + rng.normal(0, 0.015, seen.sum()) + 1e-3
    points = rays[seen] * noisy[:, None] + np.array([0, 0, SENSOR_HEIGHT_M])
    level = np.clip(intensity[seen] + rng.normal(0, 0.04, seen.sum()), 0, 1)
    return np.concatenate([points, level[:, None]], axis=1).astype(np.float32)
