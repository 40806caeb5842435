"""Rules about the ego's poses: whether they are there, and whether a vehicle can move like that."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import numpy as np

from recordings.recording import ASSUMED_POSES, MAX_POSE_EXTRAPOLATION_NS, ODOMETRY_POSES
from recordings.rules.rule import Facts, Finding, Rule, Times
from recordings.rules.sweep_look import SweepLook
from scene.pose import Trajectory, quat_to_matrix
from scene.types import Float64

NO_POSES: Final = Rule(
    "REC008", "warning", "there were no ego poses, the vehicle is taken to stand still",
    "record odometry or /tf; without it velocities and path checks mean nothing",
)  # fmt: skip
OUTSIDE: Final = Rule(
    "REC009", "error", "sweeps outside the time of the ego poses",
    "start the pose source before the lidar, or check that both use one clock",
)  # fmt: skip
JUMP: Final = Rule(
    "REC012", "warning", "the ego poses jump",
    "use smooth odometry instead of corrected localisation, or cut the recording there",
)  # fmt: skip
ODOMETRY: Final = Rule(
    "REC060", "warning", "there were no ego poses, they were found from the points",
    "record odometry or /tf: lidar odometry drifts and starts at the origin, without a map",
)  # fmt: skip
SPEED: Final = Rule(
    "REC031", "error", "the vehicle is faster than any vehicle all the time",
    "positions must be metres and times nanoseconds: look for millimetres, degrees or seconds",
)  # fmt: skip
ACCELERATION: Final = Rule(
    "REC032", "warning", "the vehicle accelerates beyond what tyres can do",
    "poses are noisy or badly stamped: use filtered odometry stamped by the sensor's clock",
)  # fmt: skip
YAW_RATE: Final = Rule(
    "REC033", "warning", "the vehicle turns faster than a vehicle can",
    "check the order of the quaternion (x y z w or w x y z) and jumps of the heading",
)  # fmt: skip
NOT_UNIT: Final = Rule(
    "REC034", "warning", "quaternions are not of length one",
    "normalise them when they are written; a wrong order or a float cut short shows so",
)  # fmt: skip
NOT_FINITE: Final = Rule(
    "REC035", "error", "poses are NaN or infinite",
    "the localisation was lost: leave such poses out of the recording",
)  # fmt: skip
GAPS: Final = Rule(
    "REC036", "warning", "gaps in the ego poses",
    "poses between are interpolated: check the load of the localisation",
)  # fmt: skip
TILTED: Final = Rule(
    "REC037", "warning", "the map's z axis does not point up",
    "publish poses in ENU (REP-103); aircraft conventions (NED, z down) turn the map over",
)  # fmt: skip
RULES: Final = (
    NO_POSES, OUTSIDE, JUMP, ODOMETRY, SPEED, ACCELERATION, YAW_RATE, NOT_UNIT, NOT_FINITE, GAPS,
    TILTED,
)  # fmt: skip

_MAX_SPEED_MPS: Final = 90.0
_FAST_SHARE: Final = 0.3
# Tyres hold about 1 g; the real drives stay below 2.7 m/s2 at half a second.
_MAX_ACCELERATION_MPS2: Final = 15.0
_STEP_NS: Final = 500_000_000
# A car at its lock turns at 1 rad/s, a small robot on the spot at 3; real drives reach 0.5.
_MAX_YAW_RATE_RADPS: Final = 4.0
_MAX_NORM_ERROR: Final = 1e-3  # float32 and seven decimals stay below 1e-6
_MAX_GAP_NS: Final = 500_000_000  # over it, 10 m/s2 make an error of 0.3 m in the middle
_MIN_UP: Final = 0.7  # cosine of 45 degrees


class PoseRules:
    """Holds the ego poses against physics and against the times of the sweeps."""

    def __init__(self, facts: Facts) -> None:
        self._trajectory = facts.trajectory
        self._assumed = ASSUMED_POSES in facts.calibration.assumed
        self._odometry = ODOMETRY_POSES in facts.calibration.assumed
        self._times = Times()

    def add(self, look: SweepLook) -> None:
        """Look at one sweep."""
        self._times.append(look.timestamp_ns)

    def finish(self) -> Iterator[Finding]:
        """Give what was found."""
        if self._assumed:
            if len(self._times):
                yield NO_POSES.found(
                    "no ego poses in the recording: the vehicle is taken to stand still"
                )
            return
        if self._odometry:
            way = np.diff(self._trajectory.translation_m, axis=0)
            length_m = float(np.linalg.norm(way, axis=1).sum())
            yield ODOMETRY.found(
                f"no ego poses in the recording: {len(self._trajectory)} of them over "
                f"{length_m:.0f} m come from lidar odometry"
            )
        if len(self._times):
            yield from self._about_cover()
        track = self._trajectory
        finite = np.isfinite(track.translation_m).all(1) & np.isfinite(track.quat_wxyz).all(1)
        if not finite.all():
            bad = int((~finite).sum())
            yield NOT_FINITE.found(f"{bad} of {len(track)} poses are not finite", bad)
            track = Trajectory(
                track.timestamps_ns[finite], track.quat_wxyz[finite], track.translation_m[finite]
            )
        if len(track) >= 2:
            yield from _about_places(track)
            yield from _about_headings(track)

    def _about_cover(self) -> Iterator[Finding]:
        if not len(self._trajectory):
            yield OUTSIDE.found("there are no ego poses", len(self._times))
            return
        poses, times = self._trajectory.timestamps_ns, self._times.to_numpy()
        first, last = int(poses[0]), int(poses[-1])
        outside_ns = np.maximum(first - times, times - last)
        late = int((outside_ns > MAX_POSE_EXTRAPOLATION_NS).sum())
        if late:
            yield OUTSIDE.found(
                f"{late} sweeps lie up to {outside_ns.max() / 1e9:.2f} s outside the ego poses "
                f"[{first}, {last}] ns",
                late,
            )
        yield from self._about_gaps()

    def _about_gaps(self) -> Iterator[Finding]:
        """Gaps count only where a sweep lies within, and not where poses are as rare as that."""
        poses, times = self._trajectory.timestamps_ns, self._times.to_numpy()
        steps = np.diff(poses)
        if not len(steps):
            return
        wide = (steps > _MAX_GAP_NS) & (steps > 3 * np.median(steps))
        above = np.searchsorted(times, poses[:-1], side="right")
        below = np.searchsorted(times, poses[1:], side="left")
        gaps = np.flatnonzero(wide & (below > above))
        if len(gaps):
            worst = int(gaps[np.argmax(steps[gaps])])
            yield GAPS.found(
                f"{len(gaps)} gaps, the longest {steps[worst] / 1e9:.2f} s after {poses[worst]} ns",
                len(gaps),
            )


def _about_places(track: Trajectory) -> Iterator[Finding]:
    step_m = np.linalg.norm(np.diff(track.translation_m, axis=0), axis=1)
    speed = step_m / (np.diff(track.timestamps_ns) / 1e9)
    fast = (speed > _MAX_SPEED_MPS) & (step_m > 1.0)
    if fast.mean() > _FAST_SHARE and len(fast) >= 4:
        usual = float(np.median(speed[fast]))
        yield SPEED.found(
            f"{fast.mean():.0%} of the steps are faster than 90 m/s, about {usual:,.0f}"
        )
        return
    jumps = np.flatnonzero(fast)
    if len(jumps):
        worst = int(jumps[np.argmax(step_m[jumps])])
        yield JUMP.found(
            f"the ego pose jumps {len(jumps)} times, by up to {step_m[worst]:.1f} m at "
            f"{track.timestamps_ns[worst + 1]} ns",
            len(jumps),
        )
        return  # a jump is no acceleration
    slot = (track.timestamps_ns - track.timestamps_ns[0]) // _STEP_NS
    chosen = np.unique(slot, return_index=True)[1]  # the first pose of every half second
    times = track.timestamps_ns[chosen]
    if len(times) < 3:
        return
    seconds = np.diff(times) / 1e9
    velocity = np.diff(track.translation_m[chosen], axis=0) / seconds[:, None]
    change = np.linalg.norm(np.diff(velocity, axis=0), axis=1) / (seconds[1:] + seconds[:-1]) * 2
    change[(seconds[1:] > _MAX_GAP_NS / 1e9 * 2) | (seconds[:-1] > _MAX_GAP_NS / 1e9 * 2)] = 0.0
    hard = np.flatnonzero(change > _MAX_ACCELERATION_MPS2)
    if len(hard):
        worst = int(hard[np.argmax(change[hard])])
        yield ACCELERATION.found(
            f"{change[worst]:.0f} m/s2 at {times[worst + 1]} ns ({len(hard)} times above "
            f"{_MAX_ACCELERATION_MPS2:.0f})",
            len(hard),
        )


def _about_headings(track: Trajectory) -> Iterator[Finding]:
    norm = np.linalg.norm(track.quat_wxyz, axis=1)
    off = np.abs(norm - 1) > _MAX_NORM_ERROR
    if off.any():
        worst = float(norm[int(np.argmax(np.abs(norm - 1)))])
        yield NOT_UNIT.found(
            f"{int(off.sum())} of {len(track)} quaternions, the worst is {worst:.4f} long",
            int(off.sum()),
        )
    if not norm.all():
        return
    rotation = quat_to_matrix(track.quat_wxyz)
    up = rotation[:, 2, 2] < _MIN_UP
    if up.mean() > 0.5:
        yield TILTED.found(f"{up.mean():.0%} of the poses lean by over 45 degrees")
        return
    yield from _about_yaw(track, rotation)


def _about_yaw(track: Trajectory, rotation: Float64) -> Iterator[Finding]:
    yaw = np.unwrap(np.arctan2(rotation[:, 1, 0], rotation[:, 0, 0]))
    # Over at least 50 ms: at 200 Hz the noise of a heading looks like a fast turn.
    stride = max(1, round(50e6 / float(np.median(np.diff(track.timestamps_ns)))))
    seconds = (track.timestamps_ns[stride:] - track.timestamps_ns[:-stride]) / 1e9
    rate = np.abs(yaw[stride:] - yaw[:-stride]) / seconds
    fast = np.flatnonzero(rate > _MAX_YAW_RATE_RADPS)
    if len(fast):
        worst = int(fast[np.argmax(rate[fast])])
        yield YAW_RATE.found(
            f"{rate[worst]:.1f} rad/s at {track.timestamps_ns[worst]} ns ({len(fast)} times above "
            f"{_MAX_YAW_RATE_RADPS:.0f})",
            len(fast),
        )
