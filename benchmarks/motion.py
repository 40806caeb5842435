"""Motion compensation of a sweep: our table of poses against plain numpy."""

from __future__ import annotations

import numpy as np

from benchmarks.harness import BenchRow, interleave
from recordings.geometry.deskew import compensate
from scene.pose import Trajectory, quat_to_matrix, slerp
from scene.sweep import Sweep
from tests.support.turning_lidar import Drive, off_the_walls_m, raw_sweep

COLUMNS, BEAMS = 1875, 64
POSE_RATE_HZ = 100


def rows() -> list[BenchRow]:
    """Compensate one revolution of 64 beams on a vehicle that drives a curve at 15 m/s.

    The peer interpolates one pose a firing (`np.unique` of the times, slerp, `einsum` over the
    points), which is what a careful numpy program does; both results must agree.
    """
    sweep, track = _drive()

    def ours() -> np.ndarray:
        return compensate(sweep, track).points_ego_m

    def peer() -> np.ndarray:
        return _numpy(sweep, track)

    apart_mm = float(np.abs(ours() - peer()).max() * 1e3)
    ours_s, peer_s, ratio = interleave(ours, peer)
    note = (
        f"{len(sweep):,} points, {COLUMNS} firing times, poses at {POSE_RATE_HZ} Hz; the results "
        f"differ by at most {apart_mm:.2f} mm; ours {len(sweep) / ours_s / 1e6:.0f} M points/s"
    )
    speed = BenchRow(
        "motion compensation of a sweep", "starloop deskew", "numpy, one pose a firing",
        ours_s * 1e3, peer_s * 1e3, "ms CPU", ratio, note,
    )  # fmt: skip
    return [speed, _walls()]


def _walls() -> BenchRow:
    """Return how far the points of a turning lidar lie from the walls of a hall, driven a curve."""
    drive = Drive()
    track = drive.trajectory(np.arange(POSE_RATE_HZ) * (10**9 // POSE_RATE_HZ), 0)
    sweep, _ = raw_sweep(drive, 300_000_000, 0, COLUMNS, BEAMS)
    pose = track.at(sweep.timestamp_ns)
    straight = compensate(sweep, track).points_ego_m.astype(np.float64)
    raw = sweep.points_ego_m.astype(np.float64)
    before, after = (off_the_walls_m(pose.transform_points(p)) * 100 for p in (raw, straight))
    note = (
        f"hall of 120 x 48 m, {drive.speed_mps:.0f} m/s, {np.rad2deg(drive.yaw_rate_radps):.0f} "
        f"deg/s, 10 Hz; largest error {before.max():.0f} cm before, {after.max():.2f} cm after"
    )
    return BenchRow(
        "walls seen while driving a curve", "starloop deskew", "points as measured",
        float(after.mean()), float(before.mean()), "cm mean error",
        float(before.mean() / after.mean()), note,
    )  # fmt: skip


def _drive() -> tuple[Sweep, Trajectory]:
    rng = np.random.default_rng(0)
    seconds = np.arange(POSE_RATE_HZ) / POSE_RATE_HZ
    yaw = 0.4 * seconds
    quat = np.stack([np.cos(yaw / 2), 0 * yaw, 0 * yaw, np.sin(yaw / 2)], axis=1)
    position = 15.0 / 0.4 * np.stack([np.sin(yaw), 1 - np.cos(yaw), 0 * yaw], axis=1)
    track = Trajectory((seconds * 1e9).astype(np.int64), quat, position)
    share = np.repeat(np.arange(COLUMNS) / COLUMNS, BEAMS)
    reach = rng.uniform(3, 80, len(share))
    angle = 2 * np.pi * share
    points = np.stack([reach * np.cos(angle), reach * np.sin(angle), reach * 0.05], axis=1)
    sweep = Sweep(
        300_000_000, points.astype(np.float32), np.zeros(len(share), np.float32),
        (share * 1e8).astype(np.int32), np.tile(np.arange(BEAMS, dtype=np.uint16), COLUMNS),
    )  # fmt: skip
    return sweep, track


def _numpy(sweep: Sweep, track: Trajectory) -> np.ndarray:
    offsets, firing = np.unique(sweep.offset_ns, return_inverse=True)
    times = sweep.timestamp_ns + offsets.astype(np.int64)
    upper = np.clip(np.searchsorted(track.timestamps_ns, times), 1, len(track) - 1)
    lower = upper - 1
    span = (track.timestamps_ns[upper] - track.timestamps_ns[lower]).astype(np.float64)
    ratio = ((times - track.timestamps_ns[lower]) / span)[:, None]
    turn = quat_to_matrix(slerp(track.quat_wxyz[lower], track.quat_wxyz[upper], ratio))
    shift = track.translation_m[lower] * (1 - ratio) + track.translation_m[upper] * ratio
    start = track.at(sweep.timestamp_ns)
    turn = start.rotation.T @ turn
    shift = (shift - start.translation_m) @ start.rotation
    points = sweep.points_ego_m.astype(np.float64)
    moved = np.einsum("nij,nj->ni", turn[firing], points) + shift[firing]
    return moved.astype(np.float32)
