"""Some of the frames of a recording, as a recording."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from itertools import islice

import numpy as np

from recordings.recording import Recording
from scene.image import Image
from scene.pose import Trajectory
from scene.sweep import Sweep


class Clip(Recording):
    """The sweeps `start` to `stop` (not included), and what was recorded around them.

    Poses, signals and images outside the time of these sweeps are left out, but for the poses just
    before and after, which interpolation needs.
    """

    format = "clip"

    def __init__(self, recording: Recording, start: int, stop: int | None) -> None:
        """Choose; the sweeps up to `stop` are read once to learn their times."""
        self._source, self._start, self._stop = recording, start, stop
        times = [sweep.timestamp_ns for sweep in self._chosen()]
        self.recording, self.sensor = recording.recording, recording.sensor
        self.calibration, self.damage = recording.calibration, recording.damage
        self.topics, self.motion = recording.topics, recording.motion
        self._first, self._last = (times[0], times[-1]) if times else (0, -1)
        self.trajectory = _between(recording.trajectory, self._first, self._last)
        truth = recording.ground_truth
        chosen = set(times)
        self.ground_truth = None if truth is None else {t: truth[t] for t in truth if t in chosen}
        self.signals = [
            replace(
                signal, timestamps_ns=signal.timestamps_ns[inside], values=signal.values[inside]
            )
            for signal in recording.signals
            if (inside := self._inside(signal.timestamps_ns)).any()
        ]

    def sweeps(self) -> Iterator[Sweep]:
        """Yield the chosen sweeps."""
        yield from self._chosen()

    def images(self) -> Iterator[Image]:
        """Yield the images taken during the chosen sweeps."""
        for image in self._source.images():
            if self._first <= image.timestamp_ns <= self._last:
                yield image

    def _chosen(self) -> Iterator[Sweep]:
        return islice(self._source.sweeps(), self._start, self._stop)

    def _inside(self, times_ns: np.ndarray) -> np.ndarray:
        return (times_ns >= self._first) & (times_ns <= self._last)


def _between(track: Trajectory, first_ns: int, last_ns: int) -> Trajectory:
    """Return the poses from the one before the first time to the one after the last."""
    start = max(int(np.searchsorted(track.timestamps_ns, first_ns, side="right")) - 1, 0)
    end = int(np.searchsorted(track.timestamps_ns, last_ns, side="left")) + 1
    return Trajectory(
        track.timestamps_ns[start:end], track.quat_wxyz[start:end], track.translation_m[start:end]
    )
