"""A recording seen through another one that changes a part of it."""

from __future__ import annotations

from collections.abc import Iterator

from recordings.recording import Recording
from scene.image import Image
from scene.sweep import Sweep


class WrappedRecording(Recording):
    """Everything is the source's; a subclass overrides what it changes."""

    def __init__(self, source: Recording) -> None:
        """Take over what the source said on opening; `damage` stays the same list."""
        self.source = source
        self.recording = source.recording
        self.sensor = source.sensor
        self.calibration = source.calibration
        self.trajectory = source.trajectory
        self.ground_truth = source.ground_truth
        self.damage = source.damage
        self.signals = source.signals
        self.topics = source.topics
        self.motion = source.motion
        self.frame_problems = source.frame_problems

    @property
    def format(self) -> str:  # type: ignore[override]
        """Return the source's format."""
        return self.source.format

    def sweeps(self) -> Iterator[Sweep]:
        """Yield the source's sweeps."""
        return self.source.sweeps()

    def position(self) -> object | None:
        """Return where the source stands."""
        return self.source.position()

    def go_to(self, position: object) -> None:
        """Make the source go on from there."""
        self.source.go_to(position)

    def images(self) -> Iterator[Image]:
        """Yield the source's images."""
        return self.source.images()
