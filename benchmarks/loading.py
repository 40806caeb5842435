"""Frames for training: our store and cache against a stock PyTorch DataLoader on `.bin` files.

Both deliver shuffled batches of the same points, (N, 4) float32 x, y, z and intensity, one frame
after the other, with the frame of each point. Files are warm: what is measured is the work, not the
disk, and the fewer bytes of ours are no advantage here.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset

from benchmarks.clouds import DENSE, store_drives
from benchmarks.harness import BenchRow, interleave, show, wall_seconds
from storage.local import LocalStore
from training.byte_cache import ByteCache
from training.config import TrainConfig
from training.data import DataOptions, open_frames
from training.frame_store import StoreFrames
from training.frames import num_point_columns

SWEEPS, BATCH, WORKERS = 40, 4, 2
Joined = tuple[torch.Tensor, torch.Tensor]


class BinFiles(Dataset[torch.Tensor]):
    """KITTI's velodyne files, read as every tutorial does."""

    def __init__(self, paths: list[Path]) -> None:
        self._paths = paths

    def __len__(self) -> int:
        """Return the number of files."""
        return len(self._paths)

    def __getitem__(self, index: int) -> torch.Tensor:
        """Return (N, 4) points."""
        return torch.from_numpy(np.fromfile(self._paths[index], dtype=np.float32).reshape(-1, 4))


def join(frames: list[torch.Tensor]) -> Joined:
    """Return points of all frames and the frame of each."""
    counts = torch.tensor([len(frame) for frame in frames])
    return torch.cat(frames), torch.repeat_interleave(torch.arange(len(frames)), counts)


def rows() -> list[BenchRow]:
    """Measure reading all frames once, in batches.

    Raises:
        RuntimeError: if the two do not deliver the same points.
    """
    torch.set_num_threads(1)
    config = replace(
        TrainConfig(), x_min_m=-51.2, x_max_m=51.2, y_min_m=-51.2, y_max_m=51.2, z_min_m=-3.0,
        z_max_m=8.0,
    )  # fmt: skip
    assert num_point_columns(config) == 4
    with tempfile.TemporaryDirectory(prefix="starloop-bench-") as name:
        folder = Path(name)
        store = LocalStore(folder / "store")
        manifest = store_drives(store, 1, SWEEPS, DENSE)
        bare = open_frames(store, manifest, config, DataOptions(memory_bytes=0))
        if not isinstance(bare, StoreFrames):
            raise TypeError("the frames should not be in memory")
        cached = StoreFrames(store, bare.rows, config, ByteCache(folder / "cache", 1 << 30))
        paths = _write_bins(bare, cached, folder / "velodyne")
        return list(_rows(bare, cached, paths, folder))


def _rows(
    bare: StoreFrames, cached: StoreFrames, paths: list[Path], folder: Path
) -> list[BenchRow]:
    files, points = BinFiles(paths), sum(path.stat().st_size for path in paths) / 16
    sizes = {
        "cache": cached.cache.size_bytes() if cached.cache else 0,
        "store": sum(p.stat().st_size for p in (folder / "store" / "sweeps").iterdir()),
    }
    data = (
        f"{len(files)} frames of {points / len(files):,.0f} points, batches of {BATCH}; bytes a "
        f"point: .bin 16, cache {sizes['cache'] / points:.1f}, store {sizes['store'] / points:.1f}"
    )
    single = DataLoader(files, BATCH, shuffle=True, collate_fn=join)
    several = DataLoader(files, BATCH, shuffle=True, collate_fn=join, num_workers=WORKERS,
                         persistent_workers=True)  # fmt: skip
    exact = "ours within 2 mm and checked by checksum"
    return [
        _row("frames for training, one thread", "from the int16 cache", "DataLoader, no workers",
             lambda: _epoch(cached, 1), lambda: _drain(single), f"{data}; {exact}", None),
        _row("frames for training, one thread", "from the store, decoded",
             "DataLoader, no workers", lambda: _epoch(bare, 1), lambda: _drain(single),
             f"{data}; ours reads Parquet by ranges and decodes", None),
        _row("frames for training, two at a time", "from the int16 cache, 2 threads",
             "DataLoader, 2 workers", lambda: _epoch(cached, WORKERS), lambda: _drain(several),
             f"{data}; {exact}; by the clock on the wall", wall_seconds),
    ]  # fmt: skip


def _row(
    name: str,
    ours: str,
    peer: str,
    run_ours: Callable[[], object],
    run_peer: Callable[[], object],
    note: str,
    seconds: Any,
) -> BenchRow:
    how = {} if seconds is None else {"seconds": seconds}
    mine, theirs, ratio = interleave(run_ours, run_peer, rounds=5, **how)
    unit = "frames per CPU s" if seconds is None else "frames/s"
    return BenchRow(name, ours, peer, SWEEPS / mine, SWEEPS / theirs, unit, ratio, note)


def _epoch(frames: StoreFrames, threads: int) -> None:
    """Read all frames once in a new order, in batches, as `Batches` does."""
    order = torch.randperm(len(frames)).tolist()
    with ThreadPoolExecutor(threads) as pool:
        coming = [pool.submit(frames.__getitem__, index) for index in order]
        for first in range(0, len(order), BATCH):
            batch = [future.result().points for future in coming[first : first + BATCH]]
            coming[first : first + BATCH] = [None] * len(batch)  # type: ignore[list-item]
            join([torch.from_numpy(points) for points in batch])


def _drain(loader: DataLoader[torch.Tensor]) -> None:
    for _ in loader:
        pass


def _write_bins(bare: StoreFrames, cached: StoreFrames, folder: Path) -> list[Path]:
    """Write the frames as `.bin` files, fill the cache, and check that both say the same."""
    folder.mkdir()
    paths = []
    with bare._files.of(bare.rows[0].key) as file:
        from training.frames import read_points

        for number, row in enumerate(bare.rows):
            points = read_points(file, row.timestamp_ns, bare._config)
            for name, frames in (("store", bare), ("cache", cached), ("cache", cached)):
                if np.abs(frames[number].points - points).max() > 0.00201:
                    raise RuntimeError(f"frame {number} of the {name} has other points")
            paths.append(folder / f"{number:06d}.bin")
            points.tofile(paths[-1])
    return paths


if __name__ == "__main__":
    show(rows())
