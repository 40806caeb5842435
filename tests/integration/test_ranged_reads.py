"""What one sweep costs on the wire at a real S3 server."""

from __future__ import annotations

import io
import uuid
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from scene.calibration import Calibration
from scene.pose import SE3, Trajectory
from scene.sweep import Sweep
from storage.open import StoreConfig, open_store
from storage.sweeps import SweepFile, write_sweeps
from tests.support.byte_counter import counting_relay
from tests.support.rgw import shared_rgw
from tests.support.tiny_scenes import make_scene, store_dataset
from training import config as recipes
from training.byte_cache import ByteCache
from training.frame_store import StoreFrames
from training.frames import frame_rows

pytestmark = pytest.mark.integration

KEY = "sweeps/drive.parquet"
STEP_NS = 100_000_000
NUM_SWEEPS, NUM_POINTS = 20, 30_000


def sweep(index: int) -> Sweep:
    random = np.random.default_rng(index)
    azimuth = np.linspace(-np.pi, np.pi, NUM_POINTS)
    distance = 20 + 5 * np.sin(5 * azimuth + index) + random.normal(0, 0.02, NUM_POINTS)
    xyz = [distance * np.cos(azimuth), distance * np.sin(azimuth), random.normal(0, 1, NUM_POINTS)]
    return Sweep(
        index * STEP_NS,
        np.stack(xyz, axis=1).astype(np.float32),
        random.random(NUM_POINTS).astype(np.float32),
        np.linspace(0, 99e6, NUM_POINTS).astype(np.int32),
        None,
    )


def test_a_random_sweep_costs_its_own_bytes(record_property: Callable[[str, object], None]) -> None:
    """The footer is paid once, when the file is opened; then a sweep costs what it is long."""
    server = shared_rgw()
    poses = Trajectory(
        np.arange(NUM_SWEEPS + 1) * STEP_NS,
        np.tile([1.0, 0, 0, 0], (NUM_SWEEPS + 1, 1)),
        np.zeros((NUM_SWEEPS + 1, 3)),
    )
    keys = (server.access_key, server.secret_key)
    url = f"s3://ranged/{uuid.uuid4()}"
    direct = open_store(StoreConfig(url, server.endpoint, *keys))
    rig = Calibration({"top": SE3.identity()}, frozenset())
    write_sweeps(direct, KEY, map(sweep, range(NUM_SWEEPS)), poses, rig, sensor="top")
    stored = direct.get(KEY)
    groups = pq.read_metadata(io.BytesIO(stored))
    points = groups.row_group(0).num_columns - 1
    assert groups.row_group(0).column(points).path_in_schema == "points"
    with counting_relay(server.port) as wire:
        store = open_store(StoreConfig(url, wire.endpoint, *keys))
        before = wire.total
        with SweepFile(store, KEY) as file:
            opened = wire.total - before
            index = int(np.random.default_rng(3).integers(NUM_SWEEPS))
            before = wire.total
            found = file.read(index)
            crossed = wire.total - before
            assert found.timestamp_ns == index * STEP_NS
            assert len(found) == NUM_POINTS
    size = groups.row_group(index).column(points).total_compressed_size
    figures = f"sweep {size} B, read {crossed} B, open {opened} B, file {len(stored)} B"
    record_property("bytes", figures)
    print(figures)
    assert crossed >= size  # the relay was not passed by
    assert crossed <= 1.1 * size, figures
    assert opened <= max(70_000, 0.1 * len(stored)), figures


def test_a_training_reads_every_sweep_once_and_then_its_cache(tmp_path: Path) -> None:
    """The second time round its frames, a training asks the store for nothing but etags."""
    server = shared_rgw()
    keys = (server.access_key, server.secret_key)
    url = f"s3://ranged/{uuid.uuid4()}"
    direct = open_store(StoreConfig(url, server.endpoint, *keys))
    manifest = store_dataset(direct, [make_scene(i) for i in range(6)])
    size = direct.stat("sweeps/tiny.0001.parquet").size_bytes
    spent, points = [], []
    for _ in range(2):
        with counting_relay(server.port) as wire:
            store = open_store(StoreConfig(url, wire.endpoint, *keys))
            rows = list(frame_rows(manifest, recipes.small(), ("train",)))
            cache = ByteCache(tmp_path, 1 << 30)
            frames = StoreFrames(store, rows, recipes.small(), cache)
            points.append([frames[i].points for i in (3, 0, 5, 1, 4, 2)])
            frames.close()
            spent.append(wire.received)
    for cold, warm in zip(*points, strict=True):
        np.testing.assert_array_equal(cold, warm)
    assert spent[0] < 1.1 * size + 70_000  # the sweeps, and the end of the file once
    assert spent[0] > 0.8 * size
    assert spent[1] < 5_000
