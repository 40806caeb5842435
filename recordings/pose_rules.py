"""Rules about the ego's poses: whether they are there, and whether a vehicle can move like that."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import numpy as np

from recordings.recording import ASSUMED_POSES, MAX_POSE_EXTRAPOLATION_NS, ODOMETRY_POSES
from recordings.rules import Facts, Finding, Rule, Times
from recordings.sweep_look import SweepLook

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
RULES: Final = (NO_POSES, OUTSIDE, JUMP, ODOMETRY)

_MAX_SPEED_MPS: Final = 90.0


class PoseRules:
    """Holds the ego poses against physics and against the sweeps."""

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
        if len(self._trajectory) >= 2:
            yield from self._about_jumps()

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

    def _about_jumps(self) -> Iterator[Finding]:
        track = self._trajectory
        step_m = np.linalg.norm(np.diff(track.translation_m, axis=0), axis=1)
        speed = step_m / (np.diff(track.timestamps_ns) / 1e9)
        jumps = np.flatnonzero((speed > _MAX_SPEED_MPS) & (step_m > 1.0))
        if len(jumps):
            worst = int(jumps[np.argmax(step_m[jumps])])
            yield JUMP.found(
                f"the ego pose jumps {len(jumps)} times, by up to {step_m[worst]:.1f} m at "
                f"{track.timestamps_ns[worst + 1]} ns",
                len(jumps),
            )
