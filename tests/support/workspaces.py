"""Workspaces in temporary folders, and small recordings made in code."""

from __future__ import annotations

from pathlib import Path

from loop.config import LoopConfig
from loop.workspace import Workspace
from storage.open import StoreConfig


def make_workspace(folder: Path, config: LoopConfig | None = None) -> Workspace:
    """Return a workspace whose bucket and landing place are folders below `folder`."""
    return Workspace.open(
        StoreConfig(url=(folder / "store").resolve().as_uri()),
        StoreConfig(url=(folder / "landing").resolve().as_uri()),
        config,
    )


def small_fleet(folder: Path, num_early: int = 2, num_late: int = 2, sweeps: int = 6) -> list[Path]:
    """Write a few short drives of the simulator as MCAP files."""
    from simulation.fleet import FleetConfig, generate_fleet

    config = FleetConfig(
        num_early=num_early, num_late=num_late, sweeps_per_recording=sweeps, columns=360
    )
    return generate_fleet(folder, config)
