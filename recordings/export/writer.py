"""What every writer of a format fulfils."""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from pathlib import Path
from typing import NamedTuple

from recordings.recording import ASSUMED_POSES, Recording
from scene.box import Boxes
from scene.errors import DataError
from scene.image import Image
from scene.pose import SE3
from scene.sweep import Sweep


class Frame(NamedTuple):
    """One sweep with what belongs to it.

    Attributes:
        number: of the frame in what is written, from 0.
        sweep: the points.
        map_SE3_ego: pose at its time.
        boxes: ego frame at its time; None where nobody looked for objects.
    """

    number: int
    sweep: Sweep
    map_SE3_ego: SE3
    boxes: Boxes | None


class Writer(ABC):
    """Writes one recording into an empty folder; frames and images come in order of time.

    Attributes:
        folder: where the files go.
        recording: what is written; its sweeps and images are not to be read by the writer.
        losses: one line for each thing that the format cannot hold, in the order they were met.
    """

    def __init__(self, folder: Path, recording: Recording) -> None:
        self.folder = folder
        self.recording = recording
        self.losses: list[str] = []

    @abstractmethod
    def frame(self, frame: Frame) -> None:
        """Write one sweep with its pose and boxes."""

    def image(self, image: Image) -> bool:
        """Write one camera image and return True; or say why it is lost."""
        return self.lose(f"images of {image.sensor}: the format has no place for images")

    @abstractmethod
    def close(self) -> None:
        """Write what can only be written when everything is known."""

    def lose(self, what: str) -> bool:
        """Say, once, that something of the recording is not in what is written; return False."""
        if what not in self.losses:
            self.losses.append(what)
        return False

    def lose_signals(self, why: str = "the format has no place for them") -> None:
        """Say that signals are left out, if there are any."""
        if self.recording.signals:
            names = ", ".join(sorted(signal.name for signal in self.recording.signals)[:5])
            self.lose(f"signals ({names}): {why}")

    @property
    def has_poses(self) -> bool:
        """Whether the trajectory was recorded, not assumed."""
        return ASSUMED_POSES not in self.recording.calibration.assumed

    @property
    def ego_SE3_lidar(self) -> SE3:
        """Where the lidar sits; the ego origin where that is unknown."""
        return self.recording.calibration.ego_SE3_sensor.get(self.recording.sensor, SE3.identity())


def image_suffix(image: Image) -> str:
    """Return the usual suffix of an image file, without the dot."""
    return {"jpeg": "jpg"}.get(image.encoding, image.encoding)


def safe_name(name: str) -> str:
    """Return the name of a sensor as one part of a path: whoever named it may have meant harm."""
    return re.sub(r"[^A-Za-z0-9._-]+", "_", name).strip(".") or "unnamed"


def checked_time(timestamp_ns: int) -> int:
    """Return a time that can be a file name.

    Raises:
        DataError: if it is before 1970.
    """
    if timestamp_ns < 0:
        raise DataError(f"sweep at {timestamp_ns} ns: times before 1970 cannot be exported")
    return timestamp_ns
