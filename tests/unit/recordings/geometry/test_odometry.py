from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pytest

from recordings.geometry.odometry import OdometryRecording, estimate, with_odometry
from recordings.prepare import compensated_by, prepare
from recordings.recording import (
    ASSUMED_POSES,
    ODOMETRY_POSES,
    Damage,
    Recording,
    identity_trajectory,
)
from recordings.rules.quality import Facts, QualityCheck
from scene.box import Boxes
from scene.calibration import Calibration
from scene.pose import SE3, Trajectory
from scene.recording import RecordingId
from scene.sweep import Motion, Sweep
from tests.support.turning_lidar import Drive, off_the_walls_m, raw_sweep

pytest.importorskip("kiss_icp", reason="pip install -e '.[odometry]'")

ORIGIN = 1_700_000_000_000_000_000
PERIOD = 100_000_000


def drive_of(count: int, drive: Drive | None = None, columns: int = 360) -> list[Sweep]:
    drive = drive or Drive(yaw_rate_radps=0.25)
    stamps = [ORIGIN + i * PERIOD for i in range(count)]
    return [raw_sweep(drive, t, ORIGIN, columns=columns, beams=16)[0] for t in stamps]


class Poseless(Recording):
    """A recording of a turning lidar that holds no poses."""

    format = "test"

    def __init__(self, sweeps: list[Sweep], motion: Motion = "raw") -> None:
        self.recording = RecordingId("drive")
        self.sensor = "lidar"
        self.damage: list[Damage] = []
        self.calibration = Calibration(
            {"lidar": SE3.identity()}, frozenset({"lidar", ASSUMED_POSES})
        )
        self.trajectory = identity_trajectory([sweep.timestamp_ns for sweep in sweeps])
        self.ground_truth: dict[int, Boxes] | None = None
        self.motion = motion
        self._sweeps = sweeps

    def sweeps(self) -> Iterator[Sweep]:
        self.damage.append(Damage("sweep 3", "broken", "sweep 3"))
        return iter(self._sweeps)


def true_positions(drive: Drive, track: Trajectory) -> np.ndarray:
    """Return where the ego was at the times of the track, in the ego frame of the first."""
    rotation, position = drive.at((track.timestamps_ns - ORIGIN) / 1e9)
    return (position - position[0]) @ rotation[0]


@pytest.mark.slow
def test_a_drive_is_found_within_a_percent_of_its_way() -> None:
    drive = Drive(yaw_rate_radps=0.25)
    track = estimate(drive_of(25, drive))
    assert track is not None
    assert track.timestamps_ns[0] == ORIGIN
    assert np.abs(track.translation_m[0]).max() < 1e-9
    truth = true_positions(drive, track)
    way_m = np.linalg.norm(np.diff(truth, axis=0), axis=1).sum()
    assert way_m > 30
    error_m = np.linalg.norm(track.translation_m - truth, axis=1)
    assert error_m.max() < 0.01 * way_m


def test_the_same_sweeps_give_the_same_bytes() -> None:
    sweeps = drive_of(8)
    one, two = estimate(sweeps), estimate(sweeps)
    assert one is not None
    assert two is not None
    assert one.translation_m.tobytes() == two.translation_m.tobytes()
    assert one.quat_wxyz.tobytes() == two.quat_wxyz.tobytes()


def test_clouds_of_different_places_are_no_drive() -> None:
    rng = np.random.default_rng(1)
    sweeps = [
        replace(sweep, points_ego_m=rng.uniform(-40, 40, (len(sweep), 3)).astype(np.float32))
        for sweep in drive_of(4, columns=60)
    ]
    assert estimate(sweeps) is None
    assert estimate(drive_of(1)) is None
    source = Poseless(sweeps)
    assert with_odometry(source) is source


@pytest.mark.slow
def test_a_recording_without_poses_gets_them_and_its_walls_straight() -> None:
    drive = Drive(yaw_rate_radps=0.25)
    source = Poseless(drive_of(15, drive))
    found = prepare(source, "auto", "auto")
    assert found.calibration.assumed == {"lidar", ODOMETRY_POSES}
    assert len(source.damage) == 0
    assert (found.motion, compensated_by(found)) == ("compensated", "ingest")
    assert found.format == "test"
    check = QualityCheck(Facts.of(found))
    away = []
    start_rotation, start = drive.at(np.zeros(1))
    for sweep in found.sweeps():
        check.add(sweep)
        pose = found.trajectory.at(sweep.timestamp_ns)
        points = pose.transform_points(sweep.points_ego_m.astype(np.float64))
        away.append(off_the_walls_m(points @ start_rotation[0].T + start[0]).mean())
    assert len(source.damage) == 1  # noted by the pass that counts
    assert float(np.mean(away)) < 0.15
    codes = {finding.code for finding in check.finish()}
    assert "REC060" in codes
    assert "REC008" not in codes


def test_recordings_with_poses_and_settings_that_say_never_are_left_alone() -> None:
    source = Poseless(drive_of(3))
    assert prepare(source, "auto", "never") is source
    posed = OdometryRecording(source, source.trajectory)
    assert with_odometry(posed) is posed
    assert prepare(posed, "never", "auto") is posed
    silent = Poseless(drive_of(3), "unknown")
    assert not compensated_by(prepare(OdometryRecording(silent, silent.trajectory), "auto"))
    straight = prepare(OdometryRecording(silent, silent.trajectory), "always")
    assert compensated_by(straight) == "ingest"
