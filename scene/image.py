"""Camera images, kept as they were recorded."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Image:
    """One camera image, kept as the bytes that the camera wrote or by reference to them.

    Attributes:
        sensor: name of the camera; a key of `Calibration.cameras` where that is known.
        timestamp_ns: its own time, not that of a sweep.
        encoding: "jpeg", "png", "webp" for bytes; "h264", "av1" and so on for a video.
        data: compressed bytes; None where the image is kept by reference.
        uri: path inside the recording's landed folder, empty for bytes.
        index: number of the frame inside the video at `uri`.
    """

    sensor: str
    timestamp_ns: int
    encoding: str
    data: bytes | None = None
    uri: str = ""
    index: int = 0
