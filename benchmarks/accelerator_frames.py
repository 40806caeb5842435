"""What `benchmarks.accelerator` trains on: simulated drives in a local store."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.clouds import USUAL, store_drives
from scene.box import Boxes
from simulation.lidar import LidarModel
from storage.local import LocalStore
from storage.manifest import DatasetManifest
from training.config import TrainConfig
from training.data import Batches, DataOptions, open_frames
from training.device_batch import RawBatch, draw_sample, join_samples
from training.frame_store import StoreFrames
from training.recipes import recipe


@dataclass(frozen=True, slots=True)
class Size:
    """How much is measured.

    Attributes:
        config: the recipe.
        lidar: of the simulated drives.
        drives, sweeps: how many, and how long each.
        warm_up: steps before anything is timed.
        steps: steps that are timed, by themselves.
        loaded: steps that are timed with the loader.
        rounds: steps of each network in the comparison.
        product: side of the matrices of the peak.
        points: of a frame, about.
    """

    config: TrainConfig
    lidar: LidarModel
    drives: int
    sweeps: int
    warm_up: int
    steps: int
    loaded: int
    rounds: int
    product: int
    points: int

    def quick(self) -> Size:
        """Return one that repeats less."""
        return replace(
            self, steps=max(2, self.steps // 2), loaded=max(3, self.loaded // 2),
            rounds=max(2, self.rounds // 2),
        )  # fmt: skip


def size_of(name: str, batch_size: int) -> Size:
    """Return `full` (the nuScenes recipe: 512 x 512 pillars, ten sweeps) or `tiny`."""
    config = replace(recipe("nuscenes"), iterations=10**6)
    if name == "full":
        full = replace(config, batch_size=batch_size or 16, compile=True)
        return Size(full, USUAL, 8, 30, 6, 40, 60, 8, 8192, 290_000)
    tiny = replace(
        config,
        x_min_m=-12.8, x_max_m=12.8, y_min_m=-12.8, y_max_m=12.8, pillar_m=0.4,
        channels=(16, 16, 16, 16), point_channels=16, head_channels=16, num_sweeps=2,
        max_boxes=20, batch_size=batch_size or 2, num_threads=1, precision="float32",
    )  # fmt: skip
    return Size(tiny, LidarModel(num_columns=90), 2, 5, 1, 2, 3, 2, 1024, 4_000)


def simulate(folder: Path, size: Size) -> str:
    """Store simulated drives; return the digest of their dataset."""
    skip = size.config.num_sweeps - 1
    store = LocalStore(folder / "store")
    manifest = store_drives(store, size.drives, size.sweeps, size.lidar, skip, size.drives)
    # The loops that one batch takes are compiled now, for the process that waits for this one.
    frames = open_drives(folder, manifest.digest, size, "first")
    Batches(frames, replace(size.config, batch_size=1)).batch(0)
    frames.close()
    return manifest.digest


def open_drives(folder: Path, dataset: str, size: Size, cache: str) -> StoreFrames:
    """Open the simulated drives."""
    store = LocalStore(folder / "store")
    options = DataOptions(memory_bytes=0, cache_folder=str(folder / cache))
    frames = open_frames(store, DatasetManifest.load(store, dataset), size.config, options)
    if not isinstance(frames, StoreFrames):
        raise TypeError("the frames should not be in memory")
    return frames


def read_drives(
    folder: Path, dataset: str, size: Size, threads: int, figures: dict[str, Any]
) -> StoreFrames:
    """Open the simulated drives, and fill the cache once."""
    frames = open_drives(folder, dataset, size, "cache")
    figures["num_frames"] = len(frames)
    for name in ("store_samples_per_s", "cache_samples_per_s"):
        begun = time.perf_counter()
        with ThreadPoolExecutor(threads) as pool:
            for _ in pool.map(frames.__getitem__, range(len(frames))):
                pass
        figures[name] = len(frames) / (time.perf_counter() - begun)
    return frames


def noise(size: Size) -> RawBatch:
    """Return a batch of about the real size whose points are anywhere."""
    config, rng = size.config, np.random.default_rng(0)
    columns = 4 if config.num_sweeps == 1 else 5
    low = [config.x_min_m, config.y_min_m, config.z_min_m, 0.0, 0.0][:columns]
    high = [config.x_max_m, config.y_max_m, config.z_max_m, 1.0, 0.5][:columns]
    cloud = rng.uniform(low, high, (size.points, columns)).astype(np.float32)
    sample = draw_sample(cloud, Boxes.empty(), config, rng, None)
    return join_samples([sample] * config.batch_size, config)
