"""Generates a fleet's recordings: two weeks of drives as ordinary ROS 2 MCAP files."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np

from scene.errors import ConfigError
from scene.recording import RecordingId
from simulation.lidar import LidarModel
from simulation.rollout import STEP_S, SWEEP_EVERY, Rollout, perfect
from simulation.ros import DriveWriter, address_of
from simulation.traffic import build_drive

_VERSION = 4  # raise it when the same configuration makes other bytes
_FIRST_DAY = datetime(2026, 3, 2, 8, 15, tzinfo=UTC)
_RUN_HZ = 1 / (STEP_S * SWEEP_EVERY)


@dataclass(frozen=True, slots=True)
class FleetConfig:
    """What to generate.

    Attributes:
        seed: of everything.
        num_early: drives of the first week, without people on foot.
        num_late: drives of the second week, where people step out between parked vehicles.
        sweeps_per_recording: length of a drive.
        sweep_hz: recorded sweeps a second; must divide 10.
        columns: firings of the lidar a revolution.
    """

    seed: int = 7
    num_early: int = 8
    num_late: int = 14
    sweeps_per_recording: int = 40
    sweep_hz: float = 5.0
    columns: int = 720

    def __post_init__(self) -> None:
        """Check the rate."""
        every = _RUN_HZ / self.sweep_hz if self.sweep_hz > 0 else 0.0
        if every < 1 or abs(every - round(every)) > 1e-9:
            raise ConfigError(f"fleet: sweep_hz {self.sweep_hz} must divide {_RUN_HZ:g}")


@dataclass(frozen=True, slots=True)
class _Drive:
    """One recording to be made."""

    name: RecordingId
    start_ns: int
    late: bool
    seed: tuple[int, int]


def generate_fleet(
    folder: Path, config: FleetConfig, progress: Callable[[int, int], None] | None = None
) -> list[Path]:
    """Write `<recording id>.mcap` files, each atomically; finished ones are kept.

    Args:
        folder: made if it does not exist.
        config: what to generate; the same configuration gives the same bytes.
        progress: called with (done, total) after each recording.

    Returns:
        The files in the order of their time.
    """
    folder.mkdir(parents=True, exist_ok=True)
    drives = _drives(config)
    paths = []
    for done, drive in enumerate(drives, start=1):
        path = folder / f"{drive.name}.mcap"
        address = _address(config, drive)
        if address_of(path) != address:
            _record(path, address, drive, config)
        paths.append(path)
        if progress is not None:
            progress(done, len(drives))
    return paths


def _drives(config: FleetConfig) -> list[_Drive]:
    """Plan the recordings: early ones from day one, late ones a week later."""
    drives = []
    for late, count in ((False, config.num_early), (True, config.num_late)):
        for i in range(count):
            minute = 37 * i + (i * i * 7) % 23
            day, within = divmod(minute, 540)
            start = _FIRST_DAY + timedelta(days=7 * late + day, minutes=within)
            name = f"{start:%Y-%m-%dT%H-%M-%S}.veh{i % 3 + 1:02d}"
            start_ns = int(start.timestamp()) * 1_000_000_000
            drives.append(_Drive(RecordingId(name), start_ns, late, (config.seed, 1000 * late + i)))
    return drives


def _address(config: FleetConfig, drive: _Drive) -> str:
    """Return the digest of all that a recording depends on; other drives do not matter."""
    chosen = {k: v for k, v in asdict(config).items() if not k.startswith("num_")}
    text = json.dumps([_VERSION, chosen, drive.name, drive.late, drive.seed], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()


def _record(path: Path, address: str, drive: _Drive, config: FleetConfig) -> None:
    """Drive once with ground-truth perception and write what the sensors saw."""
    duration = config.sweeps_per_recording / config.sweep_hz
    every = round(_RUN_HZ / config.sweep_hz)
    world = build_drive(drive.late, duration + 0.2, np.random.default_rng(drive.seed))
    lidar = LidarModel(num_columns=config.columns)
    run = Rollout(
        world, perfect, drive.seed[0] * 100_003 + drive.seed[1], duration, drive.start_ns,
        lidar=lidar, stop_on_contact=False,
    )  # fmt: skip
    writer = DriveWriter(path, address, lidar.ego_SE3_lidar)
    try:
        writer.static_transform(drive.start_ns)
        written = 0
        for index, tick in enumerate(run.run()):
            for time, pose in run.poses[written:]:
                writer.odometry(drive.start_ns + round(time * 1e9), pose)
            written = len(run.poses)
            if index % every == 0:
                writer.sweep(tick.sweep)
                visible = tick.truth.take(tick.truth.num_points > 0)
                writer.truth(tick.sweep.timestamp_ns, visible.transform(tick.ego.map_SE3_ego))
        for time, pose in run.poses[written:]:
            writer.odometry(drive.start_ns + round(time * 1e9), pose)
    except BaseException:
        writer.abandon()
        raise
    writer.close()
