"""What makes a recording unfit or doubtful, found while its sweeps pass by once.

| code   | severity | meaning                                                                  |
|--------|----------|--------------------------------------------------------------------------|
| REC001 | error    | no sweep at all                                                          |
| REC002 | error    | every sweep is empty                                                     |
| REC003 | warning  | some sweeps are empty                                                    |
| REC004 | error    | points that are not finite reached the store's door                      |
| REC005 | error    | sweeps are not in time order                                             |
| REC006 | warning  | gaps in the sweep rate                                                   |
| REC007 | warning  | the lidar's mounting was assumed                                         |
| REC008 | warning  | there were no ego poses, the vehicle is taken to stand still             |
| REC009 | error    | sweeps outside the time of the ego poses                                 |
| REC010 | warning  | the same points again under another time (a driver that hangs)           |
| REC011 | warning  | the clock was assumed                                                    |
| REC012 | warning  | the ego poses jump                                                       |
| REC013 | warning  | the ground is not near z = 0 (a mounting height that is wrong)           |
| REC014 | warning  | intensity is the same everywhere                                         |
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Final, Literal

import numpy as np

from recordings.recording import ASSUMED_CLOCK, ASSUMED_POSES, MAX_POSE_EXTRAPOLATION_NS
from scene.calibration import Calibration
from scene.pose import Trajectory
from scene.sweep import Sweep

_GAP_FACTOR: Final = 1.8
_MAX_SPEED_MPS: Final = 90.0
_MAX_GROUND_M: Final = 0.8
_GROUND_SWEEPS: Final = 8
_GROUND_BAND_M: Final = (4.0, 15.0)
_MIN_GROUND_POINTS: Final = 200


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing wrong with a recording.

    Attributes:
        code: REC001 and so on; see the module's table.
        severity: an "error" keeps the recording out of the loop, a "warning" does not.
        message: what was found, with numbers.
        remedy: what to do about it.
    """

    code: str
    severity: Literal["error", "warning"]
    message: str
    remedy: str


