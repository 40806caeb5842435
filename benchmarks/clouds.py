"""Labelled frames of real size, from the simulator: what training benchmarks are fed with."""

from __future__ import annotations

import multiprocessing
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path

import numpy as np
import pyarrow as pa

from scene.box import Boxes
from scene.calibration import Calibration
from scene.pose import Trajectory
from scene.recording import RecordingId
from scene.sweep import Sweep
from simulation.lidar import LidarModel
from simulation.rollout import Rollout, perfect
from simulation.traffic import build_drive
from storage import layout
from storage.boxes import boxes_to_arrow
from storage.local import LocalStore
from storage.manifest import FRAME_SCHEMA, DatasetManifest
from storage.sweeps import write_sweeps

SECOND_NS = 1_000_000_000
DENSE = LidarModel(
    elevation_rad=tuple(np.deg2rad(np.linspace(-24.9, 2.0, 64)).tolist()), num_columns=1875
)
"""64 beams and 120,000 rays a revolution, as an HDL-64E gives."""
USUAL = LidarModel(num_columns=1080)
"""32 beams and 34,560 rays a revolution, as in nuScenes."""


def drive(seed: int, sweeps: int, lidar: LidarModel) -> tuple[list[Sweep], list[Boxes], Trajectory]:
    """Return the sweeps of a simulated drive at 10 Hz, their exact boxes, and the ego poses."""
    world = build_drive(seed % 2 == 1, sweeps / 10 + 0.2, np.random.default_rng([41, seed]))
    run = Rollout(
        world, perfect, seed, sweeps / 10, seed * 1000 * SECOND_NS, lidar=lidar,
        stop_on_contact=False,
    )  # fmt: skip
    ticks = list(run.run())
    poses = [tick.ego.map_SE3_ego for tick in ticks]
    times = [tick.sweep.timestamp_ns for tick in ticks]
    track = Trajectory(
        np.array(times),
        np.stack([pose.quat_wxyz for pose in poses]),
        np.stack([pose.translation_m for pose in poses]),
    )
    return [t.sweep for t in ticks], [t.truth.take(t.truth.num_points > 0) for t in ticks], track


def points_of(sweep: Sweep) -> np.ndarray:
    """Return (N, 4) float32 x, y, z, intensity."""
    return np.concatenate([sweep.points_ego_m, sweep.intensity[:, None]], axis=1)


def store_drives(
    store: LocalStore,
    drives: int,
    sweeps: int,
    lidar: LidarModel,
    skip: int = 0,
    processes: int = 1,
) -> DatasetManifest:
    """Write simulated drives as a dataset; the first `skip` sweeps of each are no frames."""
    one = partial(_store_drive, store.root, sweeps, lidar, skip)
    if processes > 1:
        spawn = multiprocessing.get_context("spawn")
        with ProcessPoolExecutor(processes, spawn) as pool:
            parts = list(pool.map(one, range(drives)))
    else:
        parts = list(map(one, range(drives)))
    frames = pa.Table.from_pylist([row for rows, _ in parts for row in rows], schema=FRAME_SCHEMA)
    boxes = pa.concat_tables([table for _, table in parts])
    manifest = DatasetManifest.build(frames, boxes, "recording", ("simulated",))
    manifest.save(store)
    return manifest


def _store_drive(
    root: Path, sweeps: int, lidar: LidarModel, skip: int, number: int
) -> tuple[list[dict[str, object]], pa.Table]:
    """Write a simulated drive; return the rows of its frames and boxes."""
    clouds, boxes, track = drive(number, sweeps, lidar)
    name = RecordingId(f"bench.{number:04d}")
    rig = Calibration({"top": lidar.ego_SE3_lidar})
    write_sweeps(LocalStore(root), layout.sweeps(name), clouds, track, rig, sensor="top")
    times = [sweep.timestamp_ns for sweep in clouds[skip:]]
    rows: list[dict[str, object]] = [
        {
            "recording": str(name), "timestamp_ns": time, "split": "train",
            "sweeps_key": layout.sweeps(name), "annotator": "simulation",
        }
        for time in times
    ]  # fmt: skip
    return rows, boxes_to_arrow(str(name), dict(zip(times, boxes[skip:], strict=True)))