class QualityCheck:
    """Fed with every sweep on its way to the store; gives its findings at the end."""

    def __init__(self) -> None:
        self._times: list[int] = []
        self._empty = 0
        self._not_finite = 0
        self._repeated: list[int] = []
        self._last_digest = b""
        self._ground: list[float] = []
        self._intensity = [np.inf, -np.inf]

    def add(self, sweep: Sweep) -> None:
        """Look at one sweep, ego frame."""
        self._times.append(sweep.timestamp_ns)
        if not len(sweep):
            self._empty += 1
            return
        # A sum is finite only if all its terms are, and needs no array as large as the points.
        if not np.isfinite(np.add.reduce(sweep.points_ego_m, axis=None, dtype=np.float64)):
            self._not_finite += int((~np.isfinite(sweep.points_ego_m)).any(axis=1).sum())
        digest = hashlib.blake2b(sweep.points_ego_m[::7].tobytes(), digest_size=16)
        if digest.digest() == self._last_digest:
            self._repeated.append(sweep.timestamp_ns)
        self._last_digest = digest.digest()
        self._intensity[0] = min(self._intensity[0], float(sweep.intensity.min()))
        self._intensity[1] = max(self._intensity[1], float(sweep.intensity.max()))
        if len(self._ground) < _GROUND_SWEEPS:
            self._look_at_ground(sweep)

    def finish(self, trajectory: Trajectory, calibration: Calibration) -> list[Finding]:
        """Return everything found, errors first."""
        found = [
            *self._about_points(),
            *self._about_times(),
            *_about_assumptions(calibration),
            *self._about_poses(trajectory, calibration),
        ]
        return sorted(found, key=lambda finding: (finding.severity, finding.code))

    def _look_at_ground(self, sweep: Sweep) -> None:
        xy = sweep.points_ego_m[:, :2]
        distance = np.hypot(xy[:, 0], xy[:, 1])
        near = (distance > _GROUND_BAND_M[0]) & (distance < _GROUND_BAND_M[1])
        if near.sum() >= _MIN_GROUND_POINTS:
            self._ground.append(float(np.percentile(sweep.points_ego_m[near, 2], 10)))

    def _about_points(self) -> list[Finding]:
        count = len(self._times)
        if not count:
            remedy = "check that the lidar topic or folder was recorded; see the damage list"
            return [Finding("REC001", "error", "the recording holds no sweep", remedy)]
        found = []
        if self._empty:
            everything = self._empty == count
            found.append(
                Finding(
                    "REC002" if everything else "REC003",
                    "error" if everything else "warning",
                    f"{self._empty} of {count} sweeps have no usable point",
                    "check the driver: clouds of only NaN or zeros mean no returns or no decoding",
                )
            )
        if self._not_finite:
            message = f"{self._not_finite} points are NaN or infinite"
            remedy = "readers drop such points; report the format of this file"
            found.append(Finding("REC004", "error", message, remedy))
        if self._repeated:
            message = (
                f"{len(self._repeated)} sweeps repeat the points of the sweep before them, first "
                f"at {self._repeated[0]} ns"
            )
            remedy = "the driver hung or the file was joined wrongly; cut the repeated stretch"
            found.append(Finding("REC010", "warning", message, remedy))
        low, high = self._intensity
        if self._empty < count and low == high:
            message = f"intensity is {low:g} at every point"
            remedy = "record the driver's intensity field; a detector loses accuracy without it"
            found.append(Finding("REC014", "warning", message, remedy))
        return [*found, *self._about_ground()]

    def _about_ground(self) -> list[Finding]:
        if not self._ground or abs(height := float(np.median(self._ground))) <= _MAX_GROUND_M:
            return []
        message = f"the ground around the vehicle lies at z = {height:.2f} m, expected near 0"
        remedy = "the ego origin belongs on the ground: correct the lidar's mounting height"
        return [Finding("REC013", "warning", message, remedy)]

    def _about_times(self) -> list[Finding]:
        if len(self._times) < 2:
            return []
        steps = np.diff(np.array(self._times, dtype=np.int64))
        found = []
        if (steps <= 0).any():
            index = int(np.argmax(steps <= 0))
            message = (
                f"sweep {index + 1} at {self._times[index + 1]} ns is not after the one before"
            )
            remedy = "record with one clock; sort the recording by header stamp"
            found.append(Finding("REC005", "error", message, remedy))
        usual = float(np.median(steps))
        gaps = np.flatnonzero(steps > _GAP_FACTOR * usual) if usual > 0 else []
        if len(gaps):
            worst = int(gaps[np.argmax(steps[gaps])])
            message = (
                f"{len(gaps)} gaps in a rate of {1e9 / usual:.1f} Hz, the longest "
                f"{steps[worst] / 1e9:.2f} s after {self._times[worst]} ns"
            )
            remedy = "sweeps were dropped while recording: check disk and network load"
            found.append(Finding("REC006", "warning", message, remedy))
        return found

    def _about_poses(self, trajectory: Trajectory, calibration: Calibration) -> list[Finding]:
        if ASSUMED_POSES in calibration.assumed or not self._times:
            return []
        if not len(trajectory):
            remedy = "record odometry or /tf"
            return [Finding("REC009", "error", "there are no ego poses", remedy)]
        first, last = int(trajectory.timestamps_ns[0]), int(trajectory.timestamps_ns[-1])
        times = np.array(self._times, dtype=np.int64)
        outside_ns = np.maximum(first - times, times - last)
        found = []
        if outside_ns.max() > MAX_POSE_EXTRAPOLATION_NS:
            late = int((outside_ns > MAX_POSE_EXTRAPOLATION_NS).sum())
            message = (
                f"{late} sweeps lie up to {outside_ns.max() / 1e9:.2f} s outside the ego poses "
                f"[{first}, {last}] ns"
            )
            remedy = "start the pose source before the lidar, or check that both use one clock"
            found.append(Finding("REC009", "error", message, remedy))
        return [*found, *_about_jumps(trajectory)]


def _about_jumps(trajectory: Trajectory) -> list[Finding]:
    if len(trajectory) < 2:
        return []
    step_m = np.linalg.norm(np.diff(trajectory.translation_m, axis=0), axis=1)
    speed = step_m / (np.diff(trajectory.timestamps_ns) / 1e9)
    jumps = np.flatnonzero((speed > _MAX_SPEED_MPS) & (step_m > 1.0))
    if not len(jumps):
        return []
    worst = int(jumps[np.argmax(step_m[jumps])])
    message = (
        f"the ego pose jumps {len(jumps)} times, by up to {step_m[worst]:.1f} m at "
        f"{trajectory.timestamps_ns[worst + 1]} ns"
    )
    remedy = "use smooth odometry instead of corrected localisation, or cut the recording there"
    return [Finding("REC012", "warning", message, remedy)]


def _about_assumptions(calibration: Calibration) -> list[Finding]:
    found = []
    sensors = sorted(calibration.assumed - {ASSUMED_POSES, ASSUMED_CLOCK})
    if sensors:
        message = f"no mounting in the recording for {', '.join(sensors)}: taken for the ego frame"
        remedy = "record /tf_static with the lidar's pose in base_link"
        found.append(Finding("REC007", "warning", message, remedy))
    if ASSUMED_POSES in calibration.assumed:
        message = "no ego poses in the recording: the vehicle is taken to stand still"
        remedy = "record odometry or /tf; without it velocities and path checks mean nothing"
        found.append(Finding("REC008", "warning", message, remedy))
    if ASSUMED_CLOCK in calibration.assumed:
        message = "no times in the recording: sweeps are taken to be 0.1 s apart"
        remedy = "name the files by their time in nanoseconds"
        found.append(Finding("REC011", "warning", message, remedy))
    return found
